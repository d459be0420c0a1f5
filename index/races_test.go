package index

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestFailedCompactLeavesOthersAlone: what a compaction that fails at its commit cleans up is its own, not the
// files of the writer that comes next, which have the same names.
func TestFailedCompactLeavesOthersAlone(t *testing.T) {
	ctx := context.Background()
	for _, fault := range []string{"cancelled", "disk full"} {
		t.Run(fault, func(t *testing.T) {
			h := &hookFS{}
			ix, dir := create(t, &Options{Codebook: testBook(t, 4), fs: h})
			addApart(t, ix, documents(1, 30), 10)
			ctxc, cancel := context.WithCancel(ctx)
			defer cancel()
			added := make(chan error, 1)
			reached := make(chan struct{})
			var stage atomic.Int32
			h.before = func(op, name string) error {
				if !strings.HasPrefix(name, "MANIFEST-") || !strings.HasSuffix(name, tmpSuffix) {
					return nil
				}
				switch {
				case op == "write" && stage.CompareAndSwap(0, 1): // the compaction's
					if fault == "disk full" {
						return fmt.Errorf("no space")
					}
					cancel()
				case op == "remove" && stage.CompareAndSwap(1, 2): // it cleans up
					go func() {
						_, err := ix.Add(ctx, seq(documents(2, 40)[35:]), nil)
						added <- err
					}()
					select { // by rights the Add waits for the end of this
					case <-reached:
					case <-time.After(100 * time.Millisecond):
					}
				case op == "sync" && stage.CompareAndSwap(2, 3): // the Add's is written
					close(reached)
					time.Sleep(50 * time.Millisecond)
				}
				return nil
			}
			_, err := ix.Compact(ctxc, nil)
			require.Error(t, err)
			require.NoError(t, <-added)
			require.Equal(t, int32(3), stage.Load())
			require.Equal(t, 35, snapshot(t, ix).NumDocs())
			h.before = nil
			require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
			require.NoError(t, ix.Close())
			_, err = Check(ctx, dir)
			require.NoError(t, err)
		})
	}
}

// TestFailedCompactCleansUpInItsTurn: the files of a compaction that fails at its commit are removed before the next writer
// may begin, whatever the time it takes.
func TestFailedCompactCleansUpInItsTurn(t *testing.T) {
	h := &hookFS{}
	ix, _ := create(t, &Options{Codebook: testBook(t, 4), fs: h})
	addApart(t, ix, documents(1, 30), 10)
	var free []int // turns that were to be had when a file was removed
	h.before = func(op, name string) error {
		switch {
		case op == "write" && strings.HasPrefix(name, "MANIFEST-"):
			return fmt.Errorf("no space")
		case op == "remove":
			free = append(free, len(ix.turn))
		}
		return nil
	}
	_, err := ix.Compact(context.Background(), nil)
	require.ErrorContains(t, err, "no space")
	require.NotEmpty(t, free)
	require.Zero(t, slices.Max(free), "the turn was given back before all was removed")
	require.Len(t, ix.turn, 1)
}

// blindFS lists a directory as it may look while a writer replaces the manifest: without either.
type blindFS struct {
	hookFS
	blind int
}

func (b *blindFS) List(dir string) ([]string, error) {
	names, err := b.OS.List(dir)
	if b.blind > 0 {
		b.blind--
		names = slices.DeleteFunc(names, isManifest)
	}
	return names, err
}

// TestListingMissesManifests: a listing that misses the manifest is not an index that is gone.
func TestListingMissesManifests(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	mustAdd(t, ix, documents(1, 3)...)
	require.NoError(t, ix.Close())
	b := &blindFS{}
	for _, ro := range []bool{true, false} {
		b.blind = 2
		ix, err := Open(ctx, dir, &OpenOptions{ReadOnly: ro, fs: b})
		require.NoError(t, err)
		b.blind = 2
		_, err = ix.Refresh(ctx)
		require.NoError(t, err)
		b.blind = 2
		_, err = check(ctx, b, dir)
		require.NoError(t, err)
		require.NoError(t, ix.Close())
	}
	// Without a manifest there is no index, however often one looks.
	b.blind = 1 << 20
	_, err := Open(ctx, dir, &OpenOptions{ReadOnly: true, fs: b})
	require.ErrorIs(t, err, ErrNotFound)
}

// TestLockFileRemoved: somebody removes the lock file, so that a second writer gets in. The first one notices
// before it makes or publishes a file, touches nothing that may be the other's, and stops.
func TestLockFileRemoved(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("an open file cannot be removed there")
	}
	ctx := context.Background()
	for name, write := range map[string]func(*Index) error{
		"delete": func(a *Index) error {
			_, err := a.Delete(ctx, []string{"doc-1"}, nil)
			return err
		},
		"add": func(a *Index) error {
			_, err := a.Add(ctx, seq(documents(3, 12)[10:]), nil)
			return err
		},
	} {
		for _, late := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/late=%v", name, late), func(t *testing.T) {
				h := &hookFS{}
				a, dir := create(t, &Options{Dim: testDim, fs: h})
				mustAdd(t, a, documents(1, 3)...)
				held := snapshot(t, a)
				var b *Index
				var before []string
				steal := func() {
					require.NoError(t, os.Remove(filepath.Join(dir, lockName)))
					var err error
					b, err = Open(ctx, dir, nil)
					require.NoError(t, err, "nobody can tell that there is another writer")
					mustAdd(t, b, documents(2, 8)[5:]...)
					before = listing(t, dir)
				}
				if late { // when all files of the commit are made
					h.before = func(op, name string) error {
						if op == "sync" && isManifest(strings.TrimSuffix(name, tmpSuffix)) && b == nil {
							steal()
						}
						return nil
					}
				} else {
					steal()
				}
				require.ErrorContains(t, write(a), "removed the lock file")
				require.ErrorIs(t, write(a), ErrBroken)
				require.NoError(t, held.Close())
				require.NoError(t, a.Close())
				require.Subset(t, listing(t, dir), before)
				_, err := b.Delete(ctx, []string{"doc-2"}, nil)
				require.NoError(t, err)
				require.NoError(t, b.Close())
				b, err = Open(ctx, dir, nil)
				require.NoError(t, err)
				require.Equal(t, 5, snapshot(t, b).NumDocs())
				require.NoError(t, b.Close())
				_, err = Check(ctx, dir)
				require.NoError(t, err)
			})
		}
	}
}
