package index

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/golbert/golbert/internal/vfs"
)

// Index is an open index directory. It is safe for concurrent use; writers take turns.
type Index struct {
	fs       vfs.FS
	dir      string
	opts     *Options // as in the manifest, complete
	readOnly bool
	reads    bool          // OpenOptions.ReadResiduals
	turn     chan struct{} // holds one token; a writer takes it
	// compacting holds one token; a compaction takes it.
	compacting chan struct{}

	mu     sync.Mutex
	cur    *state
	closed bool
	broken error
	writes int // writers at work, or waiting for their turn
	stop   chan struct{}
	next   uint64 // lowest number that no segment has, once one was made

	// lockMu is apart from mu, and taken after it where both are, because removing files takes time, in which
	// readers must not wait.
	lockMu sync.Mutex
	lock   vfs.Lock // nil when read-only, or given back
}

// Create makes a new index in a directory that is absent or empty (else ErrExists) and opens it for
// writing. The empty index is durable when Create returns.
func Create(ctx context.Context, dir string, o *Options) (_ *Index, err error) {
	opts, err := o.complete()
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	names, err := opts.fs.List(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("index: %w", err)
	}
	fresh := err != nil
	if err := vacant(dir, names); err != nil {
		return nil, err
	}
	made := 0 // directories that get a new entry
	if fresh {
		for p := filepath.Clean(dir); ; p = filepath.Dir(p) {
			made++
			if _, err := opts.fs.List(filepath.Dir(p)); err == nil || filepath.Dir(p) == p {
				break
			}
		}
		if err := opts.fs.Mkdir(dir); err != nil {
			return nil, fmt.Errorf("index: %w", err)
		}
	}
	if err := syncAbove(opts.fs, dir, made); err != nil {
		return nil, err
	}
	lock, err := takeLock(opts.fs, dir)
	if err != nil {
		return nil, err
	}
	ix := newIndex(opts.fs, dir, opts)
	ix.lock = lock
	defer func() {
		if err != nil {
			_ = lock.Close()
		}
	}()
	// Again under the lock: somebody else may have been quicker.
	if names, err = opts.fs.List(dir); err != nil {
		return nil, fmt.Errorf("index: %w", err)
	}
	if err := vacant(dir, names); err != nil {
		return nil, err
	}
	c := ix.newCommit(&state{man: newManifest(opts)})
	defer c.abort()
	if opts.Codebook != nil {
		if err := c.addCodebook(opts.Codebook, 0); err != nil {
			return nil, err
		}
	}
	st, err := c.commit(ctx)
	if err != nil {
		return nil, err
	}
	ix.cur = st
	return ix, nil
}

// syncAbove makes the directory itself outlive a power cut, too. That is done before there is an index in it:
// others may open what they see and add to it, even if this Create is killed. An earlier Create may have been
// killed between making directories and syncing them, so all directories up to the root are synced; it is
// an error only of those that have got an entry just now.
func syncAbove(fsys vfs.FS, dir string, made int) error {
	p, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	for i := 0; filepath.Dir(p) != p; i++ {
		p = filepath.Dir(p)
		if err := fsys.SyncDir(p); err != nil && i < made {
			return fmt.Errorf("index: sync: %w", err)
		}
	}
	return nil
}

// vacant says whether Create may use a directory: nothing in it but what a Create that was interrupted
// leaves behind.
func vacant(dir string, names []string) error {
	for _, n := range names {
		switch k, _ := classify(n); {
		case k == kindLock, k == kindTemp, k == kindData && filepath.Ext(n) == ".gbc":
		case k == kindManifest:
			return fmt.Errorf("%s holds an index: %w", dir, ErrExists)
		default:
			return fmt.Errorf("%s holds %q: %w", dir, clip(n), ErrExists)
		}
	}
	return nil
}

// Open opens an existing index, for writing unless told otherwise. Errors: ErrNotFound, ErrLocked (names
// the holder), ErrVersion, ErrCorrupt. Opening for writing removes what an interrupted commit left behind.
func Open(ctx context.Context, dir string, o *OpenOptions) (_ *Index, err error) {
	var opts OpenOptions
	if o != nil {
		opts = *o
	}
	if opts.fs == nil {
		opts.fs = vfs.OS{}
	}
	var lock vfs.Lock
	if !opts.ReadOnly {
		// No lock file where there is no index.
		gen, ferr := findNewest(opts.fs, dir)
		if ferr != nil {
			return nil, ferr
		}
		if gen == 0 {
			return nil, fmt.Errorf("%s: %w", dir, ErrNotFound)
		}
		if lock, err = takeLock(opts.fs, dir); err != nil {
			return nil, err
		}
		defer func() {
			if err != nil {
				_ = lock.Close()
			}
		}()
	}
	st, err := loadNewest(ctx, opts.fs, dir, nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			st.release()
		}
	}()
	if opts.Verify {
		for _, s := range st.segs {
			if err := s.f.verifyAll(ctx); err != nil {
				return nil, err
			}
		}
	}
	if lock != nil {
		if err := clean(opts.fs, dir, st.man); err != nil {
			return nil, err
		}
	}
	mo, err := st.man.options()
	if err != nil {
		return nil, err
	}
	mo.fs, mo.Workers = opts.fs, opts.Workers
	if mo, err = mo.complete(); err != nil {
		return nil, err
	}
	ix := newIndex(opts.fs, dir, mo)
	ix.readOnly, ix.reads, ix.lock, ix.cur = opts.ReadOnly, opts.ReadResiduals, lock, st
	return ix, nil
}

func newIndex(fsys vfs.FS, dir string, o *Options) *Index {
	ix := &Index{fs: fsys, dir: dir, opts: o, turn: make(chan struct{}, 1), compacting: make(chan struct{}, 1), stop: make(chan struct{})}
	ix.turn <- struct{}{}
	ix.compacting <- struct{}{}
	return ix
}

// takeLock takes the directory's writer lock.
func takeLock(fsys vfs.FS, dir string) (vfs.Lock, error) {
	host, _ := os.Hostname()
	l, err := fsys.Lock(filepath.Join(dir, lockName), fmt.Sprintf("process %d on %s (%s)", os.Getpid(), host, filepath.Base(os.Args[0])))
	var held *vfs.LockedError
	if errors.As(err, &held) {
		if held.Holder == "" {
			return nil, fmt.Errorf("%s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("%s: %w: %s", dir, ErrLocked, held.Holder)
	}
	if err != nil {
		return nil, fmt.Errorf("index: %s: no lock, which writing needs (some network file systems have none): %w", dir, err)
	}
	return l, nil
}

// clean removes what interrupted commits left behind. The directory is synced first: what is removed must
// be unneeded by the commit that a power cut would leave, not only by the one that is visible now.
func clean(fsys vfs.FS, dir string, m *manifest) error {
	if err := fsys.SyncDir(dir); err != nil {
		return fmt.Errorf("index: sync: %w", err)
	}
	names, err := fsys.List(dir)
	if err != nil {
		return fmt.Errorf("index: %w", err)
	}
	used := m.files()
	for _, n := range names {
		k, gen := classify(n)
		if k == kindTemp || k == kindData && !used[n] || k == kindManifest && gen < m.Generation {
			// A file that cannot be removed (open elsewhere on Windows) does no harm: the next time.
			_ = fsys.Remove(filepath.Join(dir, n))
		}
	}
	return nil
}

// Snapshot opens the newest commit for reading.
func (ix *Index) Snapshot() (*Snapshot, error) {
	st, err := ix.current()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{st: st, reads: ix.reads}
	s.refs.Store(1)
	return s, nil
}

// current retains the newest commit.
func (ix *Index) current() (*state, error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.closed {
		return nil, ErrClosed
	}
	ix.cur.retain()
	return ix.cur, nil
}

// Close waits for nothing: snapshots that are open stay good until they are closed, an Add or Delete under
// way is abandoned and returns ErrClosed, and new calls return ErrClosed. The lock is given back as soon as
// no writer is at work.
func (ix *Index) Close() error {
	ix.mu.Lock()
	if ix.closed {
		ix.mu.Unlock()
		return ErrClosed
	}
	ix.closed = true
	close(ix.stop)
	err := ix.unlockIdle()
	ix.mu.Unlock()
	ix.cur.release() // not under the mutex, which removing files takes; cur is not changed any more
	return err
}

// unlockIdle gives the lock back when the index is closed and nobody writes. ix.mu is held.
func (ix *Index) unlockIdle() error {
	if !ix.closed || ix.writes > 0 {
		return nil
	}
	ix.lockMu.Lock()
	defer ix.lockMu.Unlock()
	if ix.lock == nil {
		return nil
	}
	err := ix.lock.Close()
	ix.lock = nil
	if err != nil {
		return fmt.Errorf("index: unlock: %w", err)
	}
	return nil
}

// beginWrite waits for the writer's turn. The context that it gives is cancelled with ErrClosed by Close;
// end must be called.
func (ix *Index) beginWrite(ctx context.Context) (_ context.Context, end func(), err error) {
	if ix.readOnly {
		if ix.Generation() == 0 {
			return nil, nil, ErrClosed
		}
		return nil, nil, ErrReadOnly
	}
	return ix.begin(ctx)
}

// begin is beginWrite for read-only indexes, too.
func (ix *Index) begin(ctx context.Context) (_ context.Context, end func(), err error) {
	ctx, leave, err := ix.enter(ctx)
	if err != nil {
		return nil, nil, err
	}
	if err := ix.takeTurn(ctx); err != nil {
		leave()
		return nil, nil, err
	}
	return ctx, func() { ix.turn <- struct{}{}; leave() }, nil
}

// enter keeps the lock from being given back until leave is called. The context that it gives is cancelled
// with ErrClosed by Close.
func (ix *Index) enter(parent context.Context) (ctx context.Context, leave func(), err error) {
	ix.mu.Lock()
	switch {
	case ix.closed:
		err = ErrClosed
	case ix.broken != nil:
		err = fmt.Errorf("%w: %w", ErrBroken, ix.broken)
	default:
		ix.writes++
	}
	ix.mu.Unlock()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(parent)
	finished := make(chan struct{})
	go func() {
		select {
		case <-ix.stop:
			cancel(ErrClosed)
		case <-finished:
		}
	}()
	return ctx, func() {
		close(finished)
		cancel(nil)
		ix.mu.Lock()
		ix.writes--
		_ = ix.unlockIdle()
		ix.mu.Unlock()
	}, nil
}

// takeTurn waits for the writer's turn, which is given back through ix.turn.
func (ix *Index) takeTurn(ctx context.Context) error {
	select {
	case <-ix.turn:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	// The writer before may have broken down, and a cancelled context must not start at all.
	var err error
	ix.mu.Lock()
	if ix.broken != nil {
		err = fmt.Errorf("%w: %w", ErrBroken, ix.broken)
	}
	ix.mu.Unlock()
	if err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		ix.turn <- struct{}{}
	}
	return err
}

// cause replaces the context's error by its cause, so that an Add that Close interrupts returns ErrClosed.
func cause(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return context.Cause(ctx)
	}
	return err
}

// held makes sure that no other writer can be at work, and stops this one for good when there may be one: whoever
// removes the lock file lets others take the lock.
func (ix *Index) held() error {
	ix.lockMu.Lock()
	lock, err := ix.lock, error(nil)
	if lock != nil {
		err = lock.Held()
	}
	ix.lockMu.Unlock()
	switch {
	case lock == nil:
		return ErrClosed
	case err != nil:
		err = fmt.Errorf("index: somebody has removed the lock file, so there may be another writer: %w", err)
		ix.mu.Lock()
		ix.broken = err
		ix.mu.Unlock()
	}
	return err
}

// removeOwned removes files, if this process still has the lock.
func (ix *Index) removeOwned(names ...string) {
	ix.lockMu.Lock()
	defer ix.lockMu.Unlock()
	if ix.lock == nil || len(names) == 0 || ix.lock.Held() != nil {
		return
	}
	for _, n := range names {
		_ = ix.fs.Remove(filepath.Join(ix.dir, n)) // what stays is removed at the next open
	}
}

// Attributes gives the caller's attributes stored by Create; the map is a copy.
func (ix *Index) Attributes() map[string]string { return cloneAttributes(ix.opts.Attributes) }

// Dim is the dimension of the vectors.
func (ix *Index) Dim() int { return ix.opts.Dim }

// Dir is the index's directory.
func (ix *Index) Dir() string { return ix.dir }
