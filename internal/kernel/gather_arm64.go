//go:build arm64 && !noasm

package kernel

// Scans of centroid scores and the decoding to float32 are left to the compiler here.

func raiseU8(l isa, acc []uint8, lanes int, first, rows uint32, ords []uint32, row []uint8) {
	if l == isaGeneric {
		raiseU8Generic(acc, lanes, first, rows, ords, row)
		return
	}
	for len(ords) > 0 {
		n := min(len(ords), max(maxStream/lanes, 1))
		raiseU8NEON(&acc[0], lanes, first, rows, &ords[0], n, &row[0])
		ords = ords[n:]
	}
}

func sumRowsU8(l isa, dst []uint32, acc []uint8, lanes int) {
	if l == isaGeneric {
		sumRowsU8Generic(dst, acc, lanes)
		return
	}
	for len(dst) > 0 {
		n := min(len(dst), max(maxStream/lanes, 1))
		sumRowsU8NEON(&dst[0], &acc[0], lanes, n)
		dst, acc = dst[n:], acc[n*lanes:]
	}
}

func aboveU8(_ isa, dst []uint8, row []int16, unit, credit []float32, scale, inv float32) {
	aboveU8Generic(dst, row, unit, credit, scale, inv)
}

func reachRows(_ isa, found []uint8, scores []float32, lanes int, limits []float32) {
	reachRowsGeneric(found, scores, lanes, limits)
}

func scanRows(_ isa, hits []uint16, dst []int16, block []float32, lanes int, limits, factors, inverse []float32) {
	scanRowsGeneric(hits, dst, block, lanes, limits, factors, inverse)
}

func addLevels(isa, *FloatLevels, []float32, []float32, float32, []byte) int { return 0 }
func prefetchBytes([]byte)                                                   {}
