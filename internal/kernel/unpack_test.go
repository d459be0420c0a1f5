package kernel

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// putFields writes fields bit by bit, as the format says: the lowest first, from the bottom of a byte up. The bits around
// them are random.
func putFields(r *rand.Rand, at uint64, width uint, fields []uint32) []byte {
	b := make([]byte, (at+uint64(len(fields))*uint64(width)+7)/8)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	for _, v := range fields {
		for j := range width {
			b[at/8] = b[at/8]&^(1<<(at%8)) | byte(v>>j&1)<<(at%8)
			at++
		}
	}
	return b
}

// fieldCases calls f with fields up to most of every width, of lengths and from bits that fill registers or not, with and
// without behind them what makes them quick, and a place for what is read.
func fieldCases(t *testing.T, most uint32, f func(l isa, fields, dst []uint32, b Bits)) {
	eachISA(t, func(t *testing.T, l isa) {
		r := rand.New(rand.NewPCG(71, 72))
		in, out := newGuard(t, 2000), newGuard(t, 2000)
		for width := range uint(33) {
			for _, n := range []int{0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 100, 127, 128, 129, 300} {
				at, fields, dst := uint64(r.IntN(40)), make([]uint32, n), make([]uint32, n)
				for i := range fields {
					fields[i] = min(uint32(uint64(r.Uint32())&(1<<width-1))>>r.IntN(8), uint32(r.Uint64N(uint64(most)+1)))
				}
				b := putFields(r, at, width, fields)
				for _, more := range []int{0, 5, 36, 64, 100} {
					data := slices.Grow(b, more)[:len(b)+more]
					f(l, fields, guarded(out, dst, true), Bits{guarded(in, data, true), at, width})
					f(l, fields, guarded(out, dst, false), Bits{guarded(in, data, false), at, width})
				}
			}
		}
	})
}

func TestUnpackAscending(t *testing.T) {
	r := rand.New(rand.NewPCG(73, 74))
	fieldCases(t, math.MaxUint32, func(l isa, fields, dst []uint32, b Bits) {
		before := r.Uint32() >> r.IntN(32)
		want, last := make([]uint32, len(fields)), uint64(before)
		for i, v := range fields {
			last += uint64(v) + 1
			want[i] = uint32(last)
		}
		if got := unpackAscendingAt(l, dst, before, b); last != got {
			require.Equal(t, last, got, "%d of %d bits", len(fields), b.Width)
		}
		if last <= math.MaxUint32 && !slices.Equal(want, dst) {
			require.Equal(t, want, dst, "%d of %d bits", len(fields), b.Width)
		}
	})
	// What runs over and comes back into range is told by the number that is returned.
	for _, width := range []uint{25, 26, 27} {
		fields := slices.Repeat([]uint32{1<<width - 1}, 200)
		b := append(putFields(r, 3, width, fields), make([]byte, 100)...)
		eachISA(t, func(t *testing.T, l isa) {
			require.Equal(t, uint64(200<<width+5), unpackAscendingAt(l, make([]uint32, 200), 5, Bits{b, 3, width}))
		})
	}
	large := make([]uint32, maxUnpacked+100)
	eachISA(t, func(t *testing.T, l isa) {
		require.Equal(t, uint64(len(large)-1), unpackAscendingAt(l, large[1:], 0, Bits{Data: make([]byte, 100)}))
		for i, v := range large {
			require.True(t, v == uint32(i))
		}
		clear(large)
	})
	require.Panics(t, func() { UnpackAscending(make([]uint32, 3), 0, Bits{make([]byte, 4), 3, 10}) })
	require.NotPanics(t, func() { UnpackAscending(make([]uint32, 3), 0, Bits{make([]byte, 4), 2, 10}) })
	require.Panics(t, func() { UnpackAscending(make([]uint32, 1), 0, Bits{make([]byte, 40), 0, 33}) })
	require.Panics(t, func() { UnpackAscending(make([]uint32, 1), 0, Bits{make([]byte, 40), math.MaxUint64 - 1, 3}) })
}

func TestUnpackChosen(t *testing.T) {
	r := rand.New(rand.NewPCG(75, 76))
	for _, size := range []uint32{1, 15, 16, 17, 32, 33, 64, 65, 127, 128, 129, 1000} {
		table := make([]uint32, size)
		for i := range table {
			table[i] = r.Uint32()
		}
		tables := guarded(newGuard(t, 4*len(table)), table, true)
		fieldCases(t, size-1, func(l isa, fields, dst []uint32, b Bits) {
			want, top := make([]uint32, len(fields)), uint32(0)
			for i, v := range fields {
				want[i], top = table[v], max(top, v)
			}
			if got := unpackChosenAt(l, dst, tables, b); got != top || !slices.Equal(want, dst) {
				require.Equal(t, top, got, "%d of %d bits, %d", len(fields), b.Width, size)
				require.Equal(t, want, dst, "%d of %d bits, %d", len(fields), b.Width, size)
			}
		})
		// Places that the table does not have.
		fieldCases(t, math.MaxUint32, func(l isa, fields, dst []uint32, b Bits) {
			if top := maxU32Generic(fields); unpackChosenAt(l, dst, tables, b) != top {
				require.Equal(t, top, unpackChosenAt(l, dst, tables, b))
			}
		})
	}
	fieldCases(t, math.MaxUint32, func(l isa, fields, dst []uint32, b Bits) {
		require.True(t, unpackChosenAt(l, dst, nil, b) == maxU32Generic(fields))
	})
}

func TestScaleAt(t *testing.T) {
	r := rand.New(rand.NewPCG(77, 78))
	table := guarded(newGuard(t, 4000), normals(r, 1000), true)
	eachISA(t, func(t *testing.T, l isa) {
		out, places := newGuard(t, 5000), newGuard(t, 5000)
		for _, n := range lengths() {
			x, at, want := normals(r, n), make([]uint32, n), make([]float32, n)
			for i := range at {
				at[i] = r.Uint32N(1000)
				want[i] = x[i] * table[at[i]]
			}
			for _, after := range []bool{true, false} {
				got := guarded(out, x, after)
				scaleAtAt(l, got, table, guarded(places, at, after))
				require.True(t, slices.Equal(want, got), n)
			}
		}
		require.Panics(t, func() { scaleAtAt(l, make([]float32, 20), table, slices.Repeat([]uint32{1000}, 20)) })
		require.Panics(t, func() { scaleAtAt(l, make([]float32, 2), table, make([]uint32, 1)) })
	})
}

// checkVarints compares what comes of a list with what encoding/binary makes of it.
func checkVarints(t *testing.T, l isa, in, out *guard, list []byte, limit uint32) {
	var want []uint32
	next, bad := uint64(0), 0
	for bad < len(list) {
		v, n := binary.Uvarint(list[bad:])
		if n <= 0 || v >= uint64(limit) || next+v >= uint64(limit) {
			break
		}
		want, next, bad = append(want, uint32(next+v)), next+v+1, bad+n
	}
	for _, after := range []bool{true, false} {
		dst := guarded(out, make([]uint32, len(list)+15), after)
		n, at := varintGapsAt(l, dst, guarded(in, list, after), limit)
		if n != len(want) || at != bad || !slices.Equal(want, dst[:n]) {
			require.Equal(t, bad, at, "%x below %d", list, limit)
			require.Equal(t, want, dst[:n], "%x below %d", list, limit)
		}
	}
}

func TestVarintGaps(t *testing.T) {
	limits := []uint32{0, 1, 1000, 1 << 20, 1<<31 - 1, 1 << 31, 1<<31 + 1, math.MaxUint32}
	eachISA(t, func(t *testing.T, l isa) {
		r := rand.New(rand.NewPCG(79, 80))
		in, out := newGuard(t, 5000), newGuard(t, 20000)
		for range 3000 {
			var list []byte
			wide := r.IntN(40) // of a varint, at most
			for n := r.IntN(100); n > 0; n-- {
				list = binary.AppendUvarint(list, r.Uint64()>>(63-r.IntN(wide+1)))
			}
			switch r.IntN(8) {
			case 0: // cut short, or with a part of one behind it
				list = list[:r.IntN(len(list)+1)]
			case 1:
				list = append(list, slices.Repeat([]byte{0x80 | byte(r.Uint32())}, r.IntN(40))...)
			case 2: // longer than need be
				list = append(append(append(list, 0x85, 0x80, 0), list...), 0x80, 0)
			case 3:
				for i := range list {
					list[i] = byte(r.Uint32())
				}
			}
			for _, limit := range limits {
				checkVarints(t, l, in, out, list, limit)
			}
			if n := len(list); n > 0 { // limits around the largest number
				dst := make([]uint32, n+15)
				if k, _ := varintGapsGeneric(dst, list, 0, 0, math.MaxUint32); k > 0 {
					for d := range uint32(3) {
						checkVarints(t, l, in, out, list, dst[k-1]+d)
					}
				}
			}
		}
		in, out = newGuard(t, 3*maxUnpacked), newGuard(t, 12*maxUnpacked+100)
		for _, v := range []uint64{5, 500, 1 << 16} { // longer than what is done at a time, and not whole there
			list := []byte{1}
			for len(list) < 2*maxUnpacked+100 {
				list = binary.AppendUvarint(list, v)
			}
			checkVarints(t, l, in, out, list, 1<<31-1)
			checkVarints(t, l, in, out, append(list, 0x80), 1<<31-1)
			checkVarints(t, l, in, out, slices.Insert(list, maxUnpacked+10, slices.Repeat([]byte{0xff}, 12)...), 1<<31-1)
		}
	})
	require.Panics(t, func() { VarintGaps(make([]uint32, 15), []byte{0}, 1) })
}

func BenchmarkUnpack(b *testing.B) {
	const n, k = 125, 1 << 14
	r := rand.New(rand.NewPCG(1, 2))
	dst, codes := make([]uint32, n), make([]uint32, n)
	floats, scales := make([]float32, n), normals(r, k)
	choices := make([]uint32, 256)
	data := make([]byte, 1000)
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	for i := range codes {
		codes[i] = r.Uint32N(k)
	}
	var list []byte
	for range n {
		list = binary.AppendUvarint(list, uint64(r.ExpFloat64()*150))
	}
	ords := make([]uint32, len(list)+15)
	eachISABench(b, fmt.Sprintf("ascending/n=%d", n), n, func(l isa) { unpackAscendingAt(l, dst, 5, Bits{data, 21, 11}) })
	for _, width := range []uint{5, 6, 7, 8} {
		eachISABench(b, fmt.Sprintf("chosen/n=%d/bits=%d", n, width), n, func(l isa) { unpackChosenAt(l, dst, choices[:1<<width], Bits{data, 21, width}) })
	}
	eachISABench(b, fmt.Sprintf("scale/n=%d", n), n, func(l isa) { scaleAtAt(l, floats, scales, codes) })
	eachISABench(b, fmt.Sprintf("varints/n=%d", n), n, func(l isa) { varintGapsAt(l, ords, list, 1<<30) })
}
