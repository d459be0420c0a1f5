package delta

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
)

type obj = map[string]any

// base copies the tiny BERT of testdata into a new folder, with other tensors where given, and a tokenizer.
func base(t testing.TB, change func(name string, v []float32)) string {
	t.Helper()
	dir := t.TempDir()
	ts, err := checkpoint.OpenWeights("testdata/base")
	require.NoError(t, err)
	defer ts.Close()
	var out []checkpoint.Tensor
	for _, n := range ts.Names() {
		x, _ := ts.Tensor(n)
		v := x.Float32s(nil)
		if change != nil {
			change(n, v)
		}
		out = append(out, floats(n, v, x.Shape...))
	}
	out = append(out, floats("linear.weight", make([]float32, 24), 3, 8))
	if change != nil {
		change("linear.weight", nil)
		for i := range 24 {
			binary.LittleEndian.PutUint32(out[len(out)-1].Data[4*i:], math.Float32bits(float32(i)/8))
		}
	}
	writeTensors(t, filepath.Join(dir, "model.safetensors"), out)
	config, err := os.ReadFile("testdata/base/config.json")
	require.NoError(t, err)
	var j obj
	require.NoError(t, json.Unmarshal(config, &j))
	j["architectures"] = []string{"HF_ColBERT"}
	writeJSON(t, filepath.Join(dir, "config.json"), j)
	vocab := "[PAD]\n[unused0]\n[unused1]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n" + strings.Join(strings.Split("abcdefghijklmnopq", ""), "\n") + "\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vocab.txt"), []byte(vocab), 0o600))
	return dir
}

func floats(name string, v []float32, shape ...int) checkpoint.Tensor {
	return checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shape, Data: bytesOf(v)}
}

func ints(name string, v ...int32) checkpoint.Tensor {
	t := checkpoint.Tensor{Name: name, DType: checkpoint.I32, Shape: []int{len(v)}}
	for _, x := range v {
		t.Data = binary.LittleEndian.AppendUint32(t.Data, uint32(x))
	}
	return t
}

func int8s(name string, rows, cols int) checkpoint.Tensor {
	return checkpoint.Tensor{Name: name, DType: checkpoint.I8, Shape: []int{rows, cols}, Data: make([]byte, rows*cols)}
}

func writeTensors(t testing.TB, path string, ts []checkpoint.Tensor) {
	t.Helper()
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, checkpoint.WriteSafeTensors(f, ts, nil))
	require.NoError(t, f.Close())
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(path, b, 0o600))
}

// packOf writes a pack.
func packOf(t testing.TB, header obj, ts ...checkpoint.Tensor) string {
	t.Helper()
	dir := t.TempDir()
	h := obj{"format": "golbert.delta", "version": 1}
	for k, v := range header {
		h[k] = v
	}
	writeJSON(t, filepath.Join(dir, "delta.json"), h)
	writeTensors(t, filepath.Join(dir, "delta.safetensors"), ts)
	return dir
}

func open(t testing.TB, dir string) *checkpoint.Checkpoint {
	t.Helper()
	c, err := checkpoint.Open(dir)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

func values(t testing.TB, c *checkpoint.Checkpoint, name string) []float32 {
	t.Helper()
	x, ok := c.Tensors.Tensor(name)
	require.True(t, ok, name)
	return x.Float32s(nil)
}

const (
	query = "encoder.layer.0.attention.self.query.weight"
	gamma = "embeddings.LayerNorm.weight"
)

// TestGoldenPEFT compares with what PEFT 0.21 makes of the same adapters (encoder/scripts/golden/peft_lora.py).
func TestGoldenPEFT(t *testing.T) {
	for _, name := range []string{"lora", "rslora"} {
		c := open(t, base(t, nil))
		require.NoError(t, Apply(c, "testdata/"+name))
		want, err := checkpoint.OpenWeights("testdata/" + name + "_merged")
		require.NoError(t, err)
		defer want.Close()
		most := 0.0
		for _, n := range want.Names() {
			w, _ := want.Tensor(n)
			got := values(t, c, n)
			for i, v := range w.Float32s(nil) {
				most = max(most, math.Abs(float64(got[i]-v)))
			}
		}
		require.Less(t, most, 1e-5, name)
		t.Logf("%s: largest difference %.1e", name, most)
	}
}

func TestKinds(t *testing.T) {
	dir := base(t, nil)
	plain := open(t, dir)
	was, wasGamma := values(t, plain, query), values(t, plain, gamma)
	c := open(t, dir)
	r := 2
	a, b := make([]float32, r*8), make([]float32, 8*r)
	for i := range a {
		a[i], b[i] = float32(i), float32(i%3)-1
	}
	one := packOf(t, obj{"base": obj{"model_type": "bert"}, "scale": obj{query: 0.5}},
		ints(query+".idx", 0, 9, 63), floats(query+".val", []float32{1, 2, 3}, 3),
		floats(query+".lora_A", a, r, 8), floats(query+".lora_B", b, 8, r),
		floats(gamma+".add", slices.Repeat([]float32{0.25}, 8), 8),
		floats("head.0.weight.add", slices.Repeat([]float32{1}, 24), 3, 8),
		floats("new.thing.set", []float32{7}, 1))
	two := packOf(t, nil, floats("new.thing.add", []float32{1}, 1), floats("linear.weight.add", slices.Repeat([]float32{2}, 24), 3, 8),
		floats("embeddings.LayerNorm.bias.set", slices.Repeat([]float32{5}, 8), 8))
	require.NoError(t, Apply(c, one, two))
	want := slices.Clone(was)
	want[0], want[9], want[63] = want[0]+1, want[9]+2, want[63]+3
	for i := range 8 {
		for j := range 8 {
			for k := range r {
				want[i*8+j] += 0.5 * b[i*r+k] * a[k*8+j]
			}
		}
	}
	require.InDeltaSlice(t, want, values(t, c, query), 1e-5)
	for i, v := range values(t, c, gamma) {
		require.Equal(t, wasGamma[i]+0.25, v)
	}
	require.Equal(t, []float32{8}, values(t, c, "new.thing"))
	require.Equal(t, slices.Repeat([]float32{5}, 8), values(t, c, "embeddings.LayerNorm.bias"))
	require.Equal(t, float32(3), c.Head[0].Weight[0])
	require.Equal(t, float32(0), plain.Head[0].Weight[0], "the other checkpoint is as it was")
	require.Contains(t, c.Tensors.Names(), "new.thing")
	require.Equal(t, was, values(t, plain, query))
	x, _ := c.Tensors.Tensor("encoder.layer.0.attention.self.key.weight")
	y, _ := plain.Tensors.Tensor("encoder.layer.0.attention.self.key.weight")
	require.Equal(t, y.DType, x.DType)
	require.Equal(t, y.Data, x.Data)

	// One after the other is the same as both at once.
	d := open(t, dir)
	require.NoError(t, Apply(d, one))
	require.NoError(t, Apply(d, two))
	require.Equal(t, values(t, c, query), values(t, d, query))
	require.Equal(t, []float32{8}, values(t, d, "new.thing"))
	require.Equal(t, c.Head, d.Head)

	// Packed weights of the base leave the memory with packs over it, too.
	below := &released{Tensors: plain.Tensors}
	plain.Tensors = below
	require.NoError(t, Apply(plain, one))
	plain.Tensors.(*overlay).Release(y)
	require.Equal(t, 1, below.n)
}

// released counts the tensors that are given back.
type released struct {
	checkpoint.Tensors
	n int
}

func (r *released) Release(checkpoint.Tensor) { r.n++ }

func TestPackErrors(t *testing.T) {
	dir := base(t, nil)
	for text, tc := range map[string]struct {
		pack string
		want error
	}{
		"neither delta.json":            {t.TempDir(), ErrFormat},
		"version 2":                     {packOf(t, obj{"version": 2}), ErrFormat},
		`format "x"`:                    {packOf(t, obj{"format": "x"}), ErrFormat},
		"does not end in":               {packOf(t, nil, floats(query+".mul", nil, 0)), ErrFormat},
		"idx without val":               {packOf(t, nil, ints(query+".idx", 1)), ErrFormat},
		"lora_A without lora_B":         {packOf(t, nil, floats(query+".lora_A", make([]float32, 8), 1, 8)), ErrFormat},
		"set beside":                    {packOf(t, nil, floats(query+".set", make([]float32, 64), 8, 8), floats(query+".add", make([]float32, 64), 8, 8)), ErrFormat},
		"which has no lora_A":           {packOf(t, obj{"scale": obj{query: 2}}), ErrFormat},
		"idx is F32":                    {packOf(t, nil, floats(query+".idx", []float32{1}, 1), floats(query+".val", []float32{1}, 1)), ErrFormat},
		"val has shape [2]":             {packOf(t, nil, ints(query+".idx", 1), floats(query+".val", []float32{1, 2}, 2)), ErrFormat},
		"add is I32":                    {packOf(t, nil, ints(gamma+".add", 1, 2, 3, 4, 5, 6, 7, 8)), ErrFormat},
		"lora_A of shape [2 8]":         {packOf(t, nil, floats(query+".lora_A", make([]float32, 16), 2, 8), floats(query+".lora_B", make([]float32, 8), 8, 1)), ErrFormat},
		`for "t5"`:                      {packOf(t, obj{"base": obj{"model_type": "t5"}}), ErrBase},
		"fingerprint":                   {packOf(t, obj{"base": obj{"fingerprint": "00"}}), ErrBase},
		`no tensor "absent"`:            {packOf(t, nil, floats("absent.add", []float32{1}, 1)), ErrBase},
		"has 64 after -1":               {packOf(t, nil, ints(query+".idx", 64), floats(query+".val", []float32{1}, 1)), ErrBase},
		"has 3 after 3":                 {packOf(t, nil, ints(query+".idx", 3, 3), floats(query+".val", []float32{1, 2}, 2)), ErrBase},
		"has -1 after -1":               {packOf(t, nil, ints(query+".idx", -1), floats(query+".val", []float32{1}, 1)), ErrBase},
		"add of":                        {packOf(t, nil, floats(query+".add", make([]float32, 64), 64)), ErrBase},
		"set of":                        {packOf(t, nil, floats(query+".set", make([]float32, 8), 8)), ErrBase},
		"lora_B lora_A":                 {packOf(t, nil, floats(query+".lora_A", make([]float32, 9), 1, 9), floats(query+".lora_B", make([]float32, 8), 8, 1)), ErrBase},
		"the checkpoint has 1 projecti": {packOf(t, nil, floats("head.1.weight.add", make([]float32, 24), 3, 8)), ErrBase},
		"cannot be added":               {packOf(t, nil, floats("head.0.bias.set", make([]float32, 3), 3)), ErrBase},
		`languages of a "bert"`:         {packOf(t, obj{"languages": []string{"mt_MT"}}), ErrBase},
		`set of "head.0.weight" is I8`:  {packOf(t, nil, int8s("head.0.weight.set", 3, 8)), ErrUnsupported},
	} {
		c := open(t, dir)
		before := c.Tensors
		err := Apply(c, tc.pack)
		require.ErrorIs(t, err, tc.want, text)
		require.ErrorContains(t, err, text)
		require.Same(t, before, c.Tensors, "a pack that fails changes nothing")
	}
	// What counts is what an earlier pack has made of a tensor.
	err := Apply(open(t, dir), packOf(t, nil, int8s(query+".set", 8, 8)), packOf(t, nil, floats(query+".add", make([]float32, 64), 8, 8)))
	require.ErrorIs(t, err, ErrBase)
	require.ErrorContains(t, err, "is I8")
	peft := func(set obj, names ...string) string {
		d := t.TempDir()
		j := obj{"peft_type": "LORA", "r": 1, "lora_alpha": 1}
		for k, v := range set {
			j[k] = v
		}
		writeJSON(t, filepath.Join(d, "adapter_config.json"), j)
		var ts []checkpoint.Tensor
		for _, n := range names {
			ts = append(ts, floats(n, make([]float32, 8), 1, 8))
		}
		writeTensors(t, filepath.Join(d, "adapter_model.safetensors"), ts)
		return d
	}
	a := "base_model.model.encoder.layer.0.attention.self.query.lora_A.weight"
	for text, tc := range map[string]struct {
		pack string
		want error
	}{
		`peft_type "IA3"`:    {peft(obj{"peft_type": "IA3"}), ErrUnsupported},
		"use_dora":           {peft(obj{"use_dora": true}), ErrUnsupported},
		"layer_replication":  {peft(obj{"layer_replication": [][]int{{0, 1}}}), ErrUnsupported},
		"regular expression": {peft(obj{"rank_pattern": obj{".*query": 2}}, a), ErrUnsupported},
		"both":               {peft(obj{"rank_pattern": obj{"query": 2, "self.query": 3}}, a), ErrUnsupported},
		"r 0":                {peft(obj{"r": 0}, a), ErrFormat},
		"not of base_model":  {peft(nil, "encoder.x"), ErrFormat},
		"lora_magnitude":     {peft(nil, "base_model.model.x.lora_magnitude_vector"), ErrUnsupported},
		"no tensor for":      {peft(nil, "base_model.model.absent.lora_A.weight"), ErrBase},
		"lora_A without":     {peft(nil, a), ErrFormat},
	} {
		c := open(t, dir)
		err := Apply(c, tc.pack)
		require.ErrorIs(t, err, tc.want, text)
		require.ErrorContains(t, err, text)
	}
}

func TestDiff(t *testing.T) {
	from := base(t, nil)
	to := base(t, func(name string, v []float32) {
		switch name {
		case query: // a few elements
			v[3] += 0.5
			v[60] -= 2
		case gamma: // all
			for i := range v {
				v[i] += float32(i) + 1
			}
		case "encoder.layer.0.output.dense.weight":
			for i := range v {
				v[i] += float32(i%7) / 16
			}
		}
	})
	a, b := open(t, from), open(t, to)
	dir := filepath.Join(t.TempDir(), "packs", "one")
	require.NoError(t, Diff(dir, a, b, nil))
	require.ErrorIs(t, Diff(dir, a, b, nil), fs.ErrExist)
	ts, err := checkpoint.OpenSafeTensors(filepath.Join(dir, "delta.safetensors"))
	require.NoError(t, err)
	names := slices.Sorted(slices.Values(ts.Names()))
	require.NoError(t, ts.Close())
	require.Equal(t, []string{gamma + ".add", query + ".idx", query + ".val", "encoder.layer.0.output.dense.weight.add", "head.0.weight.add"}, names)
	c := open(t, from)
	require.NoError(t, Apply(c, dir))
	for _, n := range b.Tensors.Names() {
		if n != "linear.weight" {
			require.InDeltaSlice(t, values(t, b, n), values(t, c, n), 1e-6, n)
		}
	}
	require.Equal(t, b.Head[0].Weight, c.Head[0].Weight)

	// Only for this base: the tuned one has another fingerprint.
	require.ErrorIs(t, Apply(open(t, to), dir), ErrBase)
	// The largest differences only, and only some tensors.
	dir += "-sparse"
	require.NoError(t, Diff(dir, a, b, &DiffOptions{Density: 1.0 / 64, NoFingerprint: true, Keep: func(k string) bool { return k == query }}))
	c = open(t, from)
	require.NoError(t, Apply(c, dir))
	want := values(t, a, query)
	want[60] -= 2
	require.InDeltaSlice(t, want, values(t, c, query), 1e-6)
	require.Equal(t, values(t, a, gamma), values(t, c, gamma))
	require.Error(t, Diff(dir+"x", a, b, &DiffOptions{Density: math.NaN()}))
	b.Config.ModelType = "roberta"
	require.ErrorIs(t, Diff(dir+"x", a, b, nil), ErrBase)
	left, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	require.Len(t, left, 2)
}

// FuzzPack: whatever a pack holds, it applies or is refused with a typed error.
func FuzzPack(f *testing.F) {
	seed := packOf(f, obj{"scale": obj{query: 0.5}}, ints(gamma+".idx", 0, 7), floats(gamma+".val", []float32{1, 2}, 2),
		floats(query+".lora_A", make([]float32, 16), 2, 8), floats(query+".lora_B", make([]float32, 16), 8, 2))
	for _, dir := range []string{seed} {
		h, err := os.ReadFile(filepath.Join(dir, "delta.json"))
		require.NoError(f, err)
		b, err := os.ReadFile(filepath.Join(dir, "delta.safetensors"))
		require.NoError(f, err)
		f.Add(h, b)
	}
	from, dir := base(f, nil), f.TempDir()
	f.Fuzz(func(t *testing.T, h, b []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "delta.json"), h, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "delta.safetensors"), b, 0o600))
		c, err := checkpoint.Open(from)
		require.NoError(t, err)
		defer c.Close()
		if err := Apply(c, dir); err != nil {
			for _, e := range []error{ErrFormat, ErrBase, ErrUnsupported, checkpoint.ErrCorrupt, checkpoint.ErrUnsupported} {
				if errors.Is(err, e) {
					return
				}
			}
			t.Fatalf("untyped error %v", err)
		}
		for _, n := range c.Tensors.Names() {
			x, ok := c.Tensors.Tensor(n)
			if !ok || x.Len()*x.DType.Size() != len(x.Data) {
				t.Fatalf("tensor %q is inconsistent", n)
			}
		}
	})
}
