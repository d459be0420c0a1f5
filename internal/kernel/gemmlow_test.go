package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// lowShapes are shapes around every tile height, panel width, unit and register.
func lowShapes(f func(m, n, k int)) {
	for _, k := range []int{1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 31, 33, 64, 130} {
		for _, n := range []int{1, 8, 15, 16, 17, 31, 32, 33, 70} {
			for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 25} {
				f(m, n, k)
			}
		}
	}
}

func randomEpilogue(r *rand.Rand, m, n int) *Epilogue {
	ep := new(Epilogue)
	if r.IntN(2) == 0 {
		ep.Bias = normals(r, n)
	}
	if r.IntN(3) == 0 {
		ep.Scale = .25
	}
	if r.IntN(3) == 0 {
		ep.Act = GELU
	}
	if r.IntN(2) == 0 {
		ep.LdAdd = n + r.IntN(3)
		ep.Add = normals(r, m*ep.LdAdd)
	}
	return ep
}

// lowGuards are buffers at inaccessible pages for the operands of a product.
type lowGuards struct{ source, rows, weights *guard }

func newLowGuards(t testing.TB) lowGuards {
	return lowGuards{newGuard(t, 16<<10), newGuard(t, 16<<10), newGuard(t, 64<<10)}
}

// moved is x with its words flush against such a page.
func (g lowGuards) moved(x *Rows) *Rows {
	y := *x
	y.data = guarded(g.rows, x.data, true)
	return &y
}

// TestGemmBF16 compares every implementation with float64 over the rounded operands.
func TestGemmBF16(t *testing.T) {
	r, g := rand.New(rand.NewPCG(21, 22)), newLowGuards(t)
	lowShapes(func(m, n, k int) {
		lda, ldc := k+r.IntN(3), n+r.IntN(4)
		a, w := normals(r, m*lda), normals(r, n*k)
		ep := randomEpilogue(r, m, n)
		p := PackBF16(w, n, k)
		p.data = guarded(g.weights, p.data, true)
		require.Equal(t, n, p.N())
		require.Equal(t, k, p.K())
		round := func(v []float32) []float32 {
			o := make([]float32, len(v))
			for i := range v {
				o[i] = math.Float32frombits(bf16Bits(v[i]) << 16)
			}
			return o
		}
		ra, rw := round(a), round(w)
		var first []uint32
		for _, im := range impls {
			if !im.Available {
				continue
			}
			var x Rows
			x.bf16At(im.ISA, guarded(g.source, a[:(m-1)*lda+k], true), lda, m, k)
			used := usedWords(&x)
			if first == nil {
				first = used
			}
			require.Equal(t, first, used, "%s %dx%dx%d: conversion", im.Name, m, n, k)
			before := normals(r, m*ldc)
			c := slices.Clone(before)
			p.gemmAt(im.ISA, c, ldc, g.moved(&x), ep)
			for i := range m {
				for j := range ldc {
					if j >= n {
						near(t, before[i*ldc+j], c[i*ldc+j], 0, "between the rows of C")
						continue
					}
					sum, bound := dot64(ra[i*lda:i*lda+k], rw[j*k:(j+1)*k])
					want, bound := epilogue64(ep, sum, bound, i, j)
					near(t, want, c[i*ldc+j], bound+1e-7, "%s %dx%dx%d at %d,%d", im.Name, m, n, k, i, j)
				}
			}
		}
	})
}

// epilogue64 is the epilogue in float64, with a bound on what float32 makes of a sum with the given bound.
func epilogue64(ep *Epilogue, want, bound float64, i, j int) (float64, float64) {
	s := float64(ep.Scale)
	if s == 0 {
		s = 1
	}
	want, bound = want*s, bound*math.Abs(s)
	if ep.Bias != nil {
		want += float64(ep.Bias[j])
	}
	bound += 4e-7 * math.Abs(want)
	if ep.Act == GELU {
		want = 0.5 * want * (1 + math.Erf(want/math.Sqrt2))
		bound = 1.2*bound + 1e-6
	}
	if ep.Add != nil {
		want += float64(ep.Add[i*ep.LdAdd+j])
		bound += 4e-7 * math.Abs(want)
	}
	return want, bound
}

// usedWords are the words of the rows that products read.
func usedWords(x *Rows) []uint32 {
	var out []uint32
	for i := range x.m {
		s := x.rowStride()
		out = append(out, x.data[i*s:i*s+x.units()]...)
	}
	return out
}

// TestGemmInt8 checks that every implementation converts to the same bytes and computes the same integers, and the scaled
// result against float64.
func TestGemmInt8(t *testing.T) {
	r, g := rand.New(rand.NewPCG(23, 24)), newLowGuards(t)
	lowShapes(func(m, n, k int) {
		lda, ldc := k+r.IntN(3), n+r.IntN(4)
		a, w := normals(r, m*lda), normals(r, n*k)
		if r.IntN(3) == 0 { // One sign only: the zero point is at an end.
			for i := range a {
				a[i] = float32(math.Abs(float64(a[i])))
			}
		}
		p := QuantizeInt8(w, n, k)
		p.data = guarded(g.weights, p.data, true)
		ep := randomEpilogue(r, m, n)
		var first *Rows
		var ints []int64
		for _, im := range impls {
			if !im.Available {
				continue
			}
			var x Rows
			x.int8At(im.ISA, guarded(g.source, a[:(m-1)*lda+k], true), lda, m, k)
			if first == nil {
				first = &x
				for i := range m {
					for j := range n {
						ints = append(ints, intDot(&x, p, i, j))
					}
				}
			}
			require.Equal(t, usedWords(first), usedWords(&x), "%s: conversion", im.Name)
			require.Equal(t, first.scale, x.scale)
			require.Equal(t, first.zero, x.zero)

			// Scales of 1: what comes out is the integer, exact below 2^24.
			one, exact := *p, x
			one.scale = filled(len(p.scale), 1)
			exact.scale = filled(m, 1)
			c := make([]float32, m*ldc)
			one.gemmAt(im.ISA, c, ldc, g.moved(&exact), nil)
			for i := range m {
				for j := range n {
					near(t, float32(ints[i*n+j]), c[i*ldc+j], 0, "%s %dx%dx%d at %d,%d", im.Name, m, n, k, i, j)
				}
			}

			before := normals(r, m*ldc)
			c = slices.Clone(before)
			p.gemmAt(im.ISA, c, ldc, g.moved(&x), ep)
			for i := range m {
				for j := range ldc {
					if j >= n {
						near(t, before[i*ldc+j], c[i*ldc+j], 0, "between the rows of C")
						continue
					}
					sum := float64(ints[i*n+j]) * float64(x.scale[i]) * float64(p.scale[j])
					want, bound := epilogue64(ep, sum, 1e-6*math.Abs(sum), i, j)
					near(t, want, c[i*ldc+j], bound+1e-7, "%s %dx%dx%d at %d,%d", im.Name, m, n, k, i, j)
				}
			}
		}
	})
}

func filled(n int, v float32) []float32 {
	s := make([]float32, n)
	for i := range s {
		s[i] = v
	}
	return s
}

// intDot is the sum of (byte - zero point) * weight.
func intDot(x *Rows, p *PackedInt8, i, j int) int64 {
	var sum int64
	for t := range x.k {
		b := x.data[i*x.rowStride()+t/4] >> (8 * (t % 4)) & 0xff
		w := p.panel(j &^ 31)[t/4*32+j&31] >> (8 * (t % 4))
		sum += (int64(b) - int64(x.zero[i])) * int64(int8(w))
	}
	return sum
}

// TestInt8Extremes takes products to the ends of their ranges, where 16-bit sums would saturate.
func TestInt8Extremes(t *testing.T) {
	const k = MaxInt8K
	eachISA(t, func(t *testing.T, l isa) {
		a, w := make([]float32, k), make([]int8, 2*k)
		for i := range a {
			a[i], w[i], w[k+i] = 255, -128, 127
		}
		p := PackInt8Rows(w, []float32{1, 1}, 2, k)
		var x Rows
		x.int8At(l, a, k, 1, k)
		require.Equal(t, []float32{1}, x.scale)
		c := make([]float32, 2)
		p.gemmAt(l, c, 2, &x, nil)
		require.Equal(t, []float32{-255 * 128 * k, 255 * 127 * k}, c)
	})
	require.Panics(t, func() { QuantizeInt8(make([]float32, k+1), 1, k+1) })
}

// TestRowsEdges: rows of zeros, of one sign, of values at the ends of float32, of NaN.
func TestRowsEdges(t *testing.T) {
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	tiny := math.Float32frombits(1)
	eachISA(t, func(t *testing.T, l isa) {
		for _, v := range [][]float32{
			{0, 0, 0}, {1, 2, 3}, {-1, -2, -3}, {-5, 0, 5}, {math.MaxFloat32, -math.MaxFloat32, 0}, {tiny, 0, -tiny},
			{1e-38, -1e-38, 0}, {math.MaxFloat32, 1, 0}, {3e-37, 0, 0},
		} {
			var x Rows
			x.int8At(l, v, 3, 1, 3)
			low, high := float64(min(v[0], v[1], v[2], 0)), float64(max(v[0], v[1], v[2], 0))
			for i, want := range v {
				b := x.data[0] >> (8 * i) & 0xff
				got := float64(int32(b)-x.zero[0]) * float64(x.scale[0])
				require.InDelta(t, float64(want), got, max((high-low)/255*1.01, 3e-36), "%v", v)
				require.False(t, math.IsNaN(got))
			}
		}
		for _, v := range [][]float32{{nan, 1, 2}, {1, inf, 2}, {1, 2, -inf}} {
			for _, row := range [][]float32{v, append(slices.Repeat([]float32{1}, 40), v...)} {
				k := len(row)
				var x Rows
				x.int8At(l, row, k, 1, k)
				c := make([]float32, 1)
				QuantizeInt8(filled(k, 1), 1, k).gemmAt(l, c, 1, &x, nil)
				require.True(t, math.IsNaN(float64(c[0])), "%v", v)
			}
		}
		// Rounding to bfloat16: ties to even, overflow to infinity, NaN stays NaN.
		for v, want := range map[float32]uint32{
			1: 0x3f80, 0: 0, math.Float32frombits(0x3f808000): 0x3f80, math.Float32frombits(0x3f818000): 0x3f82,
			math.Float32frombits(0x3f808001): 0x3f81, math.MaxFloat32: 0x7f80, inf: 0x7f80, -inf: 0xff80, -1.5: 0xbfc0,
		} {
			var x Rows
			x.bf16At(l, []float32{v}, 1, 1, 1)
			require.Equal(t, want, x.data[0], "%g", v)
		}
		for _, bits := range []uint32{0x7fffffff, 0x7f800001, 0xffffffff, 0xff800001} {
			var x Rows
			x.bf16At(l, []float32{math.Float32frombits(bits)}, 1, 1, 1)
			require.Equal(t, bits>>16|0x40, x.data[0])
		}
	})
}

// Weights: a row with NaN or infinity makes NaN of its products and of no others.
func TestQuantizeInt8NaN(t *testing.T) {
	nan := float32(math.NaN())
	p := QuantizeInt8([]float32{1, 2, nan, 1, 0, 0, float32(math.Inf(-1)), 0}, 4, 2)
	eachISA(t, func(t *testing.T, l isa) {
		var x Rows
		x.int8At(l, []float32{1, 1}, 2, 1, 2)
		c := make([]float32, 4)
		p.gemmAt(l, c, 4, &x, nil)
		require.InDelta(t, 3, c[0], .02)
		require.True(t, math.IsNaN(float64(c[1])))
		require.Zero(t, c[2])
		require.True(t, math.IsNaN(float64(c[3])))
	})
}

// TestLowRowsIndependent: a row's result does not depend on the rows around it, nor a column's on the columns.
func TestLowRowsIndependent(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	const m, n, k = 31, 100, 50
	a, w := normals(r, m*k), normals(r, n*k)
	b16, i8, f32 := PackBF16(w, n, k), QuantizeInt8(w, n, k), Pack(w, n, k)
	eachISA(t, func(t *testing.T, l isa) {
		var x, y, one Rows
		x.bf16At(l, a, k, m, k)
		y.int8At(l, a, k, m, k)
		all16, all8, all32, row := make([]float32, m*n), make([]float32, m*n), make([]float32, m*n), make([]float32, n)
		ep := &Epilogue{Act: GELU}
		b16.gemmAt(l, all16, n, &x, ep)
		i8.gemmAt(l, all8, n, &y, ep)
		f32.gemmAt(l, all32, n, a, k, m, ep)
		for i := range m {
			one.bf16At(l, a[i*k:], k, 1, k)
			b16.gemmAt(l, row, n, &one, ep)
			require.Equal(t, all16[i*n:(i+1)*n], row)
			one.int8At(l, a[i*k:], k, 1, k)
			i8.gemmAt(l, row, n, &one, ep)
			require.Equal(t, all8[i*n:(i+1)*n], row)
		}
		part16, part8, part32 := make([]float32, m*n), make([]float32, m*n), make([]float32, m*n)
		for _, c := range [][2]int{{0, 32}, {32, 96}, {96, 100}, {100, 100}} {
			if c[0]%32 == 0 {
				p16, p8, p32 := b16.Cols(c[0], c[1]), i8.Cols(c[0], c[1]), f32.Cols(c[0], c[1])
				p16.gemmAt(l, part16[c[0]:], n, &x, ep)
				p8.gemmAt(l, part8[c[0]:], n, &y, ep)
				p32.gemmAt(l, part32[c[0]:], n, a, k, m, ep)
			}
		}
		require.Equal(t, all16, part16)
		require.Equal(t, all8, part8)
		require.Equal(t, all32, part32)
	})
}

func TestPackInt8Rows(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 28))
	for _, k := range []int{1, 3, 4, 50} {
		const n = 37
		w, scale := make([]int8, n*k), filled(n, .5)
		f := make([]float32, n*k)
		for i := range w {
			w[i] = int8(r.IntN(255) - 127)
			if i%k == 0 {
				w[i] = 127
			}
			f[i] = .5 * float32(w[i])
		}
		require.Equal(t, QuantizeInt8(f, n, k), PackInt8Rows(w, scale, n, k))
	}
}

func TestLowPanics(t *testing.T) {
	v := make([]float32, 64)
	var b, i Rows
	b.BF16(v, 4, 2, 4)
	i.Int8(v, 4, 2, 4)
	p, q := PackBF16(v, 6, 4), QuantizeInt8(v, 6, 4)
	for name, f := range map[string]func(){
		"bf16 of bytes":      func() { p.Gemm(v, 6, &i, nil) },
		"int8 of bf16":       func() { q.Gemm(v, 6, &b, nil) },
		"none":               func() { q.Gemm(v, 6, new(Rows), nil) },
		"other k":            func() { PackBF16(v, 6, 5).Gemm(v, 6, &b, nil) },
		"short c":            func() { p.Gemm(v[:11], 6, &b, nil) },
		"short bias":         func() { q.Gemm(v, 6, &i, &Epilogue{Bias: v[:5]}) },
		"rows short":         func() { b.BF16(v, 4, 17, 4) },
		"rows stride":        func() { i.Int8(v, 3, 2, 4) },
		"rows negative":      func() { i.Int8(v, 4, -1, 4) },
		"pack bf16 short":    func() { PackBF16(v, 17, 4) },
		"pack int8 short":    func() { PackInt8Rows(make([]int8, 8), v[:1], 2, 4) },
		"quantize short":     func() { QuantizeInt8(v, 17, 4) },
		"quantize no k":      func() { QuantizeInt8(v, 1, 0) },
		"columns in a panel": func() { p.Cols(1, 6) },
		"columns beyond":     func() { q.Cols(0, 7) },
	} {
		t.Run(name, func(t *testing.T) { require.Panics(t, f) })
	}
	x := new(Rows)
	x.Int8(nil, 4, 0, 4)
	q.Gemm(nil, 6, x, nil)
	x.BF16(nil, 4, 0, 4)
	p.Gemm(nil, 6, x, nil)
}

func BenchmarkGemmLow(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ m, n, k int }{{128, 2304, 768}, {128, 1152, 384}, {128, 1536, 384}, {128, 384, 1536}, {32, 1152, 384}, {128, 3072, 768}, {128, 768, 3072}} {
		a, w, c := normals(r, s.m*s.k), normals(r, s.n*s.k), make([]float32, s.m*s.n)
		ep := &Epilogue{Bias: normals(r, s.n)}
		b16, i8 := PackBF16(w, s.n, s.k), QuantizeInt8(w, s.n, s.k)
		flops := float64(2 * s.m * s.n * s.k)
		var x, y Rows
		x.BF16(a, s.k, s.m, s.k)
		y.Int8(a, s.k, s.m, s.k)
		eachISABenchPeak(b, fmt.Sprintf("bf16/%dx%dx%d", s.m, s.n, s.k), flops, measurePeakBF16At, func(l isa) { b16.gemmAt(l, c, s.n, &x, ep) })
		eachISABenchPeak(b, fmt.Sprintf("int8/%dx%dx%d", s.m, s.n, s.k), flops, measurePeakInt8At, func(l isa) { i8.gemmAt(l, c, s.n, &y, ep) })
	}
}

func BenchmarkRows(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const m, k = 128, 1536
	a := normals(r, m*k)
	var x Rows
	for _, im := range impls[1:] {
		if im.Available {
			b.Run("bf16/"+im.Name, func(b *testing.B) {
				b.SetBytes(4 * m * k)
				for b.Loop() {
					x.bf16At(im.ISA, a, k, m, k)
				}
			})
			b.Run("int8/"+im.Name, func(b *testing.B) {
				b.SetBytes(4 * m * k)
				for b.Loop() {
					x.int8At(im.ISA, a, k, m, k)
				}
			})
		}
	}
}
