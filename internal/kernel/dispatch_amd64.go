//go:build amd64 && !noasm

package kernel

import "unsafe"

// The functions here choose an implementation by level and cut long inputs into calls of less than 100 microseconds.
// They call assembly directly and not through variables, so that callers' buffers stay on the stack.

// maxStream is the largest number of values that an element-wise kernel gets in one call: 64 Ki values take some 20
// microseconds.
const maxStream = 64 << 10

func maxPanel(l isa, acc *[panelCols]float32, panel []float32, w int, doc []float32, rows, dim int) {
	switch {
	case l >= isaAVX512 && w == 32:
		maxPanelW32AVX512(&acc[0], &panel[0], &doc[0], rows, dim)
	case l >= isaAVX512:
		maxPanelW16AVX512(&acc[0], &panel[0], &doc[0], rows, dim)
	case l == isaAVX2 && w == 32:
		// Sixteen lanes fill AVX2's registers: two passes.
		maxPanelW32AVX2(&acc[0], &panel[0], &doc[0], rows, dim)
		maxPanelW32AVX2(&acc[16], &panel[16], &doc[0], rows, dim)
	case l == isaAVX2:
		maxPanelW16AVX2(&acc[0], &panel[0], &doc[0], rows, dim)
	default:
		maxPanelGeneric(acc, panel, w, doc, rows, dim)
	}
}

func softmax(l isa, x []float32) {
	switch {
	case l == isaGeneric || len(x) > maxStream:
		softmaxGeneric(x)
	case l >= isaAVX512:
		softmaxAVX512(&x[0], len(x))
	default:
		softmaxAVX2(&x[0], len(x))
	}
}

func geluSlice(l isa, x []float32) {
	if l == isaGeneric {
		geluSliceGeneric(x)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream/2)
		geluTile(l, &x[0], 0, 1, n)
		x = x[n:]
	}
}

// geluTile is GELU of rows rows of n values at stride ld.
func geluTile(l isa, x *float32, ld, rows, n int) {
	if l >= isaAVX512 {
		geluTileAVX512(x, 4*ld, rows, n)
	} else {
		geluTileAVX2(x, 4*ld, rows, n)
	}
}

func swish(l isa, x []float32, a, b float32) {
	if l == isaGeneric {
		swishGeneric(x, a, b)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream/2)
		if l >= isaAVX512 {
			swishAVX512(&x[0], n, a, b)
		} else {
			swishAVX2(&x[0], n, a, b)
		}
		x = x[n:]
	}
}

func expNegSlice(l isa, x []float32) {
	if l == isaGeneric {
		expNegGeneric(x)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream)
		if l >= isaAVX512 {
			expNegAVX512(&x[0], n)
		} else {
			expNegAVX2(&x[0], n)
		}
		x = x[n:]
	}
}

func layerNorm(l isa, dst, x, gamma, beta []float32, eps float32) {
	if l == isaGeneric || len(x) > maxStream {
		layerNormGeneric(dst, x, gamma, beta, eps)
		return
	}
	var b *float32
	if beta != nil {
		b = &beta[0]
	}
	if l >= isaAVX512 {
		layerNormAVX512(&dst[0], &x[0], &gamma[0], b, len(x), eps)
	} else {
		layerNormAVX2(&dst[0], &x[0], &gamma[0], b, len(x), eps)
	}
}

func dot(l isa, a, b []float32) float32 {
	if l == isaGeneric {
		return dotGeneric(a, b)
	}
	var sum float32
	for len(a) > 0 {
		n := min(len(a), maxStream)
		if l >= isaAVX512 {
			sum += dotAVX512(&a[0], &b[0], n)
		} else {
			sum += dotAVX2(&a[0], &b[0], n)
		}
		a, b = a[n:], b[n:]
	}
	return sum
}

func scale(l isa, x []float32, s float32) {
	if l == isaGeneric {
		scaleGeneric(x, s)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream)
		if l >= isaAVX512 {
			scaleAVX512(&x[0], n, s)
		} else {
			scaleAVX2(&x[0], n, s)
		}
		x = x[n:]
	}
}

func f16ToF32(l isa, dst []float32, src []uint16) {
	if l != isaGeneric {
		for len(src) >= 16 {
			n := min(len(src)&^15, maxStream)
			if l >= isaAVX512 {
				f16ToF32AVX512(&dst[0], &src[0], n)
			} else {
				f16ToF32AVX2(&dst[0], &src[0], n)
			}
			dst, src = dst[n:], src[n:]
		}
	}
	f16ToF32Generic(dst, src)
}

func f32ToF16(l isa, dst []uint16, src []float32) {
	if l != isaGeneric {
		for len(src) >= 16 {
			n := min(len(src)&^15, maxStream)
			if l >= isaAVX512 {
				f32ToF16AVX512(&dst[0], &src[0], n)
			} else {
				f32ToF16AVX2(&dst[0], &src[0], n)
			}
			dst, src = dst[n:], src[n:]
		}
	}
	f32ToF16Generic(dst, src)
}

func maxU32(l isa, x []uint32) uint32 {
	if l == isaGeneric {
		return maxU32Generic(x)
	}
	var top uint32
	for len(x) > 0 {
		n := min(len(x), maxStream)
		if l >= isaAVX512 {
			top = max(top, maxU32AVX512(&x[0], n))
		} else {
			top = max(top, maxU32AVX2(&x[0], n))
		}
		x = x[n:]
	}
	return top
}

func raiseU8(l isa, acc []uint8, lanes int, first, rows uint32, ords []uint32, row []uint8) {
	if l == isaGeneric {
		raiseU8Generic(acc, lanes, first, rows, ords, row)
		return
	}
	const block = 8 << 10
	for len(ords) > 0 {
		n := min(len(ords), block)
		for at := 0; at < lanes; {
			switch width := lanes - at; {
			case width >= 64 && l >= isaAVX512:
				raise64AVX512(&acc[at], lanes, &row[at], &ords[0], n, first, rows)
				at += 64
			case width >= 32:
				raise32AVX2(&acc[at], lanes, &row[at], &ords[0], n, first, rows)
				at += 32
			default:
				raise16AVX2(&acc[at], lanes, &row[at], &ords[0], n, first, rows)
				at += 16
			}
		}
		ords = ords[n:]
	}
}

func sumRowsU8(l isa, dst []uint32, acc []uint8, lanes int) {
	if l == isaGeneric || lanes > maxStream {
		sumRowsU8Generic(dst, acc, lanes)
		return
	}
	for len(dst) > 0 {
		n := min(len(dst), max(maxStream*4/lanes, 1))
		sumRowsAVX2(&dst[0], &acc[0], lanes, n)
		dst, acc = dst[n:], acc[n*lanes:]
	}
}

func scanRows(l isa, hits []uint16, dst []int16, block []float32, lanes int, limits, factors, inverse []float32) {
	if l == isaGeneric {
		scanRowsGeneric(hits, dst, block, lanes, limits, factors, inverse)
		return
	}
	const rows = 8 << 10
	for len(factors) > 0 {
		n := min(len(factors), rows)
		for at := 0; at < lanes; at += lanesStep {
			if l >= isaAVX512 {
				scanRowsAVX512(&hits[at/lanesStep], &dst[at], &block[at], lanes, n, &limits[at], &factors[0], &inverse[at])
			} else {
				scanRowsAVX2(&hits[at/lanesStep], &dst[at], &block[at], lanes, n, &limits[at], &factors[0], &inverse[at])
			}
		}
		hits, dst, block, factors = hits[n*(lanes/lanesStep):], dst[n*lanes:], block[n*lanes:], factors[n:]
	}
}

func aboveU8(l isa, dst []uint8, row []int16, unit, credit []float32, scale, inv float32) {
	if l < isaAVX512 {
		aboveU8Generic(dst, row, unit, credit, scale, inv)
		return
	}
	aboveU8AVX512(&dst[0], &row[0], &unit[0], &credit[0], len(dst), scale, inv)
}

// reachRows is reachRowsGeneric with the instructions of a level.
func reachRows(l isa, found []uint8, scores []float32, lanes int, limits []float32) {
	const most = 8 << 10
	for len(found) > 0 {
		n := min(len(found), most)
		switch {
		case l >= isaAVX512 && lanes == 32:
			reachRows32AVX512(&found[0], &scores[0], n, &limits[0])
		case l >= isaAVX512 && lanes == 16:
			reachRows16AVX512(&found[0], &scores[0], n, &limits[0])
		case l >= isaAVX2 && lanes == 32:
			reachRows32AVX2(&found[0], &scores[0], n, &limits[0])
		case l >= isaAVX2 && lanes == 16:
			reachRows16AVX2(&found[0], &scores[0], n, &limits[0])
		default:
			reachRowsGeneric(found[:n], scores, lanes, limits)
		}
		found, scores = found[n:], scores[n*lanes:]
	}
}

// addLevels does what it can of FloatLevels.Add and returns how many values that is.
func addLevels(l isa, t *FloatLevels, dst, cent []float32, scale float32, row []byte) int {
	n := min(len(dst), maxStream) &^ 15
	if l < isaAVX512 || n == 0 {
		return 0
	}
	switch t.nbits {
	case 1:
		addLevels1AVX512(&dst[0], &cent[0], &row[0], n, scale, &t.table[0], &t.place[0], &t.shift[0])
	case 2:
		addLevels2AVX512(&dst[0], &cent[0], &row[0], n, scale, &t.table[0], &t.place[0], &t.shift[0])
	case 4:
		addLevels4AVX512(&dst[0], &cent[0], &row[0], n, scale, &t.table[0], &t.place[0], &t.shift[0])
	default:
		return 0
	}
	return n
}

func prefetchBytes(b []byte) {
	prefetch((*uint16)(unsafe.Pointer(&b[0])), (min(len(b), maxStream)+63)/64)
}

// peakFMA runs the register-only loop and returns its number of floating-point operations: 12 chains, two operations per
// lane.
func peakFMA(l isa, rounds int) int {
	switch {
	case l >= isaAVX512:
		peakFMAAVX512(rounds)
		return rounds * 12 * 16 * 2
	case l == isaAVX2:
		peakFMAAVX2(rounds)
		return rounds * 12 * 8 * 2
	}
	return peakFMAGeneric(rounds)
}

// peakDotBF16 and peakDotInt8 are peakFMA for units of two and four products.
func peakDotBF16(rounds int) int {
	peakBF16AVX512(rounds)
	return rounds * 12 * 16 * 4
}

func peakDotInt8(rounds int) int {
	peakInt8AVX512(rounds)
	return rounds * 12 * 16 * 8
}
