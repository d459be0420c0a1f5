package quant

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

var testDims = []int{1, 2, 7, 8, 48, 96, 100, 128, 384, 513}

func TestRotationIsOrthogonal(t *testing.T) {
	for _, dim := range testDims {
		r := newRotation(dim, 42)
		m := randomUnit(1, 20, dim)
		tmp := make([]float32, dim)
		rot := m.Clone()
		for i := range m.Rows {
			r.apply(rot.Row(i), m.Row(i), tmp)
		}
		for i := range m.Rows {
			for j := range m.Rows {
				require.InDelta(t, dot(m.Row(i), m.Row(j)), dot(rot.Row(i), rot.Row(j)), 2e-6, "dim %d", dim)
			}
		}
		for i := range m.Rows {
			r.invert(rot.Row(i), rot.Row(i), tmp)
		}
		require.InDeltaSlice(t, m.Data, rot.Data, 1e-6, "dim %d", dim)
	}
}

// TestRotationSpreads: unit vectors along single axes come out spread over all dimensions, also where the
// blocks are of unlike size.
func TestRotationSpreads(t *testing.T) {
	for _, dim := range []int{48, 96, 100, 128, 384} {
		r := newRotation(dim, 1)
		x, tmp := make([]float32, dim), make([]float32, dim)
		energy := make([]float64, dim) // of the first few axes, as a PCA would leave it
		const axes = 8
		for a := range axes {
			clear(x)
			x[a] = 1
			r.apply(x, x, tmp)
			for i, v := range x {
				energy[i] += float64(v*v) / axes
			}
		}
		for i, e := range energy {
			require.Less(t, e*float64(dim), 6.0, "dim %d: dimension %d holds too much", dim, i)
		}
	}
}

// TestRotationIsStable pins the format: a codebook file stores the seed alone.
func TestRotationIsStable(t *testing.T) {
	r := newRotation(6, 7) // blocks of 4 and 2
	x := []float32{1, 2, 3, 4, 5, 6}
	r.apply(x, x, make([]float32, 6))
	require.Equal(t, rotationPin, fmt.Sprintf("%.4f", x))
}

const rotationPin = "[1.4749 4.4749 2.8891 -2.5962 5.9142 4.3284]"

func TestHadamardIsItsOwnInverse(t *testing.T) {
	x := []float32{1, -2, 3, 0.5}
	hadamard(x)
	require.InDeltaSlice(t, []float32{1.25, 2.75, -2.25, 0.25}, x, 1e-6)
	hadamard(x)
	require.InDeltaSlice(t, []float32{1, -2, 3, 0.5}, x, 1e-6)
	require.InDelta(t, 1/math.Sqrt2, func() float32 { y := []float32{1, 0}; hadamard(y); return y[1] }(), 1e-7)
}

func BenchmarkRotate(b *testing.B) {
	for _, dim := range []int{96, 128, 384} {
		b.Run(fmt.Sprintf("rows=64/dim=%d", dim), func(b *testing.B) {
			c := &Codebook{dim: dim, rot: newRotation(dim, 1)}
			m := randomUnit(1, 64, dim)
			b.SetBytes(int64(4 * len(m.Data)))
			for b.Loop() {
				c.Rotate(m.Data, m.Data, m.Rows)
			}
		})
	}
}
