package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGemm(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, k := range []int{1, 3, 4, 7, 61} {
		for _, n := range []int{1, 7, 8, 9, 16, 17, 31, 32, 33, 49} {
			for _, m := range []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 18, 23, 25, 37} {
				lda, ldc, ldadd := k+r.IntN(3), n+r.IntN(5), n+r.IntN(3)
				a, w := normals(r, m*lda), normals(r, n*k)
				bias, add := normals(r, n), normals(r, m*ldadd)
				ep := &Epilogue{}
				switch r.IntN(6) {
				case 0:
					ep = nil
				case 1:
					ep.Bias = bias
				case 2:
					ep.Scale, ep.Bias = 0.125, bias
				case 3:
					ep.Add, ep.LdAdd = add, ldadd
				case 4:
					ep.Bias, ep.Act = bias, GELU
				case 5:
					ep.Scale, ep.Bias, ep.Act, ep.Add, ep.LdAdd = -1.5, bias, GELU, add, ldadd
				}
				checkGemm(t, r, m, n, k, a, lda, w, ldc, ep)
			}
		}
	}
}

// checkGemm compares every implementation with float64, and the assembly ones with each other.
func checkGemm(t *testing.T, r *rand.Rand, m, n, k int, a []float32, lda int, w []float32, ldc int, ep *Epilogue) {
	t.Helper()
	p := Pack(w, n, k)
	size := (m-1)*ldc + n
	before := normals(r, size)
	var avx2 []float32
	for _, im := range impls {
		if !im.Available {
			continue
		}
		ga, gb, gc := newGuard(t, 4*len(a)), newGuard(t, 4*len(p.data)), newGuard(t, 4*size)
		for _, after := range []bool{true, false} {
			p.data = guarded(gb, p.data, after)
			c := guarded(gc, before, after)
			p.gemmAt(im.ISA, c, ldc, guarded(ga, a[:(m-1)*lda+k], after), lda, m, ep)
			for i := range m {
				for j := range ldc {
					if i*ldc+j >= size {
						continue
					}
					got := c[i*ldc+j]
					if j >= n {
						if got != before[i*ldc+j] {
							require.Equal(t, before[i*ldc+j], got, "between the rows of C")
						}
						continue
					}
					want, bound := dot64(a[i*lda:i*lda+k], w[j*k:(j+1)*k])
					if ep != nil {
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
							bound += 2e-7 * math.Abs(want)
						}
					}
					near(t, want, got, bound+1e-7, "%s %dx%dx%d at %d,%d", im.Name, m, n, k, i, j)
				}
			}
			if im.ISA == isaAVX2 {
				avx2 = append([]float32(nil), c...)
			}
			if im.ISA >= isaAVX512 {
				require.Equal(t, avx2, append([]float32(nil), c...), "AVX2 and AVX-512 agree in every bit")
			}
		}
	}
}

// Rows in more than one block of A, columns in many panels.
func TestGemmLarge(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	const m, n, k = 77, 99, 4100
	a, w := normals(r, m*k), normals(r, n*k)
	checkGemm(t, r, m, n, k, a, k, w, n, nil)
}

// A residual connection in place: Add is C itself.
func TestGemmAddInPlace(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	const m, n, k = 29, 45, 33
	a, w, x := normals(r, m*k), normals(r, n*k), normals(r, m*n)
	p := Pack(w, n, k)
	eachISA(t, func(t *testing.T, l isa) {
		for _, act := range []Activation{NoActivation, GELU} {
			want := make([]float32, m*n)
			p.gemmAt(l, want, n, a, k, m, &Epilogue{Act: act, Add: x, LdAdd: n})
			c := append([]float32(nil), x...)
			p.gemmAt(l, c, n, a, k, m, &Epilogue{Act: act, Add: c, LdAdd: n})
			require.Equal(t, want, c)
		}
	})
}

// A row's result does not depend on the rows around it: batches and single texts agree in every bit.
func TestGemmRowsIndependent(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	const m, n, k = 31, 40, 50
	a, p := normals(r, m*k), Pack(normals(r, n*k), n, k)
	eachISA(t, func(t *testing.T, l isa) {
		all, one := make([]float32, m*n), make([]float32, n)
		p.gemmAt(l, all, n, a, k, m, &Epilogue{Act: GELU})
		for i := range m {
			p.gemmAt(l, one, n, a[i*k:], k, 1, &Epilogue{Act: GELU})
			require.Equal(t, all[i*n:(i+1)*n], one, "row %d", i)
		}
	})
}

func TestPackVariants(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	p := Pack(normals(r, 200*90), 200, 90) // memory full of old values
	for _, n := range []int{1, 5, 31, 32, 33, 50, 64} {
		for _, k := range []int{1, 3, 16, 77} {
			w := normals(r, n*k)
			want := Pack(w, n, k)
			require.Equal(t, n, want.N())
			require.Equal(t, k, want.K())

			ldw := k + 3
			wide := normals(r, n*ldw)
			for i := range n {
				copy(wide[i*ldw:], w[i*k:(i+1)*k])
			}
			p.Repack(wide, n, k, ldw)
			require.Equal(t, want, &Packed{p.data, p.n, p.k}, "Repack %d x %d", n, k)

			ldt := n + 2
			trans := normals(r, k*ldt)
			for i := range n {
				for j := range k {
					trans[j*ldt+i] = w[i*k+j]
				}
			}
			p.RepackT(trans, n, k, ldt)
			require.Equal(t, want, &Packed{p.data, p.n, p.k}, "RepackT %d x %d", n, k)

			// In pieces, over memory that holds something else.
			p16, p8 := NewPackedBF16(n, k), NewPackedInt8(n, k)
			for at := 0; at < n; at += 32 {
				piece := w[at*k : min(n, at+32)*k]
				p.SetRows(at, piece)
				p16.SetRows(at, piece)
				p8.SetRows(at, piece)
			}
			require.Equal(t, want, &Packed{p.data, p.n, p.k}, "SetRows %d x %d", n, k)
			require.Equal(t, PackBF16(w, n, k), p16)
			require.Equal(t, QuantizeInt8(w, n, k), p8)
		}
	}
}

func TestArgMax(t *testing.T) {
	r := rand.New(rand.NewPCG(17, 18))
	for _, k := range []int{1, 4, 7, 40} {
		for _, n := range []int{1, 2, 15, 16, 17, 31, 32, 33, 50, 65, 200} {
			for _, m := range []int{1, 2, 5, 6, 7, 11, 12, 13, 24, 30, 48, 49, 100} {
				// Small integers: products are exact, and there are many ties.
				a, w := make([]float32, m*k), make([]float32, n*k)
				for i := range a {
					a[i] = float32(r.IntN(5) - 3)
				}
				for i := range w {
					w[i] = float32(r.IntN(3))
				}
				if r.IntN(3) == 0 { // All products negative: the zero filling of a panel must not win.
					for i := range a {
						a[i] = -1
					}
					for i := range w {
						w[i]++
					}
				}
				idx, score := make([]uint32, m), make([]float32, m)
				for i := range m {
					score[i] = float32(math.Inf(-1))
					for j := range n {
						if s, _ := dot64(a[i*k:(i+1)*k], w[j*k:(j+1)*k]); float32(s) > score[i] {
							score[i], idx[i] = float32(s), uint32(j)
						}
					}
				}
				for _, im := range impls {
					if !im.Available {
						continue
					}
					p, ga, gb := Pack(w, n, k), newGuard(t, 4*len(a)), newGuard(t, 4*((n+31)/32*32)*k)
					for _, after := range []bool{true, false} {
						p.data = guarded(gb, p.data, after)
						gi, gs := make([]uint32, m), make([]float32, m)
						p.argMaxAt(im.ISA, gi, gs, guarded(ga, a, after), k, m)
						require.Equal(t, idx, gi, "%s %dx%dx%d", im.Name, m, n, k)
						require.Equal(t, score, gs)
						p.argMaxAt(im.ISA, gi, nil, guarded(ga, a, after), k, m)
						require.Equal(t, idx, gi)
					}
				}
			}
		}
	}
}

func TestArgMaxNaN(t *testing.T) {
	nan := float32(math.NaN())
	eachISA(t, func(t *testing.T, l isa) {
		p := Pack([]float32{nan, -2, -1}, 3, 1)
		idx, score := make([]uint32, 2), make([]float32, 2)
		p.argMaxAt(l, idx, score, []float32{1, nan}, 1, 2)
		require.Equal(t, []uint32{2, 0}, idx)
		require.Equal(t, []float32{-1, float32(math.Inf(-1))}, score)
	})
}

func BenchmarkGemm(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct {
		m, n, k int
		act     Activation
	}{
		{480, 3072, 768, NoActivation}, {400, 384, 384, NoActivation}, {400, 1536, 384, NoActivation}, {400, 1536, 384, GELU},
		{400, 384, 1536, NoActivation}, {36, 768, 768, NoActivation}, {96, 1024, 128, NoActivation}, {128, 128, 32, NoActivation}, {128, 32, 128, NoActivation}, {50, 50, 32, NoActivation},
		{20, 384, 384, NoActivation}, {1, 384, 384, NoActivation},
	} {
		a, p, c := normals(r, s.m*s.k), Pack(normals(r, s.n*s.k), s.n, s.k), make([]float32, s.m*s.n)
		ep := &Epilogue{Bias: normals(r, s.n), Act: s.act}
		eachISABench(b, fmt.Sprintf("%dx%dx%d/gelu=%t", s.m, s.n, s.k, s.act == GELU), float64(2*s.m*s.n*s.k), func(l isa) {
			p.gemmAt(l, c, s.n, a, s.k, s.m, ep)
		})
	}
}

func BenchmarkArgMax(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const m, n, k = 96, 1024, 128
	a, p := normals(r, m*k), Pack(normals(r, n*k), n, k)
	idx := make([]uint32, m)
	eachISABench(b, fmt.Sprintf("%dx%dx%d", m, n, k), 2*m*n*k, func(l isa) { p.argMaxAt(l, idx, nil, a, k, m) })
}

func BenchmarkRepack(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	w, p := normals(r, 128*384), new(Packed)
	b.Run("keys=128x32", func(b *testing.B) {
		for b.Loop() {
			p.Repack(w, 128, 32, 384)
		}
	})
	b.Run("values=128x32", func(b *testing.B) {
		for b.Loop() {
			p.RepackT(w, 32, 128, 384)
		}
	})
}
