package colbert_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/index"
)

func TestSearchFilter(t *testing.T) {
	enc := &words{}
	x, _ := create(t, enc, nil)
	docs := fruit()
	for i := range docs {
		docs[i].Meta = index.Metadata{"number": i}
		docs[i].Language = []string{"en", "de"}[i%2]
	}
	_, err := x.Add(t.Context(), slices.Values(docs), nil)
	require.NoError(t, err)
	search := func(f index.Filter) []string {
		hits, err := x.Search(t.Context(), docs[0].Text, 100, &colbert.SearchOptions{Filter: f})
		require.NoError(t, err)
		q, err := enc.EncodeQueries(t.Context(), []string{docs[0].Text}, nil)
		require.NoError(t, err)
		vec, err := x.SearchVectors(t.Context(), q[0].Vectors, 100, &colbert.SearchOptions{Filter: f, IDsOnly: true})
		require.NoError(t, err)
		require.ElementsMatch(t, ids(hits), ids(vec))
		return ids(hits)
	}
	require.Len(t, search(nil), len(docs))
	require.Equal(t, []string{docs[0].ID}, search(index.Eq("number", 0)))
	require.Len(t, search(index.Eq("lang", "de")), len(docs)/2)
	require.Empty(t, search(index.Eq("number", -1)), "a filter that selects nothing gives nothing")
	f, err := index.ParseFilter(`lang = "en" and number >= 2`)
	require.NoError(t, err)
	require.Len(t, search(f), (len(docs)+1)/2-1)
	_, err = x.Search(t.Context(), "apple", 1, &colbert.SearchOptions{Filter: index.Eq("number", []int{1})})
	require.ErrorIs(t, err, index.ErrInvalidFilter)
}
