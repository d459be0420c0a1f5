package tokenizer

import (
	"bufio"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/testdata"
)

// corpus reads the texts of a shared collection, at most limit bytes.
func corpus(t testing.TB, name string, limit int) (texts []string, bytes int64) {
	t.Helper()
	f, err := os.Open(filepath.Join(testdata.Shared(t, "ir/"+name), "corpus.jsonl.zst"))
	require.NoError(t, err)
	defer f.Close()
	z, err := zstd.NewReader(f)
	require.NoError(t, err)
	defer z.Close()
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() && bytes < int64(limit) {
		var d struct{ Title, Text string }
		require.NoError(t, json.Unmarshal(lines.Bytes(), &d))
		texts = append(texts, d.Title+" "+d.Text)
		bytes += int64(len(d.Title) + 1 + len(d.Text))
	}
	require.NoError(t, lines.Err())
	return texts, bytes
}

// BenchmarkEncode: the Rust tokenizers encode nq-qed-dev at about 3 MB/s on one thread.
func BenchmarkEncode(b *testing.B) {
	for _, c := range []struct{ tokenizer, corpus string }{
		{"all-minilm-l6-v2/tokenizer.json", "nq-qed-dev"},
		{"all-minilm-l6-v2/tokenizer.json", "xquad-vi"},
		{"bert-base-multilingual-cased/vocab.txt", "jaquad-dev"},
		{"bert-base-multilingual-cased/vocab.txt", "xquad-es"},
		{"xlm-roberta/tokenizer.json.gz", "nq-qed-dev"},
		{"xlm-roberta/tokenizer.json.gz", "xquad-vi"},
		{"xlm-roberta/tokenizer.json.gz", "jaquad-dev"},
		{"roberta-base/vocab.json", "nq-qed-dev"},
		{"roberta-base/vocab.json", "jaquad-dev"},
		{"xlnet-base/spiece.model", "nq-qed-dev"},
	} {
		b.Run("tokenizer="+filepath.Dir(c.tokenizer)+"/corpus="+c.corpus, func(b *testing.B) {
			tok := sharedTokenizer(b, c.tokenizer)
			texts, n := corpus(b, c.corpus, 2<<20)
			b.SetBytes(n)
			b.ReportAllocs()
			var e Encoding
			tokens := 0
			for b.Loop() {
				tokens = 0
				for _, text := range texts {
					tok.AppendEncode(&e, text, EncodeOptions{AddSpecial: true})
					tokens += len(e.IDs)
				}
			}
			b.ReportMetric(float64(tokens), "tokens/op")
		})
	}
}

func BenchmarkFromVocab(b *testing.B) {
	v, err := os.ReadFile(testdata.Shared(b, "tokenizers/bert-base-uncased/vocab.txt"))
	require.NoError(b, err)
	b.SetBytes(int64(len(v)))
	for b.Loop() {
		_, err := FromVocab(v, VocabOptions{})
		require.NoError(b, err)
	}
}

func BenchmarkFromJSON(b *testing.B) {
	for _, rel := range []string{"all-minilm-l6-v2/tokenizer.json", "xlm-roberta/tokenizer.json.gz"} {
		b.Run("tokenizer="+filepath.Dir(rel), func(b *testing.B) {
			v := sharedFile(b, rel)
			b.SetBytes(int64(len(v)))
			for b.Loop() {
				_, err := FromJSON(v)
				require.NoError(b, err)
			}
		})
	}
}
