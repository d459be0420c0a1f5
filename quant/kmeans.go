package quant

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// KMeansOptions sets how KMeans works. The zero value is a good default.
type KMeansOptions struct {
	// Iterations of Lloyd's algorithm; 0 means DefaultIterations.
	Iterations int
	// PointsPerCentroid bounds the vectors that take part to so many per centroid, drawn at random; 0
	// means DefaultPointsPerCentroid, negative no bound.
	PointsPerCentroid int
	// Seed of all random choices.
	Seed uint64
	// Workers is the most goroutines to use; 0 means GOMAXPROCS. It does not change the result.
	Workers int
	// Progress, when not nil, is called from the calling goroutine with what is done and what there is to do,
	// in steps of about equal work.
	Progress func(done, total int)
}

// Defaults of KMeansOptions. See ARCHITECTURE.md for the measurements behind them.
const (
	DefaultIterations        = 10
	DefaultPointsPerCentroid = 64
)

// With so many clusters and more, k-means works on two levels.
const minGroupedClusters = 1024

// groupProbes is how many groups an assigner looks into. It is stored in the codebook, so that later versions
// can change it.
const groupProbes = 16

// KMeans clusters n vectors of dimension dim by direction (spherical k-means: assignment by the largest
// inner product, centroids of unit length) and returns the centroids, min(k, n) x dim. Vectors should have
// unit length; rows of zeros are tolerated and attract nothing. Clusters that run empty are seeded again
// with the vectors that fit worst. The result depends on data, options and the instruction set alone, not on
// Workers or GOMAXPROCS.
//
// From 1,024 clusters on it works on two levels: a coarse clustering into about sqrt(k) groups, Lloyd's
// algorithm within each, and two iterations over all of them in which a vector looks into its nearest 16
// groups. At 8,192 clusters that takes a quarter of the time of four plain iterations, and fits better.
//
// Errors: maxsim.ErrDim when data is not n x dim, maxsim.ErrNotFinite, ErrOption for k < 1, ErrEmpty for
// n = 0, and the context's.
func KMeans(ctx context.Context, data []float32, n, dim, k int, o *KMeansOptions) ([]float32, error) {
	if o == nil {
		o = &KMeansOptions{}
	}
	if err := (maxsim.Matrix{Data: data, Rows: n, Dim: dim}).Validate(); err != nil {
		return nil, fmt.Errorf("quant: k-means: %w", err)
	}
	if k < 1 {
		return nil, fmt.Errorf("quant: k-means: %d clusters, must be at least 1: %w", k, ErrOption)
	}
	if n == 0 {
		return nil, fmt.Errorf("quant: k-means: %w", ErrEmpty)
	}
	m, err := cluster(ctx, data, n, dim, min(k, n), o)
	if err != nil {
		return nil, fmt.Errorf("quant: k-means: %w", err)
	}
	return m.cent, nil
}

// cluster runs k-means with 1 <= k <= n.
func cluster(ctx context.Context, data []float32, n, dim, k int, o *KMeansOptions) (*kmeans, error) {
	r := rng{o.Seed}
	per := o.PointsPerCentroid
	if per == 0 {
		per = DefaultPointsPerCentroid
	}
	if per > 0 && n/per >= k {
		data, n = subsample(&r, data, n, dim, k*per)
	}
	iters := o.Iterations
	if iters <= 0 {
		iters = DefaultIterations
	}
	progress := o.Progress
	if progress == nil {
		progress = func(int, int) {}
	}
	if k >= minGroupedClusters {
		return clusterGroups(ctx, &r, data, n, dim, k, iters, o.Workers, progress)
	}
	m := newKMeans(data, n, dim, k, o.Workers)
	m.seed(&r)
	return m, m.iterate(ctx, iters, progress)
}

// clusterElsewhere lets another program cluster, groups the centroids that come back and measures how they fit.
func clusterElsewhere(ctx context.Context, r *rng, x maxsim.Matrix, k int, o *KMeansOptions,
	f func(context.Context, maxsim.Matrix, int, *KMeansOptions) (maxsim.Matrix, error)) (*kmeans, error) {
	per := o.PointsPerCentroid
	if per == 0 {
		per = DefaultPointsPerCentroid
	}
	if per > 0 && x.Rows/per >= k {
		x.Data, x.Rows = subsample(r, x.Data, x.Rows, x.Dim, k*per)
	}
	cent, err := f(ctx, x, k, &KMeansOptions{Iterations: o.Iterations, PointsPerCentroid: -1, Seed: o.Seed, Workers: o.Workers, Progress: o.Progress})
	if err != nil {
		return nil, err
	}
	if err := cent.Validate(); err != nil {
		return nil, fmt.Errorf("centroids from elsewhere: %w", err)
	}
	if cent.Rows < 1 || cent.Rows > k || cent.Dim != x.Dim {
		return nil, fmt.Errorf("%d centroids of dimension %d from elsewhere, want at most %d of %d: %w", cent.Rows, cent.Dim, k, x.Dim, ErrOption)
	}
	m := newKMeans(x.Data, x.Rows, x.Dim, cent.Rows, o.Workers)
	m.cent = slices.Clone(cent.Data)
	if cent.Rows >= minGroupedClusters {
		if m.cent, _, m.sizes, err = regroup(ctx, r, m.cent, nil, x.Dim, 1<<(bits.Len(uint(cent.Rows))/2), 8, o.Workers); err != nil {
			return nil, err
		}
	}
	return m, m.measure(ctx)
}

// clusterGroups is k-means on two levels.
func clusterGroups(ctx context.Context, r *rng, data []float32, n, dim, k, iters, workers int, progress func(done, total int)) (*kmeans, error) {
	const (
		coarsePoints     = 256 // per group
		coarseIterations = 8
		refinements      = 2
		steps            = 2 + refinements
	)
	groups := 1 << (bits.Len(uint(k)) / 2)
	some, have := subsample(r, data, n, dim, groups*coarsePoints)
	coarse := newKMeans(some, have, dim, groups, workers)
	coarse.seed(r)
	if err := coarse.iterate(ctx, coarseIterations, func(int, int) {}); err != nil {
		return nil, err
	}
	parts := newKMeans(data, n, dim, groups, workers)
	parts.cent = coarse.cent
	if err := parts.assign(ctx); err != nil {
		return nil, err
	}
	parts.sortByCluster()
	progress(1, steps)

	m := newKMeans(data, n, dim, k, workers)
	m.cent = make([]float32, k*dim)
	quota := share(parts.start, k)
	first := make([]int, groups+1)
	seeds := make([]uint64, groups)
	for g, q := range quota {
		first[g+1] = first[g] + q
		seeds[g] = r.next()
		if q > 0 {
			m.sizes = append(m.sizes, uint32(q))
		}
	}
	err := parallel(ctx, groups, 1, workers, func() func(i, j int) {
		var own []float32
		return func(g, _ int) {
			rows := parts.order[parts.start[g]:parts.start[g+1]]
			if quota[g] == 0 {
				return
			}
			own = slices.Grow(own[:0], len(rows)*dim)
			for _, i := range rows {
				own = append(own, data[int(i)*dim:(int(i)+1)*dim]...)
			}
			sub := newKMeans(own, len(rows), dim, quota[g], 1)
			sub.seed(&rng{seeds[g]})
			if sub.iterate(ctx, iters, func(int, int) {}) == nil {
				copy(m.cent[first[g]*dim:first[g+1]*dim], sub.cent)
			} // else the context is done, and parallel says so
		}
	})
	if err != nil {
		return nil, err
	}
	progress(2, steps)
	return m, m.iterate(ctx, refinements, func(done, _ int) { progress(2+done, steps) })
}

// share divides k centroids among groups in proportion to their rows; start holds where each begins.
func share(start []int32, k int) []int {
	rows := make([]int, len(start)-1)
	weight := make([]float64, len(rows))
	for g := range rows {
		rows[g] = int(start[g+1] - start[g])
		weight[g] = float64(rows[g])
	}
	return shareBy(rows, weight, k)
}

// shareBy divides k centroids among groups in proportion to their weights, at least one and at most one per row:
// largest remainders first. There must be k rows.
func shareBy(rows []int, weight []float64, k int) []int {
	groups := len(rows)
	var total float64
	for _, w := range weight {
		total += w
	}
	exact := func(g int) float64 { return float64(k) * weight[g] / total }
	quota := make([]int, groups)
	left := k
	for g := range quota {
		quota[g] = min(rows[g], max(1, int(exact(g))))
		left -= quota[g]
	}
	order := make([]int, groups)
	for g := range order {
		order[g] = g
	}
	// want is what a group lacks of its exact share; positive ones gain, negative ones lose.
	want := func(g int) float64 { return exact(g) - float64(quota[g]) }
	for left != 0 {
		slices.SortStableFunc(order, func(a, b int) int {
			switch wa, wb := want(a), want(b); {
			case wa > wb:
				return -1
			case wa < wb:
				return 1
			}
			return 0
		})
		if left < 0 {
			slices.Reverse(order)
		}
		for _, g := range order {
			if left > 0 && quota[g] < rows[g] {
				quota[g]++
				left--
			} else if left < 0 && quota[g] > 1 {
				quota[g]--
				left++
			}
			if left == 0 {
				break
			}
		}
	}
	return quota
}

// subsample copies m of the n rows, drawn at random, in their order.
func subsample(r *rng, data []float32, n, dim, m int) ([]float32, int) {
	if m >= n {
		return data, n
	}
	out := make([]float32, 0, m*dim)
	for _, i := range r.choose(n, m) {
		out = append(out, data[i*dim:(i+1)*dim]...)
	}
	return out, m
}

type kmeans struct {
	data      []float32
	n, dim, k int
	workers   int

	cent   []float32
	sizes  []uint32 // of the groups of centroids; nil: no groups
	code   []uint32
	score  []float32
	start  []int32 // rows of cluster c are order[start[c]:start[c+1]]
	order  []int32
	spread []float64 // sum over a cluster's rows of the squared residuals (see stretch) from the new centroid
}

func newKMeans(data []float32, n, dim, k, workers int) *kmeans {
	return &kmeans{
		data:    data,
		n:       n,
		dim:     dim,
		k:       k,
		workers: workers,
		code:    make([]uint32, n),
		score:   make([]float32, n),
		start:   make([]int32, k+1),
		order:   make([]int32, n),
		spread:  make([]float64, k),
	}
}

// seed takes k rows, drawn without replacement, as the first centroids.
func (m *kmeans) seed(r *rng) {
	m.cent = make([]float32, 0, m.k*m.dim)
	for _, i := range r.choose(m.n, m.k) {
		m.cent = append(m.cent, m.data[i*m.dim:(i+1)*m.dim]...)
	}
	for c := range m.k {
		kernel.Normalize(m.cent[c*m.dim : (c+1)*m.dim])
	}
}

func (m *kmeans) iterate(ctx context.Context, iters int, progress func(done, total int)) error {
	for i := range iters {
		if err := m.step(ctx); err != nil {
			return err
		}
		progress(i+1, iters)
	}
	return nil
}

// step runs one iteration: assignment, then new centroids.
func (m *kmeans) step(ctx context.Context) error {
	if err := m.assign(ctx); err != nil {
		return err
	}
	m.sortByCluster()
	// Each sum runs over its cluster's rows in ascending order, so that it does not matter who computes it.
	err := parallel(ctx, m.k, 64, m.workers, func() func(i, j int) {
		return func(i, j int) {
			for c := i; c < j; c++ {
				m.update(c)
			}
		}
	})
	if err != nil {
		return err
	}
	if m.sizes == nil {
		m.reseed(0, m.k)
		return nil
	}
	c := 0
	for _, n := range m.sizes { // a centroid stays in its group
		m.reseed(c, c+int(n))
		c += int(n)
	}
	return nil
}

func (m *kmeans) assign(ctx context.Context) error {
	return newAssigner(m.cent, m.dim, m.sizes, groupProbes).run(ctx, m.code, m.score, m.data, m.workers)
}

// sortByCluster is a stable counting sort of the rows by their code.
func (m *kmeans) sortByCluster() {
	clear(m.start)
	for _, c := range m.code {
		m.start[c+1]++
	}
	for c := range m.k {
		m.start[c+1] += m.start[c]
	}
	next := slices.Clone(m.start)
	for i, c := range m.code {
		m.order[next[c]] = int32(i)
		next[c]++
	}
}

// update sets centroid c to the direction of its rows' sum. A sum of zero (only zero rows, or rows that
// cancel) leaves the centroid as it was.
func (m *kmeans) update(c int) {
	rows := m.order[m.start[c]:m.start[c+1]]
	m.spread[c] = 0
	if len(rows) == 0 {
		return
	}
	var buf [512]float32
	sum := buf[:min(m.dim, len(buf))]
	if m.dim > len(buf) {
		sum = make([]float32, m.dim)
	}
	for _, i := range rows {
		for t, v := range m.data[int(i)*m.dim : (int(i)+1)*m.dim] {
			sum[t] += v
		}
	}
	cent := m.cent[c*m.dim : (c+1)*m.dim]
	if kernel.Normalize(sum) > minNorm {
		copy(cent, sum)
	}
	m.measureOne(c)
}

// measureOne sets the spread of a cluster.
func (m *kmeans) measureOne(c int) {
	cent := m.cent[c*m.dim : (c+1)*m.dim]
	m.spread[c] = 0
	for _, i := range m.order[m.start[c]:m.start[c+1]] {
		row := m.data[int(i)*m.dim : (int(i)+1)*m.dim]
		p := kernel.Dot(row, cent)
		g := float64(stretch(p))
		m.spread[c] += max(0, g*g*float64(kernel.Dot(row, row))-2*g*float64(p)+1)
	}
}

// measure assigns all rows and sets the clusters' spreads; the centroids stay.
func (m *kmeans) measure(ctx context.Context) error {
	if err := m.assign(ctx); err != nil {
		return err
	}
	m.sortByCluster()
	return parallel(ctx, m.k, 64, m.workers, func() func(i, j int) {
		return func(i, j int) {
			for c := i; c < j; c++ {
				m.measureOne(c)
			}
		}
	})
}

// reseed gives each empty cluster from c0 to c1 (exclusive) one of the rows that fit their own centroid
// worst, at most one of each cluster of that range and none from clusters of one row.
func (m *kmeans) reseed(c0, c1 int) {
	var empty []int
	for c := c0; c < c1; c++ {
		if m.start[c] == m.start[c+1] {
			empty = append(empty, c)
		}
	}
	if len(empty) == 0 {
		return
	}
	var worst []int32
	for c := c0; c < c1; c++ {
		rows := m.order[m.start[c]:m.start[c+1]]
		if len(rows) < 2 {
			continue
		}
		w := rows[0]
		for _, i := range rows[1:] {
			if m.score[i] < m.score[w] {
				w = i
			}
		}
		worst = append(worst, w)
	}
	slices.SortFunc(worst, func(a, b int32) int {
		switch {
		case m.score[a] < m.score[b]:
			return -1
		case m.score[a] > m.score[b]:
			return 1
		}
		return int(a - b)
	})
	for i, c := range empty[:min(len(empty), len(worst))] {
		row := m.cent[c*m.dim : (c+1)*m.dim]
		old := slices.Clone(row)
		copy(row, m.data[int(worst[i])*m.dim:(int(worst[i])+1)*m.dim])
		if kernel.Normalize(row) == 0 {
			copy(row, old)
		}
	}
}

// scales returns a scale per centroid, about 1 in the mean: the root mean square of its vectors' residuals
// over that of all. Few vectors say little about their centroid, so the mean of all counts as a few more.
// nil means that there are no residuals.
func (m *kmeans) scales() []float32 {
	const prior = 4
	var total float64
	for _, s := range m.spread {
		total += s
	}
	mean := total / float64(m.n)
	if mean < 1e-12 {
		return nil
	}
	out := make([]float32, m.k)
	for c := range out {
		n := float64(m.start[c+1] - m.start[c])
		s := mean
		if n >= 1 {
			s = (m.spread[c] + prior*mean) / (n - 1 + prior)
		}
		out[c] = float32(math.Sqrt(s / mean))
	}
	return roundHalf(out)
}
