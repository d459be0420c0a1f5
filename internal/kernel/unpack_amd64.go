//go:build amd64 && !noasm

package kernel

// unpackAscending writes some of the numbers, says how many, and gives the largest; none where it has no vectors for them.
func unpackAscending(l isa, dst []uint32, before uint32, b Bits) (n int, top uint32) {
	lanes := laneCount(l)
	if l == isaGeneric {
		return 0, 0
	}
	if n = b.vectors(len(dst), lanes); n == 0 {
		return 0, 0
	}
	src, bit, width, mask := &b.Data[b.At/8], uint32(b.At%8), uint32(b.Width), uint32(uint64(1)<<b.Width-1)
	if l >= isaAVX512 {
		return n, unpackAscendingAVX512(&dst[0], n, before, src, bit, width, mask)
	}
	return n, unpackAscendingAVX2(&dst[0], n, before, src, bit, width, mask)
}

// laneCount is the number of values in a register.
func laneCount(l isa) int {
	if l >= isaAVX512 {
		return 16
	}
	return 8
}

// unpackChosen is unpackAscending for places in a table.
func unpackChosen(l isa, dst, table []uint32, b Bits) (n int, top uint32) {
	if l == isaGeneric || len(table) == 0 {
		return 0, 0
	}
	if n = b.vectors(len(dst), laneCount(l)); n == 0 {
		return 0, 0
	}
	src, bit, width, mask := &b.Data[b.At/8], uint32(b.At%8), uint32(b.Width), uint32(uint64(1)<<b.Width-1)
	if l >= isaAVX512 {
		switch size := len(table); {
		case size <= 32:
			return n, unpackChosen32AVX512(&dst[0], n, &table[0], size, src, bit, width, mask)
		case size <= 64:
			return n, unpackChosen64AVX512(&dst[0], n, &table[0], size, src, bit, width, mask)
		case size <= 128:
			return n, unpackChosen128AVX512(&dst[0], n, &table[0], size, src, bit, width, mask)
		}
		top = unpackFieldsAVX512(&dst[0], n, src, bit, width, mask)
	} else {
		top = unpackFieldsAVX2(&dst[0], n, src, bit, width, mask)
	}
	if uint64(top) < uint64(len(table)) {
		choose(dst[:n], table)
	}
	return n, top
}

func scaleEach(l isa, x, table []float32, at []uint32) {
	if l >= isaAVX512 {
		scaleAtAVX512(&x[0], len(x), &table[0], &at[0])
		return
	}
	scaleEachGeneric(x, table, at)
}

// varintGaps decodes a list that ends with a varint if it is whole and simple, and gives the number of values, of which
// next is the least that the first may be, and the last. Otherwise it gives none.
func varintGaps(l isa, dst []uint32, list []byte, next, limit uint32) (n int, last uint32) {
	if l < isaAVX512 || len(list) == 0 {
		return 0, 0
	}
	n, top, long := varintGapsAVX512(&dst[0], &list[0], len(list), next-1)
	if long != 0 || top >= limit {
		return 0, 0
	}
	return n, top
}
