package plaid

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// TestLeastScale gives one centroid a scale of nearly nothing: searches find as much as before, and decode no more.
func TestLeastScale(t *testing.T) {
	const n, dim = 1000, 64
	c := newCorpus(95, dim, 40, .3)
	docs := c.docs(n, 20, 40)
	cb := train(t, docs[:300], 4, 128, 96)
	search := func(cb *quant.Codebook) (found, decoded int) {
		s := searcherOf(dim, newMemSegment(t, cb, ids("d", n), docs))
		for i := range 15 {
			q := c.query(docs[i*61], 32)
			want, err := s.Search(bg, q, 10, &Options{Exhaustive: true})
			require.NoError(t, err)
			var stats Stats
			got, err := s.Search(bg, q, 10, &Options{NProbe: 8, NDocs: 300, Stats: &stats})
			require.NoError(t, err)
			for _, h := range want {
				if slices.Contains(got, h) {
					found++
				}
			}
			decoded += stats.Decoded
		}
		return found, decoded
	}
	found, decoded := search(cb)
	for _, scale := range []float32{1. / 1024, 0x1p-14, 0x1p-24} {
		b, err := cb.MarshalBinary()
		require.NoError(t, err)
		odd, err := quant.ParseCodebook(b)
		require.NoError(t, err)
		odd.Scales()[5] = scale
		b, err = odd.MarshalBinary() // and what follows from its scales
		require.NoError(t, err)
		odd, err = quant.ParseCodebook(b)
		require.NoError(t, err)
		f, d := search(odd)
		require.GreaterOrEqual(t, f, found-5, scale)
		require.LessOrEqual(t, d, decoded+decoded/5, scale)
	}
}

// TestTinyQueries searches with a query whose scores are at the end of what float32 has: the hits are the same.
func TestTinyQueries(t *testing.T) {
	const n, dim = 500, 16
	c := newCorpus(97, dim, 40, .3)
	docs := c.docs(n, 4, 8)
	s := searcherOf(dim, newMemSegment(t, train(t, docs, 4, 64, 98), ids("d", n), docs))
	for i := range 10 {
		q := c.query(docs[i*49], 8)
		want, err := s.Search(bg, q, 5, &Options{NProbe: 4, NDocs: 100})
		require.NoError(t, err)
		for _, f := range []float32{1e-20, 1e-33, 1e-36} {
			tiny := maxsim.Matrix{Data: slices.Clone(q.Data), Rows: q.Rows, Dim: q.Dim}
			for j := range tiny.Data {
				tiny.Data[j] *= f
			}
			got, err := s.Search(bg, tiny, 5, &Options{NProbe: 4, NDocs: 100})
			require.NoError(t, err)
			require.Len(t, got, 5)
			for j, h := range got {
				require.Equal(t, want[j].ID, h.ID, "%d of query %d times %g", j, i, f)
			}
		}
	}
}
