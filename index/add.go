package index

import (
	"context"
	"crypto/sha256"
	"fmt"
	"iter"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

const (
	// batchTokens is how many token vectors are coded at a time.
	batchTokens = 8192
	// segmentMemory bounds what a segment under construction holds in memory, whatever its documents are.
	segmentMemory = 256 << 20
	// earlyIDs bounds the set by which duplicate ids are found before a codebook is trained. Beyond it they
	// are still found, only later.
	earlyIDs = 4 << 20
)

// Add stores documents in one atomic commit that is durable when Add returns. An error from the iterator, a
// document that is refused (*DocumentError), a failing disk or a cancelled context leaves the index as it
// was. Memory is bounded by Options.SegmentTokens, the training sample and the largest document, not by the
// number of documents.
//
// The codebook: the first Add trains one on a sample of its own documents, which are spooled to a temporary
// file in the index directory, as float32, until all have been seen. Later ones are coded with the newest
// codebook, unless an Add brings so many tokens that quant.NumCentroids of them is four times what it has
// (about sixteen times the tokens that it was trained for): then a new one is trained for the new segments,
// and the old segments keep theirs. With Options.Codebook nothing is ever trained; then, and when
// Options.Centroids fixes the size and a codebook is there, documents are not spooled.
func (ix *Index) Add(ctx context.Context, docs iter.Seq2[Document, error], o *AddOptions) (res AddResult, err error) {
	ctx, end, err := ix.beginWrite(ctx)
	if err != nil {
		return AddResult{}, err
	}
	defer end()
	defer func() { err = cause(ctx, err) }()
	base, err := ix.current()
	if err != nil {
		return AddResult{}, err
	}
	defer base.release()
	a := &adder{ix: ix, ctx: ctx, base: base, c: ix.newCommit(base), dels: make(map[uint64]*roaring.Bitmap)}
	if o != nil {
		a.o = *o
	}
	defer a.close()
	if err := a.run(docs); err != nil {
		return AddResult{}, err
	}
	if a.docs == 0 {
		return AddResult{}, nil
	}
	a.report("commit", 0, true)
	st, err := a.c.commit(ctx)
	if err != nil {
		return AddResult{}, err
	}
	ix.install(st)
	return a.res, nil
}

// adder is one Add under way.
type adder struct {
	ix   *Index
	ctx  context.Context // of this one call
	o    AddOptions
	base *state
	c    *commit
	cb   *quant.Codebook
	b    *segBuilder                // the segment under construction, nil between two
	dead *roaring.Bitmap            // its documents that gave way to later ones
	dels map[uint64]*roaring.Bitmap // new deletions of finished segments, by number

	batch    []incoming // not yet coded; their rows lie end to end in vec
	vec      []float32
	rows     int
	rotated  []float32 // one row
	spool    *spool
	early    map[[16]byte]struct{}
	docs     int // accepted
	tokens   uint64
	written  int
	res      AddResult
	lastDocs int // at the last report
}

// close gives up what a failed Add has made.
func (a *adder) close() {
	if a.spool != nil {
		a.spool.close()
	}
	if a.b != nil {
		_ = a.b.file.Close()
	}
	a.c.abort()
}

func (a *adder) report(stage string, total int, force bool) {
	if a.o.Progress == nil {
		return
	}
	docs := a.docs
	if stage == "write" {
		docs = a.written
	}
	if force || docs-a.lastDocs >= 256 {
		a.lastDocs = docs
		a.o.Progress(Progress{Stage: stage, Docs: docs, Total: total, Tokens: a.tokens})
	}
}

func (a *adder) run(docs iter.Seq2[Document, error]) error {
	cb, entry := a.base.newestBook()
	direct := a.base.man.FixedCodebook || cb != nil && a.ix.opts.Centroids > 0 && entry.Tokens > 0
	if direct {
		a.cb = cb
		if err := a.read(docs, a.write); err != nil {
			return err
		}
		return a.finish()
	}
	a.spool = newSpool(a.ix)
	a.early = make(map[[16]byte]struct{})
	if err := a.read(docs, a.keep); err != nil {
		return err
	}
	a.early = nil
	if a.docs == 0 {
		return nil
	}
	a.report("read", 0, true)
	if err := a.chooseCodebook(cb, entry); err != nil {
		return err
	}
	a.lastDocs = 0
	if err := a.spool.each(func(d *incoming) error {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		return a.write(d)
	}); err != nil {
		return err
	}
	a.spool.close()
	return a.finish()
}

// read validates the documents as they come and hands them on. What it hands on is good until next returns.
func (a *adder) read(docs iter.Seq2[Document, error], next func(*incoming) error) error {
	var buf []float32
	for d, err := range docs {
		if err != nil {
			return fmt.Errorf("index: add: document number %d could not be had: %w", a.docs, err)
		}
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		in, err := a.ix.opts.accept(&d, a.docs, buf)
		if err != nil {
			return err
		}
		buf = in.vec
		if !a.o.Upsert {
			// Now rather than after minutes of training.
			if _, _, ok, err := findLive(a.base.segs, d.ID, nil); err != nil {
				return err
			} else if ok {
				return &DocumentError{ID: d.ID, Position: a.docs, Err: fmt.Errorf("it is in the index: %w", ErrDuplicateID)}
			}
		}
		if a.base.man.Docs+uint64(a.docs) >= a.ix.opts.maxDocs {
			return &DocumentError{ID: d.ID, Position: a.docs, Err: fmt.Errorf("at most %d, build several indexes (shards): %w", a.ix.opts.maxDocs, ErrTooManyDocuments)}
		}
		a.docs++
		a.tokens += uint64(in.rows)
		if err := next(&in); err != nil {
			return err
		}
	}
	return nil
}

// keep spools a document.
func (a *adder) keep(d *incoming) error {
	if !a.o.Upsert && len(a.early) < earlyIDs {
		h := sha256.Sum256([]byte(d.id))
		key := [16]byte(h[:16])
		if _, ok := a.early[key]; ok {
			return &DocumentError{ID: d.id, Position: d.pos, Err: fmt.Errorf("it came earlier in this batch: %w", ErrDuplicateID)}
		}
		a.early[key] = struct{}{}
	}
	a.report("read", 0, false)
	return a.spool.add(d)
}

// chooseCodebook trains a codebook for the spooled documents, or takes the newest.
func (a *adder) chooseCodebook(cb *quant.Codebook, entry *manCodebook) error {
	o := a.ix.opts
	tokens := a.spool.tokens
	if cb != nil {
		// A codebook with entry.Tokens = 0 is the placeholder of an index of documents without tokens.
		outgrown := o.Centroids == 0 && quant.NumCentroids(tokens) >= 4*cb.K() && tokens >= 4*entry.Tokens
		if tokens == 0 || entry.Tokens > 0 && !outgrown {
			a.cb = cb
			return nil
		}
	}
	var err error
	if tokens == 0 {
		a.cb, err = placeholder(o.Dim, o.NBits)
	} else {
		a.cb, err = a.train(tokens)
	}
	if err != nil {
		return err
	}
	return a.c.addCodebook(a.cb, tokens)
}

// train learns a codebook from a sample of the spooled documents.
func (a *adder) train(tokens uint64) (*quant.Codebook, error) {
	o := a.ix.opts
	k := o.Centroids
	if k == 0 {
		k = quant.NumCentroids(tokens)
	}
	// A tenth more than k-means looks at, for the vectors that it holds out.
	most := min(tokens, uint64(max(k, 1))*quant.DefaultPointsPerCentroid*11/10+4096, uint64(max(sampleBytes/(4*o.Dim), 1)))
	r := quant.NewReservoir(int(most), o.Dim, o.Seed)
	err := a.spool.each(func(d *incoming) error {
		if a.ctx.Err() != nil {
			return context.Cause(a.ctx)
		}
		r.Add(maxsim.Matrix{Data: d.vec, Rows: d.rows, Dim: o.Dim})
		return nil
	})
	if err != nil {
		return nil, err
	}
	cb, err := quant.Train(a.ctx, r.Sample(), &quant.TrainOptions{
		NBits: o.NBits, Centroids: o.Centroids, Tokens: tokens, Seed: o.Seed, Workers: o.Workers,
		Progress: func(done, total int) {
			if a.o.Progress != nil {
				a.o.Progress(Progress{Stage: "train", Docs: done, Total: total, Tokens: tokens})
			}
		},
	})
	if err != nil {
		return nil, fmt.Errorf("index: training a codebook: %w", err)
	}
	return cb, nil
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

// write takes a document into the batch, and codes the batch when it is full.
func (a *adder) write(d *incoming) error {
	a.vec = append(a.vec, d.vec...)
	a.rows += d.rows
	in := *d
	in.vec = nil
	a.batch = append(a.batch, in)
	if a.rows < batchTokens && len(a.batch) < batchTokens {
		return nil
	}
	return a.code()
}

// code codes the batch and appends its documents to the segment under construction.
func (a *adder) code() error {
	dim := a.ix.opts.Dim
	m := maxsim.Matrix{Data: a.vec, Rows: a.rows, Dim: dim}
	enc, err := a.cb.Encode(a.ctx, m, a.ix.opts.Workers)
	if err != nil {
		return err
	}
	if a.cb.NBits() < 16 {
		for i := range a.rows {
			if enc.InvNorms[i] != 0 && isZero(m.Row(i)) {
				enc.InvNorms[i] = 0 // the mark of a vector of zeros
			}
		}
	}
	at, rb := 0, a.cb.RowBytes()
	for i := range a.batch {
		d := &a.batch[i]
		to := at + d.rows
		codes := enc.Codes[at:to]
		if err := a.append(d, codes, enc.Residuals[at*rb:to*rb], enc.InvNorms[at:to], a.residual(a.vec[at*dim:to*dim], codes)); err != nil {
			return err
		}
		at = to
	}
	a.batch, a.vec, a.rows = a.batch[:0], a.vec[:0], 0
	total := 0
	if a.spool != nil {
		total = a.spool.docs
	}
	a.report("write", total, false)
	return nil
}

// residualSample is the share of a document's tokens whose residuals are measured: one in so many.
const residualSample = 8

// residual gives the mean norm of what the centroids leave over of a document's rows, times their number.
func (a *adder) residual(rows []float32, codes []uint32) float64 {
	dim, cent, sum, n := a.cb.Dim(), a.cb.Centroids(), 0.0, 0
	if len(a.rotated) < dim {
		a.rotated = make([]float32, dim)
	}
	for i := 0; i < len(codes); i += residualSample {
		a.cb.Rotate(a.rotated, rows[i*dim:(i+1)*dim], 1)
		sum += distance(a.rotated[:dim], cent[int(codes[i])*dim:(int(codes[i])+1)*dim])
		n++
	}
	return sum / float64(max(n, 1)) * float64(len(codes))
}

// append puts a coded document into the segment under construction, after the one that it replaces has
// been marked.
func (a *adder) append(d *incoming, codes []uint32, residuals []byte, invNorms []float32, residual float64) error {
	if err := a.replace(d); err != nil {
		return err
	}
	if a.b == nil {
		b, err := a.c.newSegment(a.cb)
		if err != nil {
			return err
		}
		a.b, a.dead = b, roaring.New()
	}
	if err := a.b.add(d.id, d.text, d.meta, codes, residuals, invNorms, residual); err != nil {
		return fmt.Errorf("index: %s: %w", segmentName(a.b.toc.segment), err)
	}
	a.res.Added++
	a.res.Tokens += uint64(d.rows)
	a.written++
	if a.b.numTokens() >= uint64(a.ix.opts.SegmentTokens) || a.b.mem() >= segmentMemory {
		return a.flush()
	}
	return nil
}

// replace marks the live document of the same id as deleted, or refuses the new one.
func (a *adder) replace(d *incoming) error {
	if a.b != nil {
		if ord, ok := a.b.byID[d.id]; ok {
			if !a.o.Upsert {
				return &DocumentError{ID: d.id, Position: d.pos, Err: fmt.Errorf("it came earlier in this batch: %w", ErrDuplicateID)}
			}
			a.dead.Add(ord)
			a.superseded(a.b.tokens[ord+1] - a.b.tokens[ord])
			return nil
		}
	}
	segs := a.c.segs
	if !a.o.Upsert {
		segs = segs[len(a.base.segs):] // the rest was looked up by read
	}
	i, ord, ok, err := findLive(segs, d.id, a.dels)
	if err != nil || !ok {
		return err
	}
	if !a.o.Upsert {
		return &DocumentError{ID: d.id, Position: d.pos, Err: fmt.Errorf("it came earlier in this batch: %w", ErrDuplicateID)}
	}
	seg := segs[i]
	markDead(a.dels, seg, ord)
	if i < len(a.base.segs) {
		a.res.Replaced++
	} else {
		a.superseded(uint64(seg.DocTokens(ord)))
	}
	return nil
}

// superseded takes a document of this very Add out of the result.
func (a *adder) superseded(tokens uint64) {
	a.res.Added--
	a.res.Tokens -= tokens
}

// markDead adds a document to the new deletions of its segment.
func markDead(dels map[uint64]*roaring.Bitmap, seg *Segment, ord uint32) {
	del := dels[seg.number]
	if del == nil {
		if del = roaring.New(); seg.del != nil {
			del = seg.del.Clone()
		}
		dels[seg.number] = del
	}
	del.Add(ord)
}

// findLive finds the live document of an id; dels, by segment number, replace the segments' own deletions.
func findLive(segs []*Segment, id string, dels map[uint64]*roaring.Bitmap) (i int, ord uint32, ok bool, err error) {
	// The newest segment first: that is where recently added documents live.
	for i := len(segs) - 1; i >= 0; i-- {
		ords, err := segs[i].f.lookup(id)
		if err != nil {
			return 0, 0, false, err
		}
		if len(ords) == 0 {
			continue
		}
		del := segs[i].del
		if d := dels[segs[i].number]; d != nil {
			del = d
		}
		for _, o := range ords {
			if del == nil || !del.Contains(o) {
				return i, o, true, nil
			}
		}
	}
	return 0, 0, false, nil
}

// flush finishes the segment under construction.
func (a *adder) flush() error {
	b := a.b
	a.b = nil // addSegment closes the file
	seg, err := a.c.addSegment(b)
	if err != nil {
		return err
	}
	if !a.dead.IsEmpty() {
		a.dels[seg.number] = a.dead
	}
	return nil
}

// finish writes the last segment and all deletions.
func (a *adder) finish() error {
	if len(a.batch) > 0 {
		if err := a.code(); err != nil {
			return err
		}
	}
	if a.b != nil {
		if err := a.flush(); err != nil {
			return err
		}
	}
	return a.c.deleteAll(a.dels)
}
