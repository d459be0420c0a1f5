package index

import (
	"encoding/binary"
	"math/bits"
)

// Packed arrays hold n unsigned integers of one width, least significant bit first, without gaps. Widths are
// 0 to 57 and 64: a value then lies within the eight bytes that start at its first byte (widths 58 to 63 are
// rounded up). Readers load eight bytes at a time, so eight readable bytes must follow the array; in a
// segment file the footer sees to that.

// bitWidth is the width that holds values up to most.
func bitWidth(most uint64) uint {
	w := uint(bits.Len64(most))
	if w > 57 {
		return 64
	}
	return w
}

func validWidth(w uint) bool { return w <= 57 || w == 64 }

// packedLen is the number of bytes of n values; ok is false when it does not fit.
func packedLen(n uint64, width uint) (length uint64, ok bool) {
	hi, lo := bits.Mul64(n, uint64(width))
	if hi != 0 || lo > 1<<62 {
		return 0, false
	}
	return (lo + 7) / 8, true
}

// packedAt reads value i of the array that starts at b[0]. The caller has checked that b holds the array and
// eight more bytes.
func packedAt(b []byte, i uint64, width uint) uint64 {
	bit := i * uint64(width)
	v := binary.LittleEndian.Uint64(b[bit>>3:]) >> (bit & 7)
	return v & lowBits(width)
}

func lowBits(width uint) uint64 {
	if width >= 64 {
		return ^uint64(0)
	}
	return 1<<width - 1
}

// bitWriter appends values of any width up to 57 bits, or byte-aligned ones of 64.
type bitWriter struct {
	buf []byte
	acc uint64
	n   uint
}

func (w *bitWriter) put(v uint64, width uint) {
	if width == 64 { // aligned by construction: such arrays hold nothing else
		w.buf = binary.LittleEndian.AppendUint64(w.buf, v)
		return
	}
	w.acc |= v << w.n
	w.n += width
	if w.n >= 64 {
		w.buf = binary.LittleEndian.AppendUint64(w.buf, w.acc)
		w.n -= 64
		w.acc = 0
		if w.n > 0 {
			w.acc = v >> (width - w.n)
		}
	}
}

// flush pads with zero bits to a whole byte.
func (w *bitWriter) flush() []byte {
	for w.n > 0 {
		w.buf = append(w.buf, byte(w.acc))
		w.acc >>= 8
		w.n -= min(w.n, 8)
	}
	w.acc = 0
	return w.buf
}

// packUints packs values, of which none exceeds most, and returns their width, at least minWidth.
func packUints(values []uint64, most uint64, minWidth uint) ([]byte, uint) {
	width := max(bitWidth(most), minWidth)
	w := bitWriter{buf: make([]byte, 0, uint64(len(values))*uint64(width)/8+8)}
	for _, v := range values {
		w.put(v, width)
	}
	return w.flush(), width
}
