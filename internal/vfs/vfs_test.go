package vfs

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOS(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a", "b")
	var o OS
	_, err := o.List(dir)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, o.Mkdir(dir))
	p := filepath.Join(dir, "z")
	f, err := o.Create(p)
	require.NoError(t, err)
	_, err = f.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, f.Sync())
	buf := make([]byte, 2)
	_, err = f.ReadAt(buf, 1)
	require.NoError(t, err)
	require.Equal(t, "el", string(buf))
	require.NoError(t, f.Close())
	q := filepath.Join(dir, "y")
	require.NoError(t, o.Rename(p, q))
	require.NoError(t, o.SyncDir(dir))
	n, err := o.Size(q)
	require.NoError(t, err)
	require.Equal(t, int64(5), n)
	_, err = o.Size(dir)
	require.Error(t, err)
	b, err := o.ReadFile(q, 5)
	require.NoError(t, err)
	require.Equal(t, "hello", string(b))
	_, err = o.ReadFile(q, 4)
	require.ErrorContains(t, err, "larger than 4 bytes")
	m, err := o.Map(q)
	require.NoError(t, err)
	require.Equal(t, "hello", string(m.Bytes()))
	require.NoError(t, m.Close())
	_, err = o.Map(p)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(p, nil, 0o600))
	names, err := o.List(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"y", "z"}, names)
	require.NoError(t, o.Remove(q))
	require.ErrorIs(t, o.Remove(q), fs.ErrNotExist)
}

func TestLock(t *testing.T) {
	var o OS
	p := filepath.Join(t.TempDir(), "LOCK")
	l, err := o.Lock(p, "me, myself")
	require.NoError(t, err)
	_, err = o.Lock(p, "another")
	var held *LockedError
	require.True(t, errors.As(err, &held))
	require.Equal(t, "me, myself", held.Holder)
	require.NoError(t, l.Close())
	l, err = o.Lock(p, "x") // a shorter text replaces the longer
	require.NoError(t, err)
	_, err = o.Lock(p, "another")
	require.EqualError(t, err, "vfs: locked by x")
	require.NoError(t, l.Close())
}
