package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestAdam: every instruction set makes the Go code's steps in every bit, and touches nothing beyond.
func TestAdam(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 1))
	adam := &AdamWStep{Scale: 0.7, C1: 0.1, Beta2: 0.999, C2: 0.001, Root: 0.3, Epsilon: 1e-8, Keep: 0.9999, Size: 0.01}
	free := &ScheduleFreeStep{Scale: 0.7, Beta2: 0.999, C2: 0.001, Root: 0.01, Epsilon: 1e-8, Decay: 0.01, ToZ: 0.2, YStep: -0.001, ZStep: 0.02}
	eachISA(t, func(t *testing.T, l isa) {
		g := guards(t, 4, 4096)
		for _, n := range lengths() {
			for _, after := range []bool{false, true} {
				in := [4][]float32{normals(r, n), normals(r, n), normals(r, n), normals(r, n)}
				for i := range n {
					in[1][i] *= []float32{1, 0, 1e-30, 1e15}[i%4]
					in[3][i] = max(in[3][i], 0)
				}
				for k := range 2 {
					var want, got [4][]float32
					for j := range in {
						want[j], got[j] = append([]float32(nil), in[j]...), guarded(g[j], in[j], after)
					}
					if k == 0 {
						adamWGeneric(want[0], want[1], want[2], want[3], adam)
						adamWAt(l, got[0], got[1], got[2], got[3], adam)
					} else {
						scheduleFreeGeneric(want[0], want[1], want[2], want[3], free)
						scheduleFreeAt(l, got[0], got[1], got[2], got[3], free)
					}
					for j := range want {
						require.Equal(t, want[j], append([]float32(nil), got[j]...), "n %d, array %d, kernel %d", n, j, k)
					}
				}
			}
		}
		three, two := make([]float32, 3), make([]float32, 2)
		require.Panics(t, func() { adamWAt(l, three, three, two, three, adam) })
		require.Panics(t, func() { scheduleFreeAt(l, three, three, three, two, free) })
		adamWAt(l, nil, nil, nil, nil, adam)
		scheduleFreeAt(l, nil, nil, nil, nil, free)
		// Longer than one call of a kernel.
		long := func() [4][]float32 {
			r := rand.New(rand.NewPCG(43, 2))
			return [4][]float32{normals(r, 70_001), normals(r, 70_001), normals(r, 70_001), make([]float32, 70_001)}
		}
		want, got := long(), long()
		adamWGeneric(want[0], want[1], want[2], want[3], adam)
		adamWAt(l, got[0], got[1], got[2], got[3], adam)
		require.Equal(t, want, got)
	})
}
