package colbert_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

func TestTune(t *testing.T) {
	ctx := t.Context()
	ix, dir := create(t, &words{}, nil)
	_, err := ix.Add(ctx, slices.Values(numbered(200)), nil)
	require.NoError(t, err)
	queries := []string{"number 7", "number 20", "text of number 55"}
	got, err := ix.Tune(ctx, queries, &colbert.TuneOptions{TuneOptions: plaid.TuneOptions{K: 5, Recall: .8}})
	require.NoError(t, err)
	require.GreaterOrEqual(t, got.Recall, .8)
	require.Equal(t, 3, got.Queries)
	hits, err := ix.Search(ctx, queries[0], 5, nil)
	require.NoError(t, err)
	require.Len(t, hits, 5)
	_, err = ix.Tune(ctx, []string{"fine", " "}, nil)
	require.ErrorIs(t, err, colbert.ErrEmptyText)
	require.ErrorContains(t, err, "query 1")
	_, err = ix.Tune(ctx, nil, nil)
	require.ErrorIs(t, err, plaid.ErrEmptyQuery)
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, []index.Tuning{got}, info.Index.Tunings)
	require.NoError(t, ix.Close())
	again, err := colbert.Open(ctx, dir, &words{}, nil)
	require.NoError(t, err)
	defer again.Close()
	info, err = again.Info()
	require.NoError(t, err)
	require.Equal(t, []index.Tuning{got}, info.Index.Tunings)
}
