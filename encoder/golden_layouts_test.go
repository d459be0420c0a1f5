package encoder

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// layoutGolden is what a reference implementation makes of one text.
type layoutGolden struct {
	Text     string
	Language string
	Vectors  [][]float32
}

// TestGoldenLayouts encodes texts with tiny checkpoints in every layout and compares the token vectors with those of
// PyLate 1.6, sentence-transformers 6.2 and the formulas of colbert-ai, XTR and BGE-M3
// (encoder/scripts/golden/layouts.py; stanford_xmod: xmod.py).
func TestGoldenLayouts(t *testing.T) {
	dirs, err := filepath.Glob("testdata/layouts/*")
	require.NoError(t, err)
	require.NotEmpty(t, dirs)
	for _, dir := range dirs {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			b, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			require.NoError(t, err)
			var want struct{ Queries, Documents []layoutGolden }
			require.NoError(t, json.Unmarshal(b, &want))
			m, err := Open(dir, nil)
			require.NoError(t, err)
			defer m.Close()
			most := 0.0
			for _, part := range []struct {
				name   string
				texts  []layoutGolden
				encode func(string, *TextOptions) (Encoded, error)
			}{
				{"query", want.Queries, func(s string, o *TextOptions) (Encoded, error) { return m.EncodeQuery(t.Context(), s, o) }},
				{"document", want.Documents, func(s string, o *TextOptions) (Encoded, error) {
					e, err := m.EncodeDocuments(t.Context(), []string{s}, o)
					if err != nil {
						return Encoded{}, err
					}
					return e[0], nil
				}},
			} {
				require.NotEmpty(t, part.texts)
				for _, w := range part.texts {
					got, err := part.encode(w.Text, &TextOptions{Language: w.Language})
					require.NoError(t, err)
					require.Equal(t, len(w.Vectors), got.Vectors.Rows, "%s %q: %v", part.name, w.Text, got.Tokens)
					for i, row := range w.Vectors {
						require.Len(t, row, got.Vectors.Dim)
						for j, v := range row {
							d := float64(got.Vectors.Row(i)[j] - v)
							most = max(most, d, -d)
						}
					}
					require.Less(t, most, 1e-4, "%s %q", part.name, w.Text)
					for _, tok := range got.Tokens {
						require.True(t, 0 <= tok.Start && tok.Start <= tok.End && tok.End <= len(w.Text), "%+v", tok)
						require.True(t, tok.Special == (tok.End == 0 && tok.Start == 0) || !tok.Special, "%+v", tok)
					}
				}
			}
			t.Logf("%s: %d texts, largest difference %.1e", m.Info().Layout, len(want.Queries)+len(want.Documents), most)
		})
	}
}
