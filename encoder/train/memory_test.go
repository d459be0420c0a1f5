package train

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestArena: values do not overlap, keep what is put into them, and cost little more memory than is in use, in passes of
// any sizes.
func TestArena(t *testing.T) {
	var a arena
	defer a.release()
	r := rand.New(rand.NewPCG(11, 1))
	for pass := range 100 {
		scale := 1 + r.IntN(2000)
		var values [][]float32
		check := func(v []float32) {
			require.False(t, slices.ContainsFunc(v, func(x float32) bool { return x != v[0] }))
		}
		live, most := 0, 0
		for i := range 100 {
			if len(values) > 20 && r.IntN(2) == 0 {
				k := r.IntN(len(values))
				check(values[k])
				live -= len(values[k])
				a.put(values[k])
				values[k] = values[len(values)-1]
				values = values[:len(values)-1]
				continue
			}
			v := a.get(scale * (1 + r.IntN(4)))
			for j := range v {
				v[j] = float32(i)
			}
			values, live = append(values, v), live+len(v)
			most = max(most, live)
			require.Equal(t, len(v), cap(v))
		}
		for _, v := range values {
			check(v)
		}
		a.end()
		require.LessOrEqual(t, a.size(), max(leastRegion, 2*max(a.lately[0], a.lately[1])))
		if pass%3 == 0 { // put in any order leaves one hole
			var all [][]float32
			for range 50 {
				all = append(all, a.get(1+r.IntN(3000)))
			}
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, v := range all {
				a.put(v)
			}
			for _, g := range a.regions {
				require.Equal(t, []hole{{0, len(g.Values())}}, g.free)
			}
			require.Zero(t, a.live)
			a.end()
		}
	}
	require.Panics(t, func() { a.put(make([]float32, 5)) })
	require.Empty(t, a.get(0))
	a.put(nil)

	// Passes that need little after ones that needed much: the memory goes after two windows.
	a.get(1 << 22)
	a.end()
	require.GreaterOrEqual(t, a.size()+a.next, 1<<22)
	for range 2 * needWindow {
		a.get(1 << 17)
		a.end()
	}
	require.LessOrEqual(t, a.size(), 1<<18)
	a.release()
	require.Zero(t, a.size())
}

// TestMemoryOfRaggedBatches: batches of all sizes, for ever, take the memory of the largest and half as much again at most, in one region
// that seldom changes.
func TestMemoryOfRaggedBatches(t *testing.T) {
	ctx := context.Background()
	m := openTiny(t, "stanford_bert", nil)
	r := rand.New(rand.NewPCG(12, 1))
	most, regions := 0, 0
	var last *region
	for i := range 80 {
		q, d := randomTexts(m, r, 1+r.IntN(8), 20), randomTexts(m, r, 1+r.IntN(60), 36)
		if i%5 == 4 {
			_, err := m.Scores(ctx, q, d)
			require.NoError(t, err)
		} else {
			_, err := m.Backward(ctx, q, d, mean, 1)
			require.NoError(t, err)
		}
		require.Empty(t, m.mem.used)
		require.LessOrEqual(t, len(m.mem.regions), 1)
		most = max(most, m.mem.lately[0], m.mem.lately[1])
		require.LessOrEqual(t, m.mem.size(), most+most/2)
		if len(m.mem.regions) == 1 && m.mem.regions[0] != last {
			last = m.mem.regions[0]
			regions++
		}
	}
	t.Logf("%d values in use at most, in %d; %d regions", most, m.mem.size(), regions)
	require.LessOrEqual(t, regions, 10)
	require.NoError(t, m.Close())
	require.Zero(t, m.mem.size())
}
