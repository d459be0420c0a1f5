package quant

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// TrainOptions sets what Train makes. The zero value is a good default: 4 bits, centroids by NumCentroids,
// with a rotation.
type TrainOptions struct {
	// NBits per dimension: 1, 2, 4, 8, or 16 for float16 rows; 0 means 4.
	NBits int
	// Centroids; 0 means NumCentroids of Tokens. Never more than the sample has vectors.
	Centroids int
	// Tokens is the size of the collection that the sample stands for; 0 means the sample's.
	Tokens uint64
	// Iterations of k-means; 0 means DefaultIterations.
	Iterations int
	// PointsPerCentroid of k-means; 0 means DefaultPointsPerCentroid.
	PointsPerCentroid int
	// Seed of the rotation and of k-means.
	Seed uint64
	// NoRotation keeps codec space equal to the input space. Float16 rows are never rotated.
	NoRotation bool
	// Queries, when it has rows, is a sample of query vectors (a few hundred or more, of any queries that
	// the same model encoded). Codes then err least in the directions in which queries lie; the decoder
	// does not change. See FORMAT.md, directions.
	Queries maxsim.Matrix
	// Like, when Queries has no rows, is a codebook of the same dimension whose directions are taken over.
	// One without directions is passed over.
	Like *Codebook
	// TokenIDs, when not nil, holds the vocabulary id of each vector of the sample, or NoToken. Large codebooks are then
	// clustered by token, on the whole sample whatever PointsPerCentroid is, which takes a third of the time. On real passages at 4 bits the recall@10 of a shortlist of 512
	// documents is .90 instead of .88 then, that of 1,024 the same (.91), that of 2,048 .92 instead of .93.
	TokenIDs []uint32
	// Cluster, when not nil, is used in place of k-means, as by a device: it returns centroids of unit length, k x Dim (or
	// fewer), for unit vectors, at most PointsPerCentroid of them per centroid. Its options are Iterations, Seed, Workers and
	// Progress. TokenIDs are not looked at then.
	Cluster func(ctx context.Context, vectors maxsim.Matrix, k int, o *KMeansOptions) (maxsim.Matrix, error)
	// Consume lets Train use the sample's memory, whose values are lost: training then needs half as much. It does
	// not change the result.
	Consume bool
	// Workers is the most goroutines to use; 0 means GOMAXPROCS. It does not change the result.
	Workers int
	// Progress, when not nil, is called with what is done and what there is to do.
	Progress func(done, total int)
}

func (o *TrainOptions) validate() error {
	var errs []error
	errs = append(errs, checkBits(o.NBits))
	if o.Centroids < 0 || o.Centroids > MaxCentroids {
		errs = append(errs, fmt.Errorf("quant: %d centroids, must be 0 to %d: %w", o.Centroids, MaxCentroids, ErrOption))
	}
	if o.Iterations < 0 {
		errs = append(errs, fmt.Errorf("quant: %d iterations, must not be negative: %w", o.Iterations, ErrOption))
	}
	return errors.Join(errs...)
}

// NumCentroids returns ColBERTv2's number of centroids for a collection of so many token vectors:
// 2^floor(log2(16*sqrt(tokens))), at least 1 and at most tokens.
func NumCentroids(tokens uint64) int {
	if tokens == 0 {
		return 1
	}
	k := uint64(1) << int(math.Floor(math.Log2(16*math.Sqrt(float64(tokens)))))
	return int(min(k, tokens, MaxCentroids))
}

// Held-out vectors for the levels, and how many of the residuals' values the levels are fitted to.
const (
	maxHeldOut     = 50_000
	maxLevelValues = 2 << 20
)

// Train learns a codebook from a sample of a collection's token vectors, which should have unit length. The
// sample is not written to (but see TrainOptions.Consume). Levels are learned on vectors held out from k-means: a twentieth of the sample,
// more of small ones, and on the sample itself when it is too small to share.
//
// Errors: maxsim.ErrDim, maxsim.ErrNotFinite (naming the row), ErrEmpty, ErrOption (all faults at once), and
// the context's.
func Train(ctx context.Context, sample maxsim.Matrix, opts *TrainOptions) (*Codebook, error) {
	o := TrainOptions{}
	if opts != nil {
		o = *opts
	}
	if o.NBits == 0 {
		o.NBits = 4
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	if err := sample.Validate(); err != nil {
		return nil, fmt.Errorf("quant: train: %w", err)
	}
	if sample.Rows == 0 {
		return nil, fmt.Errorf("quant: train: %w", ErrEmpty)
	}
	if sample.Dim > MaxDim {
		return nil, fmt.Errorf("quant: train: dimension %d, at most %d: %w", sample.Dim, MaxDim, maxsim.ErrDim)
	}
	if err := o.Queries.Validate(); err != nil {
		return nil, fmt.Errorf("quant: train: queries: %w", err)
	}
	if o.Queries.Rows > 0 && o.Queries.Dim != sample.Dim {
		return nil, fmt.Errorf("quant: train: queries of dimension %d, the sample has %d: %w", o.Queries.Dim, sample.Dim, maxsim.ErrDim)
	}
	if o.TokenIDs != nil && len(o.TokenIDs) != sample.Rows {
		return nil, fmt.Errorf("quant: train: %d token ids for %d vectors: %w", len(o.TokenIDs), sample.Rows, ErrOption)
	}
	if o.Like != nil && o.Like.dim != sample.Dim {
		return nil, fmt.Errorf("quant: train: like a codebook of dimension %d, the sample has %d: %w", o.Like.dim, sample.Dim, maxsim.ErrDim)
	}
	k := o.Centroids
	if k == 0 {
		k = NumCentroids(max(o.Tokens, uint64(sample.Rows)))
	}
	k = min(k, sample.Rows)

	c := &Codebook{dim: sample.Dim, nbits: o.NBits, trainTokens: uint64(sample.Rows)}
	r := rng{o.Seed}
	if rotSeed := r.next(); !o.NoRotation && o.NBits < 16 {
		c.kind, c.seed = rotationHadamard, rotSeed
		c.rot = newRotation(c.dim, c.seed)
	}
	fit, held, ids := split(&r, sample, o.TokenIDs, heldOut(sample.Rows, k), o.Consume)
	if err := rotateAll(ctx, c, fit, o.Workers); err != nil {
		return nil, err
	}
	if err := rotateAll(ctx, c, held, o.Workers); err != nil {
		return nil, err
	}
	ko := &KMeansOptions{
		Iterations:        o.Iterations,
		PointsPerCentroid: o.PointsPerCentroid,
		Seed:              r.next(),
		Workers:           o.Workers,
		Progress:          o.Progress,
	}
	var km *kmeans
	var err error
	switch {
	case o.Cluster != nil:
		km, err = clusterElsewhere(ctx, &r, fit, k, ko, o.Cluster)
	case ids != nil && k >= minTokenClusters:
		km, err = clusterTokens(ctx, fit.Data, ids, fit.Rows, fit.Dim, k, ko)
	default:
		km, err = cluster(ctx, fit.Data, fit.Rows, fit.Dim, k, ko)
	}
	if err != nil {
		return nil, fmt.Errorf("quant: train: %w", err)
	}
	c.centroids, c.groups = roundHalf(km.cent), km.sizes
	if c.groups != nil {
		c.probes = min(groupProbes, len(c.groups))
	}
	if c.nbits < 16 {
		c.scales = km.scales()
		switch {
		case o.Queries.Rows > 0:
			c.focus = newFocus(c, &r, o.Queries)
		case o.Like.focused():
			c.focus = o.Like.focus.in(o.Like, c)
		}
	}
	if held.Rows == 0 {
		held = fit
	}
	if err := c.fitLevels(ctx, held, o.Workers); err != nil {
		return nil, err
	}
	if err := c.init(); err != nil {
		return nil, err
	}
	return c, nil
}

// heldOut returns how many of n vectors to keep from k-means with k clusters: a twentieth, or a quarter of
// samples below 2,000, as long as k remain and there are enough to say anything.
func heldOut(n, k int) int {
	h := min(max(n/20, min(n/4, 500)), maxHeldOut, n-k)
	if h < 32 {
		return 0
	}
	return h
}

// split divides the sample, the held-out rows apart, and gives the ids, if any, of the others. With consume the other rows move together in the sample's own
// memory; without it they are copied.
func split(r *rng, sample maxsim.Matrix, tokens []uint32, held int, consume bool) (fit, out maxsim.Matrix, ids []uint32) {
	d := sample.Dim
	fit = maxsim.Matrix{Data: sample.Data[:0], Rows: sample.Rows - held, Dim: d}
	if !consume {
		fit.Data = make([]float32, 0, fit.Rows*d)
	}
	out = maxsim.Matrix{Data: make([]float32, 0, held*d), Rows: held, Dim: d}
	last := 0
	for _, i := range r.choose(sample.Rows, held) {
		fit.Data = append(fit.Data, sample.Data[last*d:i*d]...)
		out.Data = append(out.Data, sample.Data[i*d:(i+1)*d]...)
		if tokens != nil {
			ids = append(ids, tokens[last:i]...)
		}
		last = i + 1
	}
	fit.Data = append(fit.Data, sample.Data[last*d:]...)
	if tokens != nil {
		ids = append(ids, tokens[last:]...)
	}
	return fit, out, ids
}

func rotateAll(ctx context.Context, c *Codebook, m maxsim.Matrix, workers int) error {
	if c.rot == nil {
		return ctx.Err()
	}
	return parallel(ctx, m.Rows, 1024, workers, func() func(i, j int) {
		return func(i, j int) {
			v := m.Data[i*m.Dim : j*m.Dim]
			c.Rotate(v, v, j-i)
		}
	})
}

// roundHalf returns v rounded to what float16 represents.
func roundHalf(v []float32) []float32 {
	b := make([]byte, 2*len(v))
	encodeHalf(b, v)
	out := make([]float32, len(v))
	kernel.LoadF16(out, b)
	return out
}

// fitLevels sets the cutoffs, the levels and the mean residual from vectors in codec space.
func (c *Codebook) fitLevels(ctx context.Context, m maxsim.Matrix, workers int) error {
	d := m.Dim
	code, score := make([]uint32, m.Rows), make([]float32, m.Rows)
	if err := c.assigner().run(ctx, code, score, m.Data, workers); err != nil {
		return err
	}
	step := max(1, (m.Rows*d+maxLevelValues-1)/maxLevelValues) // every step-th row gives its values
	values := make([]float32, 0, (m.Rows/step+1)*d)
	var norms float64
	for i := range m.Rows {
		var sum float64
		cent := c.centroids[int(code[i])*d : (int(code[i])+1)*d]
		g, inv := float32(1), float32(1)
		if c.scales != nil {
			g, inv = stretch(score[i]), 1/c.scales[code[i]]
		}
		for t, x := range m.Row(i) {
			r := x - cent[t]
			sum += float64(r) * float64(r)
			if i%step == 0 {
				values = append(values, (g*x-cent[t])*inv)
			}
		}
		norms += math.Sqrt(sum)
	}
	c.meanResidual = float32(norms / float64(m.Rows))
	if c.nbits < 16 {
		c.cutoffs, c.weights = lloydMax(values, c.nbits)
	}
	return nil
}
