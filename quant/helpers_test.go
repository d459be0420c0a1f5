package quant

import (
	"context"
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/stretchr/testify/require"
)

// npy reads a numpy file of one of the types <f2 <f4 <i4 <i8 u1 as float64s.
func npy(t testing.TB, name string) (shape []int, data []float64) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	require.Equal(t, "\x93NUMPY\x01", string(b[:7]))
	n := 10 + int(binary.LittleEndian.Uint16(b[8:]))
	head, b := string(b[10:n]), b[n:]
	field := func(key, end string) string {
		_, s, ok := strings.Cut(head, "'"+key+"':")
		require.True(t, ok, head)
		s, _, _ = strings.Cut(s, end)
		return strings.Trim(s, " '(")
	}
	require.Contains(t, head, "False")
	for s := range strings.SplitSeq(field("shape", ")"), ",") {
		if s = strings.TrimSpace(s); s != "" {
			d, err := strconv.Atoi(s)
			require.NoError(t, err)
			shape = append(shape, d)
		}
	}
	le := binary.LittleEndian
	switch typ := field("descr", ","); typ {
	case "<f2":
		f := make([]float32, len(b)/2)
		kernel.LoadF16(f, b)
		for _, v := range f {
			data = append(data, float64(v))
		}
	case "<f4":
		for ; len(b) > 0; b = b[4:] {
			data = append(data, float64(math.Float32frombits(le.Uint32(b))))
		}
	case "<i4":
		for ; len(b) > 0; b = b[4:] {
			data = append(data, float64(int32(le.Uint32(b))))
		}
	case "<i8":
		for ; len(b) > 0; b = b[8:] {
			data = append(data, float64(int64(le.Uint64(b))))
		}
	case "|u1", "<u1":
		for _, v := range b {
			data = append(data, float64(v))
		}
	default:
		t.Fatalf("%s: type %q", name, typ)
	}
	return shape, data
}

func as[T uint8 | uint32 | float32 | int](v []float64) []T {
	out := make([]T, len(v))
	for i, x := range v {
		out[i] = T(x)
	}
	return out
}

// goldenDocs returns the token vectors of the 220 generated documents, and their lengths.
func goldenDocs(t testing.TB) (maxsim.Matrix, []int) {
	shape, v := npy(t, "d64/docs.f16.npy")
	_, l := npy(t, "doclens.i32.npy")
	return maxsim.Matrix{Data: as[float32](v), Rows: shape[0], Dim: shape[1]}, as[int](l)
}

func goldenQueries(t testing.TB) []maxsim.Matrix {
	shape, v := npy(t, "d64/queries.f16.npy")
	all := maxsim.Matrix{Data: as[float32](v), Rows: shape[0] * shape[1], Dim: shape[2]}
	out := make([]maxsim.Matrix, shape[0])
	for i := range out {
		out[i] = all.Slice(i*shape[1], (i+1)*shape[1])
	}
	return out
}

// normal draws from N(0, 1).
func (r *rng) normal() float64 {
	return math.Sqrt(-2*math.Log(1-r.float())) * math.Cos(2*math.Pi*r.float())
}

// randomUnit returns unit vectors of uniform direction.
func randomUnit(seed uint64, rows, dim int) maxsim.Matrix {
	r := rng{seed}
	m := maxsim.New(rows, dim)
	for i := range m.Data {
		m.Data[i] = float32(r.normal())
	}
	m.Normalize()
	return m
}

// clustered returns unit vectors around random directions, with dimensions of unlike variance as a PCA
// makes them.
func clustered(seed uint64, rows, dim, clusters int, spread float64) maxsim.Matrix {
	r := rng{seed}
	cent := maxsim.New(clusters, dim)
	scale := func(t int) float64 { return 1 / math.Sqrt(1+float64(t)/4) }
	for i := range cent.Data {
		cent.Data[i] = float32(r.normal() * scale(i%dim))
	}
	cent.Normalize()
	m := maxsim.New(rows, dim)
	norm := 0.0
	for t := range dim {
		norm += scale(t) * scale(t)
	}
	for i := range rows {
		c := cent.Row(int(r.below(uint64(clusters))))
		for t := range dim {
			m.Row(i)[t] = c[t] + float32(spread*r.normal()*scale(t)/math.Sqrt(norm))
		}
	}
	m.Normalize()
	return m
}

func dot(a, b []float32) float64 {
	var s float64
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return s
}

// meanCosine encodes and decodes m and returns the mean cosine with the originals.
func meanCosine(t testing.TB, c *Codebook, m maxsim.Matrix) float64 {
	t.Helper()
	enc, err := c.Encode(context.Background(), m, 1)
	require.NoError(t, err)
	out := maxsim.New(m.Rows, m.Dim)
	c.Decode(out.Data, enc.Codes, enc.Residuals)
	c.Unrotate(out.Data, out.Data, out.Rows)
	var sum float64
	for i := range m.Rows {
		sum += dot(out.Row(i), m.Row(i))
	}
	return sum / float64(m.Rows)
}
