package colbert

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/golbert/golbert/index"
)

// Batch is what one Update changes: documents leave first, then documents come.
type Batch struct {
	// Delete names documents that are in the index; unknown ids give ErrUnknownID, and nothing is changed,
	// unless UpdateOptions.IgnoreMissing is set.
	Delete []string
	// Add is what AddFrom takes; nil means nothing. Documents replace those of the same id.
	Add iter.Seq2[Document, error]
}

// UpdateOptions change how an Update works. A nil pointer means the zero value.
type UpdateOptions struct {
	AddOptions
	// IgnoreMissing passes over ids to delete that the index does not hold.
	IgnoreMissing bool
}

// UpdateResult says what an Update did.
type UpdateResult struct {
	AddResult
	// Deleted counts the documents that Batch.Delete removed.
	Deleted int
}

// Documents gives documents in the form that Batch.Add takes.
func Documents(docs ...Document) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// Update deletes, adds and replaces documents in one atomic, durable commit: searches see all of it or
// nothing. On any error the index is as it was. See AddFrom for everything about the documents.
func (x *Index) Update(ctx context.Context, b Batch, o *UpdateOptions) (UpdateResult, error) {
	var opt UpdateOptions
	if o != nil {
		opt = *o
	}
	if opt.BatchSize <= 0 {
		opt.BatchSize = 128
	}
	if opt.Concurrency <= 0 {
		opt.Concurrency = 2
	}
	if b.Add == nil {
		b.Add = Documents()
	}
	inner, cancel := context.WithCancel(ctx)
	a := &adder{x: x, ctx: inner, cancel: cancel, opt: opt.AddOptions, batches: make(chan *batch, opt.Concurrency-1)}
	var (
		res  index.UpdateResult
		ierr error
		done = make(chan struct{})
	)
	defer func() { // as in AddFrom
		cancel()
		<-done
		a.encoding.Wait()
	}()
	go func() {
		defer close(done)
		defer cancel()
		res, ierr = x.ix.Update(inner, index.Batch{Delete: b.Delete, Add: a.encoded()},
			&index.UpdateOptions{IgnoreMissing: opt.IgnoreMissing, Queries: a.trainingQueries, Progress: a.indexProgress})
	}()
	a.read(b.Add)
	<-done
	if ierr != nil {
		if a.err != nil {
			ierr = a.err
		}
		if de := (*index.DocumentError)(nil); errors.As(ierr, &de) {
			ierr = &DocumentError{ID: de.ID, Err: de.Err}
		}
		if cause := context.Cause(ctx); cause != nil && (errors.Is(ierr, ctx.Err()) || errors.Is(ierr, cause)) {
			ierr = cause
		}
		return UpdateResult{}, fmt.Errorf("colbert: update: %w", ierr)
	}
	x.committed()
	a.res.Added = res.Added - res.Replaced
	a.res.Replaced = a.progress.Documents - a.res.Added
	a.res.Tokens = res.Tokens
	return UpdateResult{AddResult: a.res, Deleted: res.Deleted}, nil
}

// Compact merges the index's segments and drops what is deleted, while searches and writers go on. See
// index.Index.Compact.
func (x *Index) Compact(ctx context.Context, o *index.CompactOptions) (index.CompactResult, error) {
	res, err := x.ix.Compact(ctx, o)
	if err != nil {
		return res, fmt.Errorf("colbert: compact: %w", err)
	}
	x.committed()
	return res, nil
}

// MaybeCompact merges segments where there are many of a size, and returns at once where there are not. Adds
// do that by themselves as long as the segments are small. See index.Index.MaybeCompact.
func (x *Index) MaybeCompact(ctx context.Context) (index.CompactResult, error) {
	res, err := x.ix.MaybeCompact(ctx)
	if err != nil {
		return res, fmt.Errorf("colbert: compact: %w", err)
	}
	x.committed()
	return res, nil
}

// Refresh moves an index that was opened read-only to the newest commit, which another process may have
// made, and says whether there was a newer one. Searches under way are not disturbed.
func (x *Index) Refresh(ctx context.Context) (changed bool, err error) {
	if changed, err = x.ix.Refresh(ctx); err != nil {
		return false, fmt.Errorf("colbert: refresh: %w", err)
	}
	if changed {
		x.committed()
	}
	return changed, nil
}

// Merge adds all documents of other indexes, given by their directories, in one commit and without encoding
// them again: see index.Index.Merge. Indexes of another model are refused with a *ModelMismatchError.
func (x *Index) Merge(ctx context.Context, dirs []string, o *index.MergeOptions) (index.AddResult, error) {
	for _, dir := range slices.Compact(slices.Sorted(slices.Values(dirs))) {
		src, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: true})
		if err != nil {
			return index.AddResult{}, fmt.Errorf("colbert: merge: %w", err)
		}
		err = checkModel(src, x.enc, false)
		src.Close()
		if err != nil {
			return index.AddResult{}, fmt.Errorf("colbert: merge: %s: %w", dir, err)
		}
	}
	res, err := x.ix.Merge(ctx, dirs, o)
	if err != nil {
		return res, fmt.Errorf("colbert: merge: %w", err)
	}
	x.committed()
	return res, nil
}

// Repair makes a new index in dst of all documents of the index in dir that are whole, and says what is
// lost. It needs no encoder and changes nothing in dir. See index.Repair.
func Repair(ctx context.Context, dir, dst string) (*index.RepairReport, error) {
	return index.Repair(ctx, dir, dst)
}
