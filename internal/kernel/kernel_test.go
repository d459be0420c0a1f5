package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// eachISA runs a test for every implementation that this machine has.
func eachISA(t *testing.T, f func(t *testing.T, l isa)) {
	for _, im := range impls {
		t.Run(im.Name, func(t *testing.T) {
			if !im.Available {
				t.Skip("not available on this machine")
			}
			f(t, im.ISA)
		})
	}
}

func normals(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// dot64 is an inner product in float64, with the bound that the package comment gives for float32.
func dot64(a, b []float32) (sum, bound float64) {
	var abs float64
	for i, x := range a {
		p := float64(x) * float64(b[i])
		sum += p
		abs += math.Abs(p)
	}
	return sum, float64(len(a)) * 0x1p-23 * abs
}

func TestISA(t *testing.T) {
	require.Contains(t, []string{"generic", "avx2", "avx512", "avx512vnni", "avx512bf16", "neon"}, ISA())
	require.Equal(t, isaGeneric, chooseISA("generic"))
	best := chooseISA("")
	require.Equal(t, best, chooseISA("no-such-thing"), "an unknown name is ignored")
	require.LessOrEqual(t, chooseISA("avx2"), isaAVX2)
	for _, im := range impls {
		if im.Available {
			require.Equal(t, im.ISA, chooseISA(im.Name))
			require.GreaterOrEqual(t, best, im.ISA)
		} else {
			require.Less(t, chooseISA(im.Name), im.ISA)
		}
	}
}

// Every table row: a shape mistake panics and does not touch memory out of range.
func TestShapePanics(t *testing.T) {
	v := make([]float32, 24)
	p := Pack(v, 6, 4)
	q := NewQuery(v, 6, 4)
	for name, f := range map[string]func(){
		"query too short":        func() { NewQuery(v, 7, 4) },
		"query without dim":      func() { NewQuery(v, 2, 0) },
		"query negative":         func() { NewQuery(v, -1, 4) },
		"document too short":     func() { q.MaxSim(v, 7) },
		"document without rows":  func() { q.MaxSim(v, 0) },
		"out too short":          func() { q.Max(v[:5], v, 6) },
		"pack too short":         func() { Pack(v, 7, 4) },
		"pack stride":            func() { new(Packed).Repack(v, 2, 4, 3) },
		"pack transposed stride": func() { new(Packed).RepackT(v, 6, 4, 5) },
		"pack transposed short":  func() { new(Packed).RepackT(v, 7, 4, 7) },
		"set rows in a panel":    func() { p.SetRows(1, v[:4]) },
		"set rows beyond":        func() { p.SetRows(0, v[:28]) },
		"set part of a row":      func() { p.SetRows(0, v[:23]) },
		"set too few rows":       func() { p.SetRows(0, v[:20]) },
		"new matrix":             func() { NewPacked(4, 0) },
		"gemm a":                 func() { p.Gemm(v, 6, v[:3], 4, 1, nil) },
		"gemm lda":               func() { p.Gemm(v, 6, v, 3, 1, nil) },
		"gemm c":                 func() { p.Gemm(v[:11], 6, v, 4, 2, nil) },
		"gemm ldc":               func() { p.Gemm(v, 5, v, 4, 2, nil) },
		"gemm bias":              func() { p.Gemm(v, 6, v, 4, 2, &Epilogue{Bias: v[:5]}) },
		"gemm add":               func() { p.Gemm(v, 6, v, 4, 2, &Epilogue{Add: v[:11], LdAdd: 6}) },
		"gemm negative":          func() { p.Gemm(v, 6, v, 4, -1, nil) },
		"argmax idx":             func() { p.ArgMax(make([]uint32, 1), nil, v, 4, 2) },
		"argmax empty":           func() { Pack(nil, 0, 4).ArgMax(make([]uint32, 1), nil, v, 4, 1) },
		"layernorm":              func() { LayerNorm(v, v, v[:23], v, 1e-5) },
		"dot":                    func() { Dot(v, v[:3]) },
		"f16":                    func() { F16ToF32(v[:2], make([]uint16, 3)) },
		"f32":                    func() { F32ToF16(make([]uint16, 3), v) },
	} {
		t.Run(name, func(t *testing.T) { require.Panics(t, f) })
	}
}

func TestEmpty(t *testing.T) {
	var none []float32
	Softmax(none)
	GELUSlice(none)
	LayerNorm(none, none, none, nil, 1e-5)
	require.Zero(t, Dot(none, none))
	require.Zero(t, Normalize(none))
	F16ToF32(nil, nil)
	F32ToF16(nil, nil)
	Pack(nil, 0, 4).Gemm(none, 0, none, 4, 0, nil)
	Pack([]float32{1}, 1, 1).Gemm(none, 1, none, 1, 0, nil)
	require.Zero(t, NewQuery(nil, 0, 4).MaxSim(make([]float32, 4), 1))
}

// Nothing on the search or encoding path may allocate.
func TestNoAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	q, p := NewQuery(normals(r, 32*16), 32, 16), Pack(normals(r, 40*16), 40, 16)
	doc, mat := normals(r, 50*16), normals(r, 50*40)
	bytes, codes, words := make([]uint8, 64*32), make([]uint32, 9), new(PackedInt8)
	words.Repack(doc, 40, 16)
	require.Zero(t, testing.AllocsPerRun(10, func() {
		var out [32]float32
		q.Max(out[:], doc, 50)
		q.MaxSim(doc, 50)
		q.Reset(doc, 32, 16)
		p.Gemm(mat, 40, doc, 16, 50, &Epilogue{Act: GELU, Bias: doc})
		p.Repack(doc, 40, 16, 16)
		var idx [50]uint32
		p.ArgMax(idx[:], nil, doc, 16, 50)
		Softmax(mat[:40])
		LayerNorm(mat, mat[:40], doc, doc, 1e-5)
		RaiseU8(bytes, 32, 0, codes, bytes)
		words.Repack(doc, 40, 16)
		Normalize(out[:])
	}))
}

// near is require.InDelta for inner loops: reflection only when the test fails.
func near[W, G float32 | float64](t testing.TB, want W, got G, delta float64, msg ...any) {
	t.Helper()
	if d := math.Abs(float64(want) - float64(got)); !(d <= delta) {
		require.InDelta(t, float64(want), float64(got), delta, msg...)
	}
}
