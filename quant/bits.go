package quant

import (
	"fmt"
	"math/bits"
)

// PackBits packs one number below 2^nbits per dimension into dst, as ColBERTv2's indexes lay them: the
// numbers in order, each with its least significant bit first, filling every byte from the top bit down. So
// with 4 bits the high nibble of byte 0 is the bit-reversed first number. nbits is 1, 2, 4 or 8. The bits
// left over in the last byte are zero. dst must hold (len(idx)*nbits+7)/8 bytes; shorter ones panic, as do
// other values of nbits. Higher bits of a number are ignored.
func PackBits(dst []byte, idx []uint8, nbits int) {
	per := perByte(nbits)
	dst = dst[:(len(idx)+per-1)/per]
	shift := 8 - nbits
	for i := range dst {
		var b byte
		for j, v := range idx[i*per : min(i*per+per, len(idx))] {
			// Reversing the byte brings the number's lowest bit to bit 7: the top of the field, and what
			// lies above the number's nbits falls off below it.
			b |= bits.Reverse8(v) >> shift << shift >> (j * nbits)
		}
		dst[i] = b
	}
}

// UnpackBits is the inverse of PackBits: it fills dst with one number per dimension from src, which must
// hold (len(dst)*nbits+7)/8 bytes.
func UnpackBits(dst []uint8, src []byte, nbits int) {
	per := perByte(nbits)
	src = src[:(len(dst)+per-1)/per]
	shift := 8 - nbits
	for i := range dst {
		dst[i] = bits.Reverse8(src[i/per]<<(i%per*nbits)) << shift >> shift
	}
}

func perByte(nbits int) int {
	switch nbits {
	case 1, 2, 4, 8:
		return 8 / nbits
	}
	panic(fmt.Sprintf("quant: %d bits per dimension, must be 1, 2, 4 or 8", nbits))
}
