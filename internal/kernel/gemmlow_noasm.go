//go:build (!amd64 && !arm64) || noasm

package kernel

// Without assembly every level is the generic one.

func peakDotBF16(int) int { panic("kernel: no such level") }
func peakDotInt8(int) int { panic("kernel: no such level") }

func gemmBF16(_ isa, p *PackedBF16, c []float32, ldc int, x *Rows, e *Epilogue) {
	gemmBF16Generic(p, c, ldc, x, e)
}

func gemmInt8(_ isa, p *PackedInt8, c []float32, ldc int, x *Rows, e *Epilogue) {
	gemmInt8Generic(p, c, ldc, x, e)
}

func toBF16(_ isa, dst []uint32, src []float32) { toBF16Generic(dst, src) }

func rowRange(_ isa, x []float32) (low, high float32, abs uint32) { return rowRangeGeneric(x) }

func quantize(_ isa, dst []uint32, src []float32, inv float32, zero uint32) {
	quantizeGeneric(dst, src, inv, zero)
}
