package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/testdata"
)

// golden is one text of testdata/minilm_*.json: outputs of Hugging Face tokenizers for all-MiniLM-L6-v2, made
// by shared/data/golden/gen/make_texts.py.
type golden struct {
	Text    string   `json:"text"`
	IDs     []int32  `json:"ids"`
	Offsets [][2]int `json:"offsets"` // in code points
	Special []int    `json:"special"`
}

func readGolden(t testing.TB, name string) []golden {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	var g []golden
	require.NoError(t, json.Unmarshal(b, &g))
	return g
}

// sharedFile reads a file of the shared tokenizers, and unpacks it when it is compressed.
func sharedFile(t testing.TB, rel string) []byte {
	t.Helper()
	b, err := os.ReadFile(testdata.Shared(t, "tokenizers/"+rel))
	require.NoError(t, err)
	if filepath.Ext(rel) == ".gz" {
		z, err := gzip.NewReader(bytes.NewReader(b))
		require.NoError(t, err)
		b, err = io.ReadAll(z)
		require.NoError(t, err)
	}
	return b
}

// sharedTokenizer reads a real tokenizer from the shared collection.
func sharedTokenizer(t testing.TB, rel string) *Tokenizer {
	t.Helper()
	b := sharedFile(t, rel)
	var tok *Tokenizer
	var err error
	switch name := filepath.Base(rel); {
	case strings.HasPrefix(name, "tokenizer.json"):
		tok, err = FromJSON(b)
	case name == "vocab.json":
		tok, err = FromMerges(b, sharedFile(t, filepath.Dir(rel)+"/merges.txt"), MergesOptions{})
	case filepath.Ext(name) == ".model":
		tok, err = FromSentencePiece(b, SentencePieceOptions{})
	default:
		tok, err = FromVocab(b, VocabOptions{Cased: filepath.Dir(rel) != "bert-base-uncased"})
	}
	require.NoError(t, err)
	return tok
}

// points turns byte offsets into code point offsets.
func points(text string, at [2]int) [2]int {
	return [2]int{utf8.RuneCountInString(text[:at[0]]), utf8.RuneCountInString(text[:at[1]])}
}

func TestGoldenMiniLM(t *testing.T) {
	for _, rel := range []string{"all-minilm-l6-v2/tokenizer.json", "bert-base-uncased/vocab.txt"} {
		t.Run(rel, func(t *testing.T) {
			tok := sharedTokenizer(t, rel)
			for _, file := range []string{"minilm_texts.json", "minilm_tokenize_only.json"} {
				for _, g := range readGolden(t, file) {
					e := tok.Encode(g.Text, EncodeOptions{AddSpecial: true, MaxLen: 128}) // as the goldens were made
					require.Equal(t, g.IDs, e.IDs, "%q", g.Text)
					if g.Offsets == nil {
						continue
					}
					for i := range e.IDs {
						require.Equal(t, g.Offsets[i], points(g.Text, e.Offsets[i]), "%q token %d", g.Text, i)
						require.Equal(t, g.Special[i] == 1, e.Special[i], "%q token %d", g.Text, i)
					}
				}
			}
		})
	}
}
