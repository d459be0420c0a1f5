package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// guards hands out several guarded buffers.
func guards(t *testing.T, n, size int) []*guard {
	gs := make([]*guard, n)
	for i := range gs {
		gs[i] = newGuard(t, size)
	}
	return gs
}

func TestSoftmaxLog(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 1))
	eachISA(t, func(t *testing.T, l isa) {
		for _, n := range append(lengths(), 70_000) {
			x := normals(r, n)
			var sum float64
			for i := range x {
				x[i] *= 5
				sum += math.Exp(float64(x[i]))
			}
			want := append([]float32(nil), x...)
			softmax(l, want)
			near(t, math.Log(sum), softmaxLog(l, x), 1e-5, "n %d", n)
			require.Equal(t, want, x)
		}
	})
	require.True(t, math.IsInf(float64(SoftmaxLog(nil)), -1))
}

func TestGELUGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 2))
	eachISA(t, func(t *testing.T, l isa) {
		g := guards(t, 3, 4096)
		for _, n := range lengths() {
			for _, after := range []bool{false, true} {
				in := normals(r, n)
				for i := range in {
					in[i] *= []float32{1, 6, 1e-6, 1e6}[i%4]
				}
				x, y, d := guarded(g[0], in, after), guarded(g[1], in, after), guarded(g[2], in, after)
				geluGradAt(l, y, d, x)
				for i, v := range in {
					phi := 0.5 * (1 + math.Erf(float64(v)/math.Sqrt2))
					near(t, float64(v)*phi, y[i], 1e-6*max(1, math.Abs(float64(v))), "gelu(%g)", v)
					near(t, phi+float64(v)*math.Exp(-float64(v)*float64(v)/2)/math.Sqrt(2*math.Pi), d[i], 1e-6, "gelu'(%g)", v)
				}
			}
		}
		require.Panics(t, func() { geluGradAt(l, make([]float32, 3), make([]float32, 2), make([]float32, 3)) })
	})
}

func TestLayerNormGrad(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 3))
	eachISA(t, func(t *testing.T, l isa) {
		g := guards(t, 6, 4096)
		for _, n := range lengths() {
			for _, after := range []bool{false, true} {
				x, dy, gamma := guarded(g[0], normals(r, n), after), guarded(g[1], normals(r, n), after), guarded(g[2], normals(r, n), after)
				dg0, db0 := normals(r, n), normals(r, n)
				dgamma, dbeta, dx := guarded(g[3], dg0, after), guarded(g[4], db0, after), guarded(g[5], dg0, after)
				const eps = 1e-3
				layerNormGradAt(l, dx, dy, x, gamma, dgamma, dbeta, eps)
				var mean, sq, mg, mgz float64
				for _, v := range x {
					mean += float64(v) / float64(n)
				}
				for _, v := range x {
					sq += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				inv := 1 / math.Sqrt(sq+eps)
				z := func(i int) float64 { return (float64(x[i]) - mean) * inv }
				d := func(i int) float64 { return float64(dy[i]) * float64(gamma[i]) }
				for i := range n {
					mg += d(i) / float64(n)
					mgz += d(i) * z(i) / float64(n)
				}
				tol := 2e-5 * max(1, inv*0.1)
				for i := range n {
					near(t, (d(i)-mg-z(i)*mgz)*inv, dx[i], tol*max(1, inv), "n %d", n)
					near(t, float64(dg0[i])+float64(dy[i])*z(i), dgamma[i], tol, "n %d", n)
					near(t, db0[i]+dy[i], dbeta[i], 1e-6, "n %d", n)
				}
			}
		}
		require.Panics(t, func() {
			v := make([]float32, 3)
			layerNormGradAt(l, v, v, v, v, v, v[:2], 1)
		})
	})
}

func TestMulAndAddScaled(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 4))
	eachISA(t, func(t *testing.T, l isa) {
		g := guards(t, 3, 4096)
		for _, n := range lengths() {
			for _, after := range []bool{false, true} {
				x, y, d := guarded(g[0], normals(r, n), after), guarded(g[1], normals(r, n), after), guarded(g[2], normals(r, n), after)
				mulAt(l, d, x, y)
				for i := range d {
					require.Equal(t, x[i]*y[i], d[i])
				}
				before := append([]float32(nil), d...)
				addScaledAt(l, d, x, 0.7)
				for i := range d {
					near(t, float64(before[i])+float64(float32(0.7))*float64(x[i]), d[i], 1e-6)
				}
			}
		}
		require.Panics(t, func() { mulAt(l, make([]float32, 3), make([]float32, 4), make([]float32, 4)) })
		require.Panics(t, func() { addScaledAt(l, make([]float32, 3), make([]float32, 4), 1) })
	})
}

func TestTranspose(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 5))
	eachISA(t, func(t *testing.T, l isa) {
		g := guards(t, 2, 1<<16)
		for _, rows := range []int{1, 2, 7, 8, 9, 16, 31, 40} {
			for _, cols := range []int{1, 3, 7, 8, 9, 15, 16, 33, 64} {
				for _, gap := range []int{0, 3} {
					lds, ldd := cols+gap, rows+gap
					src := guarded(g[0], normals(r, (rows-1)*lds+cols), gap == 0)
					dst := guarded(g[1], make([]float32, (cols-1)*ldd+rows), gap == 0)
					transposeAt(l, dst, ldd, src, lds, rows, cols)
					for i, v := range dst {
						if j := i % ldd; j < rows {
							require.Equal(t, src[j*lds+i/ldd], v, "%d x %d", rows, cols)
						} else {
							require.Zero(t, v)
						}
					}
				}
			}
		}
		require.Panics(t, func() { transposeAt(l, make([]float32, 5), 2, make([]float32, 6), 3, 2, 3) })
	})
}

// TestRepackTBF16: packing the transposed matrix is packing the matrix.
func TestRepackTBF16(t *testing.T) {
	r := rand.New(rand.NewPCG(41, 6))
	eachISA(t, func(t *testing.T, l isa) {
		g := newGuard(t, 1<<16)
		p := NewPackedBF16(64, 8) // memory that is used again
		for i := range p.data {
			p.data[i] = 0x7fc07fc0
		}
		for _, n := range []int{1, 5, 31, 32, 33, 64, 70} {
			for _, k := range []int{1, 2, 3, 8, 33, 64} {
				for _, gap := range []int{0, 5} {
					ld := n + gap
					w := guarded(g, normals(r, (k-1)*ld+n), gap == 0)
					w[0] = float32(math.NaN())
					plain := make([]float32, n*k)
					for i := range n {
						for j := range k {
							plain[i*k+j] = w[j*ld+i]
						}
					}
					p.repackTAt(l, w, n, k, ld)
					require.Equal(t, PackBF16(plain, n, k).data, p.data, "%d x %d", n, k)
				}
			}
		}
		require.Panics(t, func() { p.repackTAt(l, make([]float32, 5), 3, 2, 3) })
	})
}
