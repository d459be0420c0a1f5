package transformer

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/testdata"
)

// TestGoldenXMODFlags compares every combination of XMOD's flags.
func TestGoldenXMODFlags(t *testing.T) {
	dir := filepath.Join("testdata", "xmod_flags")
	raw, err := os.ReadFile(filepath.Join(dir, "flags.json"))
	require.NoError(t, err)
	var g struct {
		IDs   [][]int32 `json:"input_ids"`
		Langs []int     `json:"lang_ids"`
		Cases []struct {
			Config json.RawMessage
			Output []float32
		}
	}
	require.NoError(t, json.Unmarshal(raw, &g))
	require.Len(t, g.Cases, 16)
	ts, err := checkpoint.OpenSafeTensors(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	defer ts.Close()
	b := &Batch{Languages: g.Langs}
	for _, ids := range g.IDs {
		b.IDs, b.Lens = append(b.IDs, ids...), append(b.Lens, len(ids))
	}
	worst := 0.0
	for _, c := range g.Cases {
		config, err := checkpoint.ParseConfig("config.json", c.Config)
		require.NoError(t, err)
		enc, err := New(&checkpoint.Checkpoint{Config: config, Tensors: ts}, nil)
		require.NoError(t, err)
		d := maxDiff(run(t, enc, b), c.Output)
		require.Less(t, d, 1e-4, "%s", c.Config)
		worst = max(worst, d)
	}
	t.Logf("xmod, %d combinations of flags: largest difference %.3g", len(g.Cases), worst)
}

// TestGoldenXMODLanguages compares all 81 languages of the published models, in one mixed batch and one by one.
func TestGoldenXMODLanguages(t *testing.T) {
	dir := filepath.Join("testdata", "xmod_languages")
	raw, err := os.ReadFile(filepath.Join(dir, "ids.json"))
	require.NoError(t, err)
	var ids []int32
	require.NoError(t, json.Unmarshal(raw, &ids))
	want := testdata.ReadNpy(t, filepath.Join(dir, "outputs.npy")).F32
	enc, err := New(openBackbone(t, dir), nil)
	require.NoError(t, err)
	languages := enc.(Multilingual).Languages()
	require.Len(t, languages, 81)
	n := len(ids) * enc.Shape().Hidden
	mixed := &Batch{}
	for i := range languages {
		k := (i * 37) % len(languages) // any order
		mixed.IDs, mixed.Lens, mixed.Languages = append(mixed.IDs, ids...), append(mixed.Lens, len(ids)), append(mixed.Languages, k)
	}
	all := run(t, enc, mixed)
	for i, k := range mixed.Languages {
		single := run(t, enc, &Batch{IDs: ids, Lens: []int{len(ids)}, Languages: []int{k}})
		d := maxDiff(single, want[k*n:(k+1)*n])
		t.Logf("xmod, %s: largest difference %.3g", languages[k], d)
		require.Less(t, d, 1e-4, languages[k])
		require.Equal(t, single, all[i*n:(i+1)*n], languages[k])
	}
	// Without a language: config.json's default_language, the first.
	require.Equal(t, 0, enc.(Multilingual).DefaultLanguage())
	require.Less(t, maxDiff(run(t, enc, &Batch{IDs: ids, Lens: []int{len(ids)}}), want[:n]), 1e-4)
}

// counting is a checkpoint that notes which tensors' data are handed out.
type counting struct {
	checkpoint.Tensors
	hide func(name string) bool
	also []string // languages of which there is a name
	mu   sync.Mutex
	seen map[string]int
}

func (c *counting) Tensor(name string) (checkpoint.Tensor, bool) {
	t, ok := c.Tensors.Tensor(name)
	if ok && c.hide != nil && c.hide(name) {
		return checkpoint.Tensor{}, false
	}
	c.mu.Lock()
	c.seen[name]++
	c.mu.Unlock()
	return t, ok
}

func (c *counting) Names() []string {
	names := slices.DeleteFunc(slices.Clone(c.Tensors.Names()), func(n string) bool { return c.hide != nil && c.hide(n) })
	for _, l := range c.also {
		names = append(names, adapterName(0, l)+"dense1.bias")
	}
	return names
}

func openXMOD(t *testing.T, change func(config map[string]any)) (*checkpoint.Checkpoint, *counting) {
	c := openBackbone(t, filepath.Join("testdata", "xmod"))
	var m map[string]any
	require.NoError(t, json.Unmarshal(c.Config.Raw, &m))
	if change != nil {
		change(m)
	}
	raw, err := json.Marshal(m)
	require.NoError(t, err)
	c.Config, err = checkpoint.ParseConfig("config.json", raw)
	require.NoError(t, err)
	count := &counting{Tensors: c.Tensors, seen: map[string]int{}}
	c.Tensors = count
	return c, count
}

// TestAdaptersAreLazy checks that a language is packed at its first use, once, by whichever of many calls is first.
func TestAdaptersAreLazy(t *testing.T) {
	c, count := openXMOD(t, nil)
	enc, err := New(c, nil)
	require.NoError(t, err)
	x := enc.(*xmod)
	opened := maps.Clone(count.seen)
	for _, l := range x.adapters.languages {
		require.Nil(t, l.layers, l.name)
	}
	b := randomBatch(300, 5, 9, 3, 7)
	b.Languages = []int{1, 1, 2, 1}
	var wg sync.WaitGroup
	outs := make([][]float32, 8)
	for i := range outs {
		wg.Go(func() {
			outs[i] = make([]float32, len(b.IDs)*64)
			if err := enc.Forward(context.Background(), b, outs[i]); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, o := range outs {
		require.Equal(t, outs[0], o)
	}
	for name, n := range count.seen {
		again := n - opened[name]
		used := strings.Contains(name, ".fr_XX.") || strings.Contains(name, ".ja_XX.")
		require.Equal(t, map[bool]int{true: 1}[used], again, name)
	}
	require.Nil(t, x.adapters.languages[0].layers)
	require.NotNil(t, x.adapters.languages[1].layers)
	require.NoError(t, x.LoadLanguage(3))
	require.NotNil(t, x.adapters.languages[3].layers)
	require.ErrorIs(t, x.LoadLanguage(4), ErrBatch)

	// The weights that count are those of one language.
	n := int64(0)
	for _, name := range c.Tensors.Names() {
		if x, _ := c.Tensors.Tensor(name); !strings.Contains(name, "adapter_modules") || strings.Contains(name, ".fr_XX.") {
			n += int64(x.Len())
		}
	}
	require.Equal(t, n, enc.Shape().Parameters)
}

// TestXMODPositions checks the limit: of 66 positions two stand before the first token.
func TestXMODPositions(t *testing.T) {
	c, _ := openXMOD(t, nil)
	enc, err := New(c, nil)
	require.NoError(t, err)
	require.Equal(t, 64, enc.Shape().MaxTokens)
	require.Len(t, run(t, enc, randomBatch(300, 64)), 64*64)
	require.ErrorContains(t, enc.Forward(context.Background(), randomBatch(300, 65), make([]float32, 65*64)), "the model takes 64")
}

// TestNoTokenTypes checks that XLM-R without token types is XLM-R with a row of zeros.
func TestNoTokenTypes(t *testing.T) {
	c, count := openXMOD(t, nil)
	count.hide = func(n string) bool { return n == "embeddings.token_type_embeddings.weight" }
	enc, err := New(c, nil)
	require.NoError(t, err)
	got := run(t, enc, randomBatch(300, 7))
	zero, _ := openXMOD(t, nil)
	enc, err = New(zero, nil)
	require.NoError(t, err)
	clear(enc.(*xmod).types)
	require.Equal(t, run(t, enc, randomBatch(300, 7)), got)
}

func TestXMODFaults(t *testing.T) {
	many := make([]string, maxLanguages+1)
	for i := range many {
		many[i] = fmt.Sprint("l", i)
	}
	for name, tc := range map[string]struct {
		change  func(map[string]any)
		hide    func(string) bool
		err     error
		message string
	}{
		"no reduction":       {change: func(c map[string]any) { c["adapter_reduction_factor"] = 0 }, err: ErrUnsupported, message: "adapter_reduction_factor 0"},
		"huge reduction":     {change: func(c map[string]any) { c["adapter_reduction_factor"] = 1 << 40 }, err: ErrUnsupported, message: "adapter_reduction_factor 1099511627776"},
		"fraction":           {change: func(c map[string]any) { c["adapter_reduction_factor"] = .5 }, err: ErrUnsupported, message: "adapter_reduction_factor"},
		"other size":         {change: func(c map[string]any) { c["adapter_reduction_factor"] = 4 }, err: ErrWeights, message: "en_XX.dense1.weight has shape [32 64], want [16 64]"},
		"no languages":       {change: func(c map[string]any) { c["languages"] = []string{} }, err: ErrUnsupported, message: "0 languages"},
		"many languages":     {change: func(c map[string]any) { c["languages"] = many }, err: ErrUnsupported, message: "4097 languages"},
		"twice":              {change: func(c map[string]any) { c["languages"] = []string{"en_XX", "en_XX"} }, err: ErrUnsupported, message: `"en_XX"`},
		"long name":          {change: func(c map[string]any) { c["languages"] = []string{strings.Repeat("x", 1000)} }, err: ErrUnsupported, message: `"xxx`},
		"dots":               {change: func(c map[string]any) { c["languages"] = []string{"en_XX.dense1"} }, err: ErrUnsupported, message: `"en_XX.dense1"`},
		"unknown default":    {change: func(c map[string]any) { c["default_language"] = "de_DE" }, err: ErrUnsupported, message: `default_language "de_DE"`},
		"missing default":    {hide: func(n string) bool { return strings.Contains(n, "en_XX") }, err: ErrWeights, message: "encoder.layer.0.output.adapter_modules.en_XX.dense1.weight is missing"},
		"part of an adapter": {hide: func(n string) bool { return strings.HasSuffix(n, "1.output.adapter_modules.fr_XX.dense2.bias") }, err: ErrWeights, message: "encoder.layer.1.output.adapter_modules.fr_XX.dense2.bias is missing"},
		"none": {change: func(c map[string]any) { delete(c, "default_language") }, hide: func(n string) bool { return strings.Contains(n, "adapter_modules") },
			err: ErrWeights, message: "the adapters of all 4 languages"},
		"own norm": {change: func(c map[string]any) { c["adapter_layer_norm"] = true }, err: ErrWeights, message: "encoder.layer.0.output.adapter_layer_norm.weight is missing"},
		"end norm": {change: func(c map[string]any) { c["pre_norm"] = true }, err: ErrWeights, message: "encoder.LayerNorm.weight is missing"},
		"padding":  {change: func(c map[string]any) { c["pad_token_id"] = 65 }, err: ErrUnsupported, message: "padding token 65 and 66 positions"},
	} {
		t.Run(name, func(t *testing.T) {
			c, count := openXMOD(t, tc.change)
			count.hide = tc.hide
			_, err := New(c, nil)
			require.ErrorIs(t, err, tc.err)
			require.ErrorContains(t, err, tc.message)
		})
	}

	t.Run("many faults", func(t *testing.T) {
		// Each of many languages has one tensor, each of many layers lacks the others.
		c, count := openXMOD(t, func(c map[string]any) {
			c["languages"], c["num_hidden_layers"] = many[1:], maxLayers
			delete(c, "default_language")
		})
		count.also = many
		start := time.Now()
		_, err := New(c, nil)
		require.ErrorIs(t, err, ErrWeights)
		require.ErrorContains(t, err, "more")
		require.Less(t, len(err.Error()), 2000)
		require.Less(t, time.Since(start), 20*time.Second)
	})

	t.Run("batches", func(t *testing.T) {
		// A checkpoint without French, and without a default.
		c, count := openXMOD(t, func(c map[string]any) { c["default_language"] = nil })
		count.hide = func(n string) bool { return strings.Contains(n, ".fr_XX.") }
		enc, err := New(c, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"en_XX", "", "ja_XX", "sw_KE"}, enc.(Multilingual).Languages())
		b := randomBatch(300, 4, 2)
		out := make([]float32, 6*64)
		for message, languages := range map[string][]int{
			"has no language, and the checkpoint has no default_language": nil,
			"1 languages for 2 sequences":                                 {0},
			"sequence 1 has language number 4":                            {0, 4},
			"sequence 0 has language number -1":                           {-1, 0},
			"language fr_XX, whose adapters are not in the checkpoint":    {2, 1},
		} {
			b.Languages = languages
			err := enc.Forward(context.Background(), b, out)
			require.ErrorIs(t, err, ErrBatch)
			require.ErrorContains(t, err, message)
		}
		require.ErrorIs(t, enc.(Multilingual).LoadLanguage(1), ErrBatch)
		b.Languages = []int{2, 3}
		require.NoError(t, enc.Forward(context.Background(), b, out))
	})
}

// TestXMODBlocks checks that languages change at the right rows when a batch is longer than a block.
func TestXMODBlocks(t *testing.T) {
	c, _ := openXMOD(t, nil)
	enc, err := New(c, nil)
	require.NoError(t, err)
	lens := []int{60, 64, 10, 1, 63, 64, 50, 64, 2}
	b := randomBatch(300, lens...)
	for i := range lens {
		b.Languages = append(b.Languages, (i*i)%4)
	}
	all := run(t, enc, b)
	at := 0
	for i, n := range lens {
		one := run(t, enc, &Batch{IDs: b.IDs[at : at+n], Lens: []int{n}, Languages: b.Languages[i : i+1]})
		require.True(t, slices.Equal(one, all[at*64:(at+n)*64]), "sequence %d", i)
		at += n
	}
}
