//go:build arm64 && !noasm

package kernel

import "math"

// The functions here choose between the Go code and NEON, and cut long inputs into calls of less than 100
// microseconds. Element-wise kernels take multiples of 4 or 8 values; what is left goes through padded buffers or the Go
// code.

// maxStream is the largest number of values that an element-wise kernel gets in one call.
const maxStream = 32 << 10

func maxPanel(l isa, acc *[panelCols]float32, panel []float32, w int, doc []float32, rows, dim int) {
	if l == isaGeneric {
		maxPanelGeneric(acc, panel, w, doc, rows, dim)
		return
	}
	for at := 0; at < w; at += tileCols {
		maxPanelNEON(&acc[at], &panel[at], 4*w, &doc[0], rows, dim)
	}
}

// pad4 copies the last len(x)%4 values into a vector whose other lanes are fill.
func pad4(x []float32, fill float32) (tail []float32, v [4]float32) {
	tail = x[len(x)&^3:]
	v = [4]float32{fill, fill, fill, fill}
	copy(v[:], tail)
	return tail, v
}

func softmax(l isa, x []float32) {
	if l == isaGeneric || len(x) > maxStream {
		softmaxGeneric(x)
		return
	}
	n := len(x) &^ 3
	tail, pad := pad4(x, float32(math.Inf(-1)))
	top := maxNEON(&pad[0], 4)
	if n > 0 {
		top = max(top, maxNEON(&x[0], n)) // NaN stays
	}
	sum := expSumNEON(&pad[0], 4, top)
	copy(tail, pad[:])
	if n > 0 {
		sum += expSumNEON(&x[0], n, top)
	}
	scale(l, x, 1/sum)
}

func geluSlice(l isa, x []float32) {
	if l == isaGeneric {
		geluSliceGeneric(x)
		return
	}
	tail, pad := pad4(x, 0)
	for x = x[:len(x)&^3]; len(x) > 0; {
		n := min(len(x), maxStream/2)
		geluNEON(&x[0], n)
		x = x[n:]
	}
	if len(tail) > 0 {
		geluNEON(&pad[0], 4)
		copy(tail, pad[:])
	}
}

func layerNorm(l isa, dst, x, gamma, beta []float32, eps float32) {
	n := len(x) &^ 3
	if l == isaGeneric || n == 0 || len(x) > maxStream {
		layerNormGeneric(dst, x, gamma, beta, eps)
		return
	}
	sum := sumNEON(&x[0], n)
	for _, v := range x[n:] {
		sum += v
	}
	mean := sum / float32(len(x))
	sq := squaresNEON(&x[0], n, mean)
	for _, v := range x[n:] {
		sq += (v - mean) * (v - mean)
	}
	inv := float32(1 / math.Sqrt(float64(sq/float32(len(x))+eps)))
	var b *float32
	if beta != nil {
		b = &beta[0]
	}
	normNEON(&dst[0], &x[0], &gamma[0], b, n, mean, inv)
	for i := n; i < len(x); i++ {
		v := (x[i] - mean) * inv * gamma[i]
		if beta != nil {
			v += beta[i]
		}
		dst[i] = v
	}
}

func dot(l isa, a, b []float32) float32 {
	if l == isaGeneric {
		return dotGeneric(a, b)
	}
	n := len(a) &^ 3
	sum := dotGeneric(a[n:], b[n:])
	for a, b = a[:n], b[:n]; len(a) > 0; {
		n := min(len(a), maxStream)
		sum += dotNEON(&a[0], &b[0], n)
		a, b = a[n:], b[n:]
	}
	return sum
}

func scale(l isa, x []float32, s float32) {
	if l != isaGeneric {
		for len(x) >= 4 {
			n := min(len(x)&^3, maxStream)
			scaleNEON(&x[0], n, s)
			x = x[n:]
		}
	}
	scaleGeneric(x, s)
}

func f16ToF32(l isa, dst []float32, src []uint16) {
	if l != isaGeneric {
		for len(src) >= 8 {
			n := min(len(src)&^7, maxStream)
			f16ToF32NEON(&dst[0], &src[0], n)
			dst, src = dst[n:], src[n:]
		}
	}
	f16ToF32Generic(dst, src)
}

func f32ToF16(l isa, dst []uint16, src []float32) {
	if l != isaGeneric {
		for len(src) >= 8 {
			n := min(len(src)&^7, maxStream)
			f32ToF16NEON(&dst[0], &src[0], n)
			dst, src = dst[n:], src[n:]
		}
	}
	f32ToF16Generic(dst, src)
}

func maxU32(l isa, x []uint32) uint32 {
	var top uint32
	if l != isaGeneric {
		for len(x) >= 4 {
			n := min(len(x)&^3, maxStream)
			top = max(top, maxU32NEON(&x[0], n))
			x = x[n:]
		}
	}
	return max(top, maxU32Generic(x))
}

func residualPanel(l isa, q *ResidualQuery, acc *[panelCols]float32, at int, base *Base, codes []uint32, residuals []byte, invNorms []float32, scratch []uint8, out *scoreRows) {
	if l == isaGeneric || !hasDot() {
		residualPanelGeneric(q, acc, at, base, codes, residuals, invNorms, scratch, out)
		return
	}
	lanes, n := q.Lanes(), len(codes)
	w := min(panelCols, lanes-at)
	panel := q.q8[at*q.groups*4 : (at+w)*q.groups*4]
	decodeRows(q.levels, scratch, 4*q.groups, residuals, n)
	for i := 0; i < w; i += tileCols {
		residualPanelDot(&acc[i], &panel[4*i], 4*w, &scratch[0], n, q.groups, &q.scale[at+i], &base.Scores[at+i], &base.Unit[at+i], 2*lanes, &codes[0], &invNorms[0])
	}
}

// decodeRows is Levels.decode with table look-ups in registers where rows fill one.
func decodeRows(t *Levels, dst []uint8, stride int, src []byte, rows int) {
	rb := t.RowBytes()
	switch {
	case rb < 16 || t.nbits == 8:
		t.decode(dst, stride, src, rows, 0)
	case t.nbits == 1:
		decode1NEON(&dst[0], stride, &src[0], rb, rows, &t.signed[0])
	case t.nbits == 2:
		decode2NEON(&dst[0], stride, &src[0], rb, rows, &t.signed[0])
	default:
		decode4NEON(&dst[0], stride, &src[0], rb, rows, &t.signed[0])
	}
}

// peakFMA runs the register-only loop and returns its number of floating-point operations: 16 chains, two operations per
// lane.
func peakFMA(l isa, rounds int) int {
	if l == isaGeneric {
		return peakFMAGeneric(rounds)
	}
	peakFMANEON(rounds)
	return rounds * 16 * 4 * 2
}

func swish(_ isa, x []float32, a, b float32) { swishGeneric(x, a, b) }
func expNegSlice(_ isa, x []float32)         { expNegGeneric(x) }
