package train

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/delta"
)

// randomTexts makes n token sequences of up to most tokens for a model.
func randomTexts(m *Model, r *rand.Rand, n, most int) *Sequences {
	s := &Sequences{Offsets: []int{0}}
	for range n {
		k := 1 + r.IntN(most)
		for range k {
			s.IDs, s.Keep = append(s.IDs, int32(4+r.IntN(m.net.vocab-4))), append(s.Keep, r.IntN(4) > 0)
		}
		s.Keep[len(s.Keep)-1-r.IntN(k)] = true
		s.Offsets, s.Attended = append(s.Offsets, len(s.IDs)), append(s.Attended, 1+r.IntN(k))
		if m.texts.LanguageParts() != nil {
			s.Parts = append(s.Parts, r.IntN(2))
		}
	}
	return s
}

func mean(_ *gorgonia.ExprGraph, s *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Mean(s) }

func allGrads(m *Model) (out []float32) {
	for _, p := range m.Params() {
		out = append(out, p.Grad...)
	}
	return out
}

// TestWorkersChangeNothing: gradients are equal in every bit, whatever the number of goroutines, and again.
func TestWorkersChangeNothing(t *testing.T) {
	for _, precision := range []encoder.Precision{encoder.Float32, encoder.BFloat16} {
		var want []float32
		for _, workers := range []int{1, 2, 3, 8, 2} {
			m := openTiny(t, "stanford_xmod", &ModelOptions{Workers: workers, Precision: precision, Languages: []string{"de_DE", "en_XX"}})
			r := rand.New(rand.NewPCG(5, 5))
			q, d := randomTexts(m, r, 20, 40), randomTexts(m, r, 30, 90)
			for range 2 {
				_, err := m.Backward(context.Background(), q, d, mean, 0.3)
				require.NoError(t, err)
			}
			got := allGrads(m)
			if want == nil {
				want = got
			}
			require.Equal(t, want, got, "%d workers", workers)
		}
	}
}

// TestBFloat16 bounds what rounding does to gradients: the cosine with the exact ones is near 1, and so is the ratio of
// lengths. GOLBERT_TRAIN_MODEL may name a checkpoint to do the same with.
func TestBFloat16(t *testing.T) {
	dirs := []string{"../testdata/layouts/stanford_xmod"}
	if dir := os.Getenv("GOLBERT_TRAIN_MODEL"); dir != "" {
		dirs = append(dirs, dir)
	}
	for _, dir := range dirs {
		grads := map[encoder.Precision][]float32{}
		for _, p := range []encoder.Precision{encoder.Float32, encoder.BFloat16} {
			m, err := OpenModel(dir, &ModelOptions{Precision: p})
			require.NoError(t, err)
			defer m.Close()
			r := rand.New(rand.NewPCG(6, 5))
			q, d := randomTexts(m, r, 8, 20), randomTexts(m, r, 8, 50)
			c := normals(r, 64)
			_, err = m.Backward(context.Background(), q, d, weightedTanh(c), 1)
			require.NoError(t, err)
			grads[p] = allGrads(m)
		}
		var dot, a, b float64
		for i, x := range grads[encoder.Float32] {
			y := float64(grads[encoder.BFloat16][i])
			dot, a, b = dot+float64(x)*y, a+float64(x)*float64(x), b+y*y
		}
		t.Logf("%s: cosine %.5f, ratio of lengths %.4f", filepath.Base(dir), dot/math.Sqrt(a*b), math.Sqrt(b/a))
		require.Greater(t, dot/math.Sqrt(a*b), 0.98)
		require.InDelta(t, 1, math.Sqrt(b/a), 0.05)
	}
}

// TestAdaptersAlone trains the adapters of one language the checkpoint has and of one that it lacks: nothing else changes
// by a bit, in memory, in the saved checkpoint, or in other languages' vectors.
func TestAdaptersAlone(t *testing.T) {
	ctx := context.Background()
	const dir = "../testdata/layouts/stanford_xmod"
	for _, language := range []string{"de_DE", "sw_KE"} {
		m, err := OpenModel(dir, &ModelOptions{Part: AdaptersOnly, Languages: []string{language}, Seed: 3})
		require.NoError(t, err)
		defer m.Close()
		langs := slices.Repeat([]string{language}, len(testQueries))
		q, err := m.Sequences(ctx, testQueries, true, langs)
		require.NoError(t, err)
		d, err := m.Sequences(ctx, testDocuments, false, append(langs, language)[:len(testDocuments)])
		require.NoError(t, err)
		first, err := m.Scores(ctx, q, d)
		require.NoError(t, err)
		var before, after float32
		for i := range 10 {
			if after, err = m.Backward(ctx, q, d, mean, 1); i == 0 {
				before = after
			}
			require.NoError(t, err)
			for _, p := range m.Params() {
				require.Contains(t, p.Name, ".adapter_modules."+language+".")
				for j, g := range p.Grad {
					p.Value[j] += 0.1 * g // upwards
				}
				clear(p.Grad)
			}
		}
		require.Greater(t, after, before)
		last, err := m.Scores(ctx, q, d)
		require.NoError(t, err)
		require.NotEqual(t, first, last)

		out := filepath.Join(t.TempDir(), "saved")
		require.NoError(t, m.Save(out))
		was, err := checkpoint.Open(dir)
		require.NoError(t, err)
		defer was.Close()
		now, err := checkpoint.Open(out)
		require.NoError(t, err)
		defer now.Close()
		for _, n := range was.Tensors.Names() {
			if strings.Contains(n, "."+language+".") {
				continue
			}
			x, _ := was.Tensors.Tensor(n)
			y, ok := now.Tensors.Tensor(n)
			require.True(t, ok, n)
			require.Equal(t, x.Data, y.Data, n)
		}
		require.Equal(t, was.Head, now.Head)

		// The saved model, and the pack over the base, give the trained scores; other languages' vectors are what they were.
		pack := filepath.Join(t.TempDir(), "pack")
		require.NoError(t, m.SaveDelta(pack, nil))
		base, err := checkpoint.Open(dir)
		require.NoError(t, err)
		require.NoError(t, delta.Apply(base, pack))
		over, err := encoder.New(base, nil)
		require.NoError(t, err)
		defer over.Close()
		saved, err := encoder.Open(out, nil)
		require.NoError(t, err)
		defer saved.Close()
		plain, err := encoder.Open(dir, nil)
		require.NoError(t, err)
		defer plain.Close()
		for _, e := range []*encoder.Model{saved, over} {
			require.InDeltaSlice(t, last, scoresOf(t, e, language), 1e-4)
			for _, other := range []string{"en_XX", "tr_TR", "zh_TW"} {
				x, err := plain.EncodeDocuments(ctx, testDocuments, &encoder.TextOptions{Language: other})
				require.NoError(t, err)
				y, err := e.EncodeDocuments(ctx, testDocuments, &encoder.TextOptions{Language: other})
				require.NoError(t, err)
				require.Equal(t, x, y, "%s after training %s", other, language)
			}
		}
	}
}

func scoresOf(t *testing.T, e *encoder.Model, language string) (out []float32) {
	o := &encoder.TextOptions{Language: language}
	q, err := e.EncodeQueries(context.Background(), testQueries, o)
	require.NoError(t, err)
	d, err := e.EncodeDocuments(context.Background(), testDocuments, o)
	require.NoError(t, err)
	for _, x := range q {
		for _, y := range d {
			s, err := e.Score(x, y)
			require.NoError(t, err)
			out = append(out, s)
		}
	}
	return out
}

// TestLikeLanguage: a new language begins as the one that it is to be like.
func TestLikeLanguage(t *testing.T) {
	const dir = "../testdata/layouts/stanford_xmod"
	m, err := OpenModel(dir, &ModelOptions{Part: AdaptersOnly, Languages: []string{"sw_KE"}, LikeLanguage: "tr"})
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "saved")
	require.NoError(t, m.Save(out))
	require.NoError(t, m.Close())
	e, err := encoder.Open(out, nil)
	require.NoError(t, err)
	defer e.Close()
	require.Equal(t, scoresOf(t, e, "tr"), scoresOf(t, e, "sw"))
	_, err = OpenModel(dir, &ModelOptions{Part: AdaptersOnly, Languages: []string{"sw_KE"}, LikeLanguage: "xx"})
	require.ErrorIs(t, err, ErrOptions)
}

// TestHeadOnly: gradients of the head alone are those of the whole model.
func TestHeadOnly(t *testing.T) {
	ctx := context.Background()
	for _, name := range []string{"stanford_bert", "stanford_xmod", "pylate_mlp"} {
		whole, head := openTiny(t, name, nil), openTiny(t, name, &ModelOptions{Part: HeadOnly})
		r := rand.New(rand.NewPCG(7, 7))
		q, d := randomTexts(whole, r, 4, 9), randomTexts(whole, r, 6, 20)
		for _, m := range []*Model{whole, head} {
			_, err := m.Backward(ctx, q, d, mean, 1)
			require.NoError(t, err)
		}
		n := 0
		for _, p := range head.Params() {
			for _, w := range whole.Params() {
				if w.Name == p.Name {
					requireClose(t, w.Grad, p.Grad, 1e-4, p.Name)
					n++
				}
			}
		}
		require.Equal(t, len(head.Params()), n)
		require.Greater(t, n, 0)
	}
}

func TestFreeze(t *testing.T) {
	m := openTiny(t, "stanford_bert", &ModelOptions{Freeze: []string{"embeddings.", "encoder.layer.0.attention", "head."}})
	require.NotEmpty(t, m.Params())
	for _, p := range m.Params() {
		require.Contains(t, p.Name, "encoder.layer.0.")
		require.NotContains(t, p.Name, "attention")
		require.Equal(t, len(p.Shape) == 2, p.Decay, p.Name)
	}
	r := rand.New(rand.NewPCG(8, 7))
	q, d := randomTexts(m, r, 4, 9), randomTexts(m, r, 6, 20)
	_, err := m.Backward(context.Background(), q, d, mean, 1)
	require.NoError(t, err)
	whole := openTiny(t, "stanford_bert", nil)
	_, err = whole.Backward(context.Background(), q, d, mean, 1)
	require.NoError(t, err)
	for _, p := range m.Params() {
		i := slices.IndexFunc(whole.Params(), func(w *Param) bool { return w.Name == p.Name })
		require.Equal(t, whole.Params()[i].Grad, p.Grad, p.Name)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	const layouts = "../testdata/layouts/"
	for name, o := range map[string]*ModelOptions{
		"stanford_bert":             {Languages: []string{"de_DE"}},
		"stanford_bert/1":           {Workers: -1},
		"stanford_bert/2":           {Part: 9},
		"stanford_bert/3":           {Precision: encoder.Int8},
		"stanford_bert/4":           {Freeze: []string{"encoder.layr"}},
		"stanford_bert/5":           {Freeze: []string{""}},
		"stanford_bert/6":           {Part: AdaptersOnly},
		"stanford_bert/7":           {Freeze: []string{"embeddings", "encoder", "head"}},
		"stanford_bert/8":           {Texts: &encoder.Options{Dim: 2}},
		"stanford_xmod":             {Part: AdaptersOnly},
		"stanford_xmod/1":           {Part: HeadOnly, Languages: []string{"de_DE"}},
		"stanford_xmod/5":           {LikeLanguage: "de_DE"},
		"stanford_xmod/2":           {Languages: []string{"not a language"}},
		"stanford_xmod/3":           {Languages: []string{"de_DE", "de"}},
		"stanford_xmod/4":           {Languages: []string{"a.b"}},
		"native_none/none such key": {Freeze: []string{"head.7"}},
	} {
		dir, _, _ := strings.Cut(name, "/")
		_, err := OpenModel(layouts+dir, o)
		require.ErrorIs(t, err, ErrOptions, name)
	}
	_, err := OpenModel(layouts+"pylate_modernbert", nil)
	require.ErrorIs(t, err, ErrUnsupported)
	_, err = OpenModel(layouts+"none", nil)
	require.ErrorIs(t, err, checkpoint.ErrNotFound)
}

// TestHostileConfigurations: sizes that the tensors do not have are refused before anything is made by them.
func TestHostileConfigurations(t *testing.T) {
	const from = "../testdata/layouts/stanford_xmod"
	for _, change := range []map[string]any{
		{"adapter_reduction_factor": 0}, {"adapter_reduction_factor": -1}, {"adapter_reduction_factor": 1 << 40}, {"hidden_size": 1 << 30}, {"num_hidden_layers": 1 << 30},
		{"num_attention_heads": 0}, {"num_attention_heads": 5}, {"languages": []string{}}, {"languages": []string{"a.b"}}, {"hidden_act": "relu"},
	} {
		dir := t.TempDir()
		require.NoError(t, os.CopyFS(dir, os.DirFS(from)))
		path := filepath.Join(dir, "config.json")
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		config := map[string]any{}
		require.NoError(t, json.Unmarshal(b, &config))
		maps.Copy(config, change)
		b, err = json.Marshal(config)
		require.NoError(t, err)
		require.NoError(t, os.Remove(path))
		require.NoError(t, os.WriteFile(path, b, 0o644))
		for _, o := range []*ModelOptions{{Languages: []string{"sw_KE"}}, {Languages: []string{"sw_KE"}, LikeLanguage: "tr_TR"}, {}} {
			_, err = OpenModel(dir, o)
			require.Error(t, err, "%v", change)
		}
	}
}

func TestBatchesAreChecked(t *testing.T) {
	ctx := context.Background()
	m := openTiny(t, "stanford_bert", nil)
	good := func() *Sequences {
		return &Sequences{IDs: []int32{5, 6, 7}, Offsets: []int{0, 1, 3}, Attended: []int{1, 2}, Keep: []bool{true, false, true}}
	}
	_, err := m.Scores(ctx, good(), good())
	require.NoError(t, err)
	for name, spoil := range map[string]func(s *Sequences){
		"a text without tokens": func(s *Sequences) { s.Offsets = []int{0, 0, 3} },
		"offsets that go back":  func(s *Sequences) { s.Offsets = []int{0, 4, 3} },
		"no texts":              func(s *Sequences) { *s = Sequences{Offsets: []int{0}} },
		"nothing at all":        func(s *Sequences) { *s = Sequences{} },
		"a token too large":     func(s *Sequences) { s.IDs[1] = int32(m.net.vocab) },
		"a negative token":      func(s *Sequences) { s.IDs[1] = -1 },
		"nothing kept":          func(s *Sequences) { s.Keep[0] = false },
		"nothing attended":      func(s *Sequences) { s.Attended[1] = 0 },
		"too much attended":     func(s *Sequences) { s.Attended[1] = 3 },
		"too few flags":         func(s *Sequences) { s.Keep = s.Keep[:2] },
		"too long": func(s *Sequences) {
			n := m.net.most + 1
			*s = Sequences{IDs: make([]int32, n), Offsets: []int{0, n}, Attended: []int{n}, Keep: slices.Repeat([]bool{true}, n)}
		},
	} {
		s := good()
		spoil(s)
		_, err := m.Scores(ctx, good(), s)
		require.ErrorIs(t, err, ErrBatch, name)
		_, err = m.Backward(ctx, s, good(), mean, 1)
		require.ErrorIs(t, err, ErrBatch, name)
	}
	_, err = m.Scores(ctx, nil, good())
	require.ErrorIs(t, err, ErrBatch)
	for _, part := range []Part{Whole, HeadOnly} {
		x := openTiny(t, "stanford_xmod", &ModelOptions{Part: part})
		s := good()
		s.Parts = []int{0, 1}
		_, err = x.Scores(ctx, s, s)
		require.NoError(t, err)
		_, err = x.Scores(ctx, s, good())
		require.ErrorIs(t, err, ErrBatch, "no languages")
		s.Parts = []int{0, 99}
		_, err = x.Scores(ctx, s, s)
		require.ErrorIs(t, err, ErrBatch, "unknown language")
	}

	over, cancel := context.WithCancel(ctx)
	cancel()
	_, err = m.Backward(over, good(), good(), mean, 1)
	require.ErrorIs(t, err, context.Canceled)
	fault := fmt.Errorf("no loss")
	_, err = m.Backward(ctx, good(), good(), func(*gorgonia.ExprGraph, *gorgonia.Node) (*gorgonia.Node, error) { return nil, fault }, 1)
	require.ErrorIs(t, err, fault)
	_, err = m.Backward(ctx, good(), good(), func(_ *gorgonia.ExprGraph, s *gorgonia.Node) (*gorgonia.Node, error) { return s, nil }, 1)
	require.ErrorContains(t, err, "not a scalar")
	m.Params()[0].Value[5*16] = float32(math.NaN())
	_, err = m.Backward(ctx, good(), good(), mean, 1)
	require.ErrorIs(t, err, ErrNotFinite)
	_, err = m.Scores(ctx, good(), good())
	require.ErrorIs(t, err, ErrNotFinite)
	require.NoError(t, m.Close())
	_, err = m.Scores(ctx, good(), good())
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, m.Save(filepath.Join(t.TempDir(), "x")), ErrClosed)
	require.ErrorIs(t, m.SaveDelta(filepath.Join(t.TempDir(), "x"), nil), ErrClosed)
}

// TestSave: what is saved encodes as the trained model scores.
func TestSave(t *testing.T) {
	ctx := context.Background()
	for _, name := range layouts {
		m := openTiny(t, name, nil)
		q, err := m.Sequences(ctx, testQueries, true, nil)
		require.NoError(t, err)
		d, err := m.Sequences(ctx, testDocuments, false, nil)
		require.NoError(t, err)
		_, err = m.Backward(ctx, q, d, mean, 1)
		require.NoError(t, err)
		for _, p := range m.Params() {
			for j, g := range p.Grad {
				p.Value[j] += 0.05 * g
			}
		}
		want, err := m.Scores(ctx, q, d)
		require.NoError(t, err)
		dir := filepath.Join(t.TempDir(), name)
		require.NoError(t, m.Save(dir))
		require.InDeltaSlice(t, want, encoded(t, dir), 3e-5, name)
		require.Error(t, m.Save(dir), "it is there already")
		_, err = os.Stat(dir)
		require.NoError(t, err)
	}
}

// TestParts: a batch in parts has the gradients of the whole.
func TestParts(t *testing.T) {
	var want []float32
	var loss float32
	for _, tokens := range []int{0, 1, 100, 300} {
		m := openTiny(t, "stanford_xmod", &ModelOptions{Languages: []string{"de_DE"}})
		r := rand.New(rand.NewPCG(9, 7))
		q, d := randomTexts(m, r, 12, 20), randomTexts(m, r, 20, 60)
		c := normals(r, 240)
		got, err := m.backward(context.Background(), q, d, weightedTanh(c), 0.7, tokens)
		require.NoError(t, err)
		if tokens == 0 {
			want, loss = allGrads(m), got
			continue
		}
		require.Equal(t, loss, got)
		requireClose(t, want, allGrads(m), 1e-5, fmt.Sprint(tokens))
	}
}
