//go:build !amd64 || noasm

package kernel

func softmaxLog(l isa, x []float32) float32 {
	return softmaxLogGeneric(x, func(x []float32) { softmax(l, x) })
}

func geluGrad(_ isa, y, d, x []float32) { geluGradGeneric(y, d, x) }

func layerNormGrad(_ isa, dx, dy, x, gamma, dgamma, dbeta []float32, eps float32) {
	layerNormGradGeneric(dx, dy, x, gamma, dgamma, dbeta, eps)
}

func mul(_ isa, dst, x, y []float32)               { mulGeneric(dst, x, y) }
func addScaled(_ isa, dst, x []float32, f float32) { addScaledGeneric(dst, x, f) }

func transpose(_ isa, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeGeneric(dst, ldd, src, lds, rows, cols)
}

func pairBF16(_ isa, dst []uint32, src []float32, lds, pairs int) {
	pairBF16Generic(dst, src, lds, pairs)
}
