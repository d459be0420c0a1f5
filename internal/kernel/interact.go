package kernel

import "fmt"

// InteractU8 is PLAID's centroid interaction (Santhanam et al., CIKM 2022, section 4.3) over scores quantised to a
// byte: table holds one row of lanes bytes per centroid, codes the centroids of a document's tokens, and the result is
// the sum over lanes of the largest byte that any of the codes has there. lanes must be a multiple of 16; no codes give
// 0. It panics when lanes is impossible or a code lies outside the table.
func InteractU8(table []uint8, lanes int, codes []uint32) uint32 {
	return interactU8At(active, table, lanes, codes)
}

func interactU8At(l isa, table []uint8, lanes int, codes []uint32) uint32 {
	if lanes <= 0 || lanes%lanesStep != 0 {
		panic(fmt.Sprintf("kernel: InteractU8 over %d lanes", lanes))
	}
	if len(codes) == 0 {
		return 0
	}
	if top := maxU32(l, codes); uint64(top) >= uint64(len(table)/lanes) {
		panic(fmt.Sprintf("kernel: code %d in a table of %d rows", top, len(table)/lanes))
	}
	return interactU8(l, table, lanes, codes)
}

func interactU8Generic(table []uint8, lanes int, codes []uint32) uint32 {
	var sum uint32
	for at := 0; at < lanes; at += lanesStep {
		var acc [lanesStep]uint8
		for _, c := range codes {
			row := table[int(c)*lanes+at:]
			row = row[:lanesStep:lanesStep]
			for i, v := range row {
				acc[i] = max(acc[i], v)
			}
		}
		for _, v := range acc {
			sum += uint32(v)
		}
	}
	return sum
}

func maxU32Generic(x []uint32) uint32 {
	var top uint32
	for _, v := range x {
		top = max(top, v)
	}
	return top
}
