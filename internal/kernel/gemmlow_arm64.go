//go:build arm64 && !noasm

package kernel

// Products of bytes run on SDOT where the processor has it; bfloat16 and the conversions are left to the compiler.

func peakDotBF16(int) int { panic("kernel: no such level") }
func peakDotInt8(int) int { panic("kernel: no such level") }

func gemmBF16(_ isa, p *PackedBF16, c []float32, ldc int, x *Rows, e *Epilogue) {
	gemmBF16Generic(p, c, ldc, x, e)
}

func gemmInt8(l isa, p *PackedInt8, c []float32, ldc int, x *Rows, e *Epilogue) {
	if l == isaGeneric || !hasDot() {
		gemmInt8Generic(p, c, ldc, x, e)
		return
	}
	eachTile(c, ldc, x.m, p.n, p.units(), e, &operands{q: p, x: x})
}

func (o *operands) int8Tile(r, rows, at int, ct *float32, ld int, e *Epilogue, bias, add *float32) {
	p, x := o.q, o.x
	var less [tileRows]int32
	var scale [tileRows]float32
	for i := range rows {
		less[i], scale[i] = 128-x.zero[r+i], x.scale[r+i]*e.Scale
	}
	lda := x.rowStride()
	b := &p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
	gemmTileInt8Dot(rows, &x.data[r*lda], 4*lda, b, p.units(), ct, 4*ld, &less[0], &scale[0], &p.sum[at], &p.scale[at], bias, add, 4*e.LdAdd)
}

func toBF16(_ isa, dst []uint32, src []float32) { toBF16Generic(dst, src) }

func rowRange(_ isa, x []float32) (low, high float32, abs uint32) { return rowRangeGeneric(x) }

func quantize(_ isa, dst []uint32, src []float32, inv float32, zero uint32) {
	quantizeGeneric(dst, src, inv, zero)
}
