package plaid

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWithin(t *testing.T) {
	r := rand.New(rand.NewPCG(91, 92))
	for range 2000 {
		list := make([]uint32, 0, 30)
		for v := range uint32(30) {
			if r.IntN(3) == 0 {
				list = append(list, v)
			}
		}
		from := r.Uint32N(32)
		to := from + r.Uint32N(32)
		want := slices.DeleteFunc(slices.Clone(list), func(v uint32) bool { return v < from || v >= to })
		require.True(t, slices.Equal(want, within(list, from, to)), "%v from %d to %d", list, from, to)
	}
}

// TestBlocks searches a collection that one worker takes whole and that three cut in blocks: the hits are the same.
func TestBlocks(t *testing.T) {
	const n, dim = 10_000, 16
	require.Less(t, 2*partBytes/32, n)
	require.Less(t, n, blockBytes/32)
	c := newCorpus(93, dim, 40, .3)
	docs := c.docs(n, 1, 3)
	cb := train(t, docs[:500], 4, 64, 94)
	s := searcherOf(dim, newMemSegment(t, cb, ids("d", n), docs))
	for i := range 10 {
		q := c.query(docs[i*997], 32)
		want, err := s.Search(bg, q, 20, &Options{NProbe: 4, NDocs: 200, Workers: 1})
		require.NoError(t, err)
		require.Len(t, want, 20)
		for _, workers := range []int{2, 3} {
			got, err := s.Search(bg, q, 20, &Options{NProbe: 4, NDocs: 200, Workers: workers})
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	}
}
