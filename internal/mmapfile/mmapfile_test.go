package mmapfile

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOpenMapsContent(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	want := []byte("late interaction")
	require.NoError(t, os.WriteFile(p, want, 0o600))
	f, err := Open(p)
	require.NoError(t, err)
	require.Equal(t, want, f.Bytes())
	require.Equal(t, p, f.Name())
	require.NoError(t, f.Close())
	require.Nil(t, f.Bytes())
	require.ErrorIs(t, f.Close(), ErrClosed)
}

func TestOpenEmptyFile(t *testing.T) {
	p := filepath.Join(t.TempDir(), "empty")
	require.NoError(t, os.WriteFile(p, nil, 0o600))
	f, err := Open(p)
	require.NoError(t, err)
	require.Empty(t, f.Bytes())
	require.NoError(t, f.Close())
}

func TestOpenErrorsNameThePath(t *testing.T) {
	p := filepath.Join(t.TempDir(), "absent")
	_, err := Open(p)
	require.ErrorIs(t, err, os.ErrNotExist)
	require.ErrorContains(t, err, p)
	_, err = Open(t.TempDir())
	require.ErrorContains(t, err, "not a regular file")
}

func TestMappingOutlivesRemoval(t *testing.T) {
	p := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(p, []byte("kept"), 0o600))
	f, err := Open(p)
	require.NoError(t, err)
	if err := os.Remove(p); err != nil {
		t.Skipf("this system does not remove mapped files: %v", err)
	}
	require.Equal(t, "kept", string(f.Bytes()))
	require.NoError(t, f.Close())
}

// TestRelease checks that released parts read as before, and that other memory is left alone.
func TestRelease(t *testing.T) {
	want := make([]byte, 1<<20+123)
	for i := range want {
		want[i] = byte(i * 7)
	}
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, want, 0o600))
	f, err := Open(path)
	require.NoError(t, err)
	b := f.Bytes()
	heap := bytes.Repeat([]byte{5}, 1<<16)
	for _, part := range [][]byte{b, b[1:], b[5000:20000], b[:100], b[len(b):], nil, heap, want} {
		f.Release(part)
		require.True(t, bytes.Equal(want, b))
	}
	require.Equal(t, bytes.Repeat([]byte{5}, 1<<16), heap)
	require.NoError(t, f.Close())
	f.Release(heap)
}

// TestReadAt reads a file that is mapped, and one that was not opened for that.
func TestReadAt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, os.WriteFile(path, []byte("late interaction"), 0o600))
	f, err := OpenReadable(path)
	require.NoError(t, err)
	b := make([]byte, 5)
	n, err := f.ReadAt(b, 5)
	require.NoError(t, err)
	require.Equal(t, "inter", string(b[:n]))
	_, err = f.ReadAt(b, 14)
	require.ErrorIs(t, err, io.EOF)
	require.Equal(t, "late", string(f.Bytes()[:4]))
	require.NoError(t, f.Close())
	_, err = f.ReadAt(b, 0)
	require.ErrorIs(t, err, os.ErrClosed)
	require.ErrorIs(t, f.Close(), ErrClosed)
	_, err = OpenReadable(path + "x")
	require.ErrorIs(t, err, os.ErrNotExist)

	f, err = Open(path)
	require.NoError(t, err)
	_, err = f.ReadAt(b, 0)
	require.ErrorContains(t, err, "not open for reading")
	require.NoError(t, f.Close())
}
