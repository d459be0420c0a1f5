package quant

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
)

// ExtendOptions sets how Extend works. The zero value is a good default.
type ExtendOptions struct {
	// Centroids to add; 0 means one for every 16 vectors of the sample. Never more than it has vectors.
	Centroids int
	// Seed of k-means.
	Seed uint64
	// Workers is the most goroutines to use; 0 means GOMAXPROCS. It does not change the result.
	Workers int
	// Progress, when not nil, is called with what is done and what there is to do.
	Progress func(done, total int)
}

// Extend returns a codebook that has the centroids of c under their old numbers and new ones behind them,
// learned by k-means from a sample of vectors, in input space, that those of c fit badly. Everything else
// stays: rotation, levels, directions, and MeanResidual, which remains the measure of what fits. What c coded
// decodes under the new codebook to the very same vectors (see Extends), and new vectors like the sample's
// are coded as well as those that c was trained for: the new centroids' scales, if c has any, adapt the levels
// to them.
//
// The errors are Train's. c is not changed.
func (c *Codebook) Extend(ctx context.Context, sample maxsim.Matrix, o *ExtendOptions) (*Codebook, error) {
	if o == nil {
		o = &ExtendOptions{}
	}
	if err := sample.Validate(); err != nil {
		return nil, fmt.Errorf("quant: extend: %w", err)
	}
	if sample.Rows == 0 {
		return nil, fmt.Errorf("quant: extend: %w", ErrEmpty)
	}
	if sample.Dim != c.dim {
		return nil, fmt.Errorf("quant: extend: dimension %d, the codebook has %d: %w", sample.Dim, c.dim, maxsim.ErrDim)
	}
	k := o.Centroids
	if k == 0 {
		k = max(1, sample.Rows/16)
	}
	k = min(k, sample.Rows)
	if k < 1 || k > MaxCentroids-c.k {
		return nil, fmt.Errorf("quant: extend: %d centroids more than %d, must be 1 to %d in all: %w", k, c.k, MaxCentroids, ErrOption)
	}
	r := rng{o.Seed}
	fit, held, _ := split(&r, sample, nil, heldOut(sample.Rows, k), false)
	if err := rotateAll(ctx, c, fit, o.Workers); err != nil {
		return nil, err
	}
	if err := rotateAll(ctx, c, held, o.Workers); err != nil {
		return nil, err
	}
	cent, scales, sizes, err := fit.Data, []float32(nil), []uint32(nil), error(nil)
	if k == fit.Rows { // every vector is a centroid
		fit.Normalize()
	} else {
		km, err := cluster(ctx, fit.Data, fit.Rows, fit.Dim, k, &KMeansOptions{Seed: r.next(), Workers: o.Workers, Progress: o.Progress})
		if err != nil {
			return nil, fmt.Errorf("quant: extend: %w", err)
		}
		cent, sizes = km.cent, km.sizes
		if c.scales != nil {
			scales = km.scales()
		}
	}
	e := &Codebook{
		dim: c.dim, nbits: c.nbits, cutoffs: c.cutoffs, weights: c.weights, kind: c.kind, seed: c.seed,
		trainTokens: c.trainTokens + uint64(sample.Rows), meanResidual: c.meanResidual,
	}
	if c.focus != nil {
		e.focus = &focus{dim: c.dim, dirs: c.focus.dirs, strength: c.focus.strength}
	}
	if c.groups != nil {
		if sizes == nil {
			if cent, scales, sizes, err = regroup(ctx, &r, cent, scales, c.dim, max(1, k/32), 4, o.Workers); err != nil {
				return nil, fmt.Errorf("quant: extend: %w", err)
			}
		}
		e.groups = append(slices.Clone(c.groups), sizes...)
		e.probes = min(groupProbes, len(e.groups))
	}
	e.centroids = append(slices.Clone(c.centroids), roundHalf(cent)...)
	if c.scales != nil {
		if held.Rows == 0 {
			held = fit
		}
		if e.scales, err = c.extendScales(ctx, e, scales, k, held, o.Workers); err != nil {
			return nil, fmt.Errorf("quant: extend: %w", err)
		}
	}
	if err := e.init(); err != nil {
		return nil, err
	}
	return e, nil
}

// regroup orders some centroids, and their scales if they have any, by groups of neighbours, as k-means on two levels
// leaves them, and gives the sizes of the groups.
func regroup(ctx context.Context, r *rng, cent, scales []float32, dim, groups, iterations, workers int) (c, s []float32, sizes []uint32, err error) {
	m := newKMeans(cent, len(cent)/dim, dim, groups, workers)
	m.seed(r)
	if err := m.iterate(ctx, iterations, func(int, int) {}); err != nil {
		return nil, nil, nil, err
	}
	if err := m.assign(ctx); err != nil {
		return nil, nil, nil, err
	}
	m.sortByCluster()
	for g := range groups {
		if n := m.start[g+1] - m.start[g]; n > 0 {
			sizes = append(sizes, uint32(n))
		}
	}
	c = make([]float32, 0, len(cent))
	for _, i := range m.order {
		c = append(c, cent[int(i)*dim:(int(i)+1)*dim]...)
		if scales != nil {
			s = append(s, scales[i])
		}
	}
	return c, s, sizes, nil
}

// extendScales gives the scales of e, of which the last k centroids are new with the scales rel relative to
// each other (nil: equal). Their common factor is the one with which the levels err least on held-out
// vectors, which are in codec space.
func (c *Codebook) extendScales(ctx context.Context, e *Codebook, rel []float32, k int, held maxsim.Matrix, workers int) ([]float32, error) {
	if rel == nil {
		rel = make([]float32, k)
		for i := range rel {
			rel[i] = 1
		}
	}
	const maxRows = 1024
	rows := min(held.Rows, maxRows)
	code, score := make([]uint32, rows), make([]float32, rows)
	if err := newAssigner(e.centroids, e.dim, e.groups, e.probes).run(ctx, code, score, held.Data[:rows*e.dim], workers); err != nil {
		return nil, err
	}
	var values, weight []float32
	for i, cd := range code {
		if int(cd) < c.k {
			continue
		}
		s := rel[int(cd)-c.k]
		cent := e.centroids[int(cd)*e.dim:]
		g := stretch(score[i])
		for t, v := range held.Row(i) {
			values, weight = append(values, (g*v-cent[t])/s), append(weight, s*s)
		}
	}
	factor := c.bestFactor(values, weight)
	scales := append(make([]float32, 0, c.k+k), c.scales...)
	for _, s := range rel {
		scales = append(scales, min(max(s*factor, 1.0/1024), 1024))
	}
	return append(scales[:c.k:c.k], roundHalf(scales[c.k:])...), nil
}

// bestFactor gives the f for which f times the levels come nearest to the values, each of which has a weight.
func (c *Codebook) bestFactor(values, weight []float32) float32 {
	var power, levels float64
	for _, v := range values {
		power += float64(v) * float64(v)
	}
	for _, w := range c.weights {
		levels += float64(w) * float64(w)
	}
	if power == 0 || levels == 0 {
		return 1
	}
	const perOctave, octaves = 8, 3
	start := math.Sqrt(power / float64(len(values)) / (levels / float64(len(c.weights))))
	best, least := float32(1), math.Inf(1)
	for step := -octaves * perOctave; step <= octaves*perOctave; step++ {
		f := float32(start * math.Exp2(float64(step)/perOctave))
		inv, sum := 1/f, 0.0
		for i, v := range values {
			d := v - f*c.weights[c.grid.bucket(v*inv)]
			sum += float64(d * d * weight[i])
		}
		if sum < least {
			best, least = f, sum
		}
	}
	return best
}

// Extends says whether every code and residual of old means the same under c: c has old's centroids and
// scales under the same numbers, and rotation and levels are equal. A codebook extends itself.
func (c *Codebook) Extends(old *Codebook) bool {
	if c == old {
		return true
	}
	if c.dim != old.dim || c.nbits != old.nbits || c.k < old.k || c.kind != old.kind || c.seed != old.seed ||
		!slices.Equal(c.weights, old.weights) || !slices.Equal(c.cutoffs, old.cutoffs) {
		return false
	}
	if c.nbits < 16 {
		for i := range old.k {
			if c.Scale(uint32(i)) != old.Scale(uint32(i)) {
				return false
			}
		}
	}
	return slices.Equal(c.centroids[:len(old.centroids)], old.centroids)
}

// Nearest returns, for each row of m, in input space, the number of the nearest centroid and the L2 norm of what
// that leaves over. Compared with MeanResidual, and with the centroids' Scales, the norms say which vectors the
// codebook fits badly. Errors are those of Encode.
func (c *Codebook) Nearest(ctx context.Context, m maxsim.Matrix, workers int) (codes []uint32, norms []float32, err error) {
	if err := m.Validate(); err != nil {
		return nil, nil, fmt.Errorf("quant: nearest: %w", err)
	}
	if m.Rows > 0 && m.Dim != c.dim {
		return nil, nil, fmt.Errorf("quant: nearest: dimension %d, the codebook has %d: %w", m.Dim, c.dim, maxsim.ErrDim)
	}
	codes, norms = make([]uint32, m.Rows), make([]float32, m.Rows)
	if m.Rows == 0 {
		return codes, norms, ctx.Err()
	}
	a, d := c.assigner(), c.dim
	err = parallel(ctx, m.Rows, assignBlock, workers, func() func(i, j int) {
		var s assignScratch
		x, score := make([]float32, assignBlock*d), make([]float32, assignBlock)
		return func(i, j int) {
			n := j - i
			c.Rotate(x, m.Data[i*d:j*d], n)
			a.assign(codes[i:j], score[:n], x[:n*d], &s)
			for t := range n {
				norms[i+t] = float32(residualNorm(x[t*d:(t+1)*d], c.centroid(codes[i+t])))
			}
		}
	})
	if err != nil {
		return nil, nil, err
	}
	return codes, norms, nil
}

// residualNorm is the distance of x from the first len(x) values of cent.
func residualNorm(x, cent []float32) float64 {
	var sum float64
	for i, v := range x {
		r := v - cent[i]
		sum += float64(r) * float64(r)
	}
	return math.Sqrt(sum)
}
