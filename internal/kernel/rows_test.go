package kernel

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestRowsSlice: products of a part of the rows with a matrix packed into used memory are those of whole, fresh ones.
func TestRowsSlice(t *testing.T) {
	r := rand.New(rand.NewPCG(71, 72))
	eachISA(t, func(t *testing.T, l isa) {
		var q PackedInt8
		for _, s := range []struct{ m, n, k int }{{40, 70, 33}, {29, 5, 128}, {3, 32, 1}, {50, 33, 1100}} {
			a, w := normals(r, s.m*s.k), normals(r, s.n*s.k)
			var x, y Rows
			x.bf16At(l, a, s.k, s.m, s.k)
			y.int8At(l, a, s.k, s.m, s.k)
			p := PackBF16(w, s.n, s.k)
			q.Repack(w, s.n, s.k)
			want16, want8 := make([]float32, s.m*s.n), make([]float32, s.m*s.n)
			p.gemmAt(l, want16, s.n, &x, nil)
			QuantizeInt8(w, s.n, s.k).gemmAt(l, want8, s.n, &y, nil)
			from, to := 1, s.m-1
			got := make([]float32, (to-from)*s.n)
			px, py := x.Slice(from, to), y.Slice(from, to)
			require.Equal(t, to-from, px.M())
			p.gemmAt(l, got, s.n, &px, nil)
			require.Equal(t, want16[from*s.n:to*s.n], got)
			q.gemmAt(l, got, s.n, &py, nil)
			require.Equal(t, want8[from*s.n:to*s.n], got)
			require.Zero(t, func() int { e := x.Slice(2, 2); return e.M() }())
			require.Panics(t, func() { x.Slice(0, s.m+1) })
		}
	})
}
