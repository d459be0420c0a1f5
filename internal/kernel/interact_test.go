package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestInteractU8(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	for _, lanes := range []int{16, 32, 48, 64, 80, 96, 112, 128, 176} {
		const rows = 37
		table := make([]uint8, rows*lanes)
		for i := range table {
			table[i] = uint8(r.IntN(1 << r.IntN(9)))
		}
		for _, n := range []int{0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33, 100, 20000} {
			codes := make([]uint32, n)
			for i := range codes {
				codes[i] = uint32(r.IntN(rows))
			}
			var want uint32
			for j := range lanes {
				var top uint8
				for _, c := range codes {
					top = max(top, table[int(c)*lanes+j])
				}
				want += uint32(top)
			}
			for _, im := range impls {
				if !im.Available {
					continue
				}
				g, h := newGuard(t, len(table)), newGuard(t, 4*n+1)
				for _, after := range []bool{true, false} {
					got := interactU8At(im.ISA, guarded(g, table, after), lanes, guarded(h, codes, after))
					require.Equal(t, want, got, "%s lanes %d n %d", im.Name, lanes, n)
				}
			}
		}
	}
}

func TestMaxU32(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	eachISA(t, func(t *testing.T, l isa) {
		g := newGuard(t, 4096)
		for _, n := range lengths() {
			x := make([]uint32, n)
			var want uint32
			for i := range x {
				x[i] = r.Uint32() >> r.IntN(20)
				want = max(want, x[i])
			}
			require.Equal(t, want, maxU32(l, guarded(g, x, true)))
			require.Equal(t, want, maxU32(l, guarded(g, x, false)))
		}
	})
}

func BenchmarkInteractU8(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ rows, lanes, n int }{{16384, 32, 60}, {16384, 64, 60}, {131072, 32, 60}} {
		table, codes := make([]uint8, s.rows*s.lanes), make([]uint32, s.n)
		for i := range codes {
			codes[i] = uint32(r.IntN(s.rows))
		}
		// One "operation" per code: the rate is in codes per nanosecond.
		eachISABench(b, fmt.Sprintf("rows=%d/lanes=%d/codes=%d", s.rows, s.lanes, s.n), float64(s.n), func(l isa) { interactU8At(l, table, s.lanes, codes) })
	}
}
