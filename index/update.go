package index

import (
	"context"
	"iter"
	"runtime/debug"

	"github.com/RoaringBitmap/roaring/v2"
)

// Batch is what one Update changes: documents leave first, then documents come.
type Batch struct {
	// Delete names documents that are in the index. Unknown ids are ErrUnknownID, and nothing is changed,
	// unless UpdateOptions.IgnoreMissing is set. An id that is named twice counts once.
	Delete []string
	// Add is what Index.Add takes; nil means nothing. It may bring back an id that Delete names.
	Add iter.Seq2[Document, error]
}

// UpdateOptions steer one Update. A nil pointer means the zero value.
type UpdateOptions struct {
	// NoReplace makes a document whose id is in the index after the deletions, or came earlier in the batch,
	// ErrDuplicateID. Without it the document of that id is replaced, and the last of equal ids wins.
	NoReplace bool
	// IgnoreMissing passes over ids to delete that are not in the index.
	IgnoreMissing bool
	// NoCompact is as in AddOptions.
	NoCompact bool
	// Queries is as in AddOptions.
	Queries QuerySource
	// Progress, when set, is called from Update's own goroutine now and then.
	Progress func(Progress)
}

// UpdateResult says what an Update did.
type UpdateResult struct {
	AddResult
	// Deleted counts the documents that Batch.Delete removed.
	Deleted int
}

// Update deletes, adds and replaces documents in one atomic commit that is durable when Update returns. After
// any error the index is as it was. See Add for everything about the documents.
func (ix *Index) Update(ctx context.Context, b Batch, o *UpdateOptions) (UpdateResult, error) {
	return ix.apply(ctx, b, o)
}

// apply is Add, Delete and Update.
func (ix *Index) apply(ctx context.Context, b Batch, o *UpdateOptions) (res UpdateResult, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	ctx, end, err := ix.beginWrite(ctx)
	if err != nil {
		return UpdateResult{}, err
	}
	defer end()
	defer func() { err = cause(ctx, err) }()
	base, err := ix.current()
	if err != nil {
		return UpdateResult{}, err
	}
	defer base.release()
	a := ix.newAdder(ctx, base, o)
	defer a.close()
	if a.res.Deleted, err = a.delete(b.Delete); err != nil {
		return UpdateResult{}, err
	}
	if b.Add != nil {
		if err := a.run(b.Add); err != nil {
			return UpdateResult{}, err
		}
	}
	if a.docs == 0 {
		if len(a.dels) == 0 {
			return UpdateResult{}, nil
		}
		if err := a.c.deleteAll(a.dels); err != nil {
			return UpdateResult{}, err
		}
		if err := a.autoMerge(); err != nil {
			return UpdateResult{}, err
		}
	}
	if err := a.commit(); err != nil {
		return UpdateResult{}, err
	}
	return a.res, nil
}

func (ix *Index) newAdder(ctx context.Context, base *state, o *UpdateOptions) *adder {
	a := &adder{ix: ix, ctx: ctx, base: base, c: ix.newCommit(base), dels: make(map[uint64]*roaring.Bitmap)}
	if o != nil {
		a.o = *o
	}
	return a
}

// commit makes what was gathered the newest commit.
func (a *adder) commit() error {
	a.report("commit", 0, true)
	st, err := a.c.commit(a.ctx)
	if err != nil {
		return err
	}
	a.ix.install(st)
	return nil
}
