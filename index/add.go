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
// codebook. It changes in three cases. When an Add brings so many tokens that quant.NumCentroids of them is
// four times what it has (about sixteen times the tokens that it was trained for), a new one is trained for
// the new segments, and the old segments keep theirs until Compact is told to recode. When a small index grows
// as much in small steps, a new one is trained for all of it, and everything is coded again. And when the new
// documents fit it badly, because they bring a topic that it was not trained for, it is extended by
// centroids for them; what is there already stays as it is. With Options.Codebook nothing is ever trained;
// then, and when Options.Centroids fixes the size and a codebook is there, documents are not spooled.
//
// Every eighth small Add or so merges small segments on the way, see MaybeCompact.
func (ix *Index) Add(ctx context.Context, docs iter.Seq2[Document, error], o *AddOptions) (AddResult, error) {
	if o == nil {
		o = &AddOptions{}
	}
	res, err := ix.apply(ctx, Batch{Add: docs}, &UpdateOptions{
		NoReplace: !o.Upsert, NoCompact: o.NoCompact, Queries: o.Queries, Progress: o.Progress,
	})
	return res.AddResult, err
}

// adder is one Add or Update under way.
type adder struct {
	ix   *Index
	ctx  context.Context // of this one call
	o    UpdateOptions
	base *state
	c    *commit
	cb   *quant.Codebook
	b    *segBuilder                // the segment under construction, nil between two
	dead *roaring.Bitmap            // its documents that gave way to later ones
	dels map[uint64]*roaring.Bitmap // new deletions of segments in the index or finished, by number

	batch    []incoming // not yet coded; their rows lie end to end in vec
	vec      []float32
	rows     int
	rotated  []float32 // one row
	spool    *spool
	early    map[[16]byte]struct{}
	docs     int // accepted
	tokens   uint64
	written  int
	recode   bool       // cb was trained for the whole index
	pool     []*Segment // of documents gathered, to be coded again with cb
	res      UpdateResult
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
		a.cb = a.base.target()
		if err := a.read(docs, a.write); err != nil || a.docs == 0 {
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
	if err := a.chooseCodebook(); err != nil {
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
		if a.o.NoReplace {
			// Now rather than after minutes of training.
			if _, _, ok, err := findLive(a.base.segs, d.ID, a.dels); err != nil {
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
	if a.o.NoReplace && len(a.early) < earlyIDs {
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

// write takes a document into the batch, and codes the batch when it is full.
func (a *adder) write(d *incoming) error {
	a.vec = append(a.vec, d.vec...)
	a.rows += d.rows
	in := *d
	in.vec, in.ids = nil, nil
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
	enc, err := encode(a.ctx, a.cb, m, a.ix.opts.Workers)
	if err != nil {
		return err
	}
	if len(a.rotated) < dim {
		a.rotated = make([]float32, dim)
	}
	at, rb := 0, a.cb.RowBytes()
	for i := range a.batch {
		d := &a.batch[i]
		to := at + d.rows
		codes := enc.Codes[at:to]
		if err := a.append(d, codes, enc.Residuals[at*rb:to*rb], enc.InvNorms[at:to], residualSum(a.cb, a.rotated, a.vec[at*dim:to*dim], codes)); err != nil {
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
			if a.o.NoReplace {
				return &DocumentError{ID: d.id, Position: d.pos, Err: fmt.Errorf("it came earlier in this batch: %w", ErrDuplicateID)}
			}
			a.dead.Add(ord)
			a.superseded(a.b.tokens[ord+1] - a.b.tokens[ord])
			return nil
		}
	}
	segs := a.c.segs
	if a.o.NoReplace {
		segs = segs[len(a.base.segs):] // the rest was looked up by read
	}
	i, ord, ok, err := findLive(segs, d.id, a.dels)
	if err != nil || !ok {
		return err
	}
	if a.o.NoReplace {
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
	if err := a.c.deleteAll(a.dels); err != nil {
		return err
	}
	return a.autoMerge()
}
