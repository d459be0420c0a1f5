package plaid

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSelectBest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	before := func(a, b int) bool { return a < b }
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
		h := slices.Clone(x)
		selectBest(x, n, before)
		require.Equal(t, want[n-1], x[n-1])
		require.Equal(t, want[:n], slices.Sorted(slices.Values(x[:n])))
		require.Equal(t, want, slices.Sorted(slices.Values(x)))
		heapSelect(h, n, before)
		require.Equal(t, want[n-1], h[n-1])
		require.Equal(t, want[:n], slices.Sorted(slices.Values(h[:n])))
	}
}

func TestSelectorKeepsTheBest(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	for range 500 {
		n, m := 1+r.IntN(20), 1+r.IntN(300)
		all := make([]probe, m)
		var s selector
		s.reset(n)
		limit := s.limit
		for i := range all {
			all[i] = probe{score: float32(r.IntN(40)), centroid: uint32(i)}
		}
		r.Shuffle(m, func(i, j int) { all[i], all[j] = all[j], all[i] })
		for _, p := range all {
			if p.score >= limit {
				limit = s.push(p)
			}
		}
		cmp := func(a, b probe) int {
			if a.before(b) {
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
