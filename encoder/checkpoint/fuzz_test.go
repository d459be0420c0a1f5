package checkpoint

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// typed reports whether an error is one of those that Open documents.
func typed(err error) bool {
	for _, e := range []error{ErrCorrupt, ErrUnsupported, ErrNotFound, tokenizer.ErrCorrupt, tokenizer.ErrUnsupported} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// FuzzSettings: whatever the JSON files of a checkpoint say, it opens with sane settings or gives a typed error.
func FuzzSettings(f *testing.F) {
	names := []string{"modules.json", "config_sentence_transformers.json", "sentence_bert_config.json", "1_Dense/config.json", "2_MultiVectorMask/config.json", "4_HierarchicalTokenPooling/config.json", "artifact.metadata"}
	write := func(t testing.TB, dir string, files obj) {
		for name, v := range files {
			b, ok := v.([]byte)
			if !ok {
				var err error
				b, err = json.Marshal(v)
				require.NoError(t, err)
			}
			path := filepath.Join(dir, filepath.FromSlash(name))
			require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
			require.NoError(t, os.WriteFile(path, b, 0o600))
		}
	}
	seeds := []obj{nativeFiles(), pylateFiles(obj{}), stanfordFiles(obj{"dim": 3, "similarity": "l2"})}
	for _, s := range seeds {
		var parts [7]string
		for i, n := range names {
			if v, ok := s[n]; ok {
				b, err := json.Marshal(v)
				require.NoError(f, err)
				parts[i] = string(b)
			}
		}
		f.Add(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6])
	}
	dir := f.TempDir()
	for n, v := range nativeFiles() {
		if ts, ok := v.([]Tensor); ok {
			var err error
			require.NoError(f, os.MkdirAll(filepath.Dir(filepath.Join(dir, n)), 0o755))
			w, err := os.Create(filepath.Join(dir, n))
			require.NoError(f, err)
			require.NoError(f, WriteSafeTensors(w, ts, nil))
			require.NoError(f, w.Close())
			continue
		}
		write(f, dir, obj{n: v})
	}
	f.Fuzz(func(t *testing.T, a, b, c, d, e, g, h string) {
		for i, content := range []string{a, b, c, d, e, g, h} {
			path := filepath.Join(dir, filepath.FromSlash(names[i]))
			if content == "" {
				_ = os.Remove(path)
				continue
			}
			require.NoError(t, os.WriteFile(path, []byte(content), 0o600))
		}
		k, err := Open(dir)
		if err != nil {
			if !typed(err) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		defer k.Close()
		r := k.Retrieval
		if r.QueryLength < 1 || r.QueryLength > maxLength || r.DocumentLength < 1 || r.DocumentLength > maxLength || r.ExpansionLength > r.QueryLength {
			t.Fatalf("%+v", r)
		}
		in := k.Config.HiddenSize
		for _, p := range k.Head {
			if p.In != in || len(p.Weight) != p.In*p.Out {
				t.Fatalf("projection %d to %d of %d weights after %d", p.In, p.Out, len(p.Weight), in)
			}
			in = p.Out
		}
	})
}

// FuzzTrim: a tokenizer.json that opens is trimmed, or refused with an error; trimming never changes tokens.
func FuzzTrim(f *testing.F) {
	for _, v := range []any{
		tokenizerJSON("[Q] ", "[D] "),
		obj{"added_tokens": []obj{{"id": 0, "content": "<unk>", "special": true}}, "pre_tokenizer": obj{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always"},
			"model": obj{"type": "Unigram", "unk_id": 0, "vocab": []any{[]any{"<unk>", 0}, []any{"▁a", -1}, []any{"b", -2.5}, []any{"▁", -3}, []any{"c", -9}}}},
		obj{"added_tokens": []obj{}, "model": obj{"type": "BPE", "vocab": obj{"a": 0, "b": 1, "ab": 2, "c": 3, "abc": 4, "bc": 5}, "merges": []any{"a b", []string{"ab", "c"}, "b c"}}},
	} {
		b, err := json.Marshal(v)
		require.NoError(f, err)
		f.Add(b, "abc a! the b")
	}
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		if len(b) > 1<<16 || len(text) > 1<<12 {
			return
		}
		dir := dirOf(t, obj{
			"config.json": with(tinyConfig, obj{"hidden_size": 2}), "tokenizer.json": b,
			"model.safetensors": []Tensor{tensor("embeddings.word_embeddings.weight", 64, 2)},
		})
		_, err := Trim(dir, filepath.Join(t.TempDir(), "out"), textsOf(text), nil)
		if err != nil && !typed(err) {
			t.Fatal(err)
		}
	})
}
