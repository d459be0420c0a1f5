package index

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/golbert/golbert/quant"
)

// ErrCodebookMismatch reports indexes that cannot be merged because they have different codebooks.
var ErrCodebookMismatch = errors.New("index: different codebooks")

// MergeOptions steer one Merge. A nil pointer means the zero value.
type MergeOptions struct {
	// Upsert replaces documents whose id is in the index already, and lets the last source win where
	// several have one id. Without it such an id is ErrDuplicateID.
	Upsert bool
	// Recode codes documents of other codebooks again, from their decoded vectors, which costs a little of
	// their precision. Without it a segment of another codebook is ErrCodebookMismatch.
	Recode bool
	// NoCompact is as in AddOptions.
	NoCompact bool
	// Progress, when set, is called from Merge's own goroutine now and then.
	Progress func(Progress)
}

// Merge adds all live documents of other indexes, given by their directories, in one atomic, durable commit.
// Where the codebooks are the same, or one of the index's own extends the other, codes and residuals are
// copied as they are, so that the merged index gives the scores that its sources gave. An index without a
// codebook takes over its first source's. The sources are opened read-only and not changed.
//
// Whether vectors of the sources come from the same model as those of the index is the caller's to know:
// attributes are not compared.
func (ix *Index) Merge(ctx context.Context, dirs []string, o *MergeOptions) (res AddResult, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	var opt MergeOptions
	if o != nil {
		opt = *o
	}
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
	a := ix.newAdder(ctx, base, &UpdateOptions{NoReplace: !opt.Upsert, NoCompact: opt.NoCompact, Progress: opt.Progress})
	defer a.close()
	for _, dir := range dirs {
		if err := a.mergeFrom(dir, opt.Recode); err != nil {
			var ce *CorruptError
			if errors.As(err, &ce) {
				err = fmt.Errorf("index: merge: %s: %w", dir, err)
			}
			return AddResult{}, err
		}
	}
	if a.docs == 0 {
		return AddResult{}, nil
	}
	if err := a.finish(); err != nil {
		return AddResult{}, err
	}
	if err := a.commit(); err != nil {
		return AddResult{}, err
	}
	return a.res.AddResult, nil
}

// Merge makes a new index in dst, which must be absent or empty, of all live documents of the sources, with
// the options and attributes of the first. See Index.Merge.
func Merge(ctx context.Context, dst string, sources []string, o *MergeOptions) (res AddResult, err error) {
	if len(sources) == 0 {
		return AddResult{}, fmt.Errorf("%w: nothing to merge", ErrInvalidOptions)
	}
	src, err := Open(ctx, sources[0], &OpenOptions{ReadOnly: true})
	if err != nil {
		return AddResult{}, err
	}
	opts := *src.opts
	if cb, _ := src.cur.newestBook(); src.cur.man.FixedCodebook {
		opts.Codebook = cb
		opts.Centroids = 0
	}
	if err := src.Close(); err != nil {
		return AddResult{}, err
	}
	ix, err := Create(ctx, dst, &opts)
	if err != nil {
		return AddResult{}, err
	}
	defer func() {
		if cerr := ix.Close(); err == nil {
			err = cerr
		}
	}()
	return ix.Merge(ctx, sources, o)
}

// mergeFrom adds the documents of one directory.
func (a *adder) mergeFrom(dir string, recode bool) error {
	st, err := loadNewest(a.ctx, a.ix.fs, dir, nil)
	if err != nil {
		return err
	}
	defer st.release()
	if st.man.Dim != a.ix.opts.Dim {
		return fmt.Errorf("index: merge: %s has dimension %d, the index has %d: %w", dir, st.man.Dim, a.ix.opts.Dim, ErrCodebookMismatch)
	}
	if len(a.c.man.Codebooks) == 0 {
		for _, b := range st.man.Codebooks {
			if err := a.c.addCodebook(st.books[b.ID], b.Tokens); err != nil {
				return err
			}
		}
	}
	p := &copier{ctx: a.ctx, workers: a.ix.opts.Workers}
	for _, seg := range st.segs {
		to, err := a.bookFor(st, seg, recode)
		if err != nil {
			return fmt.Errorf("index: merge: %s: %w", dir, err)
		}
		if err := a.switchTo(to); err != nil {
			return err
		}
		p.to = to
		if err := p.each(seg, seg.del, a.put); err != nil {
			return err
		}
	}
	return nil
}

// bookFor says with which of the index's codebooks a segment of another index goes on.
func (a *adder) bookFor(st *state, seg *Segment, recode bool) (*quant.Codebook, error) {
	books := a.c.man.Codebooks
	for i := len(books) - 1; i >= 0; i-- {
		if have := a.c.books[books[i].ID]; have.ID() == seg.own.ID() || have.Extends(seg.own) {
			return have, nil
		}
	}
	newest := a.c.books[books[len(books)-1].ID]
	if !a.base.man.FixedCodebook && seg.own.Extends(newest) {
		for _, b := range st.man.Codebooks {
			if b.ID == seg.own.ID() {
				return seg.own, a.c.addCodebook(seg.own, b.Tokens)
			}
		}
	}
	if recode {
		if to := a.base.target(); to != nil {
			return to, nil
		}
		return newest, nil
	}
	return nil, fmt.Errorf("%s has codebook %s, the index has %s: %w", seg.Name(), seg.own.ID(), newest.ID(), ErrCodebookMismatch)
}

// switchTo makes cb the codebook of the documents that come next.
func (a *adder) switchTo(cb *quant.Codebook) error {
	if a.b != nil && a.b.cb != cb {
		if err := a.flush(); err != nil {
			return err
		}
	}
	a.cb = cb
	return nil
}

// put adds a document that is coded with the codebook of the moment.
func (a *adder) put(d *stored) error {
	fail := func(err error) error { return &DocumentError{ID: d.id, Position: a.docs, Err: err} }
	switch n := len(d.codes); {
	case n == 0 && !a.ix.opts.AllowEmpty:
		return fail(ErrEmptyDocument)
	case n > a.ix.opts.MaxDocTokens:
		return fail(fmt.Errorf("%d tokens, at most %d: %w", n, a.ix.opts.MaxDocTokens, ErrTooManyTokens))
	case a.base.man.Docs+uint64(a.docs) >= a.ix.opts.maxDocs:
		return fail(fmt.Errorf("at most %d, build several indexes (shards): %w", a.ix.opts.maxDocs, ErrTooManyDocuments))
	}
	if a.o.NoReplace {
		if _, _, ok, err := findLive(a.base.segs, d.id, a.dels); err != nil {
			return err
		} else if ok {
			return fail(fmt.Errorf("it is in the index: %w", ErrDuplicateID))
		}
	}
	in := incoming{pos: a.docs, id: d.id, text: d.text, meta: d.meta, rows: len(d.codes)}
	a.docs++
	a.tokens += uint64(in.rows)
	if err := a.append(&in, d.codes, d.residuals, d.norms, d.residual); err != nil {
		return err
	}
	a.report("write", 0, false)
	return nil
}
