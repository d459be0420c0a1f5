package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRaiseAndSumU8(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for _, lanes := range []int{16, 32, 48, 64, 80, 96, 112, 128, 176} {
		for _, rows := range []int{1, 2, 3, 7, 37} {
			for _, n := range []int{0, 1, 2, 3, 5, 8, 33, 9000} {
				acc, row := make([]uint8, rows*lanes), make([]uint8, lanes)
				for i := range acc {
					acc[i] = uint8(r.IntN(1 << r.IntN(9)))
				}
				for i := range row {
					row[i] = uint8(r.IntN(256))
				}
				const first = 1000
				ords := make([]uint32, n)
				for i := range ords {
					ords[i] = first - 2 + uint32(r.IntN(rows+4))
					if r.IntN(20) == 0 {
						ords[i] = r.Uint32()
					}
				}
				want := slices.Clone(acc)
				for _, o := range ords {
					if o >= first && o < first+uint32(rows) {
						for i, v := range row {
							p := &want[int(o-first)*lanes+i]
							*p = max(*p, v)
						}
					}
				}
				sums := make([]uint32, rows)
				for i, v := range want {
					sums[i/lanes] += uint32(v)
				}
				eachISA(t, func(t *testing.T, l isa) {
					a, h, f, d := newGuard(t, len(acc)), newGuard(t, 4*n+1), newGuard(t, lanes), newGuard(t, 4*rows)
					for _, after := range []bool{true, false} {
						got := guarded(a, acc, after)
						raiseU8At(l, got, lanes, first, guarded(h, ords, after), guarded(f, row, after))
						require.Equal(t, want, got, "lanes %d rows %d n %d", lanes, rows, n)
						dst := guarded(d, make([]uint32, rows), after)
						sumRowsU8At(l, dst, got, lanes)
						require.Equal(t, sums, dst)
					}
				})
			}
		}
	}
	require.Panics(t, func() { RaiseU8(make([]uint8, 64), 24, 0, []uint32{1}, make([]uint8, 24)) })
	require.Panics(t, func() { RaiseU8(make([]uint8, 64), 32, 0, []uint32{1}, make([]uint8, 31)) })
	require.Panics(t, func() { SumRowsU8(make([]uint32, 3), make([]uint8, 64), 32) })
	require.NotPanics(t, func() { RaiseU8(make([]uint8, 31), 32, 0, []uint32{0}, make([]uint8, 32)) })
}

func TestScanRows(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 54))
	for _, lanes := range []int{16, 32, 48, 80} {
		for _, rows := range []int{1, 2, 5, 64, 8<<10 + 3} { // the last more than go into one call
			if rows > 100 && lanes != 32 {
				continue
			}
			block, limits, factors := normals(r, rows*lanes), normals(r, lanes), normals(r, rows)
			for i := range block {
				switch r.IntN(20) {
				case 0:
					block[i] = limits[i%lanes]
				case 1:
					block[i] = float32(math.NaN())
				case 2:
					block[i] = float32(math.Inf(-1))
				case 3:
					block[i] = float32(math.Inf(1))
				}
			}
			limits[r.IntN(lanes)] = float32(math.Inf(-1))
			inverse := normals(r, lanes)
			for i := range inverse {
				inverse[i] *= []float32{0, 1, 1e4, 1e30}[r.IntN(4)]
			}
			hits, want := make([]uint16, rows*lanes/16), make([]int16, rows*lanes)
			for i, v := range block {
				if v >= limits[i%lanes] {
					hits[i/16] |= 1 << (i % 16)
				}
				x := float64(float32(v*factors[i/lanes]) * inverse[i%lanes])
				if x != x {
					x = math.Inf(-1)
				}
				want[i] = int16(math.RoundToEven(max(min(x, 32767), -32767)))
			}
			eachISA(t, func(t *testing.T, l isa) {
				b, h, f, g, d, v := newGuard(t, 4*len(block)), newGuard(t, 2*len(hits)), newGuard(t, 4*lanes), newGuard(t, 4*rows), newGuard(t, 2*len(want)), newGuard(t, 4*lanes)
				for _, after := range []bool{true, false} {
					got, out := guarded(d, make([]int16, len(want)), after), guarded(h, make([]uint16, len(hits)), after)
					scanRowsAt(l, out, got, guarded(b, block, after), lanes, guarded(f, limits, after), guarded(g, factors, after), guarded(v, inverse, after))
					require.True(t, slices.Equal(hits, out), "lanes %d rows %d", lanes, rows)
					require.True(t, slices.Equal(want, got), "lanes %d rows %d", lanes, rows)
				}
			})
		}
	}
	scan := func(hits, dst, block, limits, inverse int) func() {
		return func() {
			ScanRows(make([]uint16, hits), make([]int16, dst), make([]float32, block), 32, make([]float32, limits), make([]float32, 1), make([]float32, inverse))
		}
	}
	require.NotPanics(t, scan(2, 32, 32, 32, 32))
	for _, f := range []func(){scan(1, 32, 32, 32, 32), scan(2, 31, 32, 32, 32), scan(2, 32, 31, 32, 32), scan(2, 32, 32, 31, 32), scan(2, 32, 32, 32, 31)} {
		require.Panics(t, f)
	}
}

func BenchmarkRaiseU8(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, lanes := range []int{32, 64} {
		const rows, n = 8192, 256
		acc, row, ords := make([]uint8, rows*lanes), make([]uint8, lanes), make([]uint32, n)
		for i := range ords {
			ords[i] = uint32(r.IntN(rows))
		}
		slices.Sort(ords)
		eachISABench(b, fmt.Sprintf("raise/lanes=%d", lanes), n, func(l isa) { raiseU8At(l, acc, lanes, 0, ords, row) })
		sums := make([]uint32, rows)
		eachISABench(b, fmt.Sprintf("sum/lanes=%d", lanes), rows, func(l isa) { sumRowsU8At(l, sums, acc, lanes) })
	}
}

func BenchmarkScanRows(b *testing.B) {
	const rows, lanes = 256, 32
	block, limits, factors, hits := make([]float32, rows*lanes), make([]float32, lanes), make([]float32, rows), make([]uint16, rows*lanes/16)
	dst := make([]int16, rows*lanes)
	eachISABench(b, fmt.Sprintf("lanes=%d", lanes), rows, func(l isa) { scanRowsAt(l, hits, dst, block, lanes, limits, factors, limits) })
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

func TestReachRows(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	for _, lanes := range []int{16, 32} {
		for _, rows := range []int{1, 2, 7, 130, 8<<10 + 3} {
			scores, limits := normals(r, rows*lanes), normals(r, lanes)
			for i := range limits {
				limits[i] += 3
			}
			limits[r.IntN(lanes)] = float32(math.Inf(1))
			for i := range scores {
				switch r.IntN(4 * lanes) {
				case 0:
					scores[i] = limits[i%lanes]
				case 1:
					scores[i] = float32(math.NaN())
				}
			}
			before, want := make([]uint8, rows), make([]uint8, rows)
			for i := range before {
				before[i] = uint8(r.IntN(8) / 7)
				want[i] = before[i]
			}
			for i, v := range scores {
				if v >= limits[i%lanes] {
					want[i/lanes] = 1
				}
			}
			eachISA(t, func(t *testing.T, l isa) {
				f, s, m := newGuard(t, rows), newGuard(t, 4*len(scores)), newGuard(t, 4*lanes)
				for _, after := range []bool{true, false} {
					got := guarded(f, before, after)
					reachRows(l, got, guarded(s, scores, after), lanes, guarded(m, limits, after))
					require.Equal(t, want, got, "lanes %d rows %d", lanes, rows)
				}
			})
		}
	}
}

func TestAboveU8(t *testing.T) {
	r := rand.New(rand.NewPCG(63, 64))
	for _, lanes := range []int{16, 32, 48, 160} {
		for trial := range 20 {
			row, unit, credit := make([]int16, lanes), make([]float32, lanes), normals(r, lanes)
			for i := range row {
				row[i] = int16(r.IntN(1<<16) - 1<<15)
				unit[i] = []float32{0, 1e-5, 3e-5, float32(math.Inf(1))}[r.IntN(8)*3/7]
				switch r.IntN(6) {
				case 0:
					credit[i] = float32(row[i]) * float32(unit[i]*.75) // at the credit
				case 1:
					credit[i] = float32(math.Inf(1))
				case 2:
					credit[i] = float32(math.NaN())
				}
			}
			inv := []float32{200, 0, math.MaxFloat32, float32(math.Inf(1))}[max(trial-16, 0)]
			want := make([]uint8, lanes)
			for i := range want {
				u := unit[i] * .75
				switch d := float32(float32(row[i])*u) - credit[i]; {
				case d >= 0:
					x := float32(d*inv) + 1.5
					if want[i] = 255; x < 255 {
						want[i] = uint8(x)
					}
				case d >= -u && math.IsInf(float64(inv), 1):
					want[i] = 255 // 0 times infinity
				case d >= -u:
					want[i] = 1
				}
			}
			eachISA(t, func(t *testing.T, l isa) {
				d, a, u, c := newGuard(t, lanes), newGuard(t, 2*lanes), newGuard(t, 4*lanes), newGuard(t, 4*lanes)
				for _, after := range []bool{true, false} {
					got := guarded(d, make([]uint8, lanes), after)
					aboveU8At(l, got, guarded(a, row, after), guarded(u, unit, after), guarded(c, credit, after), .75, inv)
					require.Equal(t, want, got, "inverse %g", inv)
				}
			})
		}
	}
	for _, n := range [][4]int{{15, 16, 16, 16}, {16, 15, 16, 16}, {16, 16, 15, 16}, {16, 16, 16, 15}} {
		require.Panics(t, func() {
			AboveU8(make([]uint8, n[0]), make([]int16, n[1]), make([]float32, n[2]), make([]float32, n[3]), 1, 1)
		})
	}
}
