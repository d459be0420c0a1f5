package plaid

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/index"
)

// TestManyQueriesOnOneState: lanes that a short query does not fill must not keep what a longer one has left in the scratch
// of both.
func TestManyQueriesOnOneState(t *testing.T) {
	c := newCorpus(3, 16, 24, .5)
	ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: 16, NBits: 4, Centroids: 40})
	require.NoError(t, err)
	defer func() { require.NoError(t, ix.Close()) }()
	var docs []index.Document
	for i := range 120 {
		docs = append(docs, index.Document{ID: fmt.Sprint("doc-", i), Vectors: c.doc(8)})
	}
	_, err = ix.Add(bg, seq(docs), nil)
	require.NoError(t, err)
	s := NewSearcher(snapshot(t, ix))
	o := &Options{NProbe: 3, NDocs: 20, Workers: 1}
	// 17 tokens take 32 lanes, and those of a query with 16 lanes lie elsewhere in the same table.
	other, q := c.doc(16), c.doc(17)
	want, err := s.Search(bg, q, 5, o)
	require.NoError(t, err)
	for i := range 400 {
		if i%100 == 0 {
			_, err := s.Search(bg, other, 5, o)
			require.NoError(t, err)
		}
		got, err := s.Search(bg, q, 5, o)
		require.NoError(t, err)
		if i%10 == 0 {
			require.Equal(t, want, got)
		}
	}
}
