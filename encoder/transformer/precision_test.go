package transformer

import (
	"context"
	"encoding/json"
	"maps"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/testdata"
)

// cosines returns the least and the mean cosine of the rows of two sets of vectors.
func cosines(a, b []float32, dim int) (least, mean float64) {
	least = 1
	rows := len(a) / dim
	for i := range rows {
		x, y := a[i*dim:(i+1)*dim], b[i*dim:(i+1)*dim]
		c := float64(kernel.Dot(x, y)) / math.Sqrt(float64(kernel.Dot(x, x))*float64(kernel.Dot(y, y)))
		least = min(least, c)
		mean += c / float64(rows)
	}
	return least, mean
}

// TestPrecisionGolden compares every architecture in bfloat16 and int8 with the reference's outputs. The models are tiny
// and their weights are random: larger and trained ones lose less.
func TestPrecisionGolden(t *testing.T) {
	for _, name := range goldenNames(t) {
		if name == "mrt5" {
			continue // rounding moves tokens across the threshold of its delete gate
		}
		for _, p := range []Precision{BFloat16, Int8} {
			t.Run(name+"/"+p.String(), func(t *testing.T) {
				dir := filepath.Join("testdata", name)
				enc, err := New(openBackbone(t, dir), &Options{Precision: p})
				require.NoError(t, err)
				h := enc.Shape().Hidden
				least, sum, n := 1.0, 0.0, 0
				exact := true
				for _, c := range goldenCases(t, dir) {
					want := testdata.ReadNpy(t, filepath.Join(dir, c.Output)).F32
					b, keep := c.pack()
					b.Languages = c.languages(t, enc)
					got := make([]float32, len(b.IDs)*h)
					require.NoError(t, enc.Forward(context.Background(), b, got))
					got = got[:len(keep)*h]
					ref := make([]float32, 0, len(got))
					for _, r := range keep {
						ref = append(ref, want[r*h:(r+1)*h]...)
					}
					exact = exact && maxDiff(got, ref) < 1e-6
					l, m := cosines(got, ref, h)
					least, sum, n = min(least, l), sum+m, n+1
				}
				t.Logf("%s in %v on %s: least cosine %.5f, mean %.5f", name, p, p.Instructions(), least, sum/float64(n))
				require.False(t, exact, "the precision must be another one")
				require.Greater(t, sum/float64(n), map[Precision]float64{BFloat16: .999, Int8: .99}[p])
			})
		}
	}
}

// TestPrecisionUnsupported: a precision that does not exist is refused.
func TestPrecisionUnsupported(t *testing.T) {
	_, err := New(fakeBert(50, 32, 1, 2, 40, 16, ""), &Options{Precision: 3})
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "precision 3")
}

// TestInt8Weights: weights that are int8 in the checkpoint run as they are. The same weights as float32 are rounded to the
// same int8 when the largest of each row is 127, so the outputs are equal in every bit.
func TestInt8Weights(t *testing.T) {
	ints := fakeBert(50, 48, 2, 3, 72, 40, "")
	f := ints.Tensors.(fakeTensors)
	g, floats := maps.Clone(f), *ints
	floats.Tensors = g
	for name, x := range g {
		if len(x.Shape) != 2 || filepath.Ext(name) != ".weight" || name == "embeddings.word_embeddings.weight" ||
			name == "embeddings.position_embeddings.weight" || name == "embeddings.token_type_embeddings.weight" {
			continue
		}
		v, n, k := x.Float32s(nil), x.Shape[0], x.Shape[1]
		data, scale := make([]byte, len(v)), make([]float32, n)
		for i := range n {
			var top float32
			for _, w := range v[i*k : (i+1)*k] {
				top = max(top, float32(math.Abs(float64(w))))
			}
			// A power of two: then scales and products with it are exact.
			scale[i] = float32(math.Exp2(math.Ceil(math.Log2(float64(top) / 127))))
			for j := range k {
				q := int8(math.Round(float64(v[i*k+j] / scale[i])))
				if j == 0 {
					q = 127
				}
				data[i*k+j] = byte(q)
				v[i*k+j] = float32(q) * scale[i]
			}
		}
		f[name] = checkpoint.Tensor{Name: name, DType: checkpoint.I8, Shape: x.Shape, Data: data}
		f.f32(name+"_scale", scale, n)
		g.f32(name, v, n, k)
	}
	b := randomBatch(50, 17, 5)
	for _, p := range []Precision{Float32, BFloat16, Int8} {
		x, err := New(ints, &Options{Precision: p})
		require.NoError(t, err)
		y, err := New(&floats, &Options{Precision: p})
		require.NoError(t, err)
		require.Zero(t, maxDiff(run(t, y, b), run(t, x, b)), "%v", p)
	}
}

// TestPackParts packs stacked layers whose sizes are no multiples of a panel.
func TestPackParts(t *testing.T) {
	const k = 12
	var all []float32
	var parts []part
	f := fakeTensors{}
	for i, n := range []int{5, 40, 1, 32, 33} {
		v := make([]float32, n*k)
		for j := range v {
			v[j] = float32((i+3)*j%17) - 8
		}
		f.f32("x", v, n, k)
		parts = append(parts, part{t: f["x"]})
		all = append(all, v...)
	}
	n := len(all) / k
	require.Equal(t, kernel.Pack(all, n, k), packParts(Float32, parts, n, k).f32)
	require.Equal(t, kernel.PackBF16(all, n, k), packParts(BFloat16, parts, n, k).bf16)
	require.Equal(t, kernel.QuantizeInt8(all, n, k), packParts(Int8, parts, n, k).i8)
}

// TestPrecisionMiniLM compares all-MiniLM-L6-v2 in bfloat16 and int8 with the reference's vectors of 60 texts.
func TestPrecisionMiniLM(t *testing.T) {
	dir := os.Getenv("GOLBERT_MINILM")
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); dir == "" || err != nil {
		t.Skip("skipped: set GOLBERT_MINILM to a folder with all-MiniLM-L6-v2")
	}
	raw, err := os.ReadFile(testdata.Shared(t, "golden/minilm/texts.json"))
	require.NoError(t, err)
	var texts []struct {
		IDs []int32 `json:"ids"`
	}
	require.NoError(t, json.Unmarshal(raw, &texts))
	want := testdata.ReadNpy(t, testdata.Shared(t, "golden/minilm/hidden.f32.npy"))
	b := &Batch{}
	for _, x := range texts {
		b.IDs, b.Lens = append(b.IDs, x.IDs...), append(b.Lens, len(x.IDs))
	}
	for _, p := range []Precision{BFloat16, Int8} {
		enc, err := New(openBackbone(t, dir), &Options{Precision: p})
		require.NoError(t, err)
		least, mean := cosines(run(t, enc, b), want.F32, enc.Shape().Hidden)
		t.Logf("all-MiniLM-L6-v2 in %v: least cosine %.5f, mean %.5f", p, least, mean)
		require.Greater(t, mean, map[Precision]float64{BFloat16: .999, Int8: .99}[p])
	}
}
