package plaid

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNthLargest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	for range 3000 {
		x := make([]int, 1+r.IntN(200))
		spread := 1 + r.IntN(300)
		for i := range x {
			switch r.IntN(2) {
			case 0:
				x[i] = r.IntN(spread)
			default:
				x[i] = i
			}
		}
		n := 1 + r.IntN(len(x))
		want := slices.Sorted(slices.Values(x))
		got := nthLargest(x, n)
		require.Equal(t, want[len(x)-n], got)
		require.Equal(t, want[len(x)-n:], slices.Sorted(slices.Values(x[:n])))
		require.Equal(t, want, slices.Sorted(slices.Values(x)))
	}
}

func TestSelectorKeepsTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 500 {
		n, m := 1+r.IntN(60), 1+r.IntN(900)
		all := make([]probe, m)
		var s selector
		s.reset(n)
		limit := s.limit
		for i := range all {
			all[i] = probeOf(float32(r.IntN(40)-20), uint32(i))
		}
		r.Shuffle(m, func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, p := range all {
			if p.score() >= limit {
				limit = s.push(p)
			}
		}
		cmp := func(a, b probe) int {
			if a.score() > b.score() || a.score() == b.score() && a.centroid() < b.centroid() {
				return -1
			}
			return 1
		}
		got := slices.Clone(s.best())
		slices.SortFunc(got, cmp)
		slices.SortFunc(all, cmp)
		require.Equal(t, all[:min(n, m)], got)
	}
}

func TestProbeOrder(t *testing.T) {
	scores := []float32{float32(math.Inf(-1)), -3, -1e-30, 0, 1e-30, .5, 7, float32(math.Inf(1))}
	for i, s := range scores {
		p := probeOf(s, 9)
		require.Equal(t, s, p.score())
		require.EqualValues(t, 9, p.centroid())
		require.Less(t, p, probeOf(s, 8), "of equal scores the lower centroid comes first")
		if i > 0 {
			require.Greater(t, p, probeOf(scores[i-1], 0))
		}
	}
	require.EqualValues(t, math.MaxUint32, probeOf(1, math.MaxUint32).centroid())
}
