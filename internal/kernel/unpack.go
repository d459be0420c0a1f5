package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
)

// maxUnpacked is the largest number of values that an assembly function gets in one call, some 20 microseconds of it.
const maxUnpacked = 64 << 10

// Bits are fields of one width, at most 32 bits, one after the other, the lowest bit first: they begin At bits behind the
// start of Data. Readers are fastest when 64 more bytes follow the last field, but never look beyond Data.
type Bits struct {
	Data  []byte
	At    uint64
	Width uint
}

// check panics where n fields do not lie in the data.
func (b *Bits) check(n int) {
	if b.Width > 32 || b.At > math.MaxInt64 || uint64(n) > (math.MaxInt64-b.At)/32 || b.At+uint64(n)*uint64(b.Width) > 8*uint64(len(b.Data)) {
		panic(fmt.Sprintf("kernel: %d fields of %d bits from bit %d of %d bytes", n, b.Width, b.At, len(b.Data)))
	}
}

// skip leaves out n fields.
func (b *Bits) skip(n int) { b.At += uint64(n) * uint64(b.Width) }

// vectors says how many of n fields can be read register by register, each of lanes fields, which takes 4*lanes+4 bytes.
func (b *Bits) vectors(n, lanes int) int {
	first, step := int(b.At/8), lanes*int(b.Width)/8
	room := len(b.Data) - first - (4*lanes + 4)
	switch {
	case room < 0:
		return 0
	case step > 0 && room/step+1 < (n+lanes-1)/lanes:
		n = (room/step + 1) * lanes
	}
	return min(n, maxUnpacked)
}

// field reads a field whose bits are in the data.
func (b *Bits) field(at uint64) uint32 {
	var v uint64
	if d := b.Data[at/8:]; len(d) >= 8 {
		v = binary.LittleEndian.Uint64(d)
	} else {
		for i, x := range d {
			v |= uint64(x) << (8 * i)
		}
	}
	return uint32(v >> (at % 8) & (1<<b.Width - 1))
}

// UnpackAscending writes ascending numbers: each is the one before it, plus one, plus a field. before comes before the
// first of them. It returns the last number, before if there is none, which may be one that dst has no bits for: those of dst
// mean nothing then. It panics when the fields do not lie in the data.
func UnpackAscending(dst []uint32, before uint32, b Bits) (last uint64) {
	return unpackAscendingAt(active, dst, before, b)
}

func unpackAscendingAt(l isa, dst []uint32, before uint32, b Bits) (last uint64) {
	b.check(len(dst))
	// Numbers that stay below 2^30 cannot run over in between where fields are below 2^26, and that one did not shows.
	const most = 1 << 30
	if b.Width <= 26 {
		for len(dst) > 0 && before < most {
			n, top := unpackAscending(l, dst, before, b)
			if n == 0 || top >= most {
				break
			}
			before = dst[n-1]
			dst = dst[n:]
			b.skip(n)
		}
	}
	return unpackAscendingGeneric(dst, before, b)
}

func unpackAscendingGeneric(dst []uint32, before uint32, b Bits) uint64 {
	b.fields(dst)
	c := uint64(before)
	for i, g := range dst {
		c += uint64(g) + 1
		dst[i] = uint32(c)
	}
	return c
}

// fields reads len(dst) fields: as many per load of eight bytes as lie in it whole.
func (b *Bits) fields(dst []uint32) {
	if b.Width == 0 {
		clear(dst)
		return
	}
	bit, per, mask := b.At, int(57/b.Width), uint64(1)<<b.Width-1
	for len(dst) >= per && bit/8+8 <= uint64(len(b.Data)) {
		v := binary.LittleEndian.Uint64(b.Data[bit/8:]) >> (bit % 8)
		part := dst[:per]
		for i := range part {
			part[i] = uint32(v & mask)
			v >>= b.Width
		}
		dst = dst[per:]
		bit += uint64(per) * uint64(b.Width)
	}
	for i := range dst {
		dst[i] = b.field(bit)
		bit += uint64(b.Width)
	}
}

// UnpackChosen sets dst to what table has at the places that fields name, and returns the largest place. If that is not
// below len(table), what it writes means nothing. It panics when the fields do not lie in the data.
func UnpackChosen(dst, table []uint32, b Bits) (largest uint32) {
	return unpackChosenAt(active, dst, table, b)
}

func unpackChosenAt(l isa, dst, table []uint32, b Bits) (largest uint32) {
	b.check(len(dst))
	for len(dst) > 0 {
		n, top := unpackChosen(l, dst, table, b)
		if n == 0 {
			return max(largest, unpackChosenGeneric(dst, table, b))
		}
		largest = max(largest, top)
		dst = dst[n:]
		b.skip(n)
	}
	return largest
}

func unpackChosenGeneric(dst, table []uint32, b Bits) uint32 {
	b.fields(dst)
	top := maxU32Generic(dst)
	if uint64(top) < uint64(len(table)) {
		choose(dst, table)
	}
	return top
}

// choose replaces places by what table has there.
func choose(dst, table []uint32) {
	for i, at := range dst {
		dst[i] = table[at]
	}
}

// ScaleAt multiplies each value of x by what table has at its place. It panics when there are fewer places than values, or
// a place is not in the table.
func ScaleAt(x, table []float32, at []uint32) { scaleAtAt(active, x, table, at) }

func scaleAtAt(l isa, x, table []float32, at []uint32) {
	at = at[:len(x)]
	for len(x) > 0 {
		n := min(len(x), maxUnpacked)
		if top := maxU32(l, at[:n]); uint64(top) >= uint64(len(table)) {
			panic(fmt.Sprintf("kernel: place %d of a table of %d", top, len(table)))
		}
		scaleEach(l, x[:n], table, at[:n])
		x, at = x[n:], at[n:]
	}
}

func scaleEachGeneric(x, table []float32, at []uint32) {
	for i, a := range at {
		x[i] *= table[a]
	}
}

// VarintGaps decodes a list of ascending numbers, of which each is the one before it, plus one, plus a varint of the
// list; the first is a varint. It writes them to dst and says how many there are. bad is the offset of the first
// varint that runs over the end of the list or whose number is not below limit, and of which none is written; without one it is
// len(list). It panics unless dst has 15 values more than list has bytes; all of them may be written.
func VarintGaps(dst []uint32, list []byte, limit uint32) (n, bad int) {
	return varintGapsAt(active, dst, list, limit)
}

func varintGapsAt(l isa, dst []uint32, list []byte, limit uint32) (n, bad int) {
	if len(dst) < len(list)+15 {
		panic(fmt.Sprintf("kernel: %d varints of %d bytes", len(dst), len(list)))
	}
	// Varints of up to three bytes cannot run over within a register when the numbers before it are not above 2^31.
	if limit > 1<<31 {
		return varintGapsGeneric(dst, list, 0, 0, limit)
	}
	next := uint32(0)
	for bad < len(list) {
		end := min(bad+maxUnpacked, len(list))
		for end > bad && list[end-1] >= 0x80 {
			end--
		}
		k, last := varintGaps(l, dst[n:], list[bad:end], next, limit)
		if k == 0 {
			break
		}
		n, bad, next = n+k, end, last+1
	}
	return varintGapsGeneric(dst, list, n, bad, limit)
}

// varintGapsGeneric goes on after n numbers from i bytes.
func varintGapsGeneric(dst []uint32, list []byte, n, i int, limit uint32) (int, int) {
	next, most := uint64(0), uint64(limit)
	if n > 0 {
		next = uint64(dst[n-1]) + 1
	}
	for i < len(list) {
		v, size := uint64(list[i]), 1
		if i+1 < len(list) && v&uint64(list[i+1]) < 0x80 {
			// Of one byte or two, without a branch: which of them is hard to predict.
			more := v >> 7
			v = v&0x7f | uint64(list[i+1])<<7&-more
			size += int(more)
		} else if v >= 0x80 {
			if v, size = binary.Uvarint(list[i:]); size <= 0 {
				return n, i
			}
		}
		if v >= most || next+v >= most {
			return n, i
		}
		dst[n] = uint32(next + v)
		next += v + 1
		n++
		i += size
	}
	return n, i
}
