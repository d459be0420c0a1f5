package kernel

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// halfValue is the value of a finite half-precision number by the definition.
func halfValue(h uint16) float64 {
	exp, man := int(h>>10)&0x1f, float64(h&0x3ff)
	v := math.Ldexp(man, -24)
	if exp > 0 {
		v = math.Ldexp(1024+man, exp-25)
	}
	if h&0x8000 != 0 {
		v = -v
	}
	return v
}

func TestF16ToF32All(t *testing.T) {
	all := make([]uint16, 1<<16)
	for i := range all {
		all[i] = uint16(i)
	}
	want := make([]uint32, len(all))
	for i, h := range all {
		f := f16To32(h)
		want[i] = math.Float32bits(f)
		switch {
		case h&0x7fff < 0x7c00:
			require.Equal(t, halfValue(h), float64(f))
			require.Equal(t, h, f32To16(f), "and back")
		case h&0x7fff == 0x7c00:
			require.True(t, math.IsInf(float64(f), 0))
			require.Equal(t, h, f32To16(f))
		default:
			require.True(t, math.IsNaN(float64(f)))
		}
	}
	eachISA(t, func(t *testing.T, l isa) {
		got := make([]float32, len(all))
		f16ToF32At(l, got, all)
		for i, f := range got {
			if want[i] != math.Float32bits(f) {
				require.Equal(t, want[i], math.Float32bits(f), "%#04x", i)
			}
		}
	})
}

func TestF32ToF16(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	var in []float32
	// Around every half-precision number and every midpoint between two of them.
	for h := uint16(0); h < 0x7c00; h++ {
		a, b := halfValue(h), halfValue(h+1)
		if h == 0x7bff {
			b = 65536
		}
		mid := float32((a + b) / 2)
		in = append(in, float32(a), mid, math.Nextafter32(mid, 0), -math.Nextafter32(mid, 1e9))
		want := h // the even neighbour at the midpoint
		if h&1 == 1 {
			want = h + 1
		}
		require.Equal(t, want, f32To16(mid), "midpoint above %#04x", h)
		require.Equal(t, h, f32To16(math.Nextafter32(mid, 0)))
		require.Equal(t, (h+1)|0x8000, f32To16(-math.Nextafter32(mid, 1e9)))
	}
	for range 200000 {
		in = append(in, math.Float32frombits(r.Uint32()))
	}
	eachISA(t, func(t *testing.T, l isa) {
		got := make([]uint16, len(in))
		f32ToF16At(l, got, in)
		for i, v := range in {
			if f32To16(v) != got[i] {
				require.Equal(t, f32To16(v), got[i], "%g %#08x", v, math.Float32bits(v))
			}
		}
	})
}

func TestF16Lengths(t *testing.T) {
	r := rand.New(rand.NewPCG(33, 34))
	eachISA(t, func(t *testing.T, l isa) {
		g, h := newGuard(t, 4096), newGuard(t, 4096)
		for _, n := range lengths() {
			x := normals(r, n)
			for _, after := range []bool{true, false} {
				half := guarded(h, make([]uint16, n), after)
				f32ToF16At(l, half, guarded(g, x, after))
				back := guarded(g, make([]float32, n), after)
				f16ToF32At(l, back, half)
				for i, v := range x {
					near(t, v, back[i], 1e-3*math.Abs(float64(v))+1e-7)
				}
			}
		}
	})
}

func TestLoadF32(t *testing.T) {
	b := []byte{9, 0, 0, 128, 63, 0, 0, 0, 192, 1, 0, 192, 127} // from an odd address
	got := make([]float32, 3)
	LoadF32(got, b[1:])
	require.Equal(t, []float32{1, -2}, got[:2])
	require.Equal(t, uint32(0x7fc00001), math.Float32bits(got[2]))
	LoadF32(nil, nil)
	require.Panics(t, func() { LoadF32(got, b[2:]) })
}

func TestLoadF16(t *testing.T) {
	b := make([]byte, 2*700+1)
	want := make([]float32, 700)
	for _, odd := range []int{0, 1} {
		for i := range want {
			binary.LittleEndian.PutUint16(b[2*i+odd:], uint16(i*89))
			want[i] = f16To32(uint16(i * 89))
		}
		for _, n := range []int{0, 1, 255, 256, 257, 700} {
			got := make([]float32, n)
			LoadF16(got, b[odd:])
			for i, v := range got {
				require.Equal(t, math.Float32bits(want[i]), math.Float32bits(v))
			}
		}
	}
	require.Panics(t, func() { LoadF16(make([]float32, 2), b[:3]) })
}
