package crashfs

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

func put(t *testing.T, f *FS, path, content string, sync bool) {
	t.Helper()
	h, err := f.Create(path)
	require.NoError(t, err)
	_, err = h.Write([]byte(content))
	require.NoError(t, err)
	if sync {
		require.NoError(t, h.Sync())
	}
	require.NoError(t, h.Close())
}

// TestCrash looks at what each mode may leave of a file that is replaced by another.
func TestCrash(t *testing.T) {
	f := New()
	require.NoError(t, f.Mkdir("/a/b"))
	require.NoError(t, f.SyncDir("/"))
	require.NoError(t, f.SyncDir("/a"))
	put(t, f, "/a/b/x", "old", true)
	require.NoError(t, f.SyncDir("/a/b"))
	put(t, f, "/a/b/y", "new!", false)
	require.NoError(t, f.Rename("/a/b/y", "/a/b/x"))
	r := rand.New(rand.NewPCG(1, 1))
	seen := map[Mode]map[string]bool{}
	for m := range Modes {
		seen[m] = map[string]bool{}
		for range 400 {
			c := f.Crash(m, r)
			names, err := c.List("/a/b")
			require.NoError(t, err)
			require.Contains(t, names, "x", "a rename never loses the name")
			b, err := c.ReadFile("/a/b/x", 100)
			require.NoError(t, err)
			seen[m][string(b)] = true
			// What an image holds is durable, but for the killed one.
			b2, err := c.Crash(Lost, r).ReadFile("/a/b/x", 100)
			require.NoError(t, err)
			if m == Killed {
				require.Equal(t, "old", string(b2))
			} else {
				require.Equal(t, b, b2)
			}
		}
	}
	one := func(s string) map[string]bool { return map[string]bool{s: true} }
	require.Equal(t, one("old"), seen[Lost])
	require.Equal(t, one("old"), seen[Content])
	require.Equal(t, one("new!"), seen[All])
	require.Equal(t, one("new!"), seen[Killed])
	require.Equal(t, map[string]bool{"": true, "\x00\x00\x00\x00": true}, seen[Names])
	require.Equal(t, map[string]bool{"": true, "new!": true, "old": true}, seen[Half])
	for _, s := range []string{"old", "", "n", "ne", "new", "new!", "\x00\x00\x00\x00"} {
		require.True(t, seen[Torn][s], s)
		require.True(t, seen[Ordered][s], s)
	}
	b, err := f.ReadFile("/a/b/x", 100)
	require.NoError(t, err)
	require.Equal(t, "new!", string(b))

	// A directory that nobody synced may be gone with all that is in it.
	require.NoError(t, f.Mkdir("/c"))
	put(t, f, "/c/x", "synced", true)
	require.NoError(t, f.SyncDir("/c"))
	_, err = f.Crash(Lost, r).ReadFile("/c/x", 100)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestHooks(t *testing.T) {
	f := New()
	var ops []string
	f.Before = func(op Op) error {
		ops = append(ops, string(op.Kind))
		if op.N == 1 {
			return &Short{N: 2, Err: syscall.ENOSPC}
		}
		return nil
	}
	f.Ignore = func(op Op) bool { return op.Kind == Sync }
	h, err := f.Create("/x")
	require.NoError(t, err)
	n, err := h.Write([]byte("abc"))
	require.Equal(t, 2, n)
	require.ErrorIs(t, err, syscall.ENOSPC)
	require.NoError(t, h.Sync())
	require.Len(t, f.InUse(), 1)
	require.NoError(t, h.Close())
	require.Empty(t, f.InUse())
	require.NoError(t, f.SyncDir("/"))
	r := rand.New(rand.NewPCG(1, 1))
	b, err := f.Crash(Lost, r).ReadFile("/x", 10)
	require.NoError(t, err)
	require.Empty(t, b, "the sync was ignored")
	require.Equal(t, []string{"create", "write", "sync", "close", "syncdir"}, ops)

	boom := errors.New("boom")
	f.Hooks = Hooks{After: func(Op) error { return boom }}
	_, err = f.Create("/y")
	require.ErrorIs(t, err, boom)
	_, err = f.Lock("/l", "me")
	require.ErrorIs(t, err, boom)
	_, err = f.Map("/y")
	require.ErrorIs(t, err, boom)
	require.Empty(t, f.InUse())
	require.ErrorIs(t, f.Remove("/y"), boom)
	f.Hooks = Hooks{}
	_, err = f.Size("/y")
	require.ErrorIs(t, err, fs.ErrNotExist, "done, and reported as failed")

	m, err := f.Map("/x")
	require.NoError(t, err)
	put(t, f, "/x", "z", false)
	require.Equal(t, "ab", string(m.Bytes()))
	require.NotEmpty(t, f.Violations())
	f.Windows = true
	require.Error(t, f.Remove("/x"))
	require.NoError(t, m.Close())
	require.NoError(t, f.Remove("/x"))
}
