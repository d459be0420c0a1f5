package index

import (
	"context"
	"fmt"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// Which codebook codes what is added.
const (
	// fitSample is how many of an Add's vectors are looked at to see whether the codebook fits them.
	fitSample = 2048
	// Documents fit badly when their residuals are this much longer, in the mean, than those of the
	// vectors that the codebook was trained for,
	badMean = 1.1
	// or when more than so many of them
	badShare = 0.05
	// are this much longer.
	badFar = 1.5
	// New centroids are learned from vectors whose residuals are this much longer.
	badVector = 1.15
	// minBad vectors must fit badly, and a quarter as many as there are centroids, before a codebook is
	// extended: it is written anew.
	minBad = 512
	// wholeTokens is up to which size an index that began so small that every vector became a centroid stays
	// like that, so that nothing is lost before there is enough to train on.
	wholeTokens = 1024
	// retrainTokens is up to which size an index that has outgrown its codebook gets a new one on the way.
	retrainTokens = 1 << 19
)

// fitTried remembers a pool of segments in which too few vectors were found to fit badly.
type fitTried struct {
	book   string
	tokens uint64
}

// chooseCodebook takes the newest codebook for the spooled documents, extends it, or trains one.
func (a *adder) chooseCodebook(cb *quant.Codebook, entry *manCodebook) (err error) {
	o, tokens := a.ix.opts, a.spool.tokens
	total := a.base.man.Tokens + tokens
	outgrown := func(n uint64) bool {
		return o.Centroids == 0 && quant.NumCentroids(n) >= 4*cb.K() && n >= 4*entry.Tokens
	}
	switch {
	case tokens == 0 && cb == nil:
		if a.cb, err = placeholder(o.Dim, o.NBits); err != nil {
			return err
		}
		return a.c.addCodebook(a.cb, 0)
	case tokens == 0:
		a.cb = cb
		return nil
	case cb == nil || entry.Tokens == 0: // the placeholder of an index of documents without tokens
		return a.train(tokens, false)
	case outgrown(total) && total <= retrainTokens:
		a.recode = true
		return a.train(total, true)
	case outgrown(tokens):
		return a.train(tokens, false)
	case o.Centroids == 0 && uint64(cb.K())+32 > entry.Tokens: // every vector is a centroid, or nearly so
		if total <= wholeTokens {
			return a.extendWhole(cb, entry)
		}
		a.recode = true
		return a.train(total, true)
	}
	a.cb = cb
	return a.extend(cb, entry)
}

// train learns a codebook from a sample of the spooled documents, and of those in the index if all is set.
func (a *adder) train(tokens uint64, all bool) (err error) {
	r := a.ix.newSample(tokens)
	if all {
		if err := sampleSegments(a.ctx, a.base.segs, r); err != nil {
			return err
		}
	}
	if err := a.each(func(m maxsim.Matrix) error { r.Add(m); return nil }); err != nil {
		return err
	}
	a.cb, err = a.ix.trainBook(a.ctx, r, tokens, a.training)
	if err != nil {
		return err
	}
	return a.c.addCodebook(a.cb, tokens)
}

func (a *adder) training(done, total int) {
	if a.o.Progress != nil {
		a.o.Progress(Progress{Stage: "train", Docs: done, Total: total, Tokens: a.tokens})
	}
}

// each gives the vectors of the spooled documents.
func (a *adder) each(f func(maxsim.Matrix) error) error {
	return a.spool.each(func(d *incoming) error {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		return f(maxsim.Matrix{Data: d.vec, Rows: d.rows, Dim: a.ix.opts.Dim})
	})
}

// newSample gives a reservoir for the training of a codebook for so many tokens.
func (ix *Index) newSample(tokens uint64) *quant.Reservoir {
	o := ix.opts
	k := o.Centroids
	if k == 0 {
		k = quant.NumCentroids(tokens)
	}
	// A tenth more than k-means looks at, for the vectors that it holds out.
	most := min(tokens, uint64(max(k, 1))*quant.DefaultPointsPerCentroid*11/10+4096, o.sampleRows())
	return quant.NewReservoir(int(most), o.Dim, o.Seed)
}

// sampleRows is how many vectors a sample has at most.
func (o *Options) sampleRows() uint64 { return uint64(max(sampleBytes/(4*o.Dim), 1)) }

func (ix *Index) trainBook(ctx context.Context, r *quant.Reservoir, tokens uint64, progress func(done, total int)) (*quant.Codebook, error) {
	o := ix.opts
	cb, err := quant.Train(ctx, r.Sample(), &quant.TrainOptions{
		NBits: o.NBits, Centroids: o.Centroids, Tokens: tokens, Seed: o.Seed, Workers: o.Workers, Progress: progress,
	})
	if err != nil {
		return nil, fmt.Errorf("index: training a codebook: %w", err)
	}
	return cb, nil
}

// extend adds centroids to the codebook when the spooled documents fit it badly and there are enough of
// them. Documents of small Adds that fitted as badly and did not suffice count, too.
func (a *adder) extend(cb *quant.Codebook, entry *manCodebook) error {
	unit := cb.MeanResidual()
	if entry.Tokens < 2*uint64(cb.K()) || unit == 0 || cb.Scales() == nil && cb.NBits() < 16 {
		return nil // it says little about what fits; the index will outgrow it soon
	}
	share, bad, err := a.fits(cb)
	if err != nil || !bad {
		return err
	}
	var pool []*Segment
	pooled := uint64(0)
	for _, s := range a.base.segs {
		if s.own == cb && s.MeanResidual() > badMean*float64(unit) {
			pool = append(pool, s)
			pooled += s.live
		}
	}
	need := uint64(max(minBad, cb.K()/4))
	if t := a.ix.tried; uint64(share*float64(a.spool.tokens))+pooled < need || t.book == entry.ID && pooled+a.spool.tokens < 2*t.tokens {
		return nil
	}
	most := min(max(need, pooled+a.spool.tokens), a.ix.opts.sampleRows())
	r := quant.NewReservoir(int(most), cb.Dim(), a.ix.opts.Seed)
	take := func(m maxsim.Matrix) error {
		norms, err := cb.ResidualNorms(a.ctx, m, a.ix.opts.Workers)
		for i, n := range norms {
			if n > badVector*unit {
				r.Add(m.Slice(i, i+1))
			}
		}
		return err
	}
	var buf vectorBuf
	for _, s := range pool {
		if err := buf.each(a.ctx, s, take); err != nil {
			return err
		}
	}
	if err := a.each(take); err != nil {
		return err
	}
	found := r.Seen()
	if found < need {
		a.ix.tried = fitTried{entry.ID, pooled + a.spool.tokens}
		return nil
	}
	// As many for each vector as the codebook had, within reason.
	k := uint64(float64(found) * float64(cb.K()) / float64(entry.Tokens))
	rows := uint64(r.Sample().Rows)
	k = max(min(max(k, rows/quant.DefaultPointsPerCentroid), rows/8), 1)
	more, err := cb.Extend(a.ctx, r.Sample(), &quant.ExtendOptions{
		Centroids: int(k), Seed: a.ix.opts.Seed, Workers: a.ix.opts.Workers, Progress: a.training,
	})
	if err != nil {
		return fmt.Errorf("index: extending the codebook: %w", err)
	}
	a.cb = more
	return a.c.addCodebook(more, entry.Tokens+found)
}

// extendWhole makes every vector of the batch a centroid.
func (a *adder) extendWhole(cb *quant.Codebook, entry *manCodebook) error {
	r := quant.NewReservoir(wholeTokens, cb.Dim(), a.ix.opts.Seed)
	if err := a.each(func(m maxsim.Matrix) error { r.Add(m); return nil }); err != nil {
		return err
	}
	more, err := cb.Extend(a.ctx, r.Sample(), &quant.ExtendOptions{Centroids: r.Sample().Rows, Seed: a.ix.opts.Seed, Workers: a.ix.opts.Workers})
	if err != nil {
		return fmt.Errorf("index: extending the codebook: %w", err)
	}
	a.cb = more
	return a.c.addCodebook(more, entry.Tokens+a.spool.tokens)
}

// fits looks at a sample of the spooled vectors and says whether they fit the codebook badly, and which share
// of them new centroids would be learned from.
func (a *adder) fits(cb *quant.Codebook) (share float64, bad bool, err error) {
	r := quant.NewReservoir(fitSample, cb.Dim(), a.ix.opts.Seed)
	if err := a.each(func(m maxsim.Matrix) error { r.Add(m); return nil }); err != nil {
		return 0, false, err
	}
	norms, err := cb.ResidualNorms(a.ctx, r.Sample(), a.ix.opts.Workers)
	if err != nil {
		return 0, false, err
	}
	var sum, far, some float64
	unit := cb.MeanResidual()
	for _, n := range norms {
		sum += float64(n)
		if n > badFar*unit {
			far++
		}
		if n > badVector*unit {
			some++
		}
	}
	n := float64(len(norms))
	return some / n, sum/n > badMean*float64(unit) || far/n > badShare, nil
}

// vectorBuf decodes documents one after the other.
type vectorBuf struct {
	codes []uint32
	norms []float32
	vec   []float32
}

// vectors gives a document's decoded vectors in input space, good until the next call.
func (b *vectorBuf) vectors(s *Segment, ord uint32) (m maxsim.Matrix, err error) {
	if b.codes, err = s.Codes(b.codes, ord); err != nil {
		return m, err
	}
	if b.norms, err = s.InvNorms(b.norms, ord); err != nil {
		return m, err
	}
	res, err := s.Residuals(ord)
	if err != nil {
		return m, err
	}
	dim := s.cb.Dim()
	b.vec = slices.Grow(b.vec[:0], len(b.codes)*dim)[:len(b.codes)*dim]
	decodeInput(b.vec, s.cb, b.codes, res, b.norms)
	return maxsim.Matrix{Data: b.vec, Rows: len(b.codes), Dim: dim}, nil
}

// each gives the decoded vectors of the live documents, in order.
func (b *vectorBuf) each(ctx context.Context, s *Segment, f func(maxsim.Matrix) error) error {
	for ord := range uint32(s.NumDocs()) {
		if s.del != nil && s.del.Contains(ord) {
			continue
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		m, err := b.vectors(s, ord)
		if err == nil {
			err = f(m)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// sampleSegments offers the decoded vectors of live documents, in order.
func sampleSegments(ctx context.Context, segs []*Segment, r *quant.Reservoir) error {
	var b vectorBuf
	for _, s := range segs {
		if err := b.each(ctx, s, func(m maxsim.Matrix) error { r.Add(m); return nil }); err != nil {
			return err
		}
	}
	return nil
}

// placeholder is the codebook of segments that have no token at all.
func placeholder(dim, nbits int) (*quant.Codebook, error) {
	cent := make([]float32, dim)
	cent[0] = 1
	if nbits == 16 {
		return quant.NewCodebook(dim, nbits, cent, nil, nil)
	}
	return quant.NewCodebook(dim, nbits, cent, make([]float32, 1<<nbits-1), make([]float32, 1<<nbits))
}

// newestForms gives, for each codebook, the newest one that extends it, or itself. Segments are read under
// that: what they hold means the same, and a search has fewer codebooks to score.
func newestForms(list []manCodebook, books map[string]*quant.Codebook) map[string]*quant.Codebook {
	over := make(map[string]*quant.Codebook, len(list))
	for i := len(list) - 1; i >= 0; i-- {
		own := books[list[i].ID]
		over[list[i].ID] = own
		for j := len(list) - 1; j > i; j-- {
			if newer := books[list[j].ID]; newer.Extends(own) {
				over[list[i].ID] = newer
				break
			}
		}
	}
	return over
}

// lift gives segments as the newest forms of their codebooks decode them.
func lift(segs []*Segment, over map[string]*quant.Codebook) {
	for i, s := range segs {
		if cb := over[s.f.toc.codebook]; cb != s.cb {
			c := *s
			c.cb = cb
			segs[i] = &c
		}
	}
}

// lift brings the commit's segments under the newest forms of its codebooks.
func (c *commit) lift() {
	if c.over == nil || !slices.Equal(c.man.Codebooks, c.overOf) {
		if c.base.over != nil && slices.Equal(c.man.Codebooks, c.base.man.Codebooks) {
			c.over = c.base.over
		} else {
			c.over = newestForms(c.man.Codebooks, c.books)
		}
		c.overOf = slices.Clone(c.man.Codebooks)
	}
	lift(c.segs, c.over)
}
