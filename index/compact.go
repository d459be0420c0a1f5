package index

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// CompactOptions steer one Compact. A nil pointer means the zero value.
type CompactOptions struct {
	// SegmentTokens is about the size of the merged segments; 0 means four times Options.SegmentTokens. It
	// bounds the memory that Compact needs, to some 30 bytes per token.
	SegmentTokens int
	// Recode codes the segments of other codebooks again with the newest trained one, from their decoded vectors, so
	// that they can be merged with the rest. Every time costs a little of the vectors' precision.
	Recode bool
	// Retrain trains a new codebook on a sample of the decoded vectors of all documents first, and implies
	// Recode. It does for an index that has grown far beyond what its codebook was trained for what building
	// it again would do, up to the precision that decoded vectors lack. ErrFixedCodebook on an index that was
	// created with a codebook.
	Retrain bool
	// Progress, when set, is called from Compact's own goroutine now and then, with the stages "train",
	// "write" and "commit". Docs and Total count tokens in "write".
	Progress func(Progress)
}

// CompactResult says what a compaction did.
type CompactResult struct {
	// Before and After count the segments of the index.
	Before, After int
	// Merged counts the segments that were replaced, Written the token vectors that were copied, Recoded
	// those of them that were coded anew.
	Merged           int
	Written, Recoded uint64
	// Dropped counts deleted documents that are no longer on disk.
	Dropped int
}

// ErrFixedCodebook reports a wish for a new codebook on an index that was created with one of the caller's.
var ErrFixedCodebook = errors.New("index: its codebook is fixed")

// errConflict: another commit took away what a compaction was built on.
var errConflict = errors.New("index: another commit came in between")

// Compact merges the index's segments into few large ones and drops what is deleted, in one commit. Codes
// and residuals are copied, not made again, so scores stay what they are; segments of different codebooks
// stay apart, unless one extends the other or the options say otherwise.
//
// Searches go on meanwhile, and so do Adds and Deletes: only the last step waits for their turn, and what
// they deleted is deleted in the merged segments, too. A cancelled context, an error or a crash leaves the
// index as it was. It needs disk space for a second copy of what it merges, until the last snapshot of the
// time before is closed.
func (ix *Index) Compact(ctx context.Context, o *CompactOptions) (CompactResult, error) {
	var opt CompactOptions
	if o != nil {
		opt = *o
	}
	if opt.SegmentTokens < 0 || opt.SegmentTokens > maxSegmentTokens {
		return CompactResult{}, fmt.Errorf("%w: SegmentTokens is %d, want 0 to %d", ErrInvalidOptions, opt.SegmentTokens, maxSegmentTokens)
	}
	if opt.Retrain && ix.current0().FixedCodebook {
		return CompactResult{}, ErrFixedCodebook
	}
	most := ix.mergeTokens(opt.SegmentTokens)
	return ix.compact(ctx, &opt, most, func(c *compaction) error {
		to := c.to
		if to == nil && opt.Recode {
			to = c.base.target()
		}
		c.plan = planAll(c.base.segs, most, to)
		return nil
	})
}

// MaybeCompact merges what the automatic policy says, which Add, Update and Delete otherwise do on the way:
// segments fall into tiers by size, and eight of one tier become one. Unlike theirs its merges may be of any
// size, up to that of Compact. It returns at once when there is nothing to do.
func (ix *Index) MaybeCompact(ctx context.Context) (CompactResult, error) {
	most := ix.mergeTokens(0)
	return ix.compact(ctx, &CompactOptions{}, most, func(c *compaction) error {
		c.plan = planTiers(c.base.segs, most)
		return nil
	})
}

func (ix *Index) mergeTokens(given int) uint64 {
	if given > 0 {
		return uint64(given)
	}
	return uint64(min(4*ix.opts.SegmentTokens, maxSegmentTokens))
}

// current0 is the newest manifest.
func (ix *Index) current0() *manifest {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.cur.man
}

// compaction is one Compact or MaybeCompact under way.
type compaction struct {
	ix     *Index
	ctx    context.Context
	opt    *CompactOptions
	most   uint64
	base   *state
	c      *commit
	to     *quant.Codebook // trained for it
	tokens uint64          // that to was trained for
	plan   []merging
	res    CompactResult
}

func (ix *Index) compact(ctx context.Context, o *CompactOptions, most uint64, plan func(*compaction) error) (res CompactResult, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	if ix.readOnly {
		if ix.Generation() == 0 {
			return res, ErrClosed
		}
		return res, ErrReadOnly
	}
	ctx, leave, err := ix.enter(ctx)
	if err != nil {
		return res, err
	}
	defer leave()
	defer func() { err = cause(ctx, err) }()
	select { // one at a time
	case <-ix.compacting:
		defer func() { ix.compacting <- struct{}{} }()
	case <-ctx.Done():
		return res, context.Cause(ctx)
	}
	for range 5 {
		c := &compaction{ix: ix, ctx: ctx, opt: o, most: most}
		if err := c.run(plan); !errors.Is(err, errConflict) {
			return c.res, err
		}
	}
	return res, errConflict
}

func (c *compaction) run(plan func(*compaction) error) (err error) {
	if c.ctx.Err() != nil {
		return context.Cause(c.ctx)
	}
	if c.base, err = c.ix.current(); err != nil {
		return err
	}
	defer c.base.release()
	c.c = c.ix.newCommit(c.base)
	defer func() { c.c.abort() }()
	c.res.Before, c.res.After = len(c.base.segs), len(c.base.segs)
	if c.opt.Retrain && c.base.man.Tokens > 0 {
		if err := c.train(); err != nil {
			return err
		}
	}
	if err := plan(c); err != nil {
		return err
	}
	if len(c.plan) == 0 && c.to == nil {
		return nil
	}
	m := &merger{c: c.c, max: c.most, report: c.report(), copier: copier{ctx: c.ctx, workers: c.ix.opts.Workers}}
	defer m.close()
	for _, g := range c.plan {
		if err := m.merge(g); err != nil {
			return err
		}
	}
	if err := c.ix.takeTurn(c.ctx); err != nil {
		return err
	}
	defer func() {
		// Undone before the turn goes to the next writer, whose files have the names of this commit's.
		c.c.abort()
		c.ix.turn <- struct{}{}
	}()
	cur, err := c.ix.current()
	if err != nil {
		return err
	}
	defer cur.release()
	if err := c.rebase(cur); err != nil {
		return err
	}
	return c.finish(m)
}

// rebase puts the commit upon the newest one, which may have come since the compaction began.
func (c *compaction) rebase(cur *state) error {
	next := c.ix.newCommit(cur)
	c.c.base, c.c.segs, c.c.books = cur, next.segs, next.books
	next.man.NextSegment = max(next.man.NextSegment, c.c.man.NextSegment)
	c.c.man = next.man
	if c.to != nil {
		return c.c.addCodebook(c.to, c.tokens)
	}
	for _, g := range c.plan {
		if c.c.books[g.to.ID()] == nil {
			return errConflict
		}
		if c.opt.Recode { // what comes next is coded with it, too
			if err := c.c.addCodebook(c.c.books[g.to.ID()], 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *compaction) finish(m *merger) error {
	var docs, kept uint64
	for _, mv := range m.moves {
		docs += uint64(len(mv.to))
	}
	if err := m.swap(); err != nil {
		return err
	}
	for _, o := range m.out {
		kept += o.entry.Docs
	}
	c.res.Merged, c.res.Written, c.res.Recoded = len(m.moves), m.written, m.copier.recoded
	c.res.Dropped = int(docs - kept)
	c.res.After = len(c.c.segs)
	if c.opt.Progress != nil {
		c.opt.Progress(Progress{Stage: "commit", Docs: int(m.written), Total: int(m.written), Tokens: m.written})
	}
	st, err := c.c.commit(c.ctx)
	if err != nil {
		c.res = CompactResult{}
		return err
	}
	c.ix.install(st)
	return nil
}

// report counts tokens for Options.Progress.
func (c *compaction) report() func(int) {
	if c.opt.Progress == nil {
		return nil
	}
	var done, last, total uint64
	for _, g := range c.plan {
		for _, s := range g.segs {
			total += s.live
		}
	}
	return func(n int) {
		if done += uint64(n); done-last >= 1<<16 || done == total {
			last = done
			c.opt.Progress(Progress{Stage: "write", Docs: int(done), Total: int(total), Tokens: done})
		}
	}
}

// train learns a codebook from the decoded vectors of the live documents.
func (c *compaction) train() error {
	r := c.ix.newSample(c.base.man.Tokens)
	if err := sampleSegments(c.ctx, c.base.segs, r); err != nil {
		return err
	}
	var err error
	c.tokens = c.base.man.Tokens
	c.to, err = c.ix.trainBook(c.ctx, c.base, r, maxsim.Matrix{}, c.tokens, func(done, total int) {
		if c.opt.Progress != nil {
			c.opt.Progress(Progress{Stage: "train", Docs: done, Total: total})
		}
	})
	return err
}

// planPool gives the segments that the codebook was extended for, as they are now, to be coded again.
func (a *adder) planPool() []merging {
	g := merging{to: a.cb, recode: true}
	tokens := uint64(0)
	for _, s := range a.c.segs {
		if tokens+s.live <= callTokens && slices.ContainsFunc(a.pool, func(p *Segment) bool { return p.number == s.number }) {
			g.segs = append(g.segs, s)
			tokens += s.live
		}
	}
	if len(g.segs) == 0 {
		return nil
	}
	return []merging{g}
}

// autoMerge is what Add, Update and Delete do to keep segments few, within their own commit.
func (a *adder) autoMerge() error {
	if a.o.NoCompact {
		return nil
	}
	a.c.lift()
	plan := planTiers(a.c.segs, uint64(min(a.ix.opts.SegmentTokens, callTokens)))
	if a.recode {
		plan = planAll(a.c.segs, uint64(a.ix.opts.SegmentTokens), a.cb)
	}
	if len(a.pool) > 0 {
		plan = a.planPool()
	}
	if len(plan) == 0 {
		return nil
	}
	m := &merger{c: a.c, max: uint64(a.ix.opts.SegmentTokens), copier: copier{ctx: a.ctx, workers: a.ix.opts.Workers}}
	defer m.close()
	for _, g := range plan {
		if err := m.merge(g); err != nil {
			if errors.Is(err, ErrCorrupt) {
				// Damage elsewhere must not keep documents from being added.
				return nil
			}
			return err
		}
	}
	return m.swap()
}
