package kernel

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/require"
)

func TestRegion(t *testing.T) {
	for _, n := range []int{1, 1000, largePage/4 - 1, largePage / 4, 3*largePage/4 + 5} {
		r := NewRegion(n)
		v := r.Values()
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
		r.Free()
		require.Nil(t, r.Values())
		r.Free() // again is nothing
	}
}
