package main

import (
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func genGather(s isa) {
	if s == avx2 {
		genRaise(s, 16)
		genRaise(s, 32)
		genSumRows(s)
	} else {
		genRaise(s, 64)
	}
	genScan(s)
	if s == avx512 {
		genAbove()
	}
	genReach(s, 16)
	genReach(s, 32)
	genMaxU32(s)
}

// genRaise writes the maximum of one row of bytes with many.
func genRaise(s isa, width int) {
	name := label("raise%d%s", width, s)
	TEXT(name, NOSPLIT, "func(acc *uint8, stride int, row *uint8, ords *uint32, n int, first uint32, rows uint32)")
	Pragma("noescape")
	Doc(label("%s raises %d bytes at acc + (ord-first)*stride to those at row for n > 0 ords; those whose ord-first is not below rows are passed over.", name, width))
	acc, stride, row := load64("acc"), load64("stride"), load64("row")
	ords, n := load64("ords"), load64("n")
	first, rows := Load(Param("first"), GP32()), Load(Param("rows"), GP32())
	var r, t VecVirtual
	switch width {
	case 16:
		r, t = XMM(), XMM()
	case 32:
		r, t = YMM(), YMM()
	default:
		r, t = ZMM(), ZMM()
	}
	move := func(a, b Op) {
		if width == 64 {
			VMOVDQU8(a, b)
		} else {
			VMOVDQU(a, b)
		}
	}
	move(Mem{Base: row}, r)
	o := GP64()
	Label("loop")
	MOVL(Mem{Base: ords}, o.As32())
	SUBL(first, o.As32())
	CMPL(o.As32(), rows)
	JCC(LabelRef("next"))
	IMULQ(stride, o)
	VPMAXUB(Mem{Base: acc, Index: o, Scale: 1}, r, t)
	move(t, Mem{Base: acc, Index: o, Scale: 1})
	Label("next")
	ADDQ(Imm(4), ords)
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// genSumRows writes the sums of rows of bytes.
func genSumRows(s isa) {
	name := "sumRows" + s.String()
	TEXT(name, NOSPLIT, "func(dst *uint32, acc *uint8, lanes int, rows int)")
	Pragma("noescape")
	Doc(name + " sums rows > 0 rows of lanes bytes each, a multiple of 16.")
	dst, acc, lanes, rows := load64("dst"), load64("acc"), load64("lanes"), load64("rows")
	zero, sum, t := YMM(), YMM(), YMM()
	x := XMM()
	VPXOR(zero, zero, zero)
	left := GP64()
	Label("row")
	VPXOR(sum, sum, sum)
	MOVQ(lanes, left)
	SUBQ(Imm(32), left)
	JLT(LabelRef("half"))
	Label("loop")
	VPSADBW(Mem{Base: acc}, zero, t)
	VPADDQ(t, sum, sum)
	ADDQ(Imm(32), acc)
	SUBQ(Imm(32), left)
	JGE(LabelRef("loop"))
	Label("half")
	VEXTRACTI128(Imm(1), sum, x)
	VPADDQ(x, sum.AsX(), sum.AsX())
	ADDQ(Imm(32), left)
	JE(LabelRef("fold"))
	VPSADBW(Mem{Base: acc}, zero.AsX(), t.AsX())
	VPADDQ(t.AsX(), sum.AsX(), sum.AsX())
	ADDQ(Imm(16), acc)
	Label("fold")
	VPSRLDQ(Imm(8), sum.AsX(), x)
	VPADDQ(x, sum.AsX(), sum.AsX())
	VMOVD(sum.AsX(), Mem{Base: dst})
	ADDQ(Imm(4), dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// genScan writes the comparison of rows with limits, 16 lanes at a time, and their conversion.
func genScan(s isa) {
	name := "scanRows" + s.String()
	TEXT(name, NOSPLIT, "func(hits *uint16, dst *int16, block *float32, stride int, rows int, limit *float32, factor *float32, inverse *float32)")
	Pragma("noescape")
	Doc(name+" sets hits to the lanes of rows > 0 rows of 16 that reach their limit and writes each row, multiplied by its factor and by the",
		"inverses of its lanes, to dst. stride is that of block and dst, in values.")
	hits, dst, block, stride, rows := load64("hits"), load64("dst"), load64("block"), load64("stride"), load64("rows")
	limit, factor, inverse := load64("limit"), load64("factor"), load64("inverse")
	nv := 16 / s.lanes()
	lim, inv, f := s.vs(nv), s.vs(nv), s.v()
	for i, r := range lim {
		VMOVUPS(Mem{Base: limit, Disp: i * s.width()}, r)
		VMOVUPS(Mem{Base: inverse, Disp: i * s.width()}, inv[i])
	}
	least, most := s.v(), s.v()
	VMOVUPS(constF32("least16", -math.MaxInt16), least)
	VMOVUPS(constF32("most16", math.MaxInt16), most)
	step, half := GP64(), GP64()
	MOVQ(stride, step)
	SHLQ(Imm(2), step)
	MOVQ(stride, half)
	SHLQ(Imm(1), half)
	SHRQ(Imm(4), stride) // hits has one value per 16 lanes
	SHLQ(Imm(1), stride)
	Label("loop")
	VBROADCASTSS(Mem{Base: factor}, f)
	bits := GP32()
	v := s.vs(nv)
	for i, v := range v {
		VMOVUPS(Mem{Base: block, Disp: i * s.width()}, v)
		if s == avx512 {
			k := K()
			VCMPPS(Imm(29), lim[i], v, k) // greater or equal, ordered
			KMOVW(k, bits)
		} else {
			c, b := YMM(), GP32()
			VCMPPS(Imm(29), lim[i], v, c)
			VMOVMSKPS(c, b)
			if i == 0 {
				MOVL(b, bits)
			} else {
				SHLL(Imm(8), b)
				ORL(b, bits)
			}
		}
		VMULPS(f, v, v)
		VMULPS(inv[i], v, v)
		VMAXPS(least, v, v) // of NaN, the least
		VMINPS(most, v, v)
		VCVTPS2DQ(v, v)
	}
	if s == avx512 {
		VPMOVDW(v[0], Mem{Base: dst})
	} else {
		VPACKSSDW(v[1], v[0], v[0])
		VPERMQ(Imm(0xd8), v[0], v[0])
		VMOVDQU(v[0], Mem{Base: dst})
	}
	MOVW(bits.As16(), Mem{Base: hits})
	ADDQ(stride, hits)
	ADDQ(step, block)
	ADDQ(half, dst)
	ADDQ(Imm(4), factor)
	DECQ(rows)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// genAbove writes the bytes of a row of 16-bit scores.
func genAbove() {
	s, name := avx512, "aboveU8AVX512"
	TEXT(name, NOSPLIT, "func(dst *uint8, row *int16, unit *float32, credit *float32, lanes int, scale float32, inv float32)")
	Pragma("noescape")
	Doc(name + " is AboveU8 for lanes > 0, a multiple of 16.")
	dst, row, unit, credit, lanes := load64("dst"), load64("row"), load64("unit"), load64("credit"), load64("lanes")
	scale, inv, zero := s.v(), s.v(), s.v()
	s.broadcast("scale", scale)
	s.broadcast("inv", inv)
	s.zero(zero)
	Label("loop")
	u, x, least, k := s.v(), s.v(), s.v(), K()
	VMULPS(Mem{Base: unit}, scale, u)
	VPMOVSXWD(Mem{Base: row}, x)
	VCVTDQ2PS(x, x)
	VMULPS(u, x, x)
	VSUBPS(Mem{Base: credit}, x, x)
	VSUBPS(u, zero, least)
	VCMPPS(Imm(29), least, x, k) // greater or equal, ordered
	VMAXPS(zero, x, x)
	VMULPS(inv, x, x)
	VADDPS(constF32("above_half", 1.5), x, x)
	VMINPS(constF32("above_most", 255), x, x)
	VCVTTPS2DQ_Z(x, k, x)
	VPMOVDB(x, Mem{Base: dst})
	ADDQ(Imm(16), dst)
	ADDQ(Imm(32), row)
	ADDQ(Imm(64), unit)
	ADDQ(Imm(64), credit)
	SUBQ(Imm(16), lanes)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// genReach writes the search for rows of scores, lanes of them, of which any reaches its limit.
func genReach(s isa, lanes int) {
	name := label("reachRows%d%s", lanes, s)
	TEXT(name, NOSPLIT, "func(found *uint8, scores *float32, rows int, limit *float32)")
	Pragma("noescape")
	Doc(label("%s sets a byte of found to 1 for each of rows > 0 rows of %d scores that reaches a limit, and leaves the others.", name, lanes))
	found, scores, rows, limit := load64("found"), load64("scores"), load64("rows"), load64("limit")
	nv := lanes / s.lanes()
	lim := s.vs(nv)
	for i, r := range lim {
		VMOVUPS(Mem{Base: limit, Disp: i * s.width()}, r)
	}
	any := GP32()
	Label("loop")
	// Less or equal, ordered: the limit and the score, so that the score may come from memory.
	if s == avx512 {
		k := make([]Op, nv)
		for i := range nv {
			r := K()
			VCMPPS(Imm(18), Mem{Base: scores, Disp: 64 * i}, lim[i], r)
			k[i] = r
		}
		KORTESTW(k[0], k[nv-1])
		SETNE(any.As8())
	} else {
		var or VecVirtual
		for i := range nv {
			c := YMM()
			VCMPPS(Imm(18), Mem{Base: scores, Disp: 32 * i}, lim[i], c)
			if i == 0 {
				or = c
			} else {
				VORPS(c, or, or)
			}
		}
		VMOVMSKPS(or, any)
		TESTL(any, any)
		SETNE(any.As8())
	}
	ORB(any.As8(), Mem{Base: found})
	INCQ(found)
	ADDQ(Imm(uint64(4*lanes)), scores)
	DECQ(rows)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func genMaxU32(s isa) {
	TEXT("maxU32"+s.String(), NOSPLIT, "func(x *uint32, n int) uint32")
	Pragma("noescape")
	Doc("maxU32" + s.String() + " is the largest of n > 0 values.")
	x, n := load64("x"), load64("n")
	top := s.v()
	s.zero(top)
	s.stream("max", n, 1, []GPVirtual{x}, func(_, disp int, m *mask) {
		VPMAXUD(s.get(x, disp, m), top, top)
	})
	s.returnLargest(top)
}

// returnLargest ends a function of one result with the largest of a register's lanes, as unsigned numbers.
func (s isa) returnLargest(top VecVirtual) {
	r := s.reduce(top, func(a, b, c Op) { VPMAXUD(a, b, c) })
	out := GP32()
	VMOVD(r.AsX(), out)
	Store(out, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
