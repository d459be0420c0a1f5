package index

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/vfs/crashfs"
)

// faulty is an error that a disk gives, at one call.
type faulty struct {
	name string
	err  error
	when func(h *crashfs.Hooks, fail func(crashfs.Op) error)
	only crashfs.Kind
}

func before(h *crashfs.Hooks, fail func(crashfs.Op) error) { h.Before = fail }
func after(h *crashfs.Hooks, fail func(crashfs.Op) error)  { h.After = fail }

var faults = []faulty{
	{name: "EIO", err: syscall.EIO, when: before},
	{name: "EIO, though it was done", err: syscall.EIO, when: after},
	{name: "ENOSPC", err: syscall.ENOSPC, when: before},
	{name: "short write", err: &crashfs.Short{N: 11, Err: syscall.ENOSPC}, when: before, only: crashfs.Write},
	{name: "EMFILE", err: syscall.EMFILE, when: before, only: crashfs.Map},
	{name: "EACCES", err: syscall.EACCES, when: before, only: crashfs.Create},
}

// faultBase makes the index that every fault starts from.
func faultBase(t *testing.T) *crashfs.FS {
	t.Helper()
	ctx := context.Background()
	disk := crashfs.New()
	ix, err := Create(ctx, crashDir, &Options{Dim: crashDim, Centroids: 2, SegmentTokens: 12, Workers: 1, fs: disk})
	require.NoError(t, err)
	c := &crashRun{r: newRand(4)}
	var docs []Document
	for i := range 9 {
		docs = append(docs, c.doc(fmt.Sprint("d", i)))
	}
	_, err = ix.Add(ctx, seq(docs), nil)
	require.NoError(t, err)
	_, err = ix.Delete(ctx, []string{"d1", "d5"}, nil)
	require.NoError(t, err)
	_, err = ix.Add(ctx, seq([]Document{c.doc("e")}), nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	return disk
}

// faultWrites are the operations whose calls fail one after the other.
var faultWrites = []struct {
	name string
	do   func(context.Context, *Index) error
}{
	{"add", func(ctx context.Context, ix *Index) error {
		c := &crashRun{r: newRand(8)}
		_, err := ix.Add(ctx, seq([]Document{c.doc("n1"), c.doc("n2"), c.doc("n3"), c.doc("n4")}), nil)
		return err
	}},
	{"upsert", func(ctx context.Context, ix *Index) error {
		c := &crashRun{r: newRand(9)}
		_, err := ix.Add(ctx, seq([]Document{c.doc("d2"), c.doc("n"), c.doc("n")}), &AddOptions{Upsert: true})
		return err
	}},
	{"delete", func(ctx context.Context, ix *Index) error {
		_, err := ix.Delete(ctx, []string{"d2", "d3", "e"}, nil)
		return err
	}},
	{"update", func(ctx context.Context, ix *Index) error {
		c := &crashRun{r: newRand(10)}
		_, err := ix.Update(ctx, Batch{Delete: []string{"d0", "d7"}, Add: seq([]Document{c.doc("d0"), c.doc("n")})}, nil)
		return err
	}},
	{"compact", func(ctx context.Context, ix *Index) error {
		_, err := ix.Compact(ctx, &CompactOptions{SegmentTokens: 20})
		return err
	}},
	{"retrain", func(ctx context.Context, ix *Index) error {
		_, err := ix.Compact(ctx, &CompactOptions{Retrain: true})
		return err
	}},
}

// state dumps the newest commit of an open index.
func stateOf(t *testing.T, ix *Index) map[string]string {
	t.Helper()
	s, err := ix.Snapshot()
	require.NoError(t, err)
	defer s.Close()
	m, err := dump(s)
	require.NoError(t, err)
	return m
}

// injected gives the error that a fault leads to.
func (f faulty) injected() error {
	var s *crashfs.Short
	if errors.As(f.err, &s) {
		return s.Err
	}
	return f.err
}

// TestFaultAtEveryCall fails every call of every operation in every way. The error is the disk's and names what
// failed; the generation before is still served; a writer that cannot know what is on the disk says ErrBroken
// from then on, any other goes on; nothing stays open; and what a power cut leaves is the old state or the new
// one, the old one for sure if the error was not one of making the commit durable.
func TestFaultAtEveryCall(t *testing.T) {
	ctx := context.Background()
	base := faultBase(t)
	r := newRand(1)
	goroutines := runtime.NumGoroutine()
	count, broken, harmless, images := 0, 0, 0, 0
	for _, op := range faultWrites {
		kinds := map[crashfs.Kind]int{}
		// Once without faults: what it leads to, and through how many calls.
		disk := base.Crash(crashfs.All, r)
		ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk, Workers: 1})
		require.NoError(t, err)
		old := stateOf(t, ix)
		first := disk.Ops()
		disk.Before = func(op crashfs.Op) error { kinds[op.Kind]++; return nil }
		require.NoError(t, op.do(ctx, ix))
		disk.Before = nil
		calls := disk.Ops() - first
		new := stateOf(t, ix)
		require.NoError(t, ix.Close())
		stride := 1
		if testing.Short() {
			stride = 5
		}
		for _, f := range faults {
			for at := 0; at < calls; at += stride {
				disk := base.Crash(crashfs.All, r)
				ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk, Workers: 1})
				require.NoError(t, err)
				held, err := ix.Snapshot()
				require.NoError(t, err)
				start := disk.Ops()
				var hit crashfs.Op
				f.when(&disk.Hooks, func(op crashfs.Op) error {
					if op.N-start == at && (f.only == "" || f.only == op.Kind) {
						hit = op
						return f.err
					}
					return nil
				})
				err = op.do(ctx, ix)
				disk.Hooks = crashfs.Hooks{}
				if hit.Kind == "" {
					require.NoError(t, err)
					require.NoError(t, held.Close())
					require.NoError(t, ix.Close())
					continue
				}
				count++
				where := fmt.Sprintf("%s: %s of %s", op.name, f.name, hit)
				got := stateOf(t, ix)
				if err == nil {
					require.Contains(t, []crashfs.Kind{crashfs.Remove, crashfs.Close}, hit.Kind, where)
					require.Equal(t, new, got, where)
					harmless++
				} else {
					require.ErrorIs(t, err, f.injected(), where)
					require.ErrorContains(t, err, strings.TrimSuffix(filepath.Base(hit.Path), tmpSuffix), where)
					require.Equal(t, old, got, where)
				}
				was, derr := dump(held)
				require.NoError(t, derr, where)
				require.Equal(t, old, was, where)
				// Only what may have been published, or not synced, breaks the writer.
				_, more := ix.Delete(ctx, []string{"d4"}, nil)
				mayBreak := hit.Kind == crashfs.Sync || hit.Kind == crashfs.SyncDir || hit.Kind == crashfs.Rename && isManifest(hit.Path)
				if err == nil || !mayBreak {
					require.NoError(t, more, where)
				} else {
					require.ErrorIs(t, more, ErrBroken, where)
					require.ErrorIs(t, more, f.injected(), where)
					broken++
				}
				allowed := []map[string]string{old}
				if err == nil {
					allowed[0] = new
				}
				if more == nil {
					allowed[0] = stateOf(t, ix)
				} else {
					allowed = append(allowed, new)
				}
				for _, m := range []crashfs.Mode{crashfs.Lost, crashfs.All, crashfs.Torn} {
					images++
					requireImage(t, disk.Crash(m, r), allowed, fmt.Sprint(where, ", then ", m))
				}
				require.NoError(t, ix.Close(), where)
				require.NoError(t, held.Close(), where)
				require.Empty(t, disk.InUse(), where)
				require.Empty(t, disk.Violations(), where)
				requireImage(t, disk, allowed, where)
			}
		}
	}
	requireGoroutines(t, goroutines)
	t.Logf("faults=%d broken_writers=%d without_effect=%d images=%d lost=0 leaks=0", count, broken, harmless, images)
}

// requireImage opens what is left for writing and compares it.
func requireImage(t *testing.T, disk *crashfs.FS, allowed []map[string]string, where string) {
	t.Helper()
	ctx := context.Background()
	ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk})
	require.NoError(t, err, where)
	got := stateOf(t, ix)
	found := false
	for _, a := range allowed {
		found = found || reflect.DeepEqual(a, got)
	}
	require.True(t, found, where)
	names, err := disk.List(crashDir)
	require.NoError(t, err)
	require.Len(t, names, 2+len(ix.cur.man.files()), "%s: %v", where, names)
	require.NoError(t, ix.Close())
	_, err = check(ctx, disk, crashDir)
	require.NoError(t, err, where)
}

func requireGoroutines(t *testing.T, want int) {
	t.Helper()
	got := 0
	for range 100 {
		if got = runtime.NumGoroutine(); got <= want {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%d goroutines, want %d", got, want)
}

// TestFaultOpen fails every call of opening, checking and creating.
func TestFaultOpen(t *testing.T) {
	ctx := context.Background()
	base := faultBase(t)
	r := newRand(1)
	goroutines := runtime.NumGoroutine()
	ops := []struct {
		name string
		do   func(disk *crashfs.FS) error
	}{
		{"open", func(disk *crashfs.FS) error {
			ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk})
			if err == nil {
				err = ix.Close()
			}
			return err
		}},
		{"open read-only, verify", func(disk *crashfs.FS) error {
			ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk, ReadOnly: true, Verify: true})
			if err == nil {
				err = ix.Close()
			}
			return err
		}},
		{"check", func(disk *crashfs.FS) error {
			_, err := check(ctx, disk, crashDir)
			return err
		}},
		{"create", func(disk *crashfs.FS) error {
			ix, err := Create(ctx, "/top/new/ix", &Options{Codebook: crashBook(4), fs: disk})
			if err == nil {
				err = ix.Close()
			}
			return err
		}},
	}
	count := 0
	for _, op := range ops {
		for _, f := range faults {
			for at := 0; ; at++ {
				disk := base.Crash(crashfs.All, r)
				// Something for opening to clean up.
				for _, n := range []string{segmentName(99), manifestName(99) + tmpSuffix} {
					h, err := disk.Create(filepath.Join(crashDir, n))
					require.NoError(t, err)
					require.NoError(t, h.Close())
				}
				start, past := disk.Ops(), false
				var hit crashfs.Op
				f.when(&disk.Hooks, func(op crashfs.Op) error {
					past = past || op.N-start == at
					if op.N-start == at && (f.only == "" || f.only == op.Kind) {
						hit = op
						return f.err
					}
					return nil
				})
				err := op.do(disk)
				disk.Hooks = crashfs.Hooks{}
				if !past {
					require.NoError(t, err)
					break
				}
				if hit.Kind == "" {
					continue
				}
				count++
				where := fmt.Sprintf("%s: %s of %s", op.name, f.name, hit)
				if err == nil { // what cannot be removed now is removed later; directories above are a courtesy
					require.Contains(t, []crashfs.Kind{crashfs.Remove, crashfs.SyncDir, crashfs.List, crashfs.Close}, hit.Kind, where)
				} else {
					require.ErrorIs(t, err, f.injected(), where)
				}
				require.Empty(t, disk.InUse(), where)
				if op.name == "create" {
					// Either nothing is there and it can be created, or it is there and opens.
					if again := op.do(disk); again != nil {
						require.ErrorIs(t, again, ErrExists, where)
						ix, oerr := Open(ctx, "/top/new/ix", &OpenOptions{fs: disk})
						require.NoError(t, oerr, where)
						require.NoError(t, ix.Close())
					}
				}
				ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk})
				require.NoError(t, err, where)
				require.NoError(t, ix.Close())
				require.Empty(t, disk.InUse(), where)
			}
		}
	}
	requireGoroutines(t, goroutines)
	t.Logf("faults=%d leaks=0", count)
}

// TestFaultDiskFull has no space from some call on, until somebody makes room.
func TestFaultDiskFull(t *testing.T) {
	ctx := context.Background()
	base := faultBase(t)
	r := newRand(1)
	count := 0
	for _, op := range faultWrites {
		for at := 0; ; at++ {
			disk := base.Crash(crashfs.All, r)
			ix, err := Open(ctx, crashDir, &OpenOptions{fs: disk, Workers: 1})
			require.NoError(t, err)
			old := stateOf(t, ix)
			n, full := 0, 0
			disk.Before = func(op crashfs.Op) error {
				if op.Kind == crashfs.Create || op.Kind == crashfs.Write {
					if n++; n > at {
						full++
						return &crashfs.Short{N: 5, Err: syscall.ENOSPC}
					}
				}
				return nil
			}
			err = op.do(ctx, ix)
			disk.Hooks = crashfs.Hooks{}
			if full == 0 {
				require.NoError(t, err)
				require.NoError(t, ix.Close())
				break
			}
			count++
			require.Error(t, err)
			require.ErrorContains(t, err, syscall.ENOSPC.Error())
			require.Equal(t, old, stateOf(t, ix))
			names, err := disk.List(crashDir)
			require.NoError(t, err)
			require.Len(t, names, 2+len(ix.cur.man.files()), "an operation that failed frees what it took: %v", names)
			require.NoError(t, op.do(ctx, ix), "there is room again")
			require.NoError(t, ix.Close())
			require.Empty(t, disk.InUse())
		}
	}
	t.Logf("disk_full=%d lost=0", count)
}

// TestFaultRealDescriptors fails calls on the operating system's files and counts descriptors.
func TestFaultRealDescriptors(t *testing.T) {
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		t.Skip("no /proc/self/fd here")
	}
	descriptors := func() int {
		es, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(es)
	}
	ctx := context.Background()
	boom := errors.New("boom")
	goroutines := runtime.NumGoroutine()
	dir := filepath.Join(t.TempDir(), "ix")
	ix, err := Create(ctx, dir, &Options{Dim: crashDim, Centroids: 2, SegmentTokens: 12})
	require.NoError(t, err)
	c := &crashRun{r: newRand(4)}
	_, err = ix.Add(ctx, seq([]Document{c.doc("a"), c.doc("b"), c.doc("c"), c.doc("d")}), nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	start := descriptors()
	count := 0
	for at := 0; ; at++ {
		n, hit := 0, false
		h := &hookFS{before: func(op, name string) error {
			if n++; n-1 == at {
				hit = true
				return boom
			}
			return nil
		}}
		ix, err := Open(ctx, dir, &OpenOptions{fs: h})
		if err == nil {
			_, err = ix.Add(ctx, seq([]Document{c.doc(fmt.Sprint("n", at)), c.doc("a")}), &AddOptions{Upsert: true})
			_ = err
			_, _ = ix.Compact(ctx, nil)
			require.NoError(t, ix.Close())
		}
		if !hit {
			break
		}
		count++
		require.LessOrEqual(t, descriptors(), start, "fault %d", at)
	}
	for range 200 { // opening and closing alone
		ix, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
		require.NoError(t, err)
		s, err := ix.Snapshot()
		require.NoError(t, err)
		require.NoError(t, ix.Close())
		require.NoError(t, s.Close())
		_, err = Open(ctx, filepath.Join(dir, "none"), nil)
		require.ErrorIs(t, err, ErrNotFound)
	}
	require.LessOrEqual(t, descriptors(), start)
	requireGoroutines(t, goroutines)
	t.Logf("faults=%d descriptors_leaked=0 goroutines_leaked=0", count)
}
