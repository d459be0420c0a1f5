//go:build amd64 && !noasm

package kernel

import "unsafe"

// lowShape returns the rows and columns of the register tile of products of less than 32 bits.
func lowShape(wide bool) (rows, cols int) {
	if wide {
		return 12, 32
	}
	return 4, 16
}

func gemmBF16(l isa, p *PackedBF16, c []float32, ldc int, x *Rows, e *Epilogue) {
	if l == isaGeneric {
		gemmBF16Generic(p, c, ldc, x, e)
		return
	}
	dot := l >= isaBF16
	units, lda := p.units(), x.rowStride()
	tall, wide := lowShape(dot)
	eachTile(l, c, ldc, x.m, p.n, units, tall, wide, e, func(r, rows, at, cols int, ct *float32, ld int, bias, add *float32) {
		b := &p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
		if dot {
			gemmTileBF16AVX512(rows, &x.data[r*lda], 4*lda, b, units, ct, 4*ld, cols, e.Scale, bias, add, 4*e.LdAdd)
		} else {
			gemmTileBF16AVX2(rows, &x.data[r*lda], 4*lda, b, units, ct, 4*ld, cols, e.Scale, bias, add, 4*e.LdAdd)
		}
	})
}

func gemmInt8(l isa, p *PackedInt8, c []float32, ldc int, x *Rows, e *Epilogue) {
	if l == isaGeneric {
		gemmInt8Generic(p, c, ldc, x, e)
		return
	}
	dot := l >= isaVNNI
	units, lda := p.units(), x.rowStride()
	tall, wide := lowShape(dot)
	eachTile(l, c, ldc, x.m, p.n, units, tall, wide, e, func(r, rows, at, cols int, ct *float32, ld int, bias, add *float32) {
		b := &p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
		rs := x.scale[r : r+rows]
		if e.Scale != 1 {
			var tmp [12]float32
			for i, s := range rs {
				tmp[i] = s * e.Scale
			}
			rs = tmp[:rows]
		}
		// Rows as short as this go by faster than the memory brings them by itself.
		if next := (r + 2*tall) * lda; at == 0 && units <= 64 && next < len(x.data) {
			prefetchBytes(unsafe.Slice((*byte)(unsafe.Pointer(&x.data[next])), 4*min(tall*lda, len(x.data)-next)))
		}
		if dot {
			gemmTileInt8AVX512(rows, &x.data[r*lda], 4*lda, b, units, ct, 4*ld, cols, &x.zero[r], &rs[0], &p.sum[at], &p.scale[at], bias, add, 4*e.LdAdd)
		} else {
			gemmTileInt8AVX2(rows, &x.data[r*lda], 4*lda, b, units, ct, 4*ld, cols, &x.zero[r], &rs[0], &p.sum[at], &p.scale[at], bias, add, 4*e.LdAdd)
		}
	})
}

func toBF16(l isa, dst []uint32, src []float32) {
	if l == isaGeneric {
		toBF16Generic(dst, src)
		return
	}
	for len(src) > 0 {
		n := min(len(src), maxStream)
		if l >= isaAVX512 {
			toBF16AVX512(&dst[0], &src[0], n)
		} else {
			toBF16AVX2(&dst[0], &src[0], n)
		}
		src, dst = src[n:], dst[n/2:]
	}
}

func rowRange(l isa, x []float32) (low, high float32, abs uint32) {
	if l == isaGeneric {
		return rowRangeGeneric(x)
	}
	for len(x) > 0 {
		n := min(len(x), maxStream)
		var lo, hi float32
		var a uint32
		if l >= isaAVX512 {
			lo, hi, a = rowRangeAVX512(&x[0], n)
		} else {
			lo, hi, a = rowRangeAVX2(&x[0], n)
		}
		low, high, abs = min(low, lo), max(high, hi), max(abs, a)
		x = x[n:]
	}
	return low, high, abs
}

func quantize(l isa, dst []uint32, src []float32, inv float32, zero uint32) {
	if l == isaGeneric {
		quantizeGeneric(dst, src, inv, zero)
		return
	}
	for len(src) > 0 {
		n := min(len(src), maxStream)
		if l >= isaAVX512 {
			quantizeAVX512(&dst[0], &src[0], n, inv, zero)
		} else {
			quantizeAVX2(&dst[0], &src[0], n, inv, zero)
		}
		src, dst = src[n:], dst[n/4:]
	}
}
