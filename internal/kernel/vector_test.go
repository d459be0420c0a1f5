package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// lengths are those near the edges of registers and unrolled loops.
func lengths() []int {
	var n []int
	for i := 1; i <= 70; i++ {
		n = append(n, i)
	}
	return append(n, 127, 128, 129, 384, 511, 1000)
}

func TestSoftmax(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	eachISA(t, func(t *testing.T, l isa) {
		g := newGuard(t, 4096)
		for _, n := range lengths() {
			for _, spread := range []float64{0.1, 3, 60} {
				in := normals(r, n)
				top := math.Inf(-1)
				for i := range in {
					in[i] *= float32(spread)
					if r.IntN(10) == 0 {
						in[i] = float32(math.Inf(-1))
					}
				}
				in[r.IntN(n)] = 1 // at least one is finite
				for _, v := range in {
					top = max(top, float64(v))
				}
				var sum float64
				for _, v := range in {
					sum += math.Exp(float64(v) - top)
				}
				x := guarded(g, in, n%2 == 0)
				softmax(l, x)
				for i, v := range in {
					want := math.Exp(float64(v)-top) / sum
					// The difference to the largest value is rounded, too.
					rel := 1e-6 + 1.2e-7*math.Abs(float64(v)-top)
					if math.IsInf(float64(v), -1) {
						rel = 0
					}
					near(t, want, x[i], rel*want+2e-38, "n %d, exp(%g)", n, float64(v)-top)
					if math.IsInf(float64(v), -1) {
						require.Zero(t, x[i])
					}
				}
			}
		}
	})
}

func TestSoftmaxNotFinite(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachISA(t, func(t *testing.T, l isa) {
		for _, bad := range [][]float32{{-inf, -inf, -inf}, {1, nan, 2}, {1, inf, 2}, {nan}} {
			for _, pad := range []int{0, 20} {
				x := append([]float32(nil), bad...)
				for range pad {
					x = append(x, bad[0])
				}
				softmax(l, x)
				n := 0
				for _, v := range x {
					if v != v {
						n++
					}
				}
				require.NotZero(t, n, "%v", bad)
				if bad[0] != 1 || bad[1] != inf {
					require.Equal(t, len(x), n, "%v", bad)
				}
			}
		}
	})
}

func TestGELU(t *testing.T) {
	eachISA(t, func(t *testing.T, l isa) {
		var worst float64
		g := newGuard(t, 4096)
		for at := -12.0; at < 12; {
			in := make([]float32, 997)
			for i := range in {
				in[i] = float32(at)
				at += 1e-4
			}
			x := guarded(g, in, true)
			geluSlice(l, x)
			for i, v := range in {
				want := 0.5 * float64(v) * (1 + math.Erf(float64(v)/math.Sqrt2))
				worst = max(worst, math.Abs(want-float64(x[i])))
			}
		}
		t.Logf("largest absolute error on [-12, 12]: %.3g", worst)
		require.Less(t, worst, 1e-6)

		// Far out the error must not grow with x: it is 0 or x to the last bit but one.
		for _, v := range []float32{15, 100, 1e4, 1e20, 3e38} {
			x := []float32{v, -v}
			geluSlice(l, x)
			require.Equal(t, []float32{v, 0}, []float32{x[0], x[1] + 0})
		}
		x := []float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1))}
		geluSlice(l, x)
		require.Zero(t, x[0])
		require.Zero(t, x[1])
		require.True(t, math.IsNaN(float64(x[2])))
		require.True(t, math.IsInf(float64(x[3]), 1))
	})
}

func TestGELULengths(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	eachISA(t, func(t *testing.T, l isa) {
		g := newGuard(t, 4096)
		for _, n := range lengths() {
			in := normals(r, n)
			for _, after := range []bool{true, false} {
				x := guarded(g, in, after)
				geluSlice(l, x)
				for i, v := range in {
					near(t, gelu(v), x[i], 1e-6)
				}
			}
		}
		long := normals(r, 70000)
		x := append([]float32(nil), long...)
		geluSlice(l, x)
		for i, v := range long {
			near(t, gelu(v), x[i], 1e-6)
		}
	})
}

// swishes are the forms of Swish that feed-forward layers use.
var swishes = []struct{ a, b float32 }{{1, 0}, {1.5957691, 0.0713548}, {1.702, 0}}

func TestSwish(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	eachISA(t, func(t *testing.T, l isa) {
		for _, f := range swishes {
			worst := 0.0
			for at := -30.0; at < 30; at += 8 {
				in := make([]float32, 4001)
				for i := range in {
					in[i] = float32(at + float64(i)/500)
				}
				x := append([]float32(nil), in...)
				swish(l, x, f.a, f.b)
				for i, v := range in {
					w := float64(v)
					want := w / (1 + math.Exp(-(float64(f.a)*w + float64(f.b)*w*w*w)))
					worst = max(worst, math.Abs(want-float64(x[i]))/max(1, math.Abs(w)))
				}
			}
			t.Logf("%v: largest error on [-30, 30]: %.3g", f, worst)
			require.Less(t, worst, 1e-6)
			for _, v := range []float32{100, 1e4, 1e20, 3e38} {
				x := []float32{v, -v}
				swish(l, x, f.a, f.b)
				require.Equal(t, v, x[0])
				require.InDelta(t, 0, x[1], 1e-30)
			}
			x := []float32{0, float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1))}
			swish(l, x, f.a, f.b)
			require.Zero(t, x[0])
			require.Zero(t, x[1])
			require.True(t, math.IsNaN(float64(x[2])))
			require.True(t, math.IsInf(float64(x[3]), 1))
			require.True(t, math.IsNaN(float64(x[4])))
		}
		g := newGuard(t, 4096)
		for _, n := range lengths() {
			in := normals(r, n)
			for _, after := range []bool{true, false} {
				x, want := guarded(g, in, after), append([]float32(nil), in...)
				swish(l, x, 1, 0.1)
				swishGeneric(want, 1, 0.1)
				for i := range x {
					near(t, want[i], x[i], 1e-6)
				}
			}
		}
		long := normals(r, 70000)
		x := append([]float32(nil), long...)
		swish(l, x, 1, 0)
		swishGeneric(long, 1, 0)
		for i, v := range long {
			near(t, v, x[i], 1e-6)
		}
	})
}

func TestExpNeg(t *testing.T) {
	r := rand.New(rand.NewPCG(35, 36))
	eachISA(t, func(t *testing.T, l isa) {
		g := newGuard(t, 4096)
		for _, n := range lengths() {
			in := normals(r, n)
			for i, v := range in {
				in[i] = -10 * v * v
			}
			for _, after := range []bool{true, false} {
				x := guarded(g, in, after)
				expNegSlice(l, x)
				for i, v := range in {
					want := math.Exp(float64(v))
					if v < -87.3 {
						want = 0
					}
					near(t, want, x[i], (2e-7-6e-8*float64(v))*want, "exp(%g)", v)
				}
			}
		}
		x := []float32{0, -1000, float32(math.Inf(-1)), float32(math.NaN())}
		expNegSlice(l, x)
		require.Equal(t, []float32{1, 0, 0}, x[:3])
		require.True(t, math.IsNaN(float64(x[3])))
	})
}

func TestLayerNorm(t *testing.T) {
	r := rand.New(rand.NewPCG(25, 26))
	eachISA(t, func(t *testing.T, l isa) {
		g := [4]*guard{newGuard(t, 4096), newGuard(t, 4096), newGuard(t, 4096), newGuard(t, 4096)}
		for _, n := range lengths() {
			for _, eps := range []float32{1e-12, 1e-5} {
				in, gamma, beta := normals(r, n), normals(r, n), normals(r, n)
				for i := range in {
					in[i] += 5
				}
				var mean, variance float64
				for _, v := range in {
					mean += float64(v) / float64(n)
				}
				for _, v := range in {
					variance += (float64(v) - mean) * (float64(v) - mean) / float64(n)
				}
				inv := 1 / math.Sqrt(variance+float64(eps))
				after := n%2 == 0
				x, dst := guarded(g[0], in, after), guarded(g[1], in, after)
				ga, be := guarded(g[2], gamma, after), guarded(g[3], beta, after)
				check := func(out []float32, withBeta bool) {
					for i, v := range in {
						want := (float64(v) - mean) * inv * float64(gamma[i])
						if withBeta {
							want += float64(beta[i])
						}
						// The mean's rounding error, some 1e-6, is magnified by inv when n is small.
						near(t, want, out[i], 1e-5+4e-6*inv*math.Abs(float64(gamma[i]))+1e-6*math.Abs(want), "n %d", n)
					}
				}
				if n == 1 {
					eps = 1 // without any variance the result is nothing but rounding
					inv = 1
				}
				layerNormAt(l, dst, x, ga, be, eps)
				check(dst, true)
				layerNormAt(l, dst, x, ga, nil, eps)
				check(dst, false)
				layerNormAt(l, x, x, ga, be, eps) // in place
				check(x, true)
			}
		}
	})
}

func TestDot(t *testing.T) {
	r := rand.New(rand.NewPCG(27, 28))
	eachISA(t, func(t *testing.T, l isa) {
		g, h := newGuard(t, 4096), newGuard(t, 4096)
		for _, n := range lengths() {
			a, b := normals(r, n), normals(r, n)
			want, bound := dot64(a, b)
			for _, after := range []bool{true, false} {
				near(t, want, dotAt(l, guarded(g, a, after), guarded(h, b, !after)), bound)
			}
		}
		a, b := normals(r, 70001), normals(r, 70001)
		want, _ := dot64(a, b)
		near(t, want, dotAt(l, a, b), 1e-2)
	})
}

func TestNormalize(t *testing.T) {
	r := rand.New(rand.NewPCG(29, 30))
	eachISA(t, func(t *testing.T, l isa) {
		g := newGuard(t, 4096)
		for _, n := range lengths() {
			in := normals(r, n)
			in[0] = 1
			for _, factor := range []float32{1, 1e-18, 1e-30, 1e-42, 1e18, 1e37} {
				scaled := append([]float32(nil), in...)
				var sq float64
				for i := range scaled {
					scaled[i] *= factor
					sq += float64(scaled[i]) * float64(scaled[i])
				}
				x := guarded(g, scaled, n%2 == 0)
				got := normalizeAt(l, x)
				if norm := math.Sqrt(sq); norm < math.MaxFloat32 {
					near(t, norm, got, 1e-6*norm+2e-45)
				} else {
					require.True(t, math.IsInf(float64(got), 1))
				}
				unit, _ := dot64(x, x)
				near(t, 1.0, unit, 1e-5, "n %d factor %g", n, factor)
			}
			x := guarded(g, make([]float32, n), true)
			require.Zero(t, normalizeAt(l, x))
			require.Equal(t, make([]float32, n), append([]float32(nil), x...))
		}
	})
}

func BenchmarkVector(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const n = 384
	x, y, z, dst := normals(r, n), normals(r, n), normals(r, n), make([]float32, n)
	h := make([]uint16, n)
	for _, k := range []struct {
		name string
		f    func(l isa)
	}{
		{"copy", func(isa) { copy(dst, x) }},
		{"softmax", func(l isa) { copy(dst, x); softmax(l, dst) }},
		{"gelu", func(l isa) { copy(dst, x); geluSlice(l, dst) }},
		{"layernorm", func(l isa) { layerNormAt(l, dst, x, y, z, 1e-5) }},
		{"dot", func(l isa) { dotAt(l, x, y) }},
		{"normalize", func(l isa) { copy(dst, x); normalizeAt(l, dst) }},
		{"f16tof32", func(l isa) { f16ToF32At(l, dst, h) }},
		{"f32tof16", func(l isa) { f32ToF16At(l, h, x) }},
	} {
		// One "operation" per value: the rate is in values per nanosecond.
		eachISABench(b, fmt.Sprintf("%s/n=%d", k.name, n), n, k.f)
	}
}
