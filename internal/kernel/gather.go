package kernel

import (
	"fmt"
	"math"
)

// RaiseU8 raises bytes of an accumulator, which has a row of lanes bytes for each of the numbers from first on, to
// those of row where they are less: for the rows of ords, a posting list. Numbers without a row are passed over. lanes
// must be a multiple of 16 and row have so many; acc is cut to whole rows. It panics when lanes or row is impossible.
func RaiseU8(acc []uint8, lanes int, first uint32, ords []uint32, row []uint8) {
	raiseU8At(active, acc, lanes, first, ords, row)
}

func raiseU8At(l isa, acc []uint8, lanes int, first uint32, ords []uint32, row []uint8) {
	checkLanes("RaiseU8", lanes)
	if len(row) < lanes {
		panic(fmt.Sprintf("kernel: RaiseU8 of %d lanes with %d bytes", lanes, len(row)))
	}
	if rows := len(acc) / lanes; rows > 0 && len(ords) > 0 {
		raiseU8(l, acc, lanes, first, uint32(rows), ords, row)
	}
}

func checkLanes(what string, lanes int) {
	if lanes <= 0 || lanes%lanesStep != 0 {
		panic(fmt.Sprintf("kernel: %s over %d lanes", what, lanes))
	}
}

func raiseU8Generic(acc []uint8, lanes int, first, rows uint32, ords []uint32, row []uint8) {
	row = row[:lanes]
	for _, o := range ords {
		if o -= first; o >= rows {
			continue
		}
		a := acc[int(o)*lanes:][:len(row)]
		for i, v := range row {
			a[i] = max(a[i], v)
		}
	}
}

// SumRowsU8 writes the sum of each row of acc, lanes bytes long, to dst. lanes must be a multiple of 16. It panics when
// lanes is impossible or acc holds fewer rows than dst has values.
func SumRowsU8(dst []uint32, acc []uint8, lanes int) { sumRowsU8At(active, dst, acc, lanes) }

func sumRowsU8At(l isa, dst []uint32, acc []uint8, lanes int) {
	checkLanes("SumRowsU8", lanes)
	if len(acc)/lanes < len(dst) {
		panic(fmt.Sprintf("kernel: sums of %d rows of %d lanes in %d bytes", len(dst), lanes, len(acc)))
	}
	if len(dst) > 0 {
		sumRowsU8(l, dst, acc, lanes)
	}
}

func sumRowsU8Generic(dst []uint32, acc []uint8, lanes int) {
	for i := range dst {
		var sum uint32
		for _, v := range acc[i*lanes : (i+1)*lanes] {
			sum += uint32(v)
		}
		dst[i] = sum
	}
}

// ScanRows looks for the values of block, which has lanes values per factor, that reach their lane's limit: bit j of
// hits[r*lanes/16+g] says that value 16*g+j of row r does. NaN reaches nothing. It makes rows of a Base of block:
// dst[r*lanes+j] is the value times the factor of its row and the inverse of its lane, rounded and cut to -32767..32767,
// the least of NaN. lanes must be a multiple of 16. It panics when lanes is impossible or a slice is too short.
func ScanRows(hits []uint16, dst []int16, block []float32, lanes int, limits, factors, inverse []float32) {
	scanRowsAt(active, hits, dst, block, lanes, limits, factors, inverse)
}

func scanRowsAt(l isa, hits []uint16, dst []int16, block []float32, lanes int, limits, factors, inverse []float32) {
	checkLanes("ScanRows", lanes)
	rows := len(factors)
	if len(block)/lanes < rows || len(dst)/lanes < rows || len(hits)/(lanes/lanesStep) < rows || len(limits) < lanes || len(inverse) < lanes {
		panic(fmt.Sprintf("kernel: scan of %d rows of %d lanes in %d values with %d limits and %d inverses into %d hits and %d values",
			rows, lanes, len(block), len(limits), len(inverse), len(hits), len(dst)))
	}
	if rows > 0 {
		scanRows(l, hits, dst, block, lanes, limits, factors, inverse)
	}
}

func scanRowsGeneric(hits []uint16, dst []int16, block []float32, lanes int, limits, factors, inverse []float32) {
	n := lanes / lanesStep
	for r, f := range factors {
		for g := range n {
			at := g * lanesStep
			row, to := block[r*lanes+at:][:lanesStep], dst[r*lanes+at:][:lanesStep]
			lim, inv := limits[at:][:lanesStep], inverse[at:][:lanesStep]
			var h uint16
			for j, v := range row {
				if v >= lim[j] {
					h |= 1 << j
				}
				x := float32(v*f) * inv[j]
				if !(x >= -math.MaxInt16) {
					x = -math.MaxInt16
				}
				to[j] = int16(math.RoundToEven(float64(min(x, math.MaxInt16))))
			}
			hits[r*n+g] = h
		}
	}
}

// AboveU8 makes bytes of a row of a Base: how far its scores, times scale, lie above the credits of their lanes, in steps of
// 1/inv. A byte is 0 below the credit, and 1 at least from the credit on; what 16 bits round is let pass. Where the number of
// steps is NaN, as an infinity times an inv of 0, it is 255. The number of lanes is that of dst, a multiple of 16. It panics
// when that is impossible or a slice is too short.
func AboveU8(dst []uint8, row []int16, unit, credit []float32, scale, inv float32) {
	aboveU8At(active, dst, row, unit, credit, scale, inv)
}

func aboveU8At(l isa, dst []uint8, row []int16, unit, credit []float32, scale, inv float32) {
	n := len(dst)
	checkLanes("AboveU8", n)
	if len(row) < n || len(unit) < n || len(credit) < n {
		panic(fmt.Sprintf("kernel: AboveU8 of %d lanes with %d scores, %d units and %d credits", n, len(row), len(unit), len(credit)))
	}
	aboveU8(l, dst, row, unit, credit, scale, inv)
}

func aboveU8Generic(dst []uint8, row []int16, unit, credit []float32, scale, inv float32) {
	row, unit, credit = row[:len(dst)], unit[:len(dst)], credit[:len(dst)]
	for j := range dst {
		dst[j] = 0
		u := unit[j] * scale
		// The conversions keep the compiler from fusing a product with a sum.
		if d := float32(float32(row[j])*u) - credit[j]; d >= -u {
			dst[j] = 255
			if x := float32(max(d, 0)*inv) + 1.5; x < 255 {
				dst[j] = uint8(x)
			}
		}
	}
}
