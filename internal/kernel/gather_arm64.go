//go:build arm64 && !noasm

package kernel

// The bytes of documents and the decoding to float32 are left to the compiler here.

func raiseU8(_ isa, acc []uint8, lanes int, first, rows uint32, ords []uint32, row []uint8) {
	raiseU8Generic(acc, lanes, first, rows, ords, row)
}

func sumRowsU8(_ isa, dst []uint32, acc []uint8, lanes int) { sumRowsU8Generic(dst, acc, lanes) }

func scanRows(_ isa, hits []uint16, block []float32, lanes int, limits, factors []float32) {
	scanRowsGeneric(hits, block, lanes, limits, factors)
}

func addLevels(isa, *FloatLevels, []float32, []float32, float32, []byte) int { return 0 }
func prefetchBytes([]byte)                                                   {}
