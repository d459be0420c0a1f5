package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"unsafe"
)

// F16ToF32 converts IEEE 754 half-precision numbers. It panics when dst is shorter than src.
func F16ToF32(dst []float32, src []uint16) { f16ToF32At(active, dst, src) }

// F32ToF16 converts to IEEE 754 half precision, rounding to nearest, ties to even; what is too large becomes an
// infinity. It panics when dst is shorter than src.
func F32ToF16(dst []uint16, src []float32) { f32ToF16At(active, dst, src) }

func f16ToF32At(l isa, dst []float32, src []uint16) {
	if len(dst) < len(src) {
		panic(fmt.Sprintf("kernel: F16ToF32 of %d values into %d", len(src), len(dst)))
	}
	f16ToF32(l, dst, src)
}

func f32ToF16At(l isa, dst []uint16, src []float32) {
	if len(dst) < len(src) {
		panic(fmt.Sprintf("kernel: F32ToF16 of %d values into %d", len(src), len(dst)))
	}
	f32ToF16(l, dst, src)
}

func f16ToF32Generic(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = f16To32(h)
	}
}

func f32ToF16Generic(dst []uint16, src []float32) {
	for i, v := range src {
		dst[i] = f32To16(v)
	}
}

// f16To32 widens one number, as VCVTPH2PS does: NaN keeps its payload and becomes quiet.
func f16To32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exp := uint32(h>>10) & 0x1f
	man := uint32(h & 0x3ff)
	switch {
	case exp == 0x1f && man != 0:
		return math.Float32frombits(sign | 0x7fc00000 | man<<13)
	case exp == 0x1f:
		return math.Float32frombits(sign | 0x7f800000)
	case exp != 0:
		return math.Float32frombits(sign | (exp+112)<<23 | man<<13)
	}
	// Zero and subnormal numbers: man * 2^-24 is exact in float32.
	return math.Float32frombits(math.Float32bits(float32(man)*0x1p-24) | sign)
}

// f32To16 narrows one number, as VCVTPS2PH does with rounding to nearest even.
func f32To16(v float32) uint16 {
	b := math.Float32bits(v)
	sign := uint16(b>>16) & 0x8000
	b &= 0x7fffffff
	switch {
	case b > 0x7f800000:
		return sign | 0x7e00 | uint16(b>>13)&0x3ff
	case b >= 0x47800000: // 65536 and more
		return sign | 0x7c00
	case b >= 0x38800000: // 2^-14, the smallest normal half
		// Add half of the last kept bit, less one if that bit is 0, and drop 13 bits. A carry runs into the exponent,
		// up to infinity.
		b += 0xfff + (b>>13)&1
		return sign | uint16((b-(112<<23))>>13)
	}
	// Subnormal: adding 0.5 shifts the wanted bits, units of 2^-24, to the end of the mantissa and rounds them.
	f := math.Float32frombits(b) + 0.5
	return sign | uint16(math.Float32bits(f)-math.Float32bits(0.5))
}

// littleEndian tells whether float32 lie in memory as they do in files.
var littleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// LoadF32 reads little-endian float32 values from bytes: as many as dst holds, at the speed of a copy. It panics when src
// is too short.
func LoadF32(dst []float32, src []byte) {
	if len(src) < 4*len(dst) {
		panic(fmt.Sprintf("kernel: %d values from %d bytes", len(dst), len(src)))
	}
	if littleEndian {
		copy(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(dst))), 4*len(dst)), src)
		return
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

// LoadF16 reads little-endian half-precision numbers from bytes: as many as dst holds. It panics when src is too short.
func LoadF16(dst []float32, src []byte) {
	if len(src) < 2*len(dst) {
		panic(fmt.Sprintf("kernel: %d values from %d bytes", len(dst), len(src)))
	}
	if len(dst) == 0 {
		return
	}
	if p := unsafe.Pointer(unsafe.SliceData(src)); littleEndian && uintptr(p)%2 == 0 {
		F16ToF32(dst, unsafe.Slice((*uint16)(p), len(dst)))
		return
	}
	var buf [256]uint16
	for len(dst) > 0 {
		n := min(len(buf), len(dst))
		for i := range n {
			buf[i] = binary.LittleEndian.Uint16(src[2*i:])
		}
		F16ToF32(dst[:n], buf[:n])
		dst, src = dst[n:], src[2*n:]
	}
}
