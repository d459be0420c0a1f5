//go:build darwin || linux || windows

package cuda

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/quant"
)

var bg = context.Background()

// TestPTX fails when a kernel's source was changed without compiling it.
func TestPTX(t *testing.T) {
	for name, ptx := range map[string]string{"maxsim": maxsimPTX, "plaid": plaidPTX, "build": buildPTX} {
		h := sha256.New()
		for _, f := range []string{"common.cuh", "tile.cuh", name + ".cu"} {
			b, err := os.ReadFile("kernels/" + f)
			require.NoError(t, err)
			h.Write(b)
		}
		require.True(t, strings.HasPrefix(ptx, fmt.Sprintf("// sources: sha256 %x\n", h.Sum(nil))),
			"kernels/%s.ptx is not of this source: run kernels/generate.py", name)
		require.Contains(t, ptx, "\n.version 7.0\n")
		require.Contains(t, ptx, "\n.target sm_80\n")
		require.NotRegexp(t, `\.extern \.shared \.align [1248] `, ptx, "loads of 16 bytes")
	}
}

func random(r *rand.Rand, rows, dim int) maxsim.Matrix {
	m := maxsim.New(rows, dim)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	for i := range rows {
		kernel.Normalize(m.Row(i))
	}
	return m
}

// exactMaxSim is the definition in float64, and a bound on what float32 sums of float32 products may be off.
func exactMaxSim(q, d maxsim.Matrix, round func(float32) float64) (score, bound float64) {
	for i := range q.Rows {
		top := math.Inf(-1)
		for j := range d.Rows {
			var sum float64
			for k, x := range q.Row(i) {
				sum += round(x) * round(d.Row(j)[k])
			}
			top = max(top, sum)
		}
		score += top
		bound += float64(q.Dim) * 0x1p-22
	}
	return score, bound
}

func TestMaxSim(t *testing.T) {
	rounds := map[Format]func(float32) float64{
		Float32: func(x float32) float64 { return float64(x) },
		Float16: func(x float32) float64 {
			h, f := make([]uint16, 1), make([]float32, 1)
			kernel.F32ToF16(h, []float32{x})
			kernel.F16ToF32(f, h)
			return float64(f[0])
		},
		BFloat16: func(x float32) float64 {
			h := make([]uint16, 1)
			_ = narrow(h, []float32{x}, BFloat16)
			return float64(math.Float32frombits(uint32(h[0]) << 16))
		},
	}
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(1, 2))
		for _, dim := range []int{8, 24, 96} {
			var docs, queries []maxsim.Matrix
			for _, n := range []int{1, 2, 15, 16, 17, 65, 130} {
				docs = append(docs, random(r, n, dim))
			}
			for _, n := range []int{1, 5, 32, 65} {
				queries = append(queries, random(r, n, dim))
			}
			for f, round := range rounds {
				d, err := dev.LoadDocuments(bg, docs, f)
				require.NoError(t, err)
				require.Equal(t, len(docs), d.Len())
				got, err := d.Scores(bg, queries)
				require.NoError(t, err)
				for i, q := range queries {
					for j, doc := range docs {
						want, bound := exactMaxSim(q, doc, round)
						require.InDelta(t, want, got[i][j], bound, "%v dim %d query of %d doc of %d", f, dim, q.Rows, doc.Rows)
					}
				}
				require.NoError(t, d.Close())
				_, err = d.Scores(bg, queries)
				require.ErrorIs(t, err, ErrClosed)
			}
		}
	})
}

// Float32 scores are the CPU's in every bit where its sums are chains of fused multiply-adds, too.
func TestMaxSimBits(t *testing.T) {
	if kernel.ISA() == "generic" {
		t.Skip("the Go code does not fuse")
	}
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(3, 4))
		docs, query := make([]maxsim.Matrix, 20), random(r, 32, 128)
		for i := range docs {
			docs[i] = random(r, 1+r.IntN(60), 128)
		}
		want, err := maxsim.Scores(query, docs)
		require.NoError(t, err)
		d, err := dev.LoadDocuments(bg, docs, Float32)
		require.NoError(t, err)
		defer d.Close()
		got, err := d.Scores(bg, []maxsim.Matrix{query})
		require.NoError(t, err)
		require.Equal(t, want, got[0])
	})
}

func TestMaxSimBadInput(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(5, 6))
		good := random(r, 3, 16)
		nan := random(r, 2, 16)
		nan.Data[5] = float32(math.NaN())
		for _, c := range []struct {
			docs []maxsim.Matrix
			want error
			text string
		}{
			{[]maxsim.Matrix{good, nan}, maxsim.ErrNotFinite, "document 1"},
			{[]maxsim.Matrix{good, {Dim: 16}}, maxsim.ErrEmpty, "document 1"},
			{[]maxsim.Matrix{good, random(r, 2, 8)}, maxsim.ErrDim, "document 1"},
		} {
			_, err := dev.LoadDocuments(bg, c.docs, Float32)
			require.ErrorIs(t, err, c.want)
			require.ErrorContains(t, err, c.text)
		}
		large := random(r, 2, 16)
		large.Data[17] = 1e6
		_, err := dev.LoadDocuments(bg, []maxsim.Matrix{large}, Float16)
		require.ErrorIs(t, err, maxsim.ErrNotFinite)
		require.ErrorContains(t, err, "document 0: row 1: value 1, 1e+06")
		d, err := dev.LoadDocuments(bg, []maxsim.Matrix{good}, BFloat16)
		require.NoError(t, err)
		defer d.Close()
		_, err = d.Scores(bg, []maxsim.Matrix{good, nan})
		require.ErrorIs(t, err, maxsim.ErrNotFinite)
		require.ErrorContains(t, err, "query 1")
		_, err = d.Scores(bg, []maxsim.Matrix{random(r, 1, 8)})
		require.ErrorIs(t, err, maxsim.ErrDim)
		done, cancel := context.WithCancel(bg)
		cancel()
		_, err = d.Scores(done, []maxsim.Matrix{good})
		require.ErrorIs(t, err, context.Canceled)
		empty, err := dev.LoadDocuments(bg, nil, Float16)
		require.NoError(t, err)
		defer empty.Close()
		scores, err := empty.Scores(bg, []maxsim.Matrix{good})
		require.NoError(t, err)
		require.Empty(t, scores[0])
	})
}

func TestAssign(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(7, 8))
		for _, s := range []struct{ n, k, dim int }{{1, 1, 8}, {3, 7, 8}, {64, 64, 16}, {65, 63, 24}, {100, 129, 40}} {
			x, c := random(r, s.n, s.dim), random(r, s.k, s.dim)
			copy(c.Row(s.k-1), c.Row(0)) // a tie: the lowest number wins
			codes, scores, err := dev.Assign(bg, x, c)
			require.NoError(t, err)
			for i := range s.n {
				top, arg := math.Inf(-1), 0
				for j := range s.k {
					if v := dot64(x.Row(i), c.Row(j)); v > top {
						top, arg = v, j
					}
				}
				require.InDelta(t, top, scores[i], 1e-5)
				if int(codes[i]) != arg {
					require.InDelta(t, top, dot64(x.Row(i), c.Row(int(codes[i]))), 1e-6)
				}
				require.False(t, s.k > 1 && int(codes[i]) == s.k-1, "the tie went to the higher number")
			}
		}
		_, _, err := dev.Assign(bg, random(r, 2, 8), maxsim.Matrix{Dim: 8})
		require.ErrorIs(t, err, maxsim.ErrEmpty)
		_, _, err = dev.Assign(bg, random(r, 2, 8), random(r, 2, 16))
		require.ErrorIs(t, err, maxsim.ErrDim)
	})
}

func dot64(a, b []float32) (s float64) {
	for i, x := range a {
		s += float64(x) * float64(b[i])
	}
	return s
}

// TestBuild trains and codes on the device and compares with the CPU.
func TestBuild(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(9, 10))
		centres := random(r, 12, 16)
		x := random(r, 400, 16)
		for i := range x.Rows {
			for j, v := range centres.Row(i % 12) {
				x.Row(i)[j] = .4*x.Row(i)[j] + v
			}
			kernel.Normalize(x.Row(i))
		}
		steps := 0
		got, err := dev.KMeans(bg, x, 12, &quant.KMeansOptions{Iterations: 5, Progress: func(done, total int) { steps++ }})
		require.NoError(t, err)
		require.Equal(t, 5, steps)
		want, err := quant.KMeans(bg, x.Data, x.Rows, x.Dim, 12, &quant.KMeansOptions{Iterations: 5})
		require.NoError(t, err)
		require.Greater(t, fit(x, got.Data), .97*fit(x, want), "mean inner product with the nearest centroid")
		all, err := dev.KMeans(bg, x, 1000, nil)
		require.NoError(t, err)
		require.Equal(t, x.Rows, all.Rows)

		cb, err := quant.Train(bg, x, &quant.TrainOptions{NBits: 4, Centroids: 12})
		require.NoError(t, err)
		cpu, err := cb.Encode(bg, x, 1)
		require.NoError(t, err)
		enc, err := dev.Encode(bg, cb, x)
		require.NoError(t, err)
		require.Equal(t, cpu.Codes, enc.Codes)
		require.Equal(t, len(cpu.Residuals), len(enc.Residuals))
		_, err = dev.Encode(bg, cb, random(r, 1, 8))
		require.ErrorIs(t, err, maxsim.ErrDim)
		_, err = dev.KMeans(bg, x, 0, nil)
		require.ErrorIs(t, err, quant.ErrOption)
	})
}

func fit(x maxsim.Matrix, cents []float32) float64 {
	sum := 0.
	for i := range x.Rows {
		top := math.Inf(-1)
		for c := 0; c < len(cents); c += x.Dim {
			top = max(top, dot64(x.Row(i), cents[c:c+x.Dim]))
		}
		sum += top
	}
	return sum / float64(x.Rows)
}

// Documents of a small dimension do not take shared memory away from those of a larger one.
func TestDocumentsOfTwoDimensions(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(4, 2))
		for _, f := range []Format{Float32, Float16} {
			var loaded []*Documents
			for _, dim := range []int{1100, 800} {
				d, err := dev.LoadDocuments(bg, []maxsim.Matrix{random(r, 3, dim)}, f)
				require.NoError(t, err)
				defer d.Close()
				loaded = append(loaded, d)
			}
			for i, dim := range []int{1100, 800} {
				_, err := loaded[i].Scores(bg, []maxsim.Matrix{random(r, 2, dim)})
				require.NoError(t, err, "%v, dimension %d", f, dim)
			}
		}
	})
}

// TestWide: queries of a dimension that does not fit into shared memory are read from device memory in part.
func TestWide(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(6, 2))
		const dim = 4096
		docs, query := []maxsim.Matrix{random(r, 3, dim), random(r, 2, dim)}, random(r, 2, dim)
		for _, f := range []Format{Float32, Float16, BFloat16} {
			d, err := dev.LoadDocuments(bg, docs, f)
			require.NoError(t, err)
			require.Less(t, d.cached, dim)
			got, err := d.Scores(bg, []maxsim.Matrix{query})
			require.NoError(t, err)
			for i, doc := range docs {
				want, _ := exactMaxSim(query, doc, func(x float32) float64 { return float64(x) })
				require.InDelta(t, want, got[0][i], map[Format]float64{Float32: 1e-5, Float16: 1e-3, BFloat16: 1e-2}[f], "%v", f)
			}
			require.NoError(t, d.Close())
		}
	})
}

// TestSelect: the largest keys, the first of equal ones, in ascending order of position.
func TestSelect(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(8, 3))
		for _, c := range []struct {
			n, want int
			key     func() uint32
		}{
			{1, 1, r.Uint32}, {5, 9, r.Uint32}, {700, 33, r.Uint32}, {5000, 700, r.Uint32}, {9000, 9000, r.Uint32},
			{5000, 300, func() uint32 { return r.Uint32N(4) }},                 // ties, and keys of 0
			{5000, 4000, func() uint32 { return r.Uint32N(2) * 0x80000001 }},   // fewer than wanted
			{6000, 100, func() uint32 { return 0x3f800000 + r.Uint32N(1200) }}, // alike at the top
			{300, 10, func() uint32 { return 0 }},
			{4200, 2, func() uint32 { return math.MaxUint32 }},
		} {
			const rows = 2
			keys := make([]uint32, rows*c.n)
			for i := range keys {
				keys[i] = c.key()
			}
			got := make([]uint32, rows*c.want)
			err := dev.withStream(bg, func(s *stream) error {
				in, err := upload(bg, s, "keys", keys)
				if err != nil {
					return err
				}
				var picked []uint32
				err = s.finish(bg, func() {
					out := s.room("picked", 4*len(got))
					s.run("select_best", rows, 1, selectThreads, 0, out, in, c.n, c.want)
					picked = host[uint32](s, "picked", len(got))
					get(s, picked, out)
				})
				copy(got, picked)
				return err
			})
			require.NoError(t, err)
			for row := range rows {
				own := keys[row*c.n : (row+1)*c.n]
				var want []uint32
				for i, k := range own {
					if k > 0 {
						want = append(want, uint32(i))
					}
				}
				slices.SortStableFunc(want, func(a, b uint32) int { return cmp.Compare(own[b], own[a]) })
				want = want[:min(len(want), c.want)]
				slices.Sort(want)
				for len(want) < c.want {
					want = append(want, none)
				}
				require.Equal(t, want, got[row*c.want:(row+1)*c.want], "n %d want %d", c.n, c.want)
			}
		}
	})
}

func TestPeaks(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		p, err := dev.Peaks(bg)
		require.NoError(t, err)
		require.Positive(t, p.Copy)
		require.Positive(t, p.MMA)
		t.Logf("%s: copies %.4g GB/s, tensor-core products %.4g TFLOP/s", dev.Name(), p.Copy/1e9, p.MMA/1e12)
	})
}
