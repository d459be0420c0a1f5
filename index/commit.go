package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/quant"
)

// commit is the next generation in the making.
//
// The protocol: every data file is written under its final name, which no manifest mentions yet, and the
// manifest under a temporary one. They and the directory are synced, all at once, which costs a journalling
// file system little more than one sync. Then the manifest is renamed and the directory synced again. So a
// manifest that can be seen names files that are there, whatever a power cut forgets of the directory, and no
// reader ever has to fall back to an older generation. Until the manifest's rename, everything can be
// undone. From then on nothing may be: a power cut may show either generation, so the files of both must
// stay, and the writer stops with ErrBroken if it cannot finish.
//
// A codebook is the exception: its name says what is in it, so a reader of an older generation may be reading
// the very file that is written again. It is written under a temporary name and renamed.
type commit struct {
	ix    *Index
	base  *state
	man   *manifest
	segs  []*Segment
	books map[string]*quant.Codebook

	files     []string // data files that were begun
	pend      []pending
	begun     bool       // the manifest's temporary file may be there
	published bool       // the manifest may have its final name
	done      bool       // made, or undone
	fresh     []*segFile // opened by this commit
	numbers   []uint64   // of the segments begun

	over   map[string]*quant.Codebook // see newestForms; for the codebooks overOf
	overOf []manCodebook
}

// pending is a file that is written and not yet synced.
type pending struct {
	name string
	f    vfs.File
}

// earlySync is the length from which on a segment is synced as soon as it is written: it would take long at the
// end, and holds memory until then.
const earlySync = 4 << 20

func (ix *Index) newCommit(base *state) *commit {
	c := &commit{ix: ix, base: base, man: base.man.next(), books: make(map[string]*quant.Codebook)}
	c.segs = append(c.segs, base.segs...)
	maps.Copy(c.books, base.books)
	return c
}

func (c *commit) path(name string) string { return filepath.Join(c.ix.dir, name) }

// create begins a data file.
func (c *commit) create(name string) (vfs.File, error) {
	c.files = append(c.files, name) // first: a failing Create may have made the file
	return c.createAs(name, name)
}

func (c *commit) createAs(name, as string) (vfs.File, error) {
	if err := c.ix.held(); err != nil {
		return nil, err // it would empty a file of that name, which the other may have committed
	}
	f, err := c.ix.fs.Create(c.path(as))
	if err != nil {
		return nil, fmt.Errorf("index: %s: %w", name, err)
	}
	return f, nil
}

// write writes a whole file that is to be synced with the rest of the commit.
func (c *commit) write(f vfs.File, name string, b []byte) error {
	if _, err := f.Write(b); err != nil {
		_ = f.Close()
		return fmt.Errorf("index: %s: %w", name, err)
	}
	c.pend = append(c.pend, pending{name, f})
	return nil
}

// syncNow makes the content of a file that is written durable, and closes it.
func (c *commit) syncNow(p pending) error {
	err := p.f.Sync()
	if err != nil {
		err = &syncError{fmt.Errorf("sync: %w", err)}
	}
	if cerr := p.f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		err = fmt.Errorf("index: %s: %w", p.name, err)
		c.note(err)
	}
	return err
}

// syncAll makes the content of all files and the names in the directory durable: at once on a real file
// system, where the calls share one commit of the journal, and in a fixed order on those of tests.
func (c *commit) syncAll(names bool) error {
	tasks := make([]func() error, 0, len(c.pend)+1)
	for _, p := range c.pend {
		tasks = append(tasks, func() error { return c.syncNow(p) })
	}
	c.pend = nil
	if names {
		tasks = append(tasks, c.syncDir)
	}
	errs := make([]error, len(tasks))
	if _, real := c.ix.fs.(vfs.OS); real {
		var wg sync.WaitGroup
		for i, t := range tasks {
			wg.Go(func() { errs[i] = t() })
		}
		wg.Wait()
	} else {
		for i, t := range tasks {
			errs[i] = t()
		}
	}
	return errors.Join(errs...)
}

// closeOpen gives up files that are not synced.
func (c *commit) closeOpen() {
	for _, p := range c.pend {
		_ = p.f.Close()
	}
	c.pend = nil
}

// note stops the writer for good after an error that leaves open what is on the disk.
func (c *commit) note(err error) {
	var se *syncError
	if err != nil && (c.published || errors.As(err, &se)) {
		c.ix.mu.Lock()
		c.ix.broken = err
		c.ix.mu.Unlock()
	}
}

// addCodebook makes a codebook the one that codes what is added from now on. tokens is the size of the
// collection that it was trained for.
func (c *commit) addCodebook(cb *quant.Codebook, tokens uint64) error {
	for i, have := range c.man.Codebooks {
		if have.ID == cb.ID() { // move it to the end
			c.man.Codebooks = append(append(c.man.Codebooks[:i:i], c.man.Codebooks[i+1:]...), have)
			return nil
		}
	}
	b, err := cb.MarshalBinary()
	if err != nil {
		return fmt.Errorf("index: codebook: %w", err)
	}
	name := codebookName(cb.ID())
	c.files = append(c.files, name)
	f, err := c.createAs(name, name+tmpSuffix)
	if err != nil {
		return err
	}
	if _, err := f.Write(b); err != nil {
		_ = f.Close()
		return fmt.Errorf("index: %s: %w", name, err)
	}
	if err := c.syncNow(pending{name, f}); err != nil {
		return err
	}
	if err := c.ix.fs.Rename(c.path(name+tmpSuffix), c.path(name)); err != nil {
		return fmt.Errorf("index: %s: %w", name, err)
	}
	c.man.Codebooks = append(c.man.Codebooks, manCodebook{ID: cb.ID(), File: name, Length: int64(len(b)), SHA256: sha256hex(b), CRC: codebookCRC(b), Tokens: tokens})
	c.books[cb.ID()] = cb
	return nil
}

// newSegment starts the next segment file.
func (c *commit) newSegment(cb *quant.Codebook) (*segBuilder, error) {
	number := c.ix.reserve(c.man.NextSegment)
	c.numbers = append(c.numbers, number)
	c.man.NextSegment = number + 1
	f, err := c.create(segmentName(number))
	if err != nil {
		return nil, err
	}
	b, err := newSegBuilder(f, number, cb)
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("index: %s: %w", segmentName(number), err)
	}
	return b, nil
}

// reserve gives a number that no other segment has, be it in a commit or in the making.
func (ix *Index) reserve(least uint64) uint64 {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	n := max(ix.next, least)
	if ix.cur != nil {
		n = max(n, ix.cur.man.NextSegment)
	}
	ix.next = n + 1
	return n
}

// unreserve gives numbers back, if they are the last that were given.
func (ix *Index) unreserve(numbers []uint64) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	for i := len(numbers) - 1; i >= 0 && ix.next == numbers[i]+1; i-- {
		ix.next--
	}
}

// addSegment finishes a segment file and makes it part of the commit.
func (c *commit) addSegment(b *segBuilder) (*Segment, error) {
	seg, entry, err := c.finishSegment(b)
	if err != nil {
		return nil, err
	}
	c.man.Segments = append(c.man.Segments, entry)
	c.segs = append(c.segs, seg)
	return seg, nil
}

// finishSegment finishes a segment file and opens it.
func (c *commit) finishSegment(b *segBuilder) (*Segment, manSegment, error) {
	name := segmentName(b.toc.segment)
	length, root, err := b.finish()
	if err != nil {
		_ = b.file.Close()
		return nil, manSegment{}, fmt.Errorf("index: %s: %w", name, err)
	}
	if p := (pending{name, b.file}); length >= c.ix.opts.earlySync {
		if err := c.syncNow(p); err != nil {
			return nil, manSegment{}, err
		}
	} else {
		c.pend = append(c.pend, p)
	}
	f, err := openSegFile(c.ix.fs, c.path(name), name)
	if err != nil {
		return nil, manSegment{}, missing(name, err)
	}
	c.fresh = append(c.fresh, f)
	s := manSegment{
		Number: b.toc.segment, File: name, Length: length, Tail: root, Codebook: b.cb.ID(),
		Docs: b.toc.docs, Tokens: b.toc.tokens,
	}
	if err := f.matches(s, b.cb); err != nil {
		return nil, manSegment{}, err
	}
	return newSegment(f, b.cb), s, nil
}

// delete replaces the deleted documents of a segment. A segment without live documents leaves the index.
func (c *commit) delete(number uint64, del *roaring.Bitmap) error {
	for i, s := range c.man.Segments {
		if s.Number != number {
			continue
		}
		if del.GetCardinality() == s.Docs {
			c.man.Segments = append(c.man.Segments[:i:i], c.man.Segments[i+1:]...)
			c.segs = append(c.segs[:i:i], c.segs[i+1:]...)
			return nil
		}
		b := marshalDeletions(number, c.man.Generation, s.Docs, del)
		name := deletionsName(number, c.man.Generation)
		f, err := c.create(name)
		if err != nil {
			return err
		}
		if err := c.write(f, name, b); err != nil {
			return err
		}
		c.man.Segments[i].Deleted = &manDel{Generation: c.man.Generation, File: name, Length: int64(len(b)), SHA256: sha256hex(b), Docs: del.GetCardinality()}
		c.segs[i] = c.segs[i].with(del, c.man.Generation)
		return nil
	}
	panic(fmt.Sprintf("index: no segment %d in the commit", number))
}

// commit makes the generation durable and visible to others, and gives it open. It does not install it.
func (c *commit) commit(ctx context.Context) (_ *state, err error) {
	defer func() { c.note(err) }()
	m := c.man
	m.dropUnused()
	m.Docs, m.Tokens = 0, 0
	for _, s := range c.segs {
		m.Docs += uint64(s.NumLive())
		m.Tokens += s.live
	}
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("index: the new manifest is not valid: %w", err)
	}
	b, err := m.marshal()
	if err != nil {
		return nil, err
	}
	// Files that came to nothing, such as a segment whose documents were all replaced within this commit,
	// need no sync.
	used := m.files()
	c.pend = slices.DeleteFunc(c.pend, func(p pending) bool {
		if !used[p.name] {
			_ = p.f.Close()
		}
		return !used[p.name]
	})
	name := manifestName(m.Generation)
	c.begun = true
	f, err := c.createAs(name, name+tmpSuffix)
	if err != nil {
		return nil, err
	}
	if err := c.write(f, name, b); err != nil {
		return nil, err
	}
	if ctx.Err() != nil { // the last chance to turn back
		return nil, context.Cause(ctx)
	}
	if err := c.syncAll(len(c.files) > 0); err != nil {
		return nil, err
	}
	c.published = true
	if err := c.ix.held(); err != nil {
		return nil, err // and what is here of this commit is not to be touched: it may be the other's
	}
	if err := c.ix.fs.Rename(c.path(name+tmpSuffix), c.path(name)); err != nil {
		return nil, fmt.Errorf("index: %s: %w", name, err)
	}
	if err := c.syncDir(); err != nil {
		return nil, err
	}
	c.done = true
	return c.open(int64(len(b))), nil
}

func (c *commit) syncDir() error {
	if err := c.ix.fs.SyncDir(c.ix.dir); err != nil {
		return &syncError{fmt.Errorf("index: sync of the directory: %w", err)}
	}
	return nil
}

// open makes the state of a durable commit and arranges for the removal of what it no longer needs.
func (c *commit) open(size int64) *state {
	c.lift()
	st := &state{man: c.man, manSize: size, segs: c.segs, books: make(map[string]*quant.Codebook), over: c.over}
	st.refs.Store(1)
	for _, b := range c.man.Codebooks {
		st.books[b.ID] = c.books[b.ID]
	}
	kept := make(map[*segFile]bool)
	for _, s := range st.segs {
		s.f.ref()
		kept[s.f] = true
	}
	for _, f := range c.fresh {
		if !kept[f] { // never made it into the commit
			c.removeLater(f, f.name)
		}
		f.unref()
	}
	used := c.man.files()
	var gone []string
	for _, n := range c.files {
		if !used[n] && !slices.ContainsFunc(c.fresh, func(f *segFile) bool { return f.name == n }) {
			gone = append(gone, n) // begun and given up
		}
	}
	if c.base.man.Generation > 0 {
		gone = append(gone, manifestName(c.base.man.Generation))
	}
	for n := range c.base.man.files() {
		if !used[n] && filepath.Ext(n) != ".gbs" {
			gone = append(gone, n) // in memory, where anybody still needs it
		}
	}
	for _, s := range c.base.segs {
		if !kept[s.f] {
			c.removeLater(s.f, s.f.name)
		}
	}
	c.ix.removeOwned(gone...)
	return st
}

// removeLater removes a segment file when the last snapshot that needs it is closed.
func (c *commit) removeLater(f *segFile, name string) {
	ix := c.ix
	drop := func() { ix.removeOwned(name) }
	f.drop.Store(&drop)
}

// abort undoes what can be undone of a commit that was not made. It does nothing after one that was, nor a
// second time.
func (c *commit) abort() {
	if c.done {
		return
	}
	c.done = true
	c.closeOpen()
	for _, f := range c.fresh {
		f.unref()
	}
	if c.published {
		return // a power cut may show either generation: the next open decides
	}
	used := c.base.man.files()
	for _, n := range c.files {
		if filepath.Ext(n) == ".gbc" {
			c.ix.removeOwned(n + tmpSuffix)
		}
		if !used[n] {
			c.ix.removeOwned(n)
		}
	}
	if c.begun { // another writer's otherwise, while a compaction does not have the turn
		c.ix.removeOwned(manifestName(c.man.Generation) + tmpSuffix)
	}
	c.ix.unreserve(c.numbers)
}

// install makes a state the newest commit.
func (ix *Index) install(st *state) {
	ix.mu.Lock()
	if ix.closed {
		// Close was quicker than the end of this commit, and has released the state before it.
		ix.mu.Unlock()
		st.release()
		return
	}
	old := ix.cur
	ix.cur = st
	ix.mu.Unlock()
	old.release()
}
