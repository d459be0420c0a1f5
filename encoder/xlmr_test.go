package encoder

import (
	"compress/gzip"
	"encoding/json"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/testdata"
)

// colbertXM writes a checkpoint as ColBERT-XM is laid out, with XLM-R's real tokenizer and a transformer of eight
// values per token.
func colbertXM(t *testing.T) string {
	f, err := os.Open(testdata.Shared(t, "tokenizers/xlm-roberta/tokenizer.json.gz"))
	require.NoError(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	require.NoError(t, err)
	raw, err := io.ReadAll(z)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokenizer.json"), raw, 0o600))
	const h, vocab = 8, 250002
	languages := []string{"en_XX", "de_DE"}
	writeJSON(t, filepath.Join(dir, "config.json"), map[string]any{"architectures": []string{"HF_ColBERT"}, "model_type": "xmod", "vocab_size": vocab,
		"hidden_size": h, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": h, "max_position_embeddings": 514,
		"type_vocab_size": 1, "pad_token_id": 1, "layer_norm_eps": 1e-5, "languages": languages, "default_language": "en_XX", "adapter_reduction_factor": 2})
	writeJSON(t, filepath.Join(dir, "artifact.metadata"), map[string]any{"query_token_id": "[unused0]", "doc_token_id": "[unused1]",
		"query_maxlen": 32, "doc_maxlen": 256, "dim": 4, "attend_to_mask_tokens": true, "mask_punctuation": true})
	r := rand.New(rand.NewPCG(1, 1))
	var ts []checkpoint.Tensor
	add := func(name string, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		ts = append(ts, f32Tensor(name, shape, randoms(r, n)))
	}
	linear := func(name string, out, in int) { add(name+".weight", out, in); add(name+".bias", out) }
	norm := func(name string) { add(name+".weight", h); add(name+".bias", h) }
	add("linear.weight", 4, h)
	add("roberta.embeddings.word_embeddings.weight", vocab, h)
	add("roberta.embeddings.position_embeddings.weight", 514, h)
	add("roberta.embeddings.token_type_embeddings.weight", 1, h)
	norm("roberta.embeddings.LayerNorm")
	p := "roberta.encoder.layer.0."
	for _, n := range []string{"attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense", "intermediate.dense", "output.dense"} {
		linear(p+n, h, h)
	}
	norm(p + "attention.output.LayerNorm")
	norm(p + "output.LayerNorm")
	for _, l := range languages {
		linear(p+"output.adapter_modules."+l+".dense1", h/2, h)
		linear(p+"output.adapter_modules."+l+".dense2", h, h/2)
	}
	writeTensors(t, filepath.Join(dir, "model.safetensors"), ts)
	return dir
}

// TestGoldenColBERTXM compares markers, expansion, and the skiplists of three libraries with what these make of XLM-R's
// tokenizer (encoder/scripts/golden/xlmr_markers.py).
func TestGoldenColBERTXM(t *testing.T) {
	dir := colbertXM(t)
	raw, err := os.ReadFile("testdata/xlmr_markers.json")
	require.NoError(t, err)
	var want struct {
		QueryMarker              int32 `json:"query_marker"`
		DocumentMarker           int32 `json:"document_marker"`
		Stanford, PyLate, Native []int32
		Cases                    []struct {
			Text                  string
			Query, Document, Kept []int32
		}
	}
	require.NoError(t, json.Unmarshal(raw, &want))
	c, err := checkpoint.Open(dir)
	require.NoError(t, err)
	require.Equal(t, want.QueryMarker, c.Retrieval.Query.ID)
	require.Equal(t, want.DocumentMarker, c.Retrieval.Document.ID)
	require.Equal(t, want.Stanford, c.Retrieval.Skiplist)
	require.Equal(t, want.PyLate, checkpoint.PyLateSkiplist(c.Tokenizer, nil))
	require.Equal(t, want.Native, checkpoint.SentenceTransformersSkiplist(c.Tokenizer, marks()))
	m, err := New(c, nil)
	require.NoError(t, err)
	defer m.Close()
	require.Equal(t, 512, m.w.enc.Shape().MaxTokens)
	for _, tc := range want.Cases {
		for _, lang := range []string{"en", "de"} {
			q, err := m.EncodeQuery(ctx, tc.Text, &TextOptions{Language: lang})
			require.NoError(t, err)
			require.Equal(t, tc.Query, tokenIDs(q), tc.Text)
			d, err := m.EncodeDocuments(ctx, []string{tc.Text}, &TextOptions{Language: lang})
			require.NoError(t, err)
			require.Equal(t, tc.Kept, tokenIDs(d[0]), tc.Text)
		}
	}
	// The words that PyLate looks up and does not find are the unknown token, which it then drops everywhere.
	require.Contains(t, checkpoint.PyLateSkiplist(c.Tokenizer, []string{"!", "no token"}), int32(3))
	require.NotContains(t, checkpoint.SentenceTransformersSkiplist(c.Tokenizer, []string{"!", "no token"}), int32(3))
	t.Logf("xmod, XLM-R's tokenizer: %d texts with equal ids, skiplists of %d, %d and %d tokens", len(want.Cases), len(want.Stanford), len(want.PyLate), len(want.Native))
}

// marks are the punctuation marks, one by one.
func marks() []string {
	var out []string
	for _, r := range punctuation {
		out = append(out, string(r))
	}
	return out
}

func tokenIDs(e Encoded) []int32 {
	var ids []int32
	for _, t := range e.Tokens {
		ids = append(ids, t.ID)
	}
	return ids
}
