package transformer

import (
	"context"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/testdata"
)

// The goldens of testdata are tiny random encoders with the hidden states that transformers 5.3 (torch 2.11)
// computes: bert, xlmr, xmod and xmod_prenorm made by shared/data/golden/gen/make_models.py, roberta, xmod_flags and
// xmod_languages by encoder/scripts/golden/xmod.py.

type goldenCase struct {
	Name   string    `json:"name"`
	IDs    [][]int32 `json:"input_ids"`
	Mask   [][]int   `json:"attention_mask"`
	Types  [][]int32 `json:"token_type_ids"`
	Langs  []string  `json:"langs"`
	Kept   [][]int   `json:"kept"` // the positions left of each sequence, for models that delete
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
	return &checkpoint.Checkpoint{Dir: dir, Config: config, Tensors: ts, Prefix: goldenPrefix[filepath.Base(dir)]}
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

// languages gives the case's languages as Batch wants them.
func (c *goldenCase) languages(t testing.TB, enc Encoder) []int {
	t.Helper()
	if c.Langs == nil {
		return nil
	}
	known := enc.(Multilingual).Languages()
	var at []int
	for _, l := range c.Langs {
		require.Contains(t, known, l)
		at = append(at, slices.Index(known, l))
	}
	return at
}

func goldenCases(t testing.TB, dir string) []goldenCase {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	require.NoError(t, err)
	var cases []goldenCase
	require.NoError(t, json.Unmarshal(b, &cases))
	return cases
}

// goldenNames are the folders of testdata with a checkpoint and the reference's outputs.
func goldenNames(t testing.TB) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*/cases.json")
	require.NoError(t, err)
	var names []string
	for _, f := range files {
		names = append(names, filepath.Base(filepath.Dir(f)))
	}
	for _, must := range []string{"bert", "byt5", "eurobert", "jina", "lfm2", "lfm2_bidirectional", "llama", "mamba", "modernbert", "mrt5",
		"qwen2", "qwen3", "qwen3_causal", "roberta", "t5", "umt5", "xlmr", "xmod", "xmod_prenorm"} {
		require.Contains(t, names, must)
	}
	return names
}

// TestGolden compares every architecture's hidden states with those of transformers.
func TestGolden(t *testing.T) {
	for _, name := range goldenNames(t) {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join("testdata", name)
			enc, err := New(openBackbone(t, dir), nil)
			require.NoError(t, err)
			h := enc.Shape().Hidden
			worst := 0.0
			for _, c := range goldenCases(t, dir) {
				want := testdata.ReadNpy(t, filepath.Join(dir, c.Output)).F32
				b, keep := c.pack()
				b.Languages = c.languages(t, enc)
				got := make([]float32, len(b.IDs)*h)
				require.NoError(t, enc.Forward(context.Background(), b, got))
				if c.Kept != nil {
					keep = c.left(t, b)
				} else {
					require.Nil(t, b.Kept)
				}
				d := keptDiff(got, want, keep, h)
				require.Less(t, d, 1e-4, "case %s, packed", c.Name)
				worst = max(worst, d)
				if c.Langs != nil {
					t.Logf("%s (%s): largest difference %.3g", name, c.Name, d)
				}

				if goldenLoose[name] {
					continue
				}
				// With padding as masked keys every row must agree, that of the padding too.
				b = c.whole()
				b.Languages = c.languages(t, enc)
				got = make([]float32, len(b.IDs)*h)
				require.NoError(t, enc.Forward(context.Background(), b, got))
				d = maxDiff(got, want)
				require.Less(t, d, 1e-4, "case %s, padded", c.Name)
				worst = max(worst, d)
			}
			t.Logf("%s: largest difference %.3g", name, worst)
		})
	}
}

// goldenPrefix is what the tensors' names start with, where it is not empty.
var goldenPrefix = map[string]string{"jina": "roberta.", "llama": "model.", "mamba": "backbone."}

// goldenLoose are models in which tokens may have nothing to attend to, padding touches its neighbours or is deleted:
// what padding gets there is nobody's business.
var goldenLoose = map[string]bool{
	"lfm2": true, "lfm2_bidirectional": true, "llama": true, "mamba": true, "modernbert": true, "mrt5": true, "qwen2": true, "qwen3_causal": true,
}

// left checks which tokens a model that deletes kept, and lists the rows of the golden output for them.
func (c *goldenCase) left(t *testing.T, b *Batch) (rows []int) {
	var want []int32
	at := 0
	for i, kept := range c.Kept {
		for j, p := range kept {
			want = append(want, int32(at+p))
			rows = append(rows, i*len(c.IDs[i])+j)
		}
		at += b.Lens[i]
	}
	require.Equal(t, want, b.Kept, "case %s", c.Name)
	return rows
}

// keptDiff compares rows of got with the rows of a padded output that keep lists.
func keptDiff(got, want []float32, keep []int, h int) float64 {
	d := 0.0
	for i, r := range keep {
		d = max(d, maxDiff(got[i*h:(i+1)*h], want[r*h:(r+1)*h]))
	}
	return d
}

// prober is an encoder that shows its hidden states to tests.
type prober interface {
	setProbe(func(layer int, x []float32))
}

func (m *bert) setProbe(f func(layer int, x []float32))    { m.probe = f }
func (m *prenorm) setProbe(f func(layer int, x []float32)) { m.probe = f }

// TestGoldenLayers compares the hidden states of every layer, so that a fault shows where it arises.
func TestGoldenLayers(t *testing.T) {
	for _, name := range goldenNames(t) {
		dir := filepath.Join("testdata", name)
		c := goldenCases(t, dir)[0]
		if c.Hidden == "" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			enc, err := New(openBackbone(t, dir), nil)
			require.NoError(t, err)
			want := testdata.ReadNpy(t, filepath.Join(dir, c.Hidden))
			n := len(want.F32) / want.Shape[0]
			h := enc.Shape().Hidden
			b, keep := c.pack()
			b.Languages = c.languages(t, enc)
			seen, worst := 0, 0.0
			enc.(prober).setProbe(func(layer int, x []float32) {
				d := keptDiff(x, want.F32[layer*n:(layer+1)*n], keep, h)
				require.Less(t, d, 1e-4, "layer %d", layer)
				worst = max(worst, d)
				seen++
			})
			require.NoError(t, enc.Forward(context.Background(), b, make([]float32, len(b.IDs)*h)))
			require.Equal(t, want.Shape[0], seen)
			t.Logf("%s, %d layers: largest difference %.3g", name, seen-1, worst)
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
