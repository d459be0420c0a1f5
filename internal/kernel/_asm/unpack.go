package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// What an index stores of a document: fields of bits and varints, and what centroids bring to it.
func genUnpack(s isa) {
	genUnpackAscending(s)
	genUnpackFields(s)
	if s == avx2 { // the rest is left to the compiler
		return
	}
	for _, regs := range []int{2, 4, 8} {
		genUnpackChosen(regs)
	}
	genScaleAt()
	genVarintGaps()
}

// fields reads one register of fields after the other. Each lies within the eight bytes of two words of memory, which
// are the same distance from the first for all registers: as many fields as a register has lanes take whole bytes.
type fields struct {
	s                    isa
	src, step            GPVirtual
	word, down, up, mask VecVirtual
}

const fieldArgs = "src *uint8, bit uint32, width uint32, mask uint32"

// newFields takes the arguments of fieldArgs: the first field begins bit bits, less than 8, behind src.
func (s isa) newFields() fields {
	f := fields{s: s, src: load64("src"), step: GP64(), word: s.v(), down: s.v(), up: s.v(), mask: s.v()}
	w, at := s.v(), s.v()
	s.broadcast("width", w)
	s.broadcast("bit", at)
	s.broadcast("mask", f.mask)
	VPMULLD(iota32(), w, w)
	VPADDD(w, at, at) // the first bit of each field
	VPSRLD(Imm(5), at, f.word)
	VPSLLD(Imm(27), at, at)
	VPSRLD(Imm(27), at, f.down)
	VMOVUPS(constU32("wordBits", 32), f.up)
	VPSUBD(f.down, f.up, f.up)
	width := Load(Param("width"), GP32())
	MOVL(width, f.step.As32())
	if s == avx512 {
		SHLQ(Imm(1), f.step)
	}
	return f
}

// next gives the fields of the next register.
func (f *fields) next() VecVirtual {
	v, t := f.s.v(), f.s.v()
	VPERMD(Mem{Base: f.src}, f.word, v)
	VPERMD(Mem{Base: f.src, Disp: 4}, f.word, t)
	VPSRLVD(f.down, v, v)
	VPSLLVD(f.up, t, t) // 32 makes it zero
	if f.s == avx512 {
		VPTERNLOGD(Imm(0xa8), f.mask, t, v) // (v | t) & mask
	} else {
		VPOR(t, v, v)
		VPAND(f.mask, v, v)
	}
	ADDQ(f.step, f.src)
	return v
}

// clear zeroes the lanes of v that are not in use.
func (m mask) clear(v VecVirtual) {
	if m.s == avx512 {
		VMOVDQA32_Z(v, m.k[0], v)
	} else {
		VPAND(m.vec(0), v, v)
	}
}

// whole calls f for whole registers and then, with a mask, for what is left of n > 0 values. f advances its pointers.
func (s isa) whole(n GPVirtual, f func(m *mask)) {
	lanes := uint64(s.lanes())
	SUBQ(Imm(lanes), n)
	JLT(LabelRef("tail"))
	Label("loop")
	f(nil)
	SUBQ(Imm(lanes), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(lanes), n)
	JE(LabelRef("done"))
	m := s.newMask(n, 1)
	f(&m)
	Label("done")
}

// prefix adds to each lane of v those before it.
func (s isa) prefix(v, zero VecVirtual) {
	t := s.v()
	if s == avx512 {
		for _, n := range []uint64{1, 2, 4, 8} {
			VALIGND(Imm(16-n), zero, v, t)
			VPADDD(t, v, v)
		}
		return
	}
	for _, n := range []uint64{4, 8} { // in each half
		VPSLLDQ(Imm(n), v, t)
		VPADDD(t, v, v)
	}
	VPERM2I128(Imm(0x08), v, v, t) // zeros and the lower half
	VPSHUFD(Imm(0xff), t, t)
	VPADDD(t, v, v)
}

// lastLane is the number of the last lane in all lanes, for VPERMD.
func (s isa) lastLane() VecVirtual {
	r := s.v()
	VMOVUPS(constU32("lastLane"+s.String(), uint32(s.lanes()-1)), r)
	return r
}

// genUnpackAscending writes the decoder of ascending numbers from the gaps between them.
func genUnpackAscending(s isa) {
	name := "unpackAscending" + s.String()
	TEXT(name, NOSPLIT, "func(dst *uint32, n int, before uint32, "+fieldArgs+") uint32")
	Pragma("noescape")
	Doc(label("%s writes n > 0 numbers, each greater by one and a field than the one before it, and returns the", name),
		"largest of the last of each register. Fields have width bits, the first starts bit < 8 bits behind src.",
		label("%d bytes are read from where every %dth begins.", s.width()+4, s.lanes()))
	dst, n := load64("dst"), load64("n")
	f := s.newFields()
	run, one, zero, top, lane := s.v(), s.v(), s.v(), s.v(), s.lastLane()
	s.broadcast("before", run)
	VMOVUPS(constU32("one32", 1), one)
	s.zero(zero)
	s.zero(top)
	s.whole(n, func(m *mask) {
		v := f.next()
		VPADDD(one, v, v)
		if m != nil {
			m.clear(v)
		}
		s.prefix(v, zero)
		VPADDD(run, v, v)
		VPERMD(v, lane, run)
		VPMAXUD(run, top, top)
		s.put(v, dst, 0, m)
		ADDQ(Imm(uint64(s.width())), dst)
	})
	out := GP32()
	VMOVD(top.AsX(), out)
	Store(out, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// genUnpackFields writes the decoder of plain fields.
func genUnpackFields(s isa) {
	name := "unpackFields" + s.String()
	TEXT(name, NOSPLIT, "func(dst *uint32, n int, "+fieldArgs+") uint32")
	Pragma("noescape")
	Doc(name + " writes n > 0 fields and returns the largest. It reads what unpackAscending" + s.String() + " does.")
	dst, n := load64("dst"), load64("n")
	f := s.newFields()
	top := s.v()
	s.zero(top)
	s.whole(n, func(m *mask) {
		v := f.next()
		if m != nil {
			m.clear(v)
		}
		VPMAXUD(v, top, top)
		s.put(v, dst, 0, m)
		ADDQ(Imm(uint64(s.width())), dst)
	})
	s.returnLargest(top)
}

// genUnpackChosen writes the decoder of places in a table that lies in so many registers.
func genUnpackChosen(regs int) {
	s := avx512
	name := label("unpackChosen%d%s", 16*regs, s)
	TEXT(name, NOSPLIT, "func(dst *uint32, n int, table *uint32, size int, "+fieldArgs+") uint32")
	Pragma("noescape")
	Doc(label("%s writes what a table of 0 < size <= %d values has at the places that n > 0 fields name, and returns the largest", name, 16*regs),
		label("of these. What is written for places from size on means nothing. It reads what unpackAscending%s does.", s))
	dst, n := load64("dst"), load64("n")
	table, size := load64("table"), load64("size")
	tab := s.vs(regs)
	ones, have := GP64(), GP64()
	MOVQ(I32(-1), ones)
	for i, r := range tab {
		if i%4 == 0 {
			if i > 0 {
				SUBQ(Imm(64), size)
				none := GP64()
				XORQ(none, none)
				CMPQ(size, none)
				CMOVQLT(none, size)
			}
			BZHIQ(size, ones, have)
		} else {
			SHRQ(Imm(16), have)
		}
		k := K()
		KMOVW(have.As32(), k)
		VMOVDQU32_Z(Mem{Base: table, Disp: 64 * i}, k, r)
	}
	f := s.newFields()
	top := s.v()
	s.zero(top)
	var bit [2]VecVirtual
	for i := range bit {
		if 4<<i < 2*regs { // as many halvings as there are
			bit[i] = s.v()
			VMOVUPS(constU32(label("bit%d", 5+i), 1<<(5+i)), bit[i])
		}
	}
	s.whole(n, func(m *mask) {
		v := f.next()
		if m != nil {
			m.clear(v)
		}
		VPMAXUD(v, top, top)
		var some []VecVirtual
		for i := 0; i < regs; i += 2 {
			t := s.v()
			VMOVDQA32(v, t)
			VPERMI2D(tab[i+1], tab[i], t)
			some = append(some, t)
		}
		for i := 0; len(some) > 1; i++ {
			k := K()
			VPTESTMD(bit[i], v, k)
			for j := 0; j < len(some); j += 2 {
				VMOVDQA32(some[j+1], k, some[j])
				some[j/2] = some[j]
			}
			some = some[:len(some)/2]
		}
		s.put(some[0], dst, 0, m)
		ADDQ(Imm(64), dst)
	})
	s.returnLargest(top)
}

// genScaleAt writes the products with what a table has for each value.
func genScaleAt() {
	s := avx512
	name := "scaleAt" + s.String()
	TEXT(name, NOSPLIT, "func(x *float32, n int, table *float32, at *uint32)")
	Pragma("noescape")
	Doc(name + " multiplies n > 0 values by those that a table has at their places.")
	x, n, table, at := load64("x"), load64("n"), load64("table"), load64("at")
	s.whole(n, func(m *mask) {
		place, v, k := s.v(), s.v(), K()
		if m == nil {
			VMOVDQU32(Mem{Base: at}, place)
			KXNORW(k, k, k)
		} else {
			VMOVDQU32_Z(Mem{Base: at}, m.k[0], place)
			KMOVW(m.k[0], k)
		}
		VGATHERDPS(Mem{Base: table, Index: place, Scale: 4}, k, v)
		if m == nil {
			VMULPS(Mem{Base: x}, v, v)
		} else {
			VMULPS_Z(Mem{Base: x}, v, m.k[0], v)
		}
		s.put(v, x, 0, m)
		ADDQ(Imm(64), at)
		ADDQ(Imm(64), x)
	})
	VZEROUPPER()
	RET()
}

// genVarintGaps writes the decoder of posting lists. Sixteen bytes are taken at a time, each with the two before it: those
// that end a varint are its value, and the others add nothing to the sums.
func genVarintGaps() {
	s := avx512
	name := "varintGaps" + s.String()
	TEXT(name, NOSPLIT, "func(dst *uint32, list *uint8, n int, before uint32) (count int, top uint32, long uint32)")
	Pragma("noescape")
	Doc(label("%s decodes n > 0 bytes of varints of up to three bytes, the last of which ends one, and writes numbers, each greater by", name),
		"one and a varint than the one before it, and up to 15 values behind them.",
		"top is the largest of the last of each register; where long is not 0, a varint was longer and numbers mean nothing.")
	dst, list, n := load64("dst"), load64("list"), load64("n")
	run, one, zero, top, lane, low := s.v(), s.v(), s.v(), s.v(), s.lastLane(), s.v()
	s.broadcast("before", run)
	VMOVUPS(constU32("one32", 1), one)
	VMOVUPS(constU32("low7", 0x7f), low)
	s.zero(zero)
	s.zero(top)
	prev := s.v()
	s.zero(prev)
	more, long, start := GP32(), GP32(), GP64()
	XORL(more, more) // bits 0 to 2: whether the last three bytes have more behind them; then those of this register
	XORL(long, long)
	MOVQ(dst, start)
	s.whole(n, func(m *mask) {
		b, b1, b2, v := s.v(), s.v(), s.v(), s.v()
		if m == nil {
			VPMOVZXBD(Mem{Base: list}, b)
		} else {
			VPMOVZXBD_Z(Mem{Base: list}, m.k[0], b)
		}
		VALIGND(Imm(15), prev, b, b1)
		VALIGND(Imm(14), prev, b, b2)
		k := K()
		VPCMPUD(Imm(6), low, b, k) // above
		now, ends, t, u := GP32(), GP32(), GP32(), GP32()
		KMOVW(k, now)
		MOVL(now, ends)
		NOTL(ends)
		SHLL(Imm(3), now)
		ORL(now, more)
		MOVL(more, t)
		SHRL(Imm(2), t) // the byte before has more
		k1, k2, kEnds := K(), K(), K()
		KMOVW(t, k1)
		MOVL(more, u)
		SHRL(Imm(1), u)
		ANDL(t, u) // and the one before that, too
		KMOVW(u, k2)
		ANDL(more, u)
		ORL(u, long)
		SHRL(Imm(16), more)
		if m != nil {
			used := GP32()
			KMOVW(m.k[0], used)
			ANDL(used, ends)
		} else {
			MOVWLZX(ends.As16(), ends)
		}
		KMOVW(ends, kEnds)
		VMOVDQA32(b, v)
		VPSLLD(Imm(7), v, k1, v)
		VPTERNLOGD(Imm(0xf8), low, b1, k1, v) // v | b1 & low
		VPSLLD(Imm(7), v, k2, v)
		VPTERNLOGD(Imm(0xf8), low, b2, k2, v)
		VMOVDQA32(b, prev)
		VPADDD_Z(one, v, kEnds, v)
		s.prefix(v, zero)
		VPADDD(run, v, v)
		VPERMD(v, lane, run)
		VPMAXUD(run, top, top)
		VPCOMPRESSD_Z(v, kEnds, v)
		VMOVDQU32(v, Mem{Base: dst})
		POPCNTL(ends, ends)
		LEAQ(Mem{Base: dst, Index: ends.As64(), Scale: 4}, dst)
		ADDQ(Imm(16), list)
	})
	SUBQ(start, dst)
	SHRQ(Imm(2), dst)
	Store(dst, ReturnIndex(0))
	out := GP32()
	VMOVD(top.AsX(), out)
	Store(out, ReturnIndex(1))
	Store(long, ReturnIndex(2))
	VZEROUPPER()
	RET()
}
