package checkpoint

import (
	"bytes"
	"encoding/binary"
	"io/fs"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func floats(name string, d DType, v []float32, shape ...int) Tensor {
	return Tensor{Name: name, DType: d, Shape: shape, Data: appendFloats(nil, d, v)}
}

// memory makes tensors of values without a file.
func memory(t *testing.T, ts ...Tensor) Tensors {
	var buf bytes.Buffer
	require.NoError(t, WriteSafeTensors(&buf, ts, nil))
	s, err := ParseSafeTensors(buf.Bytes())
	require.NoError(t, err)
	return s
}

func TestAverage(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	n := averageBlock + 77 // more than a block
	var values [3][]float32
	for i := range values {
		values[i] = make([]float32, n)
		for j := range values[i] {
			values[i][j] = float32(r.NormFloat64())
		}
	}
	ids := Tensor{Name: "ids", DType: I64, Shape: []int{2}, Data: make([]byte, 16)}
	weights := []float64{1, 2, 5}
	for _, d := range []DType{F32, F16, BF16, F64} {
		var parts []Tensors
		for i := range values {
			kind := d
			if i == 2 {
				kind = F32 // the first one's type counts
			}
			parts = append(parts, memory(t, floats("w", kind, values[i], n), ids))
		}
		var buf bytes.Buffer
		require.NoError(t, Average(&buf, parts, weights))
		out, err := ParseSafeTensors(buf.Bytes())
		require.NoError(t, err)
		w, _ := out.Tensor("w")
		require.Equal(t, d, w.DType)
		got := w.Float32s(nil)
		ulp := map[DType]float64{F32: 0x1p-24, F16: 0x1p-11, BF16: 0x1p-8, F64: 0x1p-24}[d]
		for j := range n {
			want := 0.0
			for i, p := range parts {
				x, _ := p.Tensor("w")
				want += weights[i] / 8 * float64(x.slice(j, 1).Float32s(nil)[0])
			}
			require.LessOrEqual(t, math.Abs(float64(got[j])-want), ulp*max(math.Abs(want), 1e-3), "%v %d", d, j)
		}
		x, _ := out.Tensor("ids")
		require.Equal(t, ids.Data, x.Data)
		// The mean of equal checkpoints is that checkpoint, in every bit.
		buf.Reset()
		require.NoError(t, Average(&buf, []Tensors{parts[0], parts[0], parts[0]}, nil))
		out, err = ParseSafeTensors(buf.Bytes())
		require.NoError(t, err)
		same, _ := out.Tensor("w")
		was, _ := parts[0].Tensor("w")
		require.Equal(t, was.Data, same.Data)
	}
}

func TestAverageErrors(t *testing.T) {
	a := memory(t, tensor("w", 2, 2), tensor("v", 3))
	for text, b := range map[string]Tensors{
		`only one has "v"`:    memory(t, tensor("w", 2, 2)),
		`"v" is missing`:      memory(t, tensor("w", 2, 2), tensor("x", 3)),
		`"w" is F32 of shape`: memory(t, tensor("w", 4), tensor("v", 3)),
		`"v" is I64 of shape`: memory(t, tensor("w", 2, 2), Tensor{Name: "v", DType: I64, Shape: []int{3}, Data: make([]byte, 24)}),
	} {
		err := Average(&bytes.Buffer{}, []Tensors{a, b}, nil)
		require.ErrorIs(t, err, ErrMismatch, text)
		require.ErrorContains(t, err, text)
	}
	one := func(v uint64) Tensors {
		return memory(t, Tensor{Name: "ids", DType: I64, Shape: []int{1}, Data: binary.LittleEndian.AppendUint64(nil, v)})
	}
	require.ErrorIs(t, Average(&bytes.Buffer{}, []Tensors{one(1), one(2)}, nil), ErrMismatch)
	require.ErrorIs(t, Average(&bytes.Buffer{}, []Tensors{one(1 << 24), one(1<<24 + 1)}, nil), ErrMismatch, "float32 holds neither apart")
	require.ErrorIs(t, Average(&bytes.Buffer{}, []Tensors{memory(t, Tensor{Name: "q", DType: I8, Shape: []int{1}, Data: []byte{1}})}, nil), ErrUnsupported)
	for _, w := range [][]float64{{1}, {1, 0}, {1, -1}, {1, math.NaN()}, {1, math.Inf(1)}} {
		require.Error(t, Average(&bytes.Buffer{}, []Tensors{a, a}, w))
	}
	require.Error(t, Average(&bytes.Buffer{}, nil, nil))
}

func TestAverageDirs(t *testing.T) {
	a := dirOf(t, pylateFiles(obj{}))
	other := pylateFiles(obj{})
	w := tensor("linear.weight", 4, 4)
	w.Data = f32s(make([]float32, 16)...)
	other["1_Dense/model.safetensors"] = []Tensor{w}
	b := dirOf(t, other)
	out := filepath.Join(t.TempDir(), "sub", "mean")
	require.NoError(t, AverageDirs(out, []string{a, b}, []float64{3, 1}))
	c, err := Open(out)
	require.NoError(t, err)
	require.Equal(t, PyLate, c.Layout)
	require.Equal(t, float32(0.75*15), c.Head[0].Weight[15])
	require.NoError(t, c.Close())
	err = AverageDirs(out, []string{a, b}, nil)
	require.ErrorIs(t, err, fs.ErrExist)

	// A failure leaves nothing behind.
	parent := t.TempDir()
	require.NoError(t, os.Remove(filepath.Join(b, "1_Dense", "model.safetensors")))
	err = AverageDirs(filepath.Join(parent, "x"), []string{a, b}, nil)
	require.ErrorIs(t, err, ErrMismatch)
	left, err := os.ReadDir(parent)
	require.NoError(t, err)
	require.Empty(t, left)
}
