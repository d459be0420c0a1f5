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

func TestSelectivityWidensProbing(t *testing.T) {
	o := &Options{NProbe: 3, NDocs: 5}
	require.Equal(t, 3, resolve(10, o, 100000, 100000).nprobe)
	require.Equal(t, 30, resolve(10, o, 100000, 10000).nprobe)
	require.Equal(t, 3*maxSelectivity, resolve(10, o, 1000000, 50).nprobe)
	require.Equal(t, 10, resolve(10, o, 100000, 100000).ndocs, "never under k")

	small := resolve(10, nil, 1000000, 1500)
	require.Equal(t, modeFlood, small.mode)
	require.GreaterOrEqual(t, small.ndocs, 1500, "of a small subset every document is scored")
	require.Equal(t, modeExhaustive, resolve(10, nil, 1000000, 30).mode)
	require.Equal(t, modeFlood, resolve(10, nil, 1000000, 20000).mode)
	require.Equal(t, modeProbe, resolve(10, nil, 1000000, 1000000).mode)
	require.Equal(t, modeExhaustive, resolve(600000, o, 1000000, 1000000).mode)
	require.Equal(t, modeProbe, resolve(10, o, 1000, 1000).mode, "knobs are honoured")
	require.Equal(t, modeExhaustive, resolve(1<<62, nil, 1<<40, 1<<40).mode)
}
