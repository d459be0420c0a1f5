//go:build amd64 && !noasm

package kernel

import "math"

func softmaxLog(l isa, x []float32) float32 {
	if l == isaGeneric || len(x) > maxStream {
		return softmaxLogGeneric(x, func(x []float32) { softmax(l, x) })
	}
	var top, sum float32
	if l >= isaAVX512 {
		top, sum = softmaxAVX512(&x[0], len(x))
	} else {
		top, sum = softmaxAVX2(&x[0], len(x))
	}
	return top + float32(math.Log(float64(sum)))
}

func geluGrad(l isa, y, d, x []float32) {
	if l == isaGeneric {
		geluGradGeneric(y, d, x)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream/4)
		if l >= isaAVX512 {
			geluGradAVX512(&y[0], &d[0], &x[0], n)
		} else {
			geluGradAVX2(&y[0], &d[0], &x[0], n)
		}
		y, d, x = y[n:], d[n:], x[n:]
	}
}

func layerNormGrad(l isa, dx, dy, x, gamma, dgamma, dbeta []float32, eps float32) {
	switch {
	case l == isaGeneric || len(x) > maxStream/4:
		layerNormGradGeneric(dx, dy, x, gamma, dgamma, dbeta, eps)
	case l >= isaAVX512:
		layerNormGradAVX512(&dx[0], &dy[0], &x[0], &gamma[0], &dgamma[0], &dbeta[0], len(x), eps)
	default:
		layerNormGradAVX2(&dx[0], &dy[0], &x[0], &gamma[0], &dgamma[0], &dbeta[0], len(x), eps)
	}
}

func mul(l isa, dst, x, y []float32) {
	if l == isaGeneric {
		mulGeneric(dst, x, y)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream)
		if l >= isaAVX512 {
			mulAVX512(&dst[0], &x[0], &y[0], n)
		} else {
			mulAVX2(&dst[0], &x[0], &y[0], n)
		}
		dst, x, y = dst[n:], x[n:], y[n:]
	}
}

func addScaled(l isa, dst, x []float32, f float32) {
	if l == isaGeneric {
		addScaledGeneric(dst, x, f)
		return
	}
	for len(x) > 0 {
		n := min(len(x), maxStream)
		if l >= isaAVX512 {
			addScaledAVX512(&dst[0], &x[0], n, f)
		} else {
			addScaledAVX2(&dst[0], &x[0], n, f)
		}
		dst, x = dst[n:], x[n:]
	}
}

func transpose(l isa, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	blocks := cols / 8
	if l == isaGeneric || blocks == 0 || rows < 8 {
		transposeGeneric(dst, ldd, src, lds, rows, cols)
		return
	}
	i := 0
	for ; i+8 <= rows; i += 8 {
		for b := 0; b < blocks; b += 1 << 10 {
			transpose8AVX2(&dst[8*b*ldd+i], 4*ldd, &src[i*lds+8*b], 4*lds, min(blocks-b, 1<<10))
		}
	}
	if done := 8 * blocks; done < cols {
		transposeGeneric(dst[done*ldd:], ldd, src[done:], lds, i, cols-done)
	}
	if i < rows {
		transposeGeneric(dst[i:], ldd, src[i*lds:], lds, rows-i, cols)
	}
}

// pairBF16 packs pairs pairs of rows of a whole panel.
func pairBF16(l isa, dst []uint32, src []float32, lds, pairs int) {
	if l == isaGeneric {
		pairBF16Generic(dst, src, lds, pairs)
		return
	}
	for i := 0; i < pairs; i += 1 << 10 {
		n := min(pairs-i, 1<<10)
		if l >= isaAVX512 {
			pairBF16AVX512(&dst[i*panelCols], &src[2*i*lds], 4*lds, n)
		} else {
			pairBF16AVX2(&dst[i*panelCols], &src[2*i*lds], 4*lds, n)
		}
	}
}
