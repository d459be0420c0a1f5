package kernel

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestLarge(t *testing.T) {
	for _, n := range []int{0, 1, 1000, largePage/4 - 1, largePage / 4, largePage/4 + 1, 3*largePage/4 + 5} {
		b := Large[float32](n)
		require.Len(t, b, n)
		if n >= largePage/4 {
			require.Zero(t, uintptr(unsafe.Pointer(&b[0]))%largePage)
		}
		sum := float32(0)
		for i, v := range b {
			sum += v
			b[i] = 1
		}
		require.Zero(t, sum)
		require.Equal(t, n, cap(b))
	}
	require.Len(t, Large[uint8](largePage+3), largePage+3)
}
