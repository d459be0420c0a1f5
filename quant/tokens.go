package quant

import (
	"cmp"
	"context"
	"math/bits"
	"slices"

	"github.com/golbert/golbert/internal/kernel"
)

// NoToken is the vocabulary id of vectors whose token is not known.
const NoToken = ^uint32(0)

// minTokenClusters is the number of clusters from which on they are divided by token: some 65,000 vectors. Below,
// words are too few to gain from it.
const minTokenClusters = 4096

// clusterTokens is token-aware k-means (after TACHIOM, SIGIR 2026): vectors of one vocabulary id lie close together, so
// each id that is frequent enough is clustered by itself, with a share of the centroids in proportion to its vectors and
// to how far they spread. The other ids are clustered together. Rare words so keep centroids of their own, which
// frequent ones would swallow, and documents are told apart better by few of their centroids; and many small clusterings cost
// less than a large one; the fit is a little worse. Which centroid a vector gets in the end does not depend on its id.
func clusterTokens(ctx context.Context, data []float32, ids []uint32, n, dim, k int, o *KMeansOptions) (*kmeans, error) {
	r := rng{o.Seed}
	iters := o.Iterations
	if iters <= 0 {
		iters = DefaultIterations
	}
	progress := o.Progress
	if progress == nil {
		progress = func(int, int) {}
	}
	groups := tokenGroups(ids[:n], n, k)
	weight, rows := make([]float64, len(groups)), make([]int, len(groups))
	err := parallel(ctx, len(groups), 16, o.Workers, func() func(i, j int) {
		mean := make([]float32, dim)
		return func(i, j int) {
			for g := i; g < j; g++ {
				rows[g] = len(groups[g])
				weight[g] = float64(len(groups[g])) * spreadOf(data, groups[g], mean)
			}
		}
	})
	if err != nil {
		return nil, err
	}
	quota := shareBy(rows, weight, k)
	const steps = 3
	progress(1, steps)

	first := make([]int, len(groups)+1)
	seeds := make([]uint64, len(groups))
	for g, q := range quota {
		first[g+1] = first[g] + q
		seeds[g] = r.next()
	}
	cent := make([]float32, k*dim)
	// The vectors of rare ids come first and are many: all goroutines work on them. The rest is a group each.
	one := func(g, workers int, own []float32) ([]float32, error) {
		own = slices.Grow(own[:0], len(groups[g])*dim)
		for _, i := range groups[g] {
			own = append(own, data[int(i)*dim:(int(i)+1)*dim]...)
		}
		sub, err := cluster(ctx, own, len(groups[g]), dim, quota[g], &KMeansOptions{
			Iterations: iters, PointsPerCentroid: -1, Seed: seeds[g], Workers: workers,
		})
		if err == nil {
			copy(cent[first[g]*dim:first[g+1]*dim], sub.cent)
		}
		return own, err
	}
	if _, err := one(0, o.Workers, nil); err != nil {
		return nil, err
	}
	err = parallel(ctx, len(groups)-1, 1, o.Workers, func() func(i, j int) {
		var own []float32
		return func(g, _ int) {
			own, _ = one(g+1, 1, own) // it fails with the context alone, and parallel says so
		}
	})
	if err != nil {
		return nil, err
	}
	progress(2, steps)

	m := newKMeans(data, n, dim, k, o.Workers)
	if m.cent, _, m.sizes, err = regroup(ctx, &r, cent, nil, dim, 1<<(bits.Len(uint(k))/2), 8, o.Workers); err != nil {
		return nil, err
	}
	if err := m.measure(ctx); err != nil {
		return nil, err
	}
	progress(3, steps)
	return m, nil
}

// tokenGroups gives the rows of every id that has at least half as many vectors as a centroid has in the mean, in
// ascending order, behind those of all other ids together, which may be none.
func tokenGroups(ids []uint32, n, k int) [][]int32 {
	keys := make([]uint64, n)
	for i, id := range ids {
		keys[i] = uint64(id)<<32 | uint64(i)
	}
	slices.Sort(keys)
	least := max(4, n/(2*k))
	groups := [][]int32{nil}
	for i := 0; i < n; {
		j := i
		for j < n && keys[j]>>32 == keys[i]>>32 {
			j++
		}
		own := make([]int32, 0, j-i)
		for _, key := range keys[i:j] {
			own = append(own, int32(uint32(key)))
		}
		if j-i < least || uint32(keys[i]>>32) == NoToken {
			groups[0] = append(groups[0], own...)
		} else {
			groups = append(groups, own)
		}
		i = j
	}
	if len(groups)-1 > k/2 { // more words than centroids to give: the rarest are clustered together, too
		slices.SortStableFunc(groups[1:], func(a, b []int32) int { return cmp.Compare(len(b), len(a)) })
		for _, g := range groups[1+k/2:] {
			groups[0] = append(groups[0], g...)
		}
		groups = groups[:1+k/2]
	}
	slices.Sort(groups[0])
	return groups
}

// spreadOf is one minus the squared length of the mean of some unit vectors: 0 when they are all the same.
func spreadOf(data []float32, rows []int32, mean []float32) float64 {
	clear(mean)
	for _, i := range rows {
		for t, v := range data[int(i)*len(mean) : (int(i)+1)*len(mean)] {
			mean[t] += v
		}
	}
	n := float64(max(len(rows), 1))
	return max(1-float64(kernel.Dot(mean, mean))/(n*n), 1e-3)
}
