package kernel

import (
	"fmt"
	"math/bits"
	"unsafe"
)

// FloatLevels is a residual codec's table of bucket weights in float32, for decoding. It is immutable and safe for
// concurrent use.
type FloatLevels struct {
	nbits  int
	byByte []float32 // for each byte its 8/nbits levels, most significant field first
	table  [16]float32
	place  [64]uint8
	shift  [16]uint32
}

// NewFloatLevels makes the table of a codec with nbits bits (1, 2, 4 or 8) per dimension from its 2^nbits weights, in
// bucket order: packed fields are bit-reversed bucket numbers. It panics when there are not so many weights.
func NewFloatLevels(weights []float32, nbits int) *FloatLevels {
	if nbits != 1 && nbits != 2 && nbits != 4 && nbits != 8 || len(weights) != 1<<nbits {
		panic(fmt.Sprintf("kernel: %d weights for %d bits", len(weights), nbits))
	}
	l := &FloatLevels{nbits: nbits}
	level := func(field int) float32 { return weights[bits.Reverse8(uint8(field))>>(8-nbits)] }
	per := 8 / nbits
	for b := range 256 {
		for f := range per {
			l.byByte = append(l.byByte, level(b>>(8-(f+1)*nbits)&(1<<nbits-1)))
		}
	}
	if nbits < 8 {
		for i := range l.table {
			l.table[i] = level(i & (1<<nbits - 1))
			l.place[4*i] = uint8(i / per)
			l.place[4*i+1], l.place[4*i+2], l.place[4*i+3] = 0x80, 0x80, 0x80
			l.shift[i] = uint32(8 - (i%per+1)*nbits)
		}
		// A field's byte lies at the same place in each quarter of the register, whose bytes repeat every 2*nbits.
		for i := 16; i < 64; i += 4 {
			l.place[i] = uint8(i / 4 / per)
		}
	}
	return l
}

// Table gives the levels of every value of a packed byte, 8/nbits each, the first field first. It is read-only.
func (l *FloatLevels) Table() []float32 { return l.byByte }

// Add sets dst to cent + scale times the levels of a packed row, which may end in a part of a byte. It panics when cent or
// row is shorter than dst.
func (l *FloatLevels) Add(dst, cent []float32, scale float32, row []byte) {
	l.addAt(active, dst, cent, scale, row)
}

func (l *FloatLevels) addAt(s isa, dst, cent []float32, scale float32, row []byte) {
	n := len(dst)
	if len(cent) < n || len(row) < (n*l.nbits+7)/8 {
		panic(fmt.Sprintf("kernel: %d values of %d and of %d bytes of %d bits", n, len(cent), len(row), l.nbits))
	}
	done := addLevels(s, l, dst, cent[:n], scale, row)
	l.addGeneric(dst[done:], cent[done:n], scale, row[done*l.nbits/8:])
}

// addGeneric is Add in Go; the row starts with a whole byte.
func (l *FloatLevels) addGeneric(dst, cent []float32, s float32, row []byte) {
	n := 0
	cent = cent[:len(dst)]
	switch l.nbits {
	case 8:
		for i, b := range row[:len(dst)] {
			dst[i] = cent[i] + s*l.byByte[b]
		}
		return
	case 4:
		lut := l.byByte[:512]
		for _, b := range row[:len(dst)/2] {
			w, x, y := lut[int(b)*2:][:2:2], cent[n:n+2:n+2], dst[n:n+2:n+2]
			y[0] = x[0] + s*w[0]
			y[1] = x[1] + s*w[1]
			n += 2
		}
	case 2:
		lut := l.byByte[:1024]
		for _, b := range row[:len(dst)/4] {
			w, x, y := lut[int(b)*4:][:4:4], cent[n:n+4:n+4], dst[n:n+4:n+4]
			y[0] = x[0] + s*w[0]
			y[1] = x[1] + s*w[1]
			y[2] = x[2] + s*w[2]
			y[3] = x[3] + s*w[3]
			n += 4
		}
	case 1:
		lut := l.byByte[:2048]
		for _, b := range row[:len(dst)/8] {
			w, x, y := lut[int(b)*8:][:8:8], cent[n:n+8:n+8], dst[n:n+8:n+8]
			for t := range 8 {
				y[t] = x[t] + s*w[t]
			}
			n += 8
		}
	}
	per := 8 / l.nbits
	for ; n < len(dst); n++ { // what does not fill a byte
		dst[n] = cent[n] + s*l.byByte[int(row[n/per])*per+n%per]
	}
}

// PrefetchF32 is Prefetch for float32 values.
func PrefetchF32(v []float32) {
	if len(v) > 0 {
		prefetchBytes(unsafe.Slice((*byte)(unsafe.Pointer(&v[0])), 4*len(v)))
	}
}

// Prefetch asks the memory for b before it is used. It does nothing where that is not possible.
func Prefetch(b []byte) {
	if len(b) > 0 {
		prefetchBytes(b)
	}
}
