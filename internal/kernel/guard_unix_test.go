//go:build unix

package kernel

import (
	"os"
	"runtime/debug"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// guard hands out buffers that end flush against a page without access, or begin just behind one, so that a kernel that
// reads or writes out of range faults instead of going unnoticed.
type guard struct {
	t   testing.TB
	mem []byte
}

// newGuard makes room for buffers of up to size bytes and turns faults into panics until the test ends.
func newGuard(t testing.TB, size int) *guard {
	t.Helper()
	page := os.Getpagesize()
	size = (size + page - 1) / page * page
	mem, err := unix.Mmap(-1, 0, size+2*page, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	require.NoError(t, err)
	require.NoError(t, unix.Mprotect(mem[:page], unix.PROT_NONE))
	require.NoError(t, unix.Mprotect(mem[page+size:], unix.PROT_NONE))
	old := debug.SetPanicOnFault(true)
	t.Cleanup(func() {
		debug.SetPanicOnFault(old)
		_ = unix.Munmap(mem)
	})
	return &guard{t, mem[page : page+size]}
}

// bytes returns n bytes that touch the forbidden page after them, or before them.
func (g *guard) bytes(n int, after bool) []byte {
	require.LessOrEqual(g.t, n, len(g.mem))
	if after {
		return g.mem[len(g.mem)-n:]
	}
	return g.mem[:n:n]
}

// guarded copies v into such a buffer. The next call on the same guard overwrites it.
func guarded[T any](g *guard, v []T, after bool) []T {
	var z T
	size := int(unsafe.Sizeof(z))
	b := g.bytes(len(v)*size, after)
	if len(v) == 0 {
		return nil
	}
	out := unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), len(v))
	copy(out, v)
	return out
}

func TestGuardFaults(t *testing.T) {
	g := newGuard(t, 100)
	b := g.bytes(7, true)
	require.Panics(t, func() { b = unsafe.Slice(&b[0], 8); b[7]++ })
}
