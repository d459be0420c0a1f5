package colbert_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder/golbertmini"
)

// The whole way with the embedded model: real text in, a document cut, hits, an explanation, a second opening.
func TestWithModel(t *testing.T) {
	ctx := t.Context()
	enc, err := golbertmini.Open()
	require.NoError(t, err)
	defer enc.Close()
	ix, dir := create(t, enc, nil)
	docs := []colbert.Document{
		{ID: "waitgroup", Text: "A WaitGroup waits for a group of goroutines to finish. The main goroutine calls Wait to block until all of them are done."},
		{ID: "mutex", Text: "A Mutex is a mutual exclusion lock. The zero value is an unlocked mutex and must not be copied after first use."},
		{ID: "atoi", Text: "Atoi converts a decimal string to an integer."},
		{ID: "tls", Text: "Dial connects to the given network address and initiates a TLS handshake."},
		{ID: "million", Text: strings.Repeat("Filler without a meaning. ", 40_000)},
		{ID: "emoji", Text: "👩‍👩‍👧 naïve \u0000 text \u202e of odd characters 漢字"},
	}
	res, err := ix.Add(ctx, slices.Values(docs), nil)
	require.NoError(t, err)
	require.Equal(t, 6, res.Added)
	require.Equal(t, []string{"million"}, res.TruncatedIDs)

	questions := map[string]string{
		"how do I wait for several goroutines":   "waitgroup",
		"lock shared data":                       "mutex",
		"parse a number from text":               "atoi",
		"open an encrypted connection to a host": "tls",
	}
	check := func(ix *colbert.Index) {
		var texts []string
		for q, want := range questions {
			hits, err := ix.Search(ctx, q, 3, nil)
			require.NoError(t, err)
			require.Equal(t, want, hits[0].ID, q)
			exact, err := colbert.Rerank(ctx, enc, q, docs[:4], 1)
			require.NoError(t, err)
			require.Equal(t, want, exact[0].ID)
			require.InDelta(t, exact[0].Score, hits[0].Score, .05*float64(exact[0].Score), "4 bits")
			texts = append(texts, q)
		}
		res, err := ix.SearchBatch(ctx, texts, 3, nil)
		require.NoError(t, err)
		for i, r := range res {
			require.NoError(t, r.Err)
			require.Equal(t, questions[texts[i]], r.Hits[0].ID)
		}
	}
	check(ix)
	e, err := ix.Explain(ctx, "how do I wait for several goroutines", "waitgroup")
	require.NoError(t, err)
	require.Contains(t, e.Mark("<", ">"), "<goroutines>")
	require.NoError(t, ix.Close())

	ix, err = colbert.Open(ctx, dir, enc, nil)
	require.NoError(t, err)
	defer ix.Close()
	check(ix)
	_, err = colbert.Open(ctx, dir, &words{dim: enc.Dim()}, &colbert.OpenOptions{ReadOnly: true})
	require.ErrorIs(t, err, colbert.ErrModelMismatch)
	require.ErrorContains(t, err, golbertmini.Name)
}
