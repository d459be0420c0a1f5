package kernel

import (
	"runtime"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestLarge(t *testing.T) {
	for _, n := range []int{0, 1, 1000, largePage/4 - 1, largePage / 4, largePage/4 + 1, 3*largePage/4 + 5} {
		requireFresh(t, Large[float32](n), n)
	}
	require.Len(t, Large[uint8](largePage+3), largePage+3)
}

// requireFresh looks for n zeros, in large pages if they fill one, and sets them.
func requireFresh(t *testing.T, v []float32, n int) {
	require.Len(t, v, n)
	require.Equal(t, n, cap(v))
	if n >= largePage/4 {
		require.Zero(t, uintptr(unsafe.Pointer(&v[0]))%largePage)
	}
	sum := float32(0)
	for i, x := range v {
		sum += x
		v[i] = 1
	}
	require.Zero(t, sum)
}

// TestLargeUnset makes and drops tables, so that memory is used again: zeros are zeros then, too, and what a table holds is
// its own.
func TestLargeUnset(t *testing.T) {
	for i := range 8 {
		n := (i%3+1)*largePage/2 + i
		a, zero := LargeUnset[uint16](n), Large[uint16](n)
		require.Len(t, a, n)
		require.Equal(t, n, cap(a))
		require.Zero(t, uintptr(unsafe.Pointer(&a[0]))%largePage)
		for j := range a {
			a[j] = uint16(i + 1)
		}
		for j, v := range zero {
			if v != 0 {
				require.Zero(t, v, j)
			}
			zero[j] = 0xffff
		}
		for j, v := range a {
			if v != uint16(i+1) {
				require.Equal(t, uint16(i+1), v, j)
			}
		}
		runtime.GC()
	}
	require.Equal(t, []float32{0, 0, 0}, LargeUnset[float32](3))
}
