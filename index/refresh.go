package index

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
)

// Generation numbers the newest commit that this Index knows. A reader that holds a Snapshot of a lower
// generation may want a new one. 0 once the index is closed.
func (ix *Index) Generation() uint64 {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.closed {
		return 0
	}
	return ix.cur.man.Generation
}

// Refresh moves an Index that was opened read-only to the newest commit in its directory, and says whether
// there was a newer one. Snapshots that are open stay what they are; the next one sees the commit. Files
// that both commits have are not opened again, so it costs little to ask often. An Index that is open for
// writing always knows the newest commit: nothing happens. After an error the index goes on with the commit
// that it had.
func (ix *Index) Refresh(ctx context.Context) (changed bool, err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	if !ix.readOnly {
		if ix.Generation() == 0 {
			return false, ErrClosed
		}
		return false, ctx.Err()
	}
	ctx, end, err := ix.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	defer func() { err = cause(ctx, err) }()
	base, err := ix.current()
	if err != nil {
		return false, err
	}
	defer base.release()
	st, err := loadNewest(ctx, ix.fs, ix.dir, base)
	if err != nil {
		return false, err
	}
	if st == base {
		st.release()
		return false, nil
	}
	if had, got := base.man.Generation, st.man.Generation; got < had {
		st.release()
		return false, fmt.Errorf("index: %s: generation %d where there was %d: %w", ix.dir, got, had, errReplaced)
	}
	ix.install(st)
	return true, nil
}

var errReplaced = errors.New("the directory holds another index now, open it again")
