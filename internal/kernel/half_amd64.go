//go:build amd64 && !noasm

package kernel

import "unsafe"

func hasMaxPanelBF16(l isa) bool { return l == isaBF16 }

// maxPanelBF16 is maxPanel for pairs of bfloat16, units of them to a row.
func maxPanelBF16(acc *[panelCols]float32, panel []uint32, w int, doc []uint16, rows, units int) {
	p, d := (*float32)(unsafe.Pointer(&panel[0])), (*float32)(unsafe.Pointer(&doc[0]))
	if w == 32 {
		maxPanelW32BF16(&acc[0], p, d, rows, units)
	} else {
		maxPanelW16BF16(&acc[0], p, d, rows, units)
	}
}

func bf16ToF32(l isa, dst []float32, src []uint16) {
	if l != isaGeneric {
		for len(src) >= 16 {
			n := min(len(src)&^15, maxStream)
			if l >= isaAVX512 {
				bf16ToF32AVX512(&dst[0], &src[0], n)
			} else {
				bf16ToF32AVX2(&dst[0], &src[0], n)
			}
			dst, src = dst[n:], src[n:]
		}
	}
	bf16ToF32Generic(dst, src)
}

func maxAbs16(l isa, x []uint16) uint16 {
	var top uint16
	if l != isaGeneric {
		for len(x) >= 2 {
			n := min(len(x)&^1, maxStream)
			var pair uint32
			if l >= isaAVX512 {
				pair = maxAbs16AVX512(&x[0], n/2)
			} else {
				pair = maxAbs16AVX2(&x[0], n/2)
			}
			top = max(top, uint16(pair), uint16(pair>>16))
			x = x[n:]
		}
	}
	return max(top, maxAbs16Generic(x))
}

func prefetchHalf(l isa, x []uint16) {
	if l != isaGeneric && len(x) >= 32 {
		prefetch(&x[0], len(x)/32)
	}
}
