package colbert_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/index"
)

// top gives the id of the best hit.
func top(t testing.TB, ix *colbert.Index, query string) string {
	t.Helper()
	hits, err := ix.Search(t.Context(), query, 1, nil)
	require.NoError(t, err)
	if len(hits) == 0 {
		return ""
	}
	return hits[0].ID
}

func TestUpdateCompactRefresh(t *testing.T) {
	ctx := t.Context()
	enc := &words{}
	ix, dir := create(t, enc, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	reader, err := colbert.Open(ctx, dir, enc, &colbert.OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	defer reader.Close()
	require.Equal(t, "apple", top(t, reader, "apple pie with cinnamon"))

	res, err := ix.Update(ctx, colbert.Batch{
		Delete: []string{"apple"},
		Add:    colbert.Documents(colbert.Document{ID: "pear", Text: "pear tart"}, colbert.Document{ID: "banana", Text: "kiwi cake"}),
	}, nil)
	require.NoError(t, err)
	require.Equal(t, 1, res.Deleted)
	require.Equal(t, 1, res.Added)
	require.Equal(t, 1, res.Replaced)
	require.Equal(t, "pear", top(t, ix, "pear tart"))
	require.Equal(t, "banana", top(t, ix, "kiwi cake"))
	require.Equal(t, "apple", top(t, reader, "apple pie with cinnamon"), "not refreshed yet")
	changed, err := reader.Refresh(ctx)
	require.NoError(t, err)
	require.True(t, changed)
	require.Equal(t, "pear", top(t, reader, "pear tart"))
	changed, err = reader.Refresh(ctx)
	require.NoError(t, err)
	require.False(t, changed)

	before, err := ix.Search(ctx, "apple and kiwi", 4, nil)
	require.NoError(t, err)
	cres, err := ix.Compact(ctx, nil)
	require.NoError(t, err)
	require.LessOrEqual(t, cres.After, 1)
	after, err := ix.Search(ctx, "apple and kiwi", 4, nil)
	require.NoError(t, err)
	require.Equal(t, ids(before), ids(after))
	_, err = ix.MaybeCompact(ctx)
	require.NoError(t, err)
	_, err = reader.Compact(ctx, nil)
	require.ErrorIs(t, err, colbert.ErrReadOnly)
	_, err = reader.MaybeCompact(ctx)
	require.ErrorIs(t, err, colbert.ErrReadOnly)
	_, err = reader.Update(ctx, colbert.Batch{Delete: []string{"pear"}}, nil)
	require.ErrorIs(t, err, colbert.ErrReadOnly)

	// What fails changes nothing.
	boom := errors.New("the file ends here")
	for _, tc := range []struct {
		b   colbert.Batch
		err error
	}{
		{colbert.Batch{Delete: []string{"pear", "nobody"}}, colbert.ErrUnknownID},
		{colbert.Batch{Delete: []string{"pear"}, Add: colbert.Documents(colbert.Document{ID: "x", Text: "  "})}, colbert.ErrEmptyText},
		{colbert.Batch{Delete: []string{"pear"}, Add: func(yield func(colbert.Document, error) bool) {
			_ = yield(colbert.Document{ID: "x", Text: "x"}, nil) && yield(colbert.Document{}, boom)
		}}, boom},
	} {
		_, err = ix.Update(ctx, tc.b, nil)
		require.ErrorIs(t, err, tc.err)
		require.Equal(t, "pear", top(t, ix, "pear tart"))
	}
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = ix.Update(cancelled, colbert.Batch{Delete: []string{"pear"}}, nil)
	require.ErrorIs(t, err, context.Canceled)
	res, err = ix.Update(ctx, colbert.Batch{Delete: []string{"pear", "nobody"}}, &colbert.UpdateOptions{IgnoreMissing: true})
	require.NoError(t, err)
	require.Equal(t, colbert.UpdateResult{Deleted: 1}, res)
	require.NotEqual(t, "pear", top(t, ix, "pear tart"))
}

func TestMergeAndRepair(t *testing.T) {
	ctx := t.Context()
	enc := &words{}
	ix, dir := create(t, enc, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())

	all, _ := create(t, enc, nil)
	res, err := all.Merge(ctx, []string{dir}, nil)
	require.NoError(t, err)
	require.Equal(t, 4, res.Added)
	require.Equal(t, "pair", top(t, all, "apple banana"))
	_, err = all.Merge(ctx, []string{dir}, nil)
	require.ErrorIs(t, err, index.ErrDuplicateID)
	other, odir := create(t, colbert.WithLanguage(enc, "de"), nil)
	require.NoError(t, other.Close())
	_, err = all.Merge(ctx, []string{odir}, nil)
	require.NoError(t, err)
	_, err = all.Merge(ctx, []string{filepath.Join(dir, "nowhere")}, nil)
	require.ErrorIs(t, err, colbert.ErrNotFound)

	dst := filepath.Join(t.TempDir(), "repaired")
	rep, err := colbert.Repair(ctx, dir, dst)
	require.NoError(t, err)
	require.Equal(t, 4, rep.Saved)
	require.Zero(t, rep.Lost)
	again, err := colbert.Open(ctx, dst, enc, nil)
	require.NoError(t, err)
	defer again.Close()
	require.Equal(t, "pair", top(t, again, "apple banana"))
	_, err = os.Stat(dir)
	require.NoError(t, err)
}
