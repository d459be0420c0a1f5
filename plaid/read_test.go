package plaid

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// TestReadResiduals: whether residuals are read or mapped makes no difference to what is found, nor to allocations.
func TestReadResiduals(t *testing.T) {
	for _, nbits := range []int{2, 4, 16} {
		c := newCorpus(8, 24, 25, .7)
		dir := t.TempDir()
		ix, err := index.Create(bg, dir, &index.Options{Dim: 24, NBits: nbits, SegmentTokens: 2000, AllowEmpty: true})
		require.NoError(t, err)
		var docs []index.Document
		for i, v := range append(c.docs(500, 1, 20), c.doc(3000), maxsim.Matrix{Dim: 24}) {
			docs = append(docs, index.Document{ID: fmt.Sprintf("doc-%03d", i), Vectors: v})
		}
		_, err = ix.Add(bg, seq(docs), nil)
		require.NoError(t, err)
		require.NoError(t, ix.Close())
		var searchers []*Searcher
		for _, reads := range []bool{false, true} {
			ix, err := index.Open(bg, dir, &index.OpenOptions{ReadOnly: true, ReadResiduals: reads})
			require.NoError(t, err)
			defer ix.Close()
			searchers = append(searchers, NewSearcher(snapshot(t, ix)))
		}
		var qs []maxsim.Matrix
		for i := range 10 {
			qs = append(qs, c.query(docs[i*20].Vectors, 1+7*i))
		}
		for _, o := range []Options{{}, {Exhaustive: true}, {NProbe: 4, NDocs: 100, Patience: 1}, {NProbe: 4, NDocs: 100, Exact: 2, Workers: 3}} {
			want, err := searchers[0].SearchBatch(bg, qs, 5, &o)
			require.NoError(t, err)
			got, err := searchers[1].SearchBatch(bg, qs, 5, &o)
			require.NoError(t, err)
			for i := range want {
				require.NoError(t, got[i].Err)
				require.Len(t, got[i].Hits, len(want[i].Hits))
				for j, h := range want[i].Hits {
					require.Equal(t, h.ID, got[i].Hits[j].ID)
					require.Equal(t, h.Score, got[i].Hits[j].Score)
				}
			}
		}
		if !raceEnabled {
			allocs := func(s *Searcher) float64 {
				return testing.AllocsPerRun(20, func() {
					_, err := s.Search(bg, qs[0], 1, &Options{NProbe: 4, NDocs: 100, Workers: 1})
					require.NoError(t, err)
				})
			}
			require.InDelta(t, allocs(searchers[0]), allocs(searchers[1]), 1.5)
		}
	}
}
