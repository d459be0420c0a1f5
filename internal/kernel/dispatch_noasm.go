//go:build (!amd64 && !arm64) || noasm

package kernel

// Without assembly every level is the generic one.

func maxPanel(_ isa, acc *[panelCols]float32, panel []float32, w int, doc []float32, rows, dim int) {
	maxPanelGeneric(acc, panel, w, doc, rows, dim)
}

func gemm(_ isa, p *Packed, c []float32, ldc int, a []float32, lda, m int, e *Epilogue) {
	gemmGeneric(p, c, ldc, a, lda, m, e)
}

func argMax(_ isa, p *Packed, idx []uint32, score []float32, a []float32, lda, m int) {
	argMaxGeneric(p, idx, score, a, lda, m)
}

func softmax(_ isa, x []float32)              { softmaxGeneric(x) }
func geluSlice(_ isa, x []float32)            { geluSliceGeneric(x) }
func dot(_ isa, a, b []float32) float32       { return dotGeneric(a, b) }
func scale(_ isa, x []float32, s float32)     { scaleGeneric(x, s) }
func f16ToF32(_ isa, d []float32, s []uint16) { f16ToF32Generic(d, s) }
func f32ToF16(_ isa, d []uint16, s []float32) { f32ToF16Generic(d, s) }
func maxU32(_ isa, x []uint32) uint32         { return maxU32Generic(x) }
func raiseU8(_ isa, acc []uint8, lanes int, first, rows uint32, ords []uint32, row []uint8) {
	raiseU8Generic(acc, lanes, first, rows, ords, row)
}

func sumRowsU8(_ isa, dst []uint32, acc []uint8, lanes int) { sumRowsU8Generic(dst, acc, lanes) }

func scanRows(_ isa, hits []uint16, dst []int16, block []float32, lanes int, limits, factors, inverse []float32) {
	scanRowsGeneric(hits, dst, block, lanes, limits, factors, inverse)
}

func aboveU8(_ isa, dst []uint8, row []int16, unit, credit []float32, scale, inv float32) {
	aboveU8Generic(dst, row, unit, credit, scale, inv)
}

func reachRows(_ isa, found []uint8, scores []float32, lanes int, limits []float32) {
	reachRowsGeneric(found, scores, lanes, limits)
}

func addLevels(isa, *FloatLevels, []float32, []float32, float32, []byte) int { return 0 }
func prefetchBytes([]byte)                                                   {}

func layerNorm(_ isa, dst, x, gamma, beta []float32, eps float32) {
	layerNormGeneric(dst, x, gamma, beta, eps)
}

func peakFMA(_ isa, rounds int) int { return peakFMAGeneric(rounds) }

func residualPanel(_ isa, q *ResidualQuery, acc *[panelCols]float32, at int, base *Base, codes []uint32, residuals []byte, invNorms []float32, scratch []uint8, out *scoreRows) {
	residualPanelGeneric(q, acc, at, base, codes, residuals, invNorms, scratch, out)
}

func swish(_ isa, x []float32, a, b float32) { swishGeneric(x, a, b) }
func expNegSlice(_ isa, x []float32)         { expNegGeneric(x) }
