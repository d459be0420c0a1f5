package quant

import (
	"context"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLargest(t *testing.T) {
	r := rng{1}
	for range 200 {
		n := 1 + int(r.below(100))
		scores := make([]float32, n)
		for i := range scores {
			scores[i] = float32(r.below(20)) // many ties
		}
		k := 1 + int(r.below(uint64(n)))
		got := make([]uint32, k)
		largest(got, scores)
		want := make([]uint32, 0, k)
		for _, i := range ranked(scores, k) { // stable: the lower number wins a tie
			want = append(want, uint32(i))
		}
		require.ElementsMatch(t, want, got)
	}
	nan := float32(math.NaN())
	got := []uint32{9, 9}
	largest(got, []float32{nan, nan, nan})
	require.ElementsMatch(t, []uint32{0, 1}, got, "numbers of groups whatever the scores")
}

func TestShare(t *testing.T) {
	require.Equal(t, []int{1, 2, 3}, share([]int32{0, 10, 30, 60}, 6))
	require.Equal(t, []int{1, 0, 9}, share([]int32{0, 1, 1, 1000}, 10), "an empty group gets none")
	require.Equal(t, []int{3, 3}, share([]int32{0, 3, 6}, 6), "as many as rows")
	require.Equal(t, []int{1, 1, 8}, share([]int32{0, 1, 2, 100}, 10), "at least one each")
	r := rng{2}
	for range 300 {
		start := []int32{0}
		for range 1 + r.below(40) {
			start = append(start, start[len(start)-1]+int32(r.below(50)*r.below(50)))
		}
		n, used := int(start[len(start)-1]), 0
		for g := range len(start) - 1 {
			if start[g+1] > start[g] {
				used++
			}
		}
		if used == 0 {
			continue
		}
		k := used + int(r.below(uint64(n-used+1)))
		sum := 0
		for g, q := range share(start, k) {
			sum += q
			rows := int(start[g+1] - start[g])
			require.LessOrEqual(t, q, rows)
			require.GreaterOrEqual(t, q, min(1, rows))
		}
		require.Equal(t, k, sum)
	}
}

// TestGroupedAssignment: nearly all vectors find their nearest centroid, and what they find fits as well.
func TestGroupedAssignment(t *testing.T) {
	ctx := context.Background()
	m := clustered(1, 6000, 64, 300, 0.6)
	km, err := cluster(ctx, m.Data, m.Rows, m.Dim, 1100, &KMeansOptions{})
	require.NoError(t, err)
	require.NotEmpty(t, km.sizes)
	sum := uint32(0)
	for _, n := range km.sizes {
		sum += n
	}
	require.EqualValues(t, 1100, sum)
	type result struct {
		codes  []uint32
		scores []float32
	}
	run := func(sizes []uint32, probes int) (r result) {
		r = result{make([]uint32, m.Rows), make([]float32, m.Rows)}
		require.NoError(t, newAssigner(km.cent, m.Dim, sizes, probes).run(ctx, r.codes, r.scores, m.Data, 0))
		return r
	}
	exact := run(nil, 0)
	require.Equal(t, exact.codes, run(km.sizes, len(km.sizes)).codes, "all groups: exact")
	grouped := run(km.sizes, groupProbes)
	same, loss := 0, 0.0
	for i := range m.Rows {
		if exact.codes[i] == grouped.codes[i] {
			same++
		}
		loss += float64(exact.scores[i] - grouped.scores[i])
		require.LessOrEqual(t, grouped.scores[i], exact.scores[i])
	}
	require.Greater(t, same, m.Rows*95/100)
	require.Less(t, loss/float64(m.Rows), 0.002)
}

// TestGroupedKMeansFits compares with plain k-means of the same vectors.
func TestGroupedKMeansFits(t *testing.T) {
	ctx := context.Background()
	m := clustered(1, 6000, 64, 300, 0.6)
	mean := func(km *kmeans) float64 {
		require.NoError(t, km.assign(ctx))
		var s float64
		for _, v := range km.score {
			s += float64(v)
		}
		return s / float64(km.n)
	}
	grouped, err := cluster(ctx, m.Data, m.Rows, m.Dim, 1100, &KMeansOptions{})
	require.NoError(t, err)
	plain := newKMeans(m.Data, m.Rows, m.Dim, 1100, 0)
	plain.seed(&rng{1})
	require.NoError(t, plain.iterate(ctx, 4, func(int, int) {}))
	require.Greater(t, mean(grouped), mean(plain)-0.01)
}

func TestGroupedCorners(t *testing.T) {
	ctx := context.Background()
	same := clustered(1, 1, 8, 1, 0).Data
	for name, data := range map[string][]float32{
		"equal vectors":                   slices.Repeat(same, 2000),
		"zero vectors":                    make([]float32, 2000*8),
		"as many centroids as vectors":    randomUnit(1, 1500, 8).Data,
		"a few directions, many vectors":  slices.Repeat(randomUnit(2, 20, 8).Data, 100),
		"zero vectors and others, halved": append(make([]float32, 1000*8), randomUnit(3, 1000, 8).Data...),
	} {
		n := len(data) / 8
		km, err := cluster(ctx, data, n, 8, 1500, &KMeansOptions{})
		require.NoError(t, err, name)
		require.Len(t, km.cent, 1500*8, name)
		for _, v := range km.cent {
			require.False(t, math.IsNaN(float64(v)), name)
		}
	}
}
