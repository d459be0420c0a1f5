package train

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// gradientGolden is a file of scripts/golden/train_gradients.py.
type gradientGolden struct {
	Folder, Prefix     string
	Queries, Documents []goldenText
	C, Scores          []float32
	Loss               float32
}

type goldenText struct {
	IDs      []int32
	Keep     []bool
	Attended int
	Part     int
}

func sequences(texts []goldenText) *Sequences {
	s := &Sequences{Offsets: []int{0}}
	for _, t := range texts {
		s.IDs, s.Keep = append(s.IDs, t.IDs...), append(s.Keep, t.Keep...)
		s.Offsets, s.Attended = append(s.Offsets, len(s.IDs)), append(s.Attended, t.Attended)
		if t.Part >= 0 {
			s.Parts = append(s.Parts, t.Part)
		}
	}
	return s
}

// weightedTanh is the goldens' loss: sum(c * tanh(scores / 4)).
func weightedTanh(c []float32) LossFunc {
	return func(g *gorgonia.ExprGraph, s *gorgonia.Node) (*gorgonia.Node, error) {
		v := tensor.New(tensor.WithShape(s.Shape()...), tensor.WithBacking(c))
		w := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(s.Shape()...), gorgonia.WithName("c"), gorgonia.WithValue(v))
		x, err := gorgonia.Mul(s, gorgonia.NewConstant(float32(0.25)))
		if err != nil {
			return nil, err
		}
		if x, err = gorgonia.Tanh(x); err != nil {
			return nil, err
		}
		if x, err = gorgonia.HadamardProd(x, w); err != nil {
			return nil, err
		}
		return gorgonia.Sum(x)
	}
}

// openTiny opens a checkpoint of the tests, with a tokenizer from elsewhere where it has none.
func openTiny(t *testing.T, folder string, o *ModelOptions) *Model {
	t.Helper()
	dir := "../testdata/layouts/" + folder
	if _, err := os.Stat(dir); err == nil {
		m, err := OpenModel(dir, o)
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, m.Close()) })
		return m
	}
	dir = "../transformer/testdata/" + folder
	other, err := checkpoint.Open("../testdata/layouts/stanford_xmod")
	require.NoError(t, err)
	require.NoError(t, other.Close())
	b, err := os.ReadFile(dir + "/config.json")
	require.NoError(t, err)
	c := &checkpoint.Checkpoint{Dir: dir, Tokenizer: other.Tokenizer}
	c.Config, err = checkpoint.ParseConfig("config.json", b)
	require.NoError(t, err)
	c.Tensors, err = checkpoint.OpenWeights(dir)
	require.NoError(t, err)
	m, err := newModel(c, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// TestGradientsAreTorchs compares every gradient of whole models with torch's.
func TestGradientsAreTorchs(t *testing.T) {
	for _, name := range []string{"stanford_bert", "stanford_xlmr", "stanford_xmod", "xmod_prenorm"} {
		t.Run(name, func(t *testing.T) {
			b, err := os.ReadFile("testdata/gradients/" + name + ".json")
			require.NoError(t, err)
			var g gradientGolden
			require.NoError(t, json.Unmarshal(b, &g))
			want, err := checkpoint.OpenSafeTensors("testdata/gradients/" + name + ".safetensors")
			require.NoError(t, err)
			defer want.Close()
			o := &ModelOptions{}
			for _, n := range want.Names() {
				if _, rest, ok := strings.Cut(n, "layer.0.output.adapter_modules."); ok && strings.HasSuffix(n, "dense1.bias") {
					lang, _, _ := strings.Cut(rest, ".")
					o.Languages = append(o.Languages, lang)
				}
			}
			m := openTiny(t, g.Folder, o)
			q, d := sequences(g.Queries), sequences(g.Documents)
			scores, err := m.Scores(context.Background(), q, d)
			require.NoError(t, err)
			require.InDeltaSlice(t, g.Scores, scores, 2e-5)
			loss, err := m.Backward(context.Background(), q, d, weightedTanh(g.C), 1)
			require.NoError(t, err)
			require.InDelta(t, g.Loss, loss, 1e-5)
			seen := 0
			for _, p := range m.Params() {
				key := g.Prefix + p.Name
				if p.Name == "head.0.weight" {
					key = "linear.weight"
				}
				x, ok := want.Tensor(key)
				if !ok {
					for _, v := range p.Grad {
						require.Zero(t, v, p.Name)
					}
					continue
				}
				seen++
				requireClose(t, x.Float32s(nil), p.Grad, 1e-4, p.Name)
			}
			require.Equal(t, len(want.Names()), seen)
			// Gradients are added, multiplied by the weight.
			before := append([]float32(nil), m.Params()[0].Grad...)
			_, err = m.Backward(context.Background(), q, d, weightedTanh(g.C), 0.5)
			require.NoError(t, err)
			for i := range before {
				before[i] *= 1.5
			}
			requireClose(t, before, m.Params()[0].Grad, 1e-5, "with half the weight")
		})
	}
}

// requireClose asks for a distance under tol times the length of want, and for each element under tol times the largest.
func requireClose(t *testing.T, want, got []float32, tol float64, name string) {
	t.Helper()
	require.Equal(t, len(want), len(got), name)
	var diff, sum, most, worst float64
	for i, w := range want {
		e := float64(w) - float64(got[i])
		diff += e * e
		sum += float64(w) * float64(w)
		most, worst = max(most, math.Abs(float64(w))), max(worst, math.Abs(e))
	}
	const tiny = 1e-6 // of gradients that are nothing but rounding, such as those of keys' biases
	require.LessOrEqual(t, math.Sqrt(diff), tol*math.Sqrt(sum)+tiny, name)
	require.LessOrEqual(t, worst, 3*tol*most+tiny, name)
}
