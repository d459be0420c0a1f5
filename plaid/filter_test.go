package plaid

import (
	"math/rand/v2"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// perUnit is a filter for segments in memory: it is asked for them in order.
func perUnit(bitmaps ...*roaring.Bitmap) Filter {
	next := 0
	return FilterFunc(func(*index.Segment) (*roaring.Bitmap, error) {
		b := bitmaps[next%len(bitmaps)]
		next++
		return b, nil
	})
}

func TestFilterEqualsFilteredBruteForce(t *testing.T) {
	for seed := range uint64(12) {
		c := randomCollection(t, seed, 4, 24)
		r := rand.New(rand.NewPCG(seed, 3))
		q := c.c.query(c.docs[0], 9)
		want := bruteForce(c.segments(), q)
		var bitmaps []*roaring.Bitmap
		share := []int{1, 2, 8, 30}[seed%4]
		for _, s := range c.segs {
			b := roaring.New()
			for ord := range s.NumDocs() {
				if r.IntN(share) == 0 {
					b.Add(uint32(ord))
				} else {
					delete(want, s.ids[ord])
				}
			}
			b.Add(uint32(s.NumDocs() + 5)) // beyond the segment: ignored
			b.Add(1<<32 - 1)
			bitmaps = append(bitmaps, b)
		}
		for _, k := range []int{1, 4, 100} {
			for _, o := range []Options{{}, {Exhaustive: true}, {NProbe: 1 << 20, NDocs: 1 << 20}} {
				var st Stats
				o.Filter, o.Stats = perUnit(bitmaps...), &st
				hits, err := c.s.Search(bg, q, k, &o)
				require.NoError(t, err)
				requireTop(t, want, k, hits, 5e-4)
				require.Equal(t, len(want), st.Allowed)
				res, err := c.s.SearchBatch(bg, []maxsim.Matrix{q, q}, k, &o)
				require.NoError(t, err)
				require.Equal(t, hits, res[1].Hits)
			}
			hits, err := c.s.Search(bg, q, k, &Options{NProbe: 1, NDocs: 1, Filter: perUnit(bitmaps...)})
			require.NoError(t, err)
			require.Len(t, hits, min(k, len(want)))
			for _, h := range hits {
				require.Contains(t, want, h.ID)
			}
		}
	}
}

// TestEmptyFilterIsEmpty: a filter that allows nothing never means no filter.
func TestEmptyFilterIsEmpty(t *testing.T) {
	c := randomCollection(t, 8, 4, 16)
	q := c.c.query(c.docs[0], 3)
	for _, b := range []*roaring.Bitmap{nil, roaring.New(), roaring.BitmapOf(1 << 30)} {
		for _, o := range []Options{{}, {Exhaustive: true}, {NProbe: 1, NDocs: 1}} {
			o.Filter = perUnit(b)
			hits, err := c.s.Search(bg, q, 5, &o)
			require.NoError(t, err)
			require.Empty(t, hits)
			res, err := c.s.SearchBatch(bg, []maxsim.Matrix{q, q}, 5, &o)
			require.NoError(t, err)
			require.Empty(t, res[0].Hits)
			require.Empty(t, res[1].Hits)
		}
	}
}

func TestKnobs(t *testing.T) {
	s := &Searcher{live: 1000000, spaces: []space{{coarseness: 1}}}
	o := &Options{NProbe: 3, NDocs: 5}
	require.Equal(t, 3, s.resolve(10, o, []int{1000000}, nil).nprobe)
	require.Equal(t, 30, s.resolve(10, o, []int{100000}, nil).nprobe, "grows with the filter's selectivity")
	require.Equal(t, 3*maxSelectivity, s.resolve(10, o, []int{50}, nil).nprobe)
	require.Equal(t, []int{10}, s.resolve(10, o, []int{1000000}, nil).shortlist, "never under k")
	require.Equal(t, modeProbe, s.resolve(10, o, []int{1000}, nil).mode, "knobs are honoured")

	small := s.resolve(10, nil, []int{1500}, nil)
	require.Equal(t, modeScan, small.mode)
	require.Equal(t, []int{1500}, small.shortlist, "of a small subset every document is scored")
	require.Equal(t, modeExhaustive, s.resolve(10, nil, []int{25}, nil).mode)
	require.Equal(t, modeScan, s.resolve(10, nil, []int{2000}, nil).mode)
	require.Equal(t, modeProbe, s.resolve(10, nil, []int{1000000}, nil).mode)
	require.Equal(t, modeExhaustive, s.resolve(600000, o, []int{1000000}, nil).mode)
	require.Equal(t, modeExhaustive, s.resolve(1<<62, nil, []int{1 << 40}, nil).mode)

	s.spaces = []space{{coarseness: 1}, {coarseness: 2}}
	two := s.resolve(10, nil, []int{500000, 500000}, nil).shortlist
	require.InDelta(t, 2*two[0], two[1], 2, "a coarse codebook gets a longer shortlist")
	require.EqualValues(t, 1, coarseness(1<<20, 1<<14))
	require.EqualValues(t, 2, coarseness(1<<20, 1<<12))
	require.EqualValues(t, 4, coarseness(1<<40, 1))
}
