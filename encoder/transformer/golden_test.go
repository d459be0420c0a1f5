package transformer

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/testdata"
)

// The goldens of testdata/bert are a tiny random BERT with the hidden states that transformers 5.3 (torch 2.11)
// computes, made by shared/data/golden/gen/make_models.py.

type goldenCase struct {
	Name   string    `json:"name"`
	IDs    [][]int32 `json:"input_ids"`
	Mask   [][]int   `json:"attention_mask"`
	Types  [][]int32 `json:"token_type_ids"`
	Output string    `json:"output"`
	Hidden string    `json:"hidden_states"`
}

// openBackbone opens a folder with config.json and model.safetensors only.
func openBackbone(t testing.TB, dir string) *checkpoint.Checkpoint {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	config, err := checkpoint.ParseConfig("config.json", b)
	require.NoError(t, err)
	ts, err := checkpoint.OpenSafeTensors(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	t.Cleanup(func() { ts.Close() })
	return &checkpoint.Checkpoint{Dir: dir, Config: config, Tensors: ts}
}

// pack drops the padding of a golden case; keep lists the rows of the padded output that remain.
func (c *goldenCase) pack() (b *Batch, keep []int) {
	b = &Batch{}
	for i, ids := range c.IDs {
		n := 0
		for p, id := range ids {
			if c.Mask[i][p] == 0 {
				continue
			}
			b.IDs = append(b.IDs, id)
			if c.Types != nil {
				b.Types = append(b.Types, c.Types[i][p])
			}
			keep = append(keep, i*len(ids)+p)
			n++
		}
		b.Lens = append(b.Lens, n)
	}
	return b, keep
}

// whole keeps the padding as tokens that are not attended to.
func (c *goldenCase) whole() *Batch {
	b := &Batch{}
	for i, ids := range c.IDs {
		b.IDs = append(b.IDs, ids...)
		b.Lens = append(b.Lens, len(ids))
		if c.Types != nil {
			b.Types = append(b.Types, c.Types[i]...)
		}
		for _, m := range c.Mask[i] {
			b.Attend = append(b.Attend, m != 0)
		}
	}
	return b
}

func goldenCases(t testing.TB, dir string) []goldenCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	require.NoError(t, err)
	var cases []goldenCase
	require.NoError(t, json.Unmarshal(b, &cases))
	return cases
}

// TestGolden compares every architecture's hidden states with those of transformers.
func TestGolden(t *testing.T) {
	for _, arch := range []string{"bert", "modernbert", "t5", "byt5"} {
		t.Run(arch, func(t *testing.T) {
			dir := filepath.Join("testdata", arch)
			enc, err := New(openBackbone(t, dir), nil)
			require.NoError(t, err)
			h := enc.Shape().Hidden
			worst := 0.0
			for _, c := range goldenCases(t, dir) {
				want := testdata.ReadNpy(t, filepath.Join(dir, c.Output)).F32
				b, keep := c.pack()
				got := make([]float32, len(b.IDs)*h)
				require.NoError(t, enc.Forward(context.Background(), b, got))
				d := 0.0
				for i, r := range keep {
					d = max(d, maxDiff(got[i*h:(i+1)*h], want[r*h:(r+1)*h]))
				}
				require.Less(t, d, 1e-4, "case %s, packed", c.Name)
				worst = max(worst, d)

				// With padding as masked keys every row must agree, that of the padding too, except where
				// a window leaves the padding nothing to attend to: what it gets then is nobody's business.
				b = c.whole()
				got = make([]float32, len(b.IDs)*h)
				require.NoError(t, enc.Forward(context.Background(), b, got))
				if arch == "modernbert" {
					for i, a := range b.Attend {
						if !a {
							copy(got[i*h:(i+1)*h], want[i*h:])
						}
					}
				}
				d = maxDiff(got, want)
				require.Less(t, d, 1e-4, "case %s, padded", c.Name)
				worst = max(worst, d)
			}
			t.Logf("%s: largest difference %.3g", arch, worst)
		})
	}
}

// TestGoldenLayers compares the hidden states of every layer, so that a fault shows where it arises.
func TestGoldenLayers(t *testing.T) {
	for _, arch := range []string{"bert", "modernbert", "t5", "byt5"} {
		t.Run(arch, func(t *testing.T) {
			dir := filepath.Join("testdata", arch)
			enc, err := New(openBackbone(t, dir), nil)
			require.NoError(t, err)
			c := goldenCases(t, dir)[0]
			want := testdata.ReadNpy(t, filepath.Join(dir, c.Hidden))
			n := len(want.F32) / want.Shape[0]
			b, _ := c.pack()
			seen := 0
			probe := func(layer int, x []float32) {
				require.Less(t, maxDiff(x, want.F32[layer*n:(layer+1)*n]), 1e-4, "layer %d", layer)
				seen++
			}
			switch e := enc.(type) {
			case *bert:
				e.probe = probe
			case *prenorm:
				e.probe = probe
			}
			require.NoError(t, enc.Forward(context.Background(), b, make([]float32, n)))
			require.Equal(t, want.Shape[0], seen)
		})
	}
}

// TestGoldenMiniLM compares all-MiniLM-L6-v2 on 60 texts. The environment variable GOLBERT_MINILM names the
// folder with its weights.
func TestGoldenMiniLM(t *testing.T) {
	dir := os.Getenv("GOLBERT_MINILM")
	if _, err := os.Stat(filepath.Join(dir, "model.safetensors")); dir == "" || err != nil {
		t.Skip("skipped: set GOLBERT_MINILM to a folder with all-MiniLM-L6-v2")
	}
	raw, err := os.ReadFile(testdata.Shared(t, "golden/minilm/texts.json"))
	require.NoError(t, err)
	var texts []struct {
		IDs []int32 `json:"ids"`
		Row int     `json:"row"`
	}
	require.NoError(t, json.Unmarshal(raw, &texts))
	want := testdata.ReadNpy(t, testdata.Shared(t, "golden/minilm/hidden.f32.npy"))
	enc, err := New(openBackbone(t, dir), nil)
	require.NoError(t, err)
	h := enc.Shape().Hidden
	b := &Batch{}
	for _, x := range texts {
		require.Equal(t, len(b.IDs), x.Row)
		b.IDs, b.Lens = append(b.IDs, x.IDs...), append(b.Lens, len(x.IDs))
	}
	got := make([]float32, len(b.IDs)*h)
	require.NoError(t, enc.Forward(context.Background(), b, got))
	raws := maxDiff(got, want.F32)
	for i := range b.IDs {
		kernel.Normalize(got[i*h : (i+1)*h])
		kernel.Normalize(want.F32[i*h : (i+1)*h])
	}
	d := maxDiff(got, want.F32)
	t.Logf("all-MiniLM-L6-v2, %d tokens: largest difference %.3g, of unit vectors %.3g", len(b.IDs), raws, d)
	require.Less(t, d, 1e-4)
}

func maxDiff(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.Inf(1)
	}
	d := 0.0
	for i := range a {
		v := math.Abs(float64(a[i]) - float64(b[i]))
		if math.IsNaN(v) {
			return math.Inf(1)
		}
		d = max(d, v)
	}
	return d
}
