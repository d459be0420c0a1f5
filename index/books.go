package index

import (
	"context"
	"fmt"
	"math"
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
	// are this much longer, and that much longer than is usual for their centroid: rare words have wide clusters,
	// and one document in a few has many of them, without being about anything new.
	badFar = 1.5
	// New centroids are learned from vectors whose residuals are this much longer.
	badVector = 1.15
	// Documents that fit badly are gathered before a codebook is extended for them, since that writes it
	// anew: so many tokens, or a quarter as many as it has centroids, within these bounds. Until then every
	// vector of theirs is a centroid of a small codebook of their own, so that nothing is lost.
	minGathered = 1024
	maxGathered = 4096
	// wholeTokens is up to which size an index that began so small that every vector became a centroid stays
	// like that.
	wholeTokens = 1024
	// retrainTokens is up to which size an index that has outgrown its codebook gets a new one on the way.
	retrainTokens = 1 << 19
)

// whole says that a codebook has (nearly) every vector that it was trained for as a centroid.
func (c *manCodebook) whole(st *state) bool { return uint64(st.books[c.ID].K())+32 > c.Tokens }

// trained gives the newest codebook that was trained on more vectors than it has centroids, and the newest of
// those that came after it, if any. Codebooks that were not trained here count as neither.
func (st *state) trained() (book, own *manCodebook) {
	for i := len(st.man.Codebooks) - 1; i >= 0; i-- {
		c := &st.man.Codebooks[i]
		switch {
		case c.Tokens == 0:
		case !c.whole(st):
			return c, own
		case own == nil:
			own = c
		}
	}
	return nil, own
}

// focused gives the newest codebook that was trained for queries; nil if there is none.
func (st *state) focused() *quant.Codebook {
	for i := len(st.man.Codebooks) - 1; i >= 0; i-- {
		if cb := st.books[st.man.Codebooks[i].ID]; cb.Directions() > 0 {
			return cb
		}
	}
	return nil
}

// target gives the codebook that others are coded again with: the newest that was trained, else the newest.
func (st *state) target() *quant.Codebook {
	if book, _ := st.trained(); book != nil {
		return st.books[book.ID]
	}
	cb, _ := st.newestBook()
	return cb
}

// chooseCodebook says which codebook the spooled documents get. See Add.
func (a *adder) chooseCodebook() (err error) {
	o, tokens := a.ix.opts, a.spool.tokens
	total := a.base.man.Tokens + tokens
	newest, _ := a.base.newestBook()
	book, own := a.base.trained()
	switch {
	case tokens == 0 && newest == nil:
		if a.cb, err = placeholder(o.Dim, o.NBits); err != nil {
			return err
		}
		return a.c.addCodebook(a.cb, 0)
	case tokens == 0:
		a.cb = newest
		return nil
	case book == nil && own == nil:
		return a.train(tokens, false)
	case book == nil && total <= wholeTokens:
		return a.gather(own)
	case book == nil:
		a.recode = true
		return a.train(total, true)
	}
	a.cb = a.base.books[book.ID]
	outgrown := func(n uint64) bool {
		return o.Centroids == 0 && quant.NumCentroids(n) >= 4*a.cb.K() && n >= 4*book.Tokens
	}
	switch {
	case outgrown(total) && total <= retrainTokens:
		a.recode = true
		return a.train(total, true)
	case outgrown(tokens):
		return a.train(tokens, false)
	}
	if bad, err := a.badFit(a.cb, book); err != nil || !bad {
		return err
	}
	gathered := tokens
	if own != nil {
		gathered += own.Tokens
	}
	if gathered < uint64(min(max(a.cb.K()/4, minGathered), maxGathered)) {
		return a.gather(own)
	}
	return a.extend(a.cb, book)
}

// train learns a codebook from a sample of the spooled documents, and of those in the index if all is set.
func (a *adder) train(tokens uint64, all bool) (err error) {
	r := a.ix.newSample(tokens)
	if all {
		if err := sampleSegments(a.ctx, a.base.segs, r); err != nil {
			return err
		}
	}
	err = a.spool.each(func(d *incoming) error {
		r.AddTokens(maxsim.Matrix{Data: d.vec, Rows: d.rows, Dim: a.ix.opts.Dim}, d.ids)
		return context.Cause(a.ctx)
	})
	if err != nil {
		return err
	}
	queries, err := a.queries()
	if err != nil {
		return err
	}
	a.cb, err = a.ix.trainBook(a.ctx, a.base, r, queries, tokens, a.training)
	if err != nil {
		return err
	}
	return a.c.addCodebook(a.cb, tokens)
}

// querySample is how many documents AddOptions.Queries is given.
const querySample = 128

// queries asks the caller for query vectors. The documents that it is shown lie evenly among those with a text,
// or among all when none has one.
func (a *adder) queries() (m maxsim.Matrix, err error) {
	if a.o.Queries == nil {
		return m, nil
	}
	texts := 0
	if err := a.spool.each(func(d *incoming) error {
		if d.text != "" {
			texts++
		}
		return nil
	}); err != nil {
		return m, err
	}
	n, i := texts, 0
	if texts == 0 {
		n = a.spool.docs
	}
	want := min(n, querySample)
	sample := make([]Document, 0, want)
	if err := a.spool.each(func(d *incoming) error {
		if texts > 0 && d.text == "" {
			return nil
		}
		// The documents at floor((k+1/2) n/want), k = 0, 1, ...
		if k := len(sample); k < want && i == (2*k+1)*n/(2*want) {
			sample = append(sample, Document{ID: d.id, Text: d.text, Meta: d.meta})
		}
		i++
		return nil
	}); err != nil {
		return m, err
	}
	if m, err = a.o.Queries(a.ctx, sample); err != nil {
		return m, fmt.Errorf("index: queries to train for: %w", err)
	}
	return m, nil
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

// trainBook trains a codebook on the sample, which is lost, for queries or, without any, for those that the newest codebook of base was
// trained for.
func (ix *Index) trainBook(ctx context.Context, base *state, r *quant.Reservoir, queries maxsim.Matrix, tokens uint64, progress func(done, total int)) (*quant.Codebook, error) {
	o := ix.opts
	cb, err := quant.Train(ctx, r.Sample(), &quant.TrainOptions{
		NBits: o.NBits, Centroids: o.Centroids, Tokens: tokens, Seed: o.Seed, Workers: o.Workers, Progress: progress,
		Queries: queries, Like: base.focused(), TokenIDs: r.TokenIDs(), Consume: true,
	})
	if err != nil {
		return nil, fmt.Errorf("index: training a codebook: %w", err)
	}
	return cb, nil
}

// badFit looks at a sample of the spooled vectors and says whether they fit the codebook badly.
func (a *adder) badFit(cb *quant.Codebook, entry *manCodebook) (bad bool, err error) {
	unit := float64(cb.MeanResidual())
	if entry.Tokens < 2*uint64(cb.K()) || unit == 0 || cb.Scales() == nil && cb.NBits() < 16 {
		return false, nil // it says little about what fits; the index will outgrow it soon
	}
	r := quant.NewReservoir(fitSample, cb.Dim(), a.ix.opts.Seed)
	if err := a.each(func(m maxsim.Matrix) error { r.Add(m); return nil }); err != nil {
		return false, err
	}
	codes, norms, err := cb.Nearest(a.ctx, r.Sample(), a.ix.opts.Workers)
	if err != nil {
		return false, err
	}
	var sum, far float64
	for i, n := range norms {
		sum += float64(n)
		if float64(n) > badFar*unit*float64(max(1, cb.Scale(codes[i]))) {
			far++
		}
	}
	n := float64(len(norms))
	return sum/n > badMean*unit || far/n > badShare, nil
}

// gather makes every vector of the batch a centroid, of a new codebook or behind those of own.
func (a *adder) gather(own *manCodebook) error {
	o := a.ix.opts
	r := quant.NewReservoir(int(a.spool.tokens), o.Dim, o.Seed)
	if err := a.each(func(m maxsim.Matrix) error { r.Add(m); return nil }); err != nil {
		return err
	}
	rows := r.Sample()
	if own == nil {
		cent, err := centroidsOf(rows, o.NBits)
		if err == nil {
			a.cb = cent
			err = a.c.addCodebook(a.cb, a.spool.tokens)
		}
		return err
	}
	more, err := a.base.books[own.ID].Extend(a.ctx, rows, &quant.ExtendOptions{Centroids: rows.Rows, Seed: o.Seed, Workers: o.Workers})
	if err != nil {
		return fmt.Errorf("index: extending the codebook: %w", err)
	}
	a.cb = more
	return a.c.addCodebook(more, own.Tokens+a.spool.tokens)
}

// centroidsOf gives a codebook of some vectors, for these and no others: its levels are all 0.
func centroidsOf(rows maxsim.Matrix, nbits int) (*quant.Codebook, error) {
	rows.Normalize()
	cent, _ := quant.RoundHalf(rows.Data)
	if nbits == 16 {
		return quant.NewCodebook(rows.Dim, nbits, cent, nil, nil)
	}
	return quant.NewCodebook(rows.Dim, nbits, cent, make([]float32, 1<<nbits-1), make([]float32, 1<<nbits))
}

// extend adds centroids to a trained codebook, learned from those vectors of the spooled documents that it
// fits badly and from the documents gathered before, which are coded again.
func (a *adder) extend(cb *quant.Codebook, entry *manCodebook) error {
	tokens := a.spool.tokens
	for i := range a.base.man.Codebooks {
		c := &a.base.man.Codebooks[i]
		for _, s := range a.base.segs {
			if c.Tokens > 0 && c.whole(a.base) && s.own.ID() == c.ID {
				a.pool = append(a.pool, s)
				tokens += s.live
			}
		}
	}
	r := quant.NewReservoir(int(min(tokens, a.ix.opts.sampleRows())), cb.Dim(), a.ix.opts.Seed)
	unit := cb.MeanResidual()
	rows := maxsim.Matrix{Dim: cb.Dim()} // of many documents at a time, which is quicker
	look := func() error {
		_, norms, err := cb.Nearest(a.ctx, rows, a.ix.opts.Workers)
		for i, n := range norms {
			if n > badVector*unit {
				r.Add(rows.Slice(i, i+1))
			}
		}
		rows.Data, rows.Rows = rows.Data[:0], 0
		return err
	}
	take := func(m maxsim.Matrix) error {
		rows.Data, rows.Rows = append(rows.Data, m.Data...), rows.Rows+m.Rows
		if rows.Rows < batchTokens {
			return nil
		}
		return look()
	}
	var buf vectorBuf
	for _, s := range a.pool {
		if err := buf.each(a.ctx, s, take); err != nil {
			return err
		}
	}
	if err := a.each(take); err != nil {
		return err
	}
	if err := look(); err != nil {
		return err
	}
	found := r.Seen()
	if found == 0 {
		return nil // a few vectors that fit very badly, and the sample had them all
	}
	more, err := a.extended(cb, entry, r.Sample(), found)
	if err != nil {
		return fmt.Errorf("index: extending the codebook: %w", err)
	}
	a.cb = more
	return a.c.addCodebook(more, entry.Tokens+found)
}

// extended gives the codebook with centroids for a sample of found vectors: as many for each as it had for
// those that it was trained for, and more until they fit as well as those.
func (a *adder) extended(cb *quant.Codebook, entry *manCodebook, sample maxsim.Matrix, found uint64) (*quant.Codebook, error) {
	o := a.ix.opts
	most := max(sample.Rows/4, 1)
	k := int(min(float64(found)*float64(cb.K())/float64(entry.Tokens), float64(most)))
	k = min(max(k, sample.Rows/quant.DefaultPointsPerCentroid, 1), most)
	for {
		more, err := cb.Extend(a.ctx, sample, &quant.ExtendOptions{Centroids: k, Seed: o.Seed, Workers: o.Workers, Progress: a.training})
		if err != nil || k == most {
			return more, err
		}
		_, norms, err := more.Nearest(a.ctx, sample.Slice(0, min(sample.Rows, fitSample)), o.Workers)
		if err != nil {
			return nil, err
		}
		sum := 0.0
		for _, n := range norms {
			sum += float64(n)
		}
		long := sum / float64(len(norms)) / float64(cb.MeanResidual())
		if long <= 1 {
			return more, nil
		}
		// Twice the centroids shorten residuals by a tenth or more: not each doubling is tried.
		k = int(min(float64(k)*max(math.Pow(long, 7), 1.25)+1, float64(most)))
	}
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
