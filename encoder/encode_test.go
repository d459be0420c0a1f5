package encoder

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/transformer"
)

var ctx = context.Background()

func open(t testing.TB, dir string, o *Options) *Model {
	t.Helper()
	m, err := Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// row is one expected token: its text in the vocabulary ("[Q] " for added ones), its id, and whether others
// attend to it and its vector is kept.
type row struct {
	token        string
	id           int32
	attend, keep bool
	special      bool
}

// rows builds expected tokens: words stand for themselves, a leading "-" drops the vector, a leading "~" takes
// the token out of attention.
func rows(t testing.TB, spec ...string) []row {
	var out []row
	for _, s := range spec {
		r := row{attend: true, keep: true}
		for len(s) > 1 && (s[0] == '-' || s[0] == '~') {
			if s[0] == '-' {
				r.keep = false
			} else {
				r.attend = false
			}
			s = s[1:]
		}
		switch s {
		case "[Q] ", "[D] ":
			r.id = int32(len(tinyVocab))
			if s == "[D] " {
				r.id++
			}
		default:
			r.id = id(t, s)
		}
		r.token = s
		r.special = len(s) > 1 && s[0] == '['
		out = append(out, r)
	}
	return out
}

// requireEncoded compares an encoded text with the reference computed from the expected tokens.
func requireEncoded(t *testing.T, m *tinyModel, heads []refHead, want []row, got Encoded) {
	t.Helper()
	var ids []int32
	var attend []bool
	for _, r := range want {
		ids, attend = append(ids, r.id), append(attend, r.attend)
	}
	hidden := m.forward(ids, attend)
	var kept []row
	var vectors [][]float64
	for i, r := range want {
		if !r.keep {
			continue
		}
		v := hidden[i]
		for _, h := range heads {
			v = h.apply(v)
		}
		kept, vectors = append(kept, r), append(vectors, refUnit(v))
	}
	var wantTokens, gotTokens []string
	for _, r := range kept {
		wantTokens = append(wantTokens, r.token)
	}
	for _, r := range got.Tokens {
		gotTokens = append(gotTokens, r.Text)
	}
	require.Equal(t, wantTokens, gotTokens)
	require.Equal(t, len(kept), got.Vectors.Rows)
	require.Equal(t, len(vectors[0]), got.Vectors.Dim)
	for i, r := range kept {
		require.Equal(t, r.id, got.Tokens[i].ID)
		require.Equal(t, r.special, got.Tokens[i].Special, "token %d %q", i, r.token)
		for j, v := range vectors[i] {
			require.InDelta(t, v, float64(got.Vectors.Row(i)[j]), 1e-5, "token %d %q, dimension %d", i, r.token, j)
		}
	}
}

func TestStanford(t *testing.T) {
	meta := map[string]any{"query_maxlen": 9, "doc_maxlen": 12, "dim": 8, "similarity": "cosine", "mask_punctuation": true,
		"attend_to_mask_tokens": false, "query_token_id": "[unused0]", "doc_token_id": "[unused1]", "query_token": "[Q]", "doc_token": "[D]"}
	dir, tiny, heads := stanfordDir(t, meta)
	m := open(t, dir, nil)
	require.Equal(t, 8, m.Dim())
	require.Equal(t, "stanford", m.Name())
	info := m.Info()
	require.Equal(t, Info{Name: "stanford", Architecture: "bert", Layout: "stanford", Layers: 2, Hidden: 24, Heads: 3, Dim: 8, Similarity: "cosine",
		Vocab: len(tinyVocab), Parameters: info.Parameters, QueryTokens: 9, DocTokens: 12, Expansion: true, Instructions: Float32.Instructions()}, info)
	n := 0
	for _, x := range tiny.tensors {
		n += len(x.data)
	}
	require.EqualValues(t, n+8*24, info.Parameters)

	t.Run("query", func(t *testing.T) {
		got, err := m.EncodeQuery(ctx, "Red sky?", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[unused0]", "red", "sky", "?", "[SEP]", "~[MASK]", "~[MASK]", "~[MASK]"), got)
		require.Equal(t, Token{ID: id(t, "sky"), Text: "sky", Start: 4, End: 7}, got.Tokens[3])
		require.False(t, got.Truncated)
	})
	t.Run("long query", func(t *testing.T) {
		got, err := m.EncodeQuery(ctx, "a b c a b c a b c", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[unused0]", "a", "b", "c", "a", "b", "c", "[SEP]"), got)
		require.True(t, got.Truncated)
	})
	t.Run("document", func(t *testing.T) {
		got, err := m.EncodeDocuments(ctx, []string{"red, green; blue!", "suns"}, nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[unused1]", "red", "-,", "green", "-;", "blue", "-!", "[SEP]"), got[0])
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[unused1]", "sun", "##s", "[SEP]"), got[1])
		require.Equal(t, Token{ID: id(t, "##s"), Text: "##s", Start: 3, End: 4}, got[1].Tokens[3])
	})
	t.Run("options", func(t *testing.T) {
		m := open(t, dir, &Options{Name: "x", AttendExpansion: On, Skiplist: Off, SpecialVectors: Off, MaxQueryTokens: 7, MaxDocTokens: 5})
		require.Equal(t, "x", m.Name())
		got, err := m.EncodeQuery(ctx, "red sky", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "-[CLS]", "-[unused0]", "red", "sky", "-[SEP]", "[MASK]", "[MASK]"), got)
		doc, err := m.EncodeDocuments(ctx, []string{"red, green"}, nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "-[CLS]", "-[unused1]", "red", ",", "-[SEP]"), doc[0])
		require.True(t, doc[0].Truncated)
	})
	t.Run("punctuation only", func(t *testing.T) {
		m := open(t, dir, &Options{SpecialVectors: Off})
		doc, err := m.EncodeDocuments(ctx, []string{"?!"}, nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[unused1]", "?", "!", "[SEP]"), doc[0])
	})
	t.Run("attend", func(t *testing.T) {
		meta["attend_to_mask_tokens"] = true
		dir, tiny, heads := stanfordDir(t, meta)
		got, err := open(t, dir, nil).EncodeQuery(ctx, "moon", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[unused0]", "moon", "[SEP]", "[MASK]", "[MASK]", "[MASK]", "[MASK]", "[MASK]"), got)
	})
}

func TestPyLate(t *testing.T) {
	settings := map[string]any{"model_type": "ColBERT", "query_prefix": "[Q] ", "document_prefix": "[D] ", "query_length": 8, "document_length": 10,
		"attend_to_expansion_tokens": false, "do_query_expansion": true, "skiplist_words": []string{"!", ","}, "similarity_fn_name": "MaxSim"}
	t.Run("expansion", func(t *testing.T) {
		dir, tiny, heads := pylateDir(t, settings, false)
		m := open(t, dir, nil)
		require.Equal(t, 6, m.Dim())
		got, err := m.EncodeQuery(ctx, "  blue sea ", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[Q] ", "blue", "sea", "[SEP]", "~[MASK]", "~[MASK]", "~[MASK]"), got)
		require.Equal(t, Token{ID: id(t, "blue"), Text: "blue", Start: 2, End: 6}, got.Tokens[2])
		doc, err := m.EncodeDocuments(ctx, []string{"blue, sea. sun!"}, nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[D] ", "blue", "-,", "sea", ".", "sun", "-!", "[SEP]"), doc[0])
	})
	t.Run("attend", func(t *testing.T) {
		settings["attend_to_expansion_tokens"] = true
		dir, tiny, heads := pylateDir(t, settings, false)
		got, err := open(t, dir, nil).EncodeQuery(ctx, "star", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[Q] ", "star", "[SEP]", "[MASK]", "[MASK]", "[MASK]", "[MASK]"), got)
	})
	t.Run("no expansion, lower case", func(t *testing.T) {
		settings["do_query_expansion"] = false
		dir, tiny, heads := pylateDir(t, settings, true)
		// İ grows by a byte when it is lower-cased: the offsets after it must not.
		got, err := open(t, dir, nil).EncodeQuery(ctx, "İ SUN", nil)
		require.NoError(t, err)
		requireEncoded(t, tiny, heads, rows(t, "[CLS]", "[Q] ", "[UNK]", "sun", "[SEP]"), fixUnknown(got))
		require.Equal(t, Token{ID: id(t, "sun"), Text: "sun", Start: 3, End: 6}, got.Tokens[3])
		require.Equal(t, [2]int{0, 2}, [2]int{got.Tokens[2].Start, got.Tokens[2].End})
	})
}

// fixUnknown marks [UNK] special as rows does.
func fixUnknown(e Encoded) Encoded {
	e.Tokens = append([]Token(nil), e.Tokens...)
	for i := range e.Tokens {
		e.Tokens[i].Special = e.Tokens[i].Special || e.Tokens[i].Text == "[UNK]"
	}
	return e
}

func TestPlain(t *testing.T) {
	dir, tiny := plainDir(t)
	m := open(t, dir, nil)
	require.Equal(t, tiny.hidden, m.Dim())
	require.False(t, m.Info().Expansion)
	got, err := m.EncodeQuery(ctx, "red sky", nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, rows(t, "[CLS]", "red", "sky", "[SEP]"), got)

	m = open(t, dir, &Options{Expansion: On, MaxQueryTokens: 6, Skiplist: On})
	got, err = m.EncodeQuery(ctx, "red sky", nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, rows(t, "[CLS]", "red", "sky", "[SEP]", "~[MASK]", "~[MASK]"), got)
	doc, err := m.EncodeDocuments(ctx, []string{"red ~ sky"}, nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, []row{rows(t, "[CLS]")[0], rows(t, "red")[0], {token: "~", id: id(t, "~"), attend: true}, rows(t, "sky")[0], rows(t, "[SEP]")[0]}, doc[0])
}

// TestBatches checks that the company a text is encoded in changes nothing: not its neighbours, not the
// number of workers, not the order.
func TestBatches(t *testing.T) {
	dir, _ := plainDir(t)
	words := strings.Fields("red green blue sky sea sun moon star suns a b c ?")
	var texts []string
	for i := range 300 {
		var s []string
		for j := range 1 + i*7%40 {
			s = append(s, words[(i+j*j)%len(words)])
		}
		texts = append(texts, strings.Join(s, " "))
	}
	one := open(t, dir, &Options{Workers: 1})
	var want []Encoded
	for _, x := range texts {
		e, err := one.EncodeDocuments(ctx, []string{x}, nil)
		require.NoError(t, err)
		want = append(want, e[0])
	}
	for _, workers := range []int{1, 2, 5} {
		var seen []int
		m, err := one.With(&Options{Workers: workers})
		require.NoError(t, err)
		got, err := m.EncodeDocuments(ctx, texts, &TextOptions{Progress: func(done, total int) {
			require.Equal(t, len(texts), total)
			seen = append(seen, done)
		}})
		require.NoError(t, err)
		require.Equal(t, want, got)
		require.IsIncreasing(t, append([]int{0}, seen...))
		require.Equal(t, len(texts), seen[len(seen)-1])
		require.NoError(t, m.Close())
	}
}

func TestBadTexts(t *testing.T) {
	dir, _ := plainDir(t)
	m := open(t, dir, nil)
	for _, tc := range []struct {
		name, text string
		want       error
		message    string
	}{
		{"empty", "", ErrEmptyText, "text is empty"},
		{"white space", " \t\n\u00a0\u3000", ErrEmptyText, "text is empty"},
		{"invalid UTF-8", "red \xff sky", ErrInvalidUTF8, "byte 0xff at offset 4"},
		{"cut UTF-8", "red \u20ac"[:6], ErrInvalidUTF8, "byte 0xe2 at offset 4"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := m.EncodeQuery(ctx, tc.text, nil)
			require.ErrorIs(t, err, tc.want)
			require.ErrorContains(t, err, tc.message)
			for _, f := range []func(context.Context, []string, *TextOptions) ([]Encoded, error){m.EncodeQueries, m.EncodeDocuments} {
				_, err = f(ctx, []string{"red", "sky", tc.text, ""}, nil)
				var te *TextError
				require.ErrorAs(t, err, &te)
				require.Equal(t, 2, te.Index)
				require.ErrorIs(t, err, tc.want)
			}
		})
	}
	t.Run("nothing for the tokenizer", func(t *testing.T) {
		got, err := m.EncodeQuery(ctx, "\u200b", nil)
		require.NoError(t, err)
		require.Equal(t, 2, got.Vectors.Rows)
	})
	t.Run("U+FFFD is a character", func(t *testing.T) {
		_, err := m.EncodeQuery(ctx, "red \ufffd", nil)
		require.NoError(t, err)
	})
	t.Run("no texts", func(t *testing.T) {
		got, err := m.EncodeDocuments(ctx, nil, nil)
		require.NoError(t, err)
		require.Empty(t, got)
	})
}

func TestLongTexts(t *testing.T) {
	dir, tiny := plainDir(t)
	m := open(t, dir, nil)
	for name, text := range map[string]string{
		"words":       strings.Repeat("red sky ", 125_000),
		"one word":    strings.Repeat("a", 1_000_000),
		"punctuation": strings.Repeat("?", 1_000_000),
		"blank start": strings.Repeat(" ", 999_997) + "red",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			got, err := m.EncodeDocuments(ctx, []string{text}, nil)
			require.NoError(t, err)
			require.Less(t, time.Since(start), 2*time.Second)
			require.LessOrEqual(t, got[0].Vectors.Rows, tiny.positions)
			require.Equal(t, name == "words" || name == "punctuation", got[0].Truncated)
		})
	}
}

func TestCancel(t *testing.T) {
	dir, _ := plainDir(t)
	m := open(t, dir, nil)
	c, cancel := context.WithCancel(ctx)
	cancel()
	_, err := m.EncodeQuery(c, "red", nil)
	require.ErrorIs(t, err, context.Canceled)

	c, cancel = context.WithCancel(ctx)
	texts := make([]string, 2000)
	for i := range texts {
		texts[i] = "red green blue sky sea sun moon star suns"
	}
	calls := 0
	_, err = m.EncodeDocuments(c, texts, &TextOptions{Progress: func(int, int) { calls++; cancel() }})
	require.ErrorIs(t, err, context.Canceled)
	require.Less(t, calls, 20)
}

func TestClose(t *testing.T) {
	dir, _ := plainDir(t)
	m, err := Open(dir, nil)
	require.NoError(t, err)
	second, err := m.With(nil)
	require.NoError(t, err)
	require.NoError(t, m.Close())
	require.NoError(t, m.Close())
	_, err = m.EncodeQuery(ctx, "red", nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = m.With(nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = second.EncodeQuery(ctx, "red", nil)
	require.NoError(t, err)
	require.NoError(t, second.Close())
}

func TestOpenFaults(t *testing.T) {
	_, err := Open(t.TempDir(), nil)
	require.ErrorIs(t, err, checkpoint.ErrNotFound)

	t.Run("options", func(t *testing.T) {
		dir, _ := plainDir(t)
		_, err := Open(dir, &Options{MaxQueryTokens: 3, MaxDocTokens: 49, Workers: -1, Markers: On})
		require.ErrorIs(t, err, ErrOptions)
		for _, s := range []string{"MaxQueryTokens is 3, the least is 4", "MaxDocTokens is 49, the model has 48 positions", "Workers is -1", "Markers is On"} {
			require.ErrorContains(t, err, s)
		}
	})
	t.Run("architecture", func(t *testing.T) {
		dir, _ := plainDir(t)
		writeJSON(t, dir+"/config.json", map[string]any{"model_type": "gpt2", "vocab_size": 10, "hidden_size": 4})
		_, err := Open(dir, nil)
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, "gpt2")
	})
	t.Run("weights", func(t *testing.T) {
		dir, m := plainDir(t)
		ts := backboneTensors(m, "")
		ts[0].Shape = []int{m.hidden, m.vocab}
		writeTensors(t, dir+"/model.safetensors", append(ts[:3:3], ts[4:]...))
		_, err := Open(dir, nil)
		require.ErrorIs(t, err, transformer.ErrWeights)
		require.ErrorContains(t, err, "embeddings.word_embeddings.weight has shape [24 54], want [54 24]")
		require.ErrorContains(t, err, "embeddings.LayerNorm.weight is missing")
	})
	t.Run("damaged weights", func(t *testing.T) {
		dir, m := plainDir(t)
		m.tensors["encoder.layer.1.output.LayerNorm.bias"].data[3] = float32(math.NaN())
		writeTensors(t, dir+"/model.safetensors", backboneTensors(m, ""))
		_, err := open(t, dir, nil).EncodeQuery(ctx, "red", nil)
		require.ErrorIs(t, err, ErrNotFinite)
	})
}
