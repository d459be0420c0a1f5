package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func halves(h Half, v []float32) []uint16 {
	out := make([]uint16, len(v))
	if h == BF16 {
		F32ToBF16(out, v)
	} else {
		F32ToF16(out, v)
	}
	return out
}

func widened(h Half, v []uint16) []float32 {
	out := make([]float32, len(v))
	widen(isaGeneric, h, out, v)
	return out
}

// Every length, shape, alignment and level against the definition over the rounded numbers.
func TestHalfQueryMax(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 42))
	const most = 41
	for _, h := range []Half{F16, BF16} {
		for _, dim := range []int{1, 2, 3, 4, 5, 6, 8, 16, 17, 32, 96, 128, 131, 258, 300} {
			doc := halves(h, normals(r, most*dim))
			wide := widened(h, doc)
			for _, qrows := range []int{1, 2, 15, 16, 17, 32, 33, 48, 49, 65} {
				query := normals(r, qrows*dim)
				exact := query
				if h == BF16 {
					exact = widened(h, halves(h, query))
				}
				want, bound := make([][]float64, qrows), make([]float64, qrows)
				for i := range want {
					top := math.Inf(-1)
					for j := range most {
						s, b := dot64(exact[i*dim:(i+1)*dim], wide[j*dim:(j+1)*dim])
						top, bound[i] = max(top, s), max(bound[i], b)
						want[i] = append(want[i], top)
					}
				}
				for _, im := range impls {
					if !im.Available {
						continue
					}
					g, g2 := newGuard(t, most*dim*2), newGuard(t, 80*dim*4)
					q := NewHalfQuery(h, query, qrows, dim)
					if q.pairs != nil {
						q.pairs = guarded(g2, q.pairs, true)
					}
					for rows := 1; rows <= most; rows += 1 + rows/30 {
						out := make([]float32, qrows+1)
						out[qrows] = 42
						q.maxAt(im.ISA, out, guarded(g, doc[:rows*dim], true), rows)
						require.Equal(t, float32(42), out[qrows])
						var sum float32
						for i, got := range out[:qrows] {
							near(t, want[i][rows-1], got, bound[i]+1e-12, "%v %s dim %d query %d rows %d", h, im.Name, dim, i, rows)
							sum += got
						}
						require.Equal(t, sum, q.maxSimAt(im.ISA, guarded(g, doc[:rows*dim], false), rows))
					}
				}
			}
		}
	}
}

// A float16 document is what its widened numbers are, in every bit, and blocks do not show.
func TestHalfQueryEqualsQuery(t *testing.T) {
	r := rand.New(rand.NewPCG(43, 44))
	eachISA(t, func(t *testing.T, l isa) {
		for _, dim := range []int{64, 128, 1000} {
			const rows = 150
			doc := halves(F16, normals(r, rows*dim))
			query := normals(r, 33*dim)
			want := NewQuery(query, 33, dim).maxSimAt(l, widened(F16, doc), rows)
			require.Equal(t, want, NewHalfQuery(F16, query, 33, dim).maxSimAt(l, doc, rows))
		}
	})
}

func TestHalfQueryEdges(t *testing.T) {
	inf := float32(math.Inf(1))
	nan := float32(math.NaN())
	for _, h := range []Half{F16, BF16} {
		eachISA(t, func(t *testing.T, l isa) {
			q := NewHalfQuery(h, []float32{1, 0, 0, 1}, 2, 2)
			out := make([]float32, 2)
			q.maxAt(l, out, nil, 0)
			require.Equal(t, []float32{-inf, -inf}, out)
			for rows := 1; rows <= 30; rows++ {
				doc := make([]float32, 2*rows)
				for i := range doc {
					doc[i] = -1
				}
				doc[rows/2*2], doc[rows/2*2+1] = nan, nan
				q.maxAt(l, out, halves(h, doc), rows)
				want := float32(-1)
				if rows == 1 {
					want = -inf
				}
				require.Equal(t, []float32{want, want}, out, "%d rows", rows)
			}
		})
	}
	require.Panics(t, func() { NewHalfQuery(F16, []float32{1}, 1, 1).MaxSim(nil, 0) })
	require.Panics(t, func() { NewHalfQuery(F16, []float32{1}, 1, 1).MaxSim(nil, 1) })
	require.Panics(t, func() { NewHalfQuery(F16, []float32{1}, 1, 1).Max(nil, []uint16{1}, 1) })
	require.Panics(t, func() { NewHalfQuery(F16, nil, 1, 1) })
	require.Panics(t, func() { BF16ToF32(nil, []uint16{1}) })
	require.Panics(t, func() { F32ToBF16(nil, []float32{1}) })
}

func TestHalfNoAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(45, 46))
	v := normals(r, 50*64)
	for _, h := range []Half{F16, BF16} {
		q, doc := NewHalfQuery(h, v, 32, 64), halves(h, v)
		require.Zero(t, testing.AllocsPerRun(10, func() {
			q.MaxSim(doc, 50)
			q.Reset(h, v, 32, 64)
			FiniteHalf(h, doc)
			Finite(v)
		}))
	}
}

func TestBF16ToF32(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	eachISA(t, func(t *testing.T, l isa) {
		g, h := newGuard(t, 4*len(all)), newGuard(t, 2*len(all))
		for _, n := range append(lengths(), len(all)) {
			got := guarded(g, make([]float32, n), true)
			bf16ToF32(l, got, guarded(h, all[len(all)-n:], true))
			for i, v := range got {
				if math.Float32bits(v) != uint32(all[len(all)-n+i])<<16 {
					t.Fatalf("%d of %d: %x", i, n, math.Float32bits(v))
				}
			}
		}
	})
	back := make([]uint16, len(all))
	F32ToBF16(back, widened(BF16, all))
	for i, v := range back {
		if v != all[i] && all[i]&0x7fff <= 0x7f80 {
			t.Fatalf("%#x becomes %#x", all[i], v)
		}
	}
}

// One bad number at any place of a slice of any length is seen.
func TestFinite(t *testing.T) {
	eachISA(t, func(t *testing.T, l isa) {
		g, g2 := newGuard(t, 4096), newGuard(t, 4096)
		for _, n := range []int{0, 1, 2, 3, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 100, 129, 300} {
			x, y := make([]float32, n), make([]uint16, n)
			for i := range x {
				x[i], y[i] = -math.MaxFloat32, 0xfbff
			}
			require.True(t, finiteAt(l, guarded(g, x, true)))
			require.True(t, finiteHalfAt(l, F16, guarded(g2, y, true)))
			require.True(t, finiteHalfAt(l, BF16, guarded(g2, make([]uint16, n), true)))
			for i := range x {
				for _, bad := range []float32{float32(math.NaN()), float32(math.Inf(-1)), math.Float32frombits(0x7f800001)} {
					x[i] = bad
					if finiteAt(l, guarded(g, x, i%2 == 0)) {
						t.Fatalf("%v at %d of %d", bad, i, n)
					}
					x[i] = 1
				}
				for h, bad := range map[Half][]uint16{F16: {0x7c00, 0xfc01, 0x7fff}, BF16: {0x7f80, 0xff80, 0x7fff}} {
					for _, b := range bad {
						z := make([]uint16, n)
						z[i] = b
						if finiteHalfAt(l, h, guarded(g2, z, i%2 == 0)) {
							t.Fatalf("%v: %#x at %d of %d", h, b, i, n)
						}
					}
				}
			}
		}
	})
}

func BenchmarkMaxSimHalf(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const rows, dim = 300, 128
	for _, h := range []Half{F16, BF16} {
		for _, docs := range []int{1, 400} {
			q := NewHalfQuery(h, normals(r, 32*dim), 32, dim)
			data := halves(h, normals(r, docs*rows*dim))
			n := 0
			eachISABench(b, fmt.Sprintf("%v/docs=%d", h, docs), 2*32*rows*dim, func(l isa) {
				q.maxSimAt(l, data[n*rows*dim:], rows)
				n = (n + 1) % docs
			})
		}
	}
}
