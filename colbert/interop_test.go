package colbert_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/index/interop"
	"github.com/golbert/golbert/plaid"
)

// TestExportImport: an index of text goes to colbert-ai's form and comes back, and finds the same.
func TestExportImport(t *testing.T) {
	ctx := t.Context()
	enc := &words{}
	ix, dir := create(t, enc, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	out := filepath.Join(t.TempDir(), "ca")
	_, err = colbert.Export(ctx, out, dir, interop.ColBERTAI, nil)
	require.ErrorIs(t, err, colbert.ErrReencode)
	res, err := colbert.Export(ctx, out, dir, interop.ColBERTAI, &colbert.ExportOptions{Reencode: true})
	require.NoError(t, err)
	require.Equal(t, 4, res.Documents)

	back := filepath.Join(t.TempDir(), "back")
	found := false
	imp, err := colbert.Import(ctx, back, out, &colbert.ImportOptions{Encoder: enc, Language: "en", Found: func(s *interop.Source) error {
		found = true
		require.Equal(t, 4, s.NumDocs())
		return nil
	}})
	require.NoError(t, err)
	require.True(t, found)
	require.Equal(t, interop.ColBERTAI, imp.Format)
	require.Equal(t, enc.Name(), imp.Checkpoint)
	require.Equal(t, res.Tokens, imp.Tokens)
	again, err := colbert.Open(ctx, back, enc, nil)
	require.NoError(t, err)
	defer again.Close()
	o := &colbert.SearchOptions{Plaid: plaid.Options{Exhaustive: true}}
	want, err := ix.Search(ctx, "apple banana", 4, o)
	require.NoError(t, err)
	got, err := again.Search(ctx, "apple banana", 4, o)
	require.NoError(t, err)
	require.Equal(t, want[0].ID, got[0].ID)
	require.ElementsMatch(t, ids(want), ids(got))
	for _, h := range got {
		i := slices.IndexFunc(want, func(w colbert.Hit) bool { return w.ID == h.ID })
		require.Equal(t, want[i].Text, h.Text)
		require.Equal(t, want[i].Meta, h.Meta)
	}
	// What comes later is coded with the imported codebook.
	_, err = again.Add(ctx, slices.Values([]colbert.Document{{ID: "new", Text: "Apple banana"}}), nil)
	require.NoError(t, err)
	got, err = again.Search(ctx, "apple banana", 2, o)
	require.NoError(t, err)
	require.Contains(t, ids(got), "new")
}

func TestImportRefuses(t *testing.T) {
	ctx := t.Context()
	ix, dir := create(t, &words{}, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	to := filepath.Join(t.TempDir(), "to")
	_, err = colbert.Import(ctx, to, t.TempDir(), nil)
	require.ErrorIs(t, err, colbert.ErrForeign)
	_, err = colbert.Import(ctx, to, dir, nil)
	require.ErrorIs(t, err, colbert.ErrForeign)
	require.ErrorContains(t, err, "golbert's own")
	_, err = colbert.Export(ctx, to, dir, interop.NextPLAID, nil)
	require.ErrorIs(t, err, colbert.ErrUnsupported)
	_, err = colbert.Export(ctx, to, t.TempDir(), interop.FastPLAID, nil)
	require.ErrorIs(t, err, colbert.ErrNotFound)

	fp := filepath.Join(t.TempDir(), "fp")
	_, err = colbert.Export(ctx, fp, dir, interop.FastPLAID, &colbert.ExportOptions{Reencode: true})
	require.NoError(t, err)
	_, err = colbert.Import(ctx, to, fp, &colbert.ImportOptions{Encoder: &words{dim: 24}})
	require.ErrorIs(t, err, colbert.ErrModelMismatch)
	stop := errors.New("no")
	_, err = colbert.Import(ctx, to, fp, &colbert.ImportOptions{Found: func(*interop.Source) error { return stop }})
	require.ErrorIs(t, err, stop)
	_, err = colbert.Import(ctx, to, fp, &colbert.ImportOptions{Index: index.Options{NBits: 2}})
	require.ErrorIs(t, err, index.ErrInvalidOptions)
	require.NoDirExists(t, to)
	_, err = colbert.Import(ctx, fp, fp, nil)
	require.ErrorIs(t, err, interop.ErrExists)
}
