package checkpoint

import (
	"compress/gzip"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/internal/testdata"
)

func textsOf(texts ...string) func() iter.Seq2[string, error] {
	return func() iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for _, s := range texts {
				if !yield(s, nil) {
					return
				}
			}
		}
	}
}

// sharedTokenizer reads a tokenizer.json of the test data.
func sharedTokenizer(t *testing.T, name string) []byte {
	dir := testdata.Shared(t, "tokenizers/"+name)
	if b, err := os.ReadFile(filepath.Join(dir, "tokenizer.json")); err == nil {
		return b
	}
	f, err := os.Open(filepath.Join(dir, "tokenizer.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	b, err := io.ReadAll(z)
	require.NoError(t, err)
	return b
}

// bpeTokenizer puts the vocab.json and merges.txt of the test data into a tokenizer.json.
func bpeTokenizer(t *testing.T, name string) []byte {
	dir := testdata.Shared(t, "tokenizers/"+name)
	b, err := os.ReadFile(filepath.Join(dir, "vocab.json"))
	require.NoError(t, err)
	var vocab map[string]int
	require.NoError(t, json.Unmarshal(b, &vocab))
	b, err = os.ReadFile(filepath.Join(dir, "merges.txt"))
	require.NoError(t, err)
	merges := []string{}
	for _, l := range strings.Split(string(b), "\n") {
		if l != "" && !strings.HasPrefix(l, "#version") {
			merges = append(merges, l)
		}
	}
	var added []obj
	for _, a := range []string{"<s>", "<pad>", "</s>", "<unk>", "<mask>"} {
		added = append(added, obj{"id": vocab[a], "content": a, "single_word": false, "lstrip": a == "<mask>", "rstrip": false, "normalized": false, "special": true})
	}
	out, err := json.Marshal(obj{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added, "normalizer": nil,
		"pre_tokenizer":  obj{"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
		"post_processor": obj{"type": "RobertaProcessing", "sep": []any{"</s>", vocab["</s>"]}, "cls": []any{"<s>", vocab["<s>"]}, "trim_offsets": true, "add_prefix_space": false},
		"decoder":        nil,
		"model":          obj{"type": "BPE", "dropout": nil, "unk_token": nil, "continuing_subword_prefix": "", "end_of_word_suffix": "", "fuse_unk": false, "byte_fallback": false, "vocab": vocab, "merges": merges},
	})
	require.NoError(t, err)
	return out
}

// someTexts reads documents and queries of the multilingual test data.
func someTexts(t *testing.T, most int) []string {
	var out []string
	names := []string{"xquad-en", "xquad-es", "xquad-tr", "xquad-vi", "jaquad-dev", "drcd-test", "iapp-th-test", "pquad-test"}
	for _, name := range names {
		for _, file := range []string{"corpus.jsonl.zst", "queries.jsonl.zst"} {
			f, err := os.Open(filepath.Join(testdata.Shared(t, "ir/"+name), file))
			require.NoError(t, err)
			defer f.Close()
			z, err := zstd.NewReader(f)
			require.NoError(t, err)
			defer z.Close()
			d := json.NewDecoder(z)
			for range most / len(names) / 2 {
				var j struct{ Text string }
				require.NoError(t, d.Decode(&j))
				require.NotEmpty(t, j.Text)
				out = append(out, j.Text)
			}
		}
	}
	return out
}

// TestTrimReal trims real vocabularies to a half of some texts in several languages, and compares the other half
// wherever it needs no token that went.
func TestTrimReal(t *testing.T) {
	texts := someTexts(t, 800)
	r := rand.New(rand.NewPCG(1, 1))
	r.Shuffle(len(texts), func(i, j int) { texts[i], texts[j] = texts[j], texts[i] })
	half := len(texts) / 2
	for name, c := range map[string]struct {
		kind string
		file []byte
		size int
	}{
		"wordpiece": {"bert", sharedTokenizer(t, "all-minilm-l6-v2"), 30522},
		"unigram":   {"xlm-roberta", sharedTokenizer(t, "xlm-roberta"), 250002},
		"bpe":       {"roberta", bpeTokenizer(t, "roberta-base"), 50265},
	} {
		t.Run(name, func(t *testing.T) {
			values := make([]float32, c.size*2)
			for i := range values {
				values[i] = float32(i)
			}
			dir := dirOf(t, obj{
				"config.json":           with(tinyConfig, obj{"model_type": c.kind, "vocab_size": c.size, "hidden_size": 2, "pad_token_id": map[string]int{"bert": 0}[c.kind] + map[string]int{"roberta": 1, "xlm-roberta": 1}[c.kind], "eos_token_id": []int{2, 3}, "bos_token_id": nil}),
				"tokenizer.json":        c.file,
				"tokenizer_config.json": obj{"do_lower_case": true, "model_max_length": 64},
				"model.safetensors":     []Tensor{floats("embeddings.word_embeddings.weight", F32, values, c.size, 2), floats("lm_head.bias", F32, make([]float32, c.size), c.size), tensor("x", 3)},
			})
			out := filepath.Join(t.TempDir(), "out")
			rep, err := Trim(dir, out, textsOf(texts[:half]...), &TrimOptions{Keep: []string{"a"}})
			require.NoError(t, err)
			require.Equal(t, half, rep.Texts)
			require.Equal(t, c.size, rep.Before)
			require.Less(t, rep.After, c.size/3)
			require.Equal(t, int64(c.size*4+(c.size-rep.After)*8), rep.Saved)
			a, err := Open(dir)
			require.NoError(t, err)
			defer a.Close()
			b, err := Open(out)
			require.NoError(t, err)
			defer b.Close()
			require.Equal(t, rep.After, b.Config.VocabSize)
			require.Equal(t, a.Config.PadTokenID, b.Config.PadTokenID)
			wa, _ := a.Tensors.Tensor("embeddings.word_embeddings.weight")
			wb, _ := b.Tensors.Tensor("embeddings.word_embeddings.weight")
			va, vb := wa.Float32s(nil), wb.Float32s(nil)
			compared := 0
			for _, s := range texts[half:] {
				ea := a.Tokenizer.Encode(s, tokenizer.EncodeOptions{AddSpecial: true})
				all := true
				for _, id := range ea.IDs {
					token, _ := a.Tokenizer.Token(id)
					_, ok := b.Tokenizer.ID(token)
					all = all && ok
				}
				if !all { // take the words that stay
					continue
				}
				compared++
				eb := b.Tokenizer.Encode(s, tokenizer.EncodeOptions{AddSpecial: true})
				require.Equal(t, ea.Offsets, eb.Offsets, s)
				for i, id := range ea.IDs {
					require.Equal(t, va[2*id:2*id+2], vb[2*eb.IDs[i]:2*eb.IDs[i]+2], "%s: token %d", s, i)
				}
			}
			// Words of the texts in another order have kept tokens too.
			var words []string
			for _, s := range texts[:half] {
				words = append(words, strings.Fields(s)...)
			}
			for range 200 {
				var s []string
				for range 12 {
					s = append(s, words[r.IntN(len(words))])
				}
				text := " " + strings.Join(s, " ")
				ea, eb := a.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true}), b.Tokenizer.Encode(text, tokenizer.EncodeOptions{AddSpecial: true})
				all := true
				for _, id := range ea.IDs {
					token, _ := a.Tokenizer.Token(id)
					_, ok := b.Tokenizer.ID(token)
					all = all && ok
				}
				if !all {
					continue
				}
				compared++
				require.Equal(t, ea.Offsets, eb.Offsets, text)
				for i, id := range ea.IDs {
					require.Equal(t, va[2*id], vb[2*eb.IDs[i]], "%s: token %d", text, i)
				}
			}
			require.Greater(t, compared, 50)
			t.Logf("%d of %d tokens stay, %d texts compared", rep.After, rep.Before, compared)
		})
	}
}

func TestTrimSmall(t *testing.T) {
	files := with(stanfordFiles(obj{"query_token_id": "[unused0]", "doc_token_id": "[unused1]"}), obj{
		"tokenizer_config.json": obj{"added_tokens_decoder": obj{"13": obj{"content": "[Z]", "special": true}, "3": obj{"content": "[UNK]", "special": true}}},
	})
	dir := dirOf(t, files)
	out := filepath.Join(t.TempDir(), "out")
	rep, err := Trim(dir, out, textsOf("a a", "a ! [Z] q"), nil)
	require.NoError(t, err)
	c, err := Open(out)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, rep.After, c.Tokenizer.VocabSize())
	for token, want := range map[string]bool{"a": true, "b": false, "[Q] x": false, "[Z]": true, "!": true, ",": true, "[unused1]": true, "[MASK]": true} {
		_, ok := c.Tokenizer.ID(token)
		require.Equal(t, want, ok, token)
	}
	w, _ := c.Tensors.Tensor("bert.embeddings.word_embeddings.weight")
	require.Equal(t, []int{rep.After, 4}, w.Shape)
	id, _ := c.Tokenizer.ID("[Z]")
	require.Equal(t, float32(13*4), w.Float32s(nil)[4*id])
	require.Equal(t, Stanford, c.Layout)

	_, err = Trim(dir, out, textsOf("a"), nil)
	require.ErrorIs(t, err, fs.ErrExist)
	_, err = Trim(dir, out+"2", textsOf("a"), &TrimOptions{Keep: []string{"nothere"}})
	require.ErrorIs(t, err, ErrNotFound)
	broken := errors.New("broken pipe")
	_, err = Trim(dir, out+"2", func() iter.Seq2[string, error] {
		return func(yield func(string, error) bool) { yield("", broken) }
	}, nil)
	require.ErrorIs(t, err, broken)
	left, err := os.ReadDir(filepath.Dir(out))
	require.NoError(t, err)
	require.Len(t, left, 1)
	// All modules of a PyLate checkpoint come along.
	out = filepath.Join(t.TempDir(), "out")
	rep, err = Trim(dirOf(t, pylateFiles(obj{})), out, textsOf("a the"), &TrimOptions{Characters: true})
	require.NoError(t, err)
	require.Equal(t, 11, rep.After)
	p, err := Open(out)
	require.NoError(t, err)
	defer p.Close()
	require.Len(t, p.Head, 2)
	require.Equal(t, PyLate, p.Layout)
}

// TestTrimVariants: the tokens that are kept are those of the text as the encoder prepares it, without the space around
// it, which would make other tokens of the first word, and in Python's lower case.
func TestTrimVariants(t *testing.T) {
	for _, c := range []struct {
		r    Retrieval
		want []string
	}{
		{Retrieval{}, []string{" ΟΔΟΣ\n"}},
		{Retrieval{StripSpace: true}, []string{"ΟΔΟΣ"}},
		{Retrieval{LowerCase: true}, []string{" οδος\n"}},
		{Retrieval{StripSpace: true, LowerCase: true, QueryPrompt: "q:", DocumentPrompt: "d:"}, []string{"οδος", "q: οδος", "d: οδος"}},
	} {
		require.Equal(t, c.want, (&trimmer{c: &Checkpoint{Retrieval: c.r}}).variants(" ΟΔΟΣ\n"))
	}
}
