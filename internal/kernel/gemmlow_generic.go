package kernel

import "math"

// gemmBF16Generic is the reference.
func gemmBF16Generic(p *PackedBF16, c []float32, ldc int, x *Rows, e *Epilogue) {
	s, u := x.rowStride(), p.units()
	for j := range p.n {
		w := p.panel(j &^ (panelCols - 1))[j&(panelCols-1):]
		for i := range x.m {
			row := x.data[i*s : i*s+u]
			var sum float32
			for t, v := range row {
				b := w[t*panelCols]
				sum += bf16High(v)*bf16High(b) + bf16Low(v)*bf16Low(b)
			}
			finish(c, i*ldc, j, sum, i, e)
		}
	}
}

// gemmInt8Generic is the reference.
func gemmInt8Generic(p *PackedInt8, c []float32, ldc int, x *Rows, e *Epilogue) {
	s, u := x.rowStride(), p.units()
	for j := range p.n {
		w := p.panel(j &^ (panelCols - 1))[j&(panelCols-1):]
		for i := range x.m {
			row := x.data[i*s : i*s+u]
			var sum int32
			for t, v := range row {
				b := w[t*panelCols]
				sum += int32(v&0xff)*int32(int8(b)) + int32(v>>8&0xff)*int32(int8(b>>8)) +
					int32(v>>16&0xff)*int32(int8(b>>16)) + int32(v>>24)*int32(int8(b>>24))
			}
			v := float32(sum-x.zero[i]*p.sum[j]) * x.scale[i] * p.scale[j]
			finish(c, i*ldc, j, v, i, e)
		}
	}
}

func bf16Low(w uint32) float32  { return math.Float32frombits(w << 16) }
func bf16High(w uint32) float32 { return math.Float32frombits(w & 0xffff0000) }

// bf16Bits rounds to bfloat16, to nearest even. A NaN becomes a quiet one.
func bf16Bits(v float32) uint32 {
	b := math.Float32bits(v)
	if v != v {
		return b>>16 | 0x40
	}
	return (b + 0x7fff + b>>16&1) >> 16
}

func toBF16Generic(dst []uint32, src []float32) {
	for i := 0; i < len(src); i += 2 {
		w := bf16Bits(src[i])
		if i+1 < len(src) {
			w |= bf16Bits(src[i+1]) << 16
		}
		dst[i/2] = w
	}
}

// rowRangeGeneric returns the least and the largest of zero and the values, and the largest magnitude's bits.
func rowRangeGeneric(x []float32) (low, high float32, abs uint32) {
	for _, v := range x {
		if v < low {
			low = v
		}
		if v > high {
			high = v
		}
		abs = max(abs, math.Float32bits(v)&0x7fffffff)
	}
	return low, high, abs
}

func quantizeGeneric(dst []uint32, src []float32, inv float32, zero uint32) {
	for i := 0; i < len(src); i += 4 {
		var w uint32
		for j, v := range src[i:min(i+4, len(src))] {
			q := int32(math.RoundToEven(float64(v*inv))) + int32(zero)
			w |= uint32(min(max(q, 0), 255)) << (8 * j)
		}
		dst[i/4] = w
	}
}
