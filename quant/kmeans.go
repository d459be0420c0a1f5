package quant

import (
	"context"
	"fmt"
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
	// Progress, when not nil, is called after each iteration with what is done and what there is to do.
	Progress func(done, total int)
}

// Defaults of KMeansOptions. See ARCHITECTURE.md for the measurements behind them.
const (
	DefaultIterations        = 4
	DefaultPointsPerCentroid = 64
)

// KMeans clusters n vectors of dimension dim by direction (spherical k-means: assignment by the largest
// inner product, centroids of unit length) and returns the centroids, min(k, n) x dim. Vectors should have
// unit length; rows of zeros are tolerated and attract nothing. Clusters that run empty are seeded again
// with the vectors that fit worst. The result depends on data, options and the instruction set alone, not on
// Workers or GOMAXPROCS.
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
	km := &kmeans{data: data, n: n, dim: dim, k: k, workers: o.Workers}
	km.seed(&r)
	for i := range iters {
		if err := km.step(ctx); err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(i+1, iters)
		}
	}
	return km, nil
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
	code   []uint32
	score  []float32
	start  []int32 // rows of cluster c are order[start[c]:start[c+1]]
	order  []int32
	packed *kernel.Packed
	spread []float64 // sum over a cluster's rows of the squared distance from the new centroid
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
	m.code = make([]uint32, m.n)
	m.score = make([]float32, m.n)
	m.spread = make([]float64, m.k)
	m.start = make([]int32, m.k+1)
	m.order = make([]int32, m.n)
}

const assignBlock = 256

// step runs one iteration: assignment, then new centroids.
func (m *kmeans) step(ctx context.Context) error {
	m.pack()
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
	m.reseed()
	return nil
}

func (m *kmeans) pack() {
	if m.packed == nil {
		m.packed = kernel.Pack(m.cent, m.k, m.dim)
	} else {
		m.packed.Repack(m.cent, m.k, m.dim, m.dim)
	}
}

func (m *kmeans) assign(ctx context.Context) error {
	return parallel(ctx, m.n, assignBlock, m.workers, func() func(i, j int) {
		return func(i, j int) {
			m.packed.ArgMax(m.code[i:j], m.score[i:j], m.data[i*m.dim:j*m.dim], m.dim, j-i)
		}
	})
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
	if len(rows) == 0 {
		return
	}
	var buf [512]float32
	sum := buf[:min(m.dim, len(buf))]
	if m.dim > len(buf) {
		sum = make([]float32, m.dim)
	}
	var squares float64
	for _, i := range rows {
		row := m.data[int(i)*m.dim : (int(i)+1)*m.dim]
		for t, v := range row {
			sum[t] += v
		}
		squares += float64(kernel.Dot(row, row))
	}
	norm := kernel.Normalize(sum)
	if norm <= 1e-12 {
		m.spread[c] = squares
		return
	}
	copy(m.cent[c*m.dim:(c+1)*m.dim], sum)
	// sum |x-c|^2 = sum |x|^2 - 2 c.sum(x) + n, and c is the direction of sum(x).
	m.spread[c] = max(0, squares-2*float64(norm)+float64(len(rows)))
}

// reseed gives each empty cluster one of the rows that fit their own centroid worst, at most one of each
// cluster and none from clusters of one row.
func (m *kmeans) reseed() {
	var empty []int
	for c := range m.k {
		if m.start[c] == m.start[c+1] {
			empty = append(empty, c)
		}
	}
	if len(empty) == 0 {
		return
	}
	var worst []int32
	for c := range m.k {
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
