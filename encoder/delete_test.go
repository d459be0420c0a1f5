package encoder

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/encoder/transformer"
	"github.com/golbert/golbert/internal/kernel"
)

// mrt5Dir is the small MrT5 of the transformer package with the tokenizer of a small XTR.
func mrt5Dir(t *testing.T) string {
	dir := t.TempDir()
	for to, from := range map[string]string{
		"config.json":           "transformer/testdata/mrt5/config.json",
		"model.safetensors":     "transformer/testdata/mrt5/model.safetensors",
		"tokenizer.json":        "testdata/layouts/xtr/tokenizer.json",
		"tokenizer_config.json": "testdata/layouts/xtr/tokenizer_config.json",
	} {
		b, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, to), b, 0o666))
	}
	return dir
}

// TestDeletedTokens checks that tokens which MrT5 deletes have no vectors, and that the others have theirs.
func TestDeletedTokens(t *testing.T) {
	m := open(t, mrt5Dir(t), nil)
	require.Equal(t, "mrt5", m.Info().Architecture)
	texts := []string{"the red sun and the green moon and the blue sea and the star of the sky", "a", "the sea the sea the sea the sea the sea", "moon sun"}
	got, err := m.EncodeDocuments(t.Context(), texts, nil)
	require.NoError(t, err)
	fewer := 0
	for i, text := range texts {
		p := m.settings.doc.prepare(m.w.tok, text, new(tokenizer.Encoding))
		ids := p.ids
		b := &transformer.Batch{IDs: ids, Lens: []int{len(ids)}}
		h := m.w.enc.Shape().Hidden
		hidden := make([]float32, len(ids)*h)
		require.NoError(t, m.w.enc.Forward(t.Context(), b, hidden))
		require.Equal(t, len(b.Kept), got[i].Vectors.Rows)
		require.Len(t, got[i].Tokens, len(b.Kept))
		fewer += len(ids) - len(b.Kept)
		for r, k := range b.Kept {
			require.Equal(t, ids[k], got[i].Tokens[r].ID)
			row := hidden[r*h : (r+1)*h]
			kernel.Normalize(row)
			require.Equal(t, row, got[i].Vectors.Row(r))
		}
	}
	require.Greater(t, fewer, 5)
	// One text at a time gives the same.
	for i, text := range texts {
		one, err := m.EncodeDocuments(t.Context(), []string{text}, nil)
		require.NoError(t, err)
		require.Equal(t, got[i], one[0])
	}
}

// TestDeletedBeyondSkiplist checks that a text has a vector even when everything the model left is on the skiplist.
func TestDeletedBeyondSkiplist(t *testing.T) {
	m := open(t, mrt5Dir(t), nil)
	text := "the red sun and the green moon and the blue sea"
	all, err := m.EncodeDocuments(t.Context(), []string{text}, nil)
	require.NoError(t, err)
	s := m.settings.doc
	s.skip = map[int32]bool{}
	for _, tok := range all[0].Tokens {
		s.skip[tok.ID] = true
	}
	s.keepSpecial = false
	m.settings.doc = s
	got, err := m.EncodeDocuments(t.Context(), []string{text}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, got[0].Vectors.Rows)
	require.Equal(t, all[0].Tokens[0].ID, got[0].Tokens[0].ID)
	require.Equal(t, all[0].Vectors.Row(0), got[0].Vectors.Row(0))
}
