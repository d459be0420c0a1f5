package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The integer kernels: "avx512" means AVX-512 with VNNI here.
func genResidual(s isa) {
	if s == avx512 {
		genResidualPanel(s, "W32", 32, 2)
		genResidualPanel(s, "W16", 16, 1)
		for _, nbits := range []int{1, 2, 4} {
			genDecode512(nbits)
		}
		genDecode8VBMI()
		return
	}
	genResidualPanel(s, "W32", 32, 2)
	genResidualPanel(s, "W16", 16, 2)
	for _, nbits := range []int{1, 2, 4} {
		genDecode(nbits)
	}
	genDecode8()
}

// residualRows is the height of the tallest integer tile. Without VNNI a product takes five instructions and more
// temporary registers.
func (s isa) residualRows() int { return [...]int{4, 12}[s] }

// genResidualPanel writes compressed-domain MaxSim for nv registers of lanes of a panel of w lanes over decoded rows.
func genResidualPanel(s isa, suffix string, w, nv int) {
	name := "residualPanel" + suffix + s.String()
	TEXT(name, NOSPLIT, "func(acc *float32, panel *int8, doc *uint8, rows int, groups int, scale *float32, offset *int32, base *int16, unit *float32, ldbase int, codes *uint32, inv *float32, out *float32, ldout int)")
	Pragma("noescape")
	levels := "levels (signed)"
	if s == avx512 {
		levels = "levels + 128"
	}
	Doc(label("%s raises %d running maxima at acc to the scores of the lanes of a panel of %d with rows decoded rows:", name, nv*s.lanes(), w),
		label("groups*4 bytes each, %s. base, whose lanes are worth unit, has a stride of ldbase bytes per code. The scores themselves go to out, with a", levels),
		"stride of ldout bytes, which may be 0.")
	panel, doc, rows, lda := load64("panel"), load64("doc"), load64("rows"), load64("groups")
	SHLQ(Imm(2), lda)
	done := GP64() // bytes of codes and norms that lie behind
	XORQ(done, done)
	tall := s.residualRows()
	Label("tall")
	CMPQ(rows, Imm(uint64(tall)))
	JLT(LabelRef("tail"))
	residualTile(s, label("t%d", tall), tall, nv, 4*w, doc, lda, panel, done, 4)
	for range tall / 4 {
		LEAQ(Mem{Base: doc, Index: lda, Scale: 4}, doc)
	}
	ADDQ(Imm(uint64(4*tall)), done)
	SUBQ(Imm(uint64(tall)), rows)
	JMP(LabelRef("tall"))
	Label("tail")
	for r := 1; r < tall; r++ {
		CMPQ(rows, Imm(uint64(r)))
		JE(LabelRef(label("t%d", r)))
	}
	JMP(LabelRef("end"))
	for r := 1; r < tall; r++ {
		Label(label("t%d", r))
		residualTile(s, label("t%d", r), r, nv, 4*w, doc, lda, panel, done, 2)
		if r+1 < tall {
			JMP(LabelRef("end"))
		}
	}
	Label("end")
	VZEROUPPER()
	RET()
}

func residualTile(s isa, name string, rows, nv, ldb int, doc, lda, panel, done GPVirtual, unroll int) {
	t := newTile(s, rows, nv, ldb, doc, lda)
	all := s.all()
	free := all[rows*nv+nv:] // not accumulators, not the panel
	if s == avx512 {
		offset := load64("offset")
		for i, b := range t.b {
			VMOVDQU32(Mem{Base: offset, Disp: 64 * i}, b)
		}
		for i, r := range t.acc {
			VMOVDQA32(t.b[i%nv], r)
		}
		t.step = func(b GPVirtual, u int) {
			for i, r := range t.b {
				VMOVDQU32(Mem{Base: b, Disp: u*t.ldb + 64*i}, r)
			}
			for r := range rows {
				x := t.x[r%2]
				VPBROADCASTD(t.at(r, u), x)
				for i := range nv {
					VPDPBUSD(t.b[i], x, t.acc[r*nv+i])
				}
			}
		}
	} else {
		// VPMADDUBSW wants one unsigned factor: |level|, with the level's sign moved to the query. Sums of two products
		// stay under 2*127*127 < 32768, so nothing saturates.
		x, abs, p := free[0], free[1], free[2:4]
		ones := constU32("ones16", 0x00010001)
		t.step = func(b GPVirtual, u int) {
			for i, r := range t.b {
				VMOVDQU(Mem{Base: b, Disp: u*t.ldb + 32*i}, r)
			}
			for r := range rows {
				VPBROADCASTD(t.at(r, u), x)
				VPABSB(x, abs)
				for i := range nv {
					VPSIGNB(x, t.b[i], p[i])
					VPMADDUBSW(p[i], abs, p[i])
					VPMADDWD(ones, p[i], p[i])
					VPADDD(p[i], t.acc[r*nv+i], t.acc[r*nv+i])
				}
			}
		}
	}

	// The tile's rows of the table of base scores will be needed when the products are done.
	codes := load64("codes")
	ADDQ(done, codes)
	row := func(r int) Mem {
		base, c := load64("base"), GP64()
		MOVL(Mem{Base: codes, Disp: 4 * r}, c.As32())
		IMULQ(NewParamSlot("ldbase"), c)
		return Mem{Base: base, Index: c, Scale: 1}
	}
	for r := range rows {
		m := row(r)
		for d := 0; d < nv*s.width()/2; d += 64 {
			PREFETCHT0(m.Offset(d))
		}
	}
	b, k := GP64(), GP64()
	MOVQ(panel, b)
	MOVQ(lda, k)
	SHRQ(Imm(2), k)
	t.loop(name, b, k, unroll, nil)

	accp, inv, scale, unit := load64("acc"), load64("inv"), load64("scale"), load64("unit")
	ADDQ(done, inv)
	out, ldout := GP64(), load64("ldout")
	MOVQ(done, out)
	SHRQ(Imm(2), out)
	IMULQ(ldout, out)
	ADDQ(NewParamSlot("out"), out)
	run, n, x := t.b, free[0], free[1]
	for i := range nv {
		VMOVUPS(Mem{Base: accp, Disp: i * s.width()}, run[i])
	}
	for r := range rows {
		VBROADCASTSS(Mem{Base: inv, Disp: 4 * r}, n)
		m := row(r)
		for i := range nv {
			// Unfused, as in the generic code.
			a := t.acc[r*nv+i]
			VCVTDQ2PS(a, a)
			VMULPS(Mem{Base: scale, Disp: i * s.width()}, a, a)
			VPMOVSXWD(m.Offset(i*s.width()/2), x)
			VCVTDQ2PS(x, x)
			VMULPS(Mem{Base: unit, Disp: i * s.width()}, x, x)
			VADDPS(x, a, a)
			VMULPS(n, a, a)
			VMOVUPS(a, Mem{Base: out, Disp: i * s.width()})
			VMAXPS(run[i], a, run[i]) // NaN leaves the maximum as it is
		}
		if r+1 < rows {
			ADDQ(ldout, out)
		}
	}
	for i := range nv {
		VMOVUPS(run[i], Mem{Base: accp, Disp: i * s.width()})
	}
}

// NewParamSlot addresses an argument on the stack.
func NewParamSlot(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// genDecode writes the decoder of rows of at least 16 bytes with nbits bits per field. Each nibble holds 4/nbits fields;
// the table says what each is worth. The last, shorter part of a row is done by repeating its last 32 (or 16) bytes.
func genDecode(nbits int) {
	perNibble := 4 / nbits
	name := label("decode%dAVX2", nbits)
	TEXT(name, NOSPLIT, "func(dst *uint8, stride int, src *uint8, rowBytes int, rows int, table *uint8)")
	Pragma("noescape")
	Doc(label("%s decodes rows > 0 packed rows of rowBytes >= 16 bytes into planes of rowBytes bytes; see Levels.", name))
	dst, stride, src := load64("dst"), load64("stride"), load64("src")
	rb, rows, table := load64("rowBytes"), load64("rows"), load64("table")
	lut := make([]VecVirtual, perNibble)
	for f := range lut {
		lut[f] = YMM()
		VMOVDQU(Mem{Base: table, Disp: 32 * f}, lut[f])
	}
	mask := YMM()
	VMOVDQU(constU32("nibble", 0x0f0f0f0f), mask)

	// chunk decodes the bytes at offset i.
	chunk := func(wide bool, i GPVirtual) {
		as := func(v VecVirtual) Op {
			if wide {
				return v
			}
			return v.AsX()
		}
		lo, hi := YMM(), YMM()
		VMOVDQU(Mem{Base: src, Index: i, Scale: 1}, as(lo))
		VPSRLW(Imm(4), as(lo), as(hi))
		VPAND(as(mask), as(lo), as(lo))
		VPAND(as(mask), as(hi), as(hi))
		out := GP64()
		LEAQ(Mem{Base: dst, Index: i, Scale: 1}, out)
		for _, nibble := range []VecVirtual{hi, lo} {
			for f := range perNibble {
				v := YMM()
				VPSHUFB(as(nibble), as(lut[f]), as(v))
				VMOVDQU(as(v), Mem{Base: out})
				ADDQ(rb, out)
			}
		}
	}
	i, last := GP64(), GP64()
	CMPQ(rb, Imm(32))
	JLT(LabelRef("narrow"))
	for _, wide := range []bool{true, false} {
		n, bytes := "narrow", 16
		if wide {
			n, bytes = "wide", 32
		}
		Label(n)
		MOVQ(rb, last)
		SUBQ(Imm(uint64(bytes)), last)
		XORQ(i, i)
		Label(n + "_loop")
		CMPQ(i, last)
		JGE(LabelRef(n + "_last"))
		chunk(wide, i)
		ADDQ(Imm(uint64(bytes)), i)
		JMP(LabelRef(n + "_loop"))
		Label(n + "_last")
		chunk(wide, last)
		ADDQ(rb, src)
		ADDQ(stride, dst)
		DECQ(rows)
		JNE(LabelRef(n))
		VZEROUPPER()
		RET()
	}
}

// genDecode512 writes the decoder of rows of whole registers of bytes.
func genDecode512(nbits int) {
	perNibble := 4 / nbits
	name := label("decode%dAVX512", nbits)
	TEXT(name, NOSPLIT, "func(dst *uint8, stride int, src *uint8, rowBytes int, rows int, table *uint8)")
	Pragma("noescape")
	Doc(label("%s decodes rows > 0 packed rows of rowBytes bytes, a multiple of 64, into planes of rowBytes bytes; see Levels.", name))
	dst, stride, src := load64("dst"), load64("stride"), load64("src")
	rb, rows, table := load64("rowBytes"), load64("rows"), load64("table")
	lut := make([]VecVirtual, perNibble)
	for f := range lut {
		lut[f] = ZMM()
		VBROADCASTI32X4(Mem{Base: table, Disp: 32 * f}, lut[f])
	}
	mask := ZMM()
	VMOVDQU32(constU32("nibble", 0x0f0f0f0f), mask)
	to, out, left := GP64(), GP64(), GP64()
	Label("row")
	MOVQ(dst, to)
	MOVQ(rb, left)
	Label("chunk")
	lo, hi := ZMM(), ZMM()
	VMOVDQU32(Mem{Base: src}, lo)
	VPSRLW(Imm(4), lo, hi)
	VPANDD(mask, lo, lo)
	VPANDD(mask, hi, hi)
	MOVQ(to, out)
	for i, nibble := range []VecVirtual{hi, lo} {
		for f := range perNibble {
			v := ZMM()
			VPSHUFB(nibble, lut[f], v)
			VMOVDQU32(v, Mem{Base: out})
			if i*perNibble+f+1 < 2*perNibble {
				ADDQ(rb, out)
			}
		}
	}
	ADDQ(Imm(64), src)
	ADDQ(Imm(64), to)
	SUBQ(Imm(64), left)
	JNE(LabelRef("chunk"))
	ADDQ(stride, dst)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// genDecode8 looks up whole bytes, sixteen tables of sixteen: a shuffle gives 0 for an index whose high bit is set, and adding
// 0x70 with saturation sets it in all bytes but those whose high nibble is the wanted one.
func genDecode8() {
	TEXT("decode8AVX2", NOSPLIT, "func(dst *uint8, src *uint8, n int, table *uint8)")
	Pragma("noescape")
	Doc("decode8AVX2 looks n > 0 bytes, a multiple of 32, up in a table of 256.")
	dst, src, n, table := load64("dst"), load64("src"), load64("n"), load64("table")
	x70 := YMM()
	VMOVDQU(constU32("x70", 0x70707070), x70)
	step := YMM()
	VMOVDQU(constU32("x10", 0x10101010), step)
	Label("loop")
	x, out, key := YMM(), YMM(), YMM()
	VMOVDQU(Mem{Base: src}, x)
	VPXOR(out, out, out)
	VPXOR(key, key, key)
	for h := range 16 {
		i, t := YMM(), YMM()
		VPXOR(key, x, i)
		VPADDUSB(x70, i, i)
		VBROADCASTI128(Mem{Base: table, Disp: 16 * h}, t)
		VPSHUFB(i, t, t)
		VPOR(t, out, out)
		if h < 15 {
			VPADDB(step, key, key)
		}
	}
	VMOVDQU(out, Mem{Base: dst})
	ADDQ(Imm(32), src)
	ADDQ(Imm(32), dst)
	SUBQ(Imm(32), n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func genDecode8VBMI() {
	TEXT("decode8VBMI", NOSPLIT, "func(dst *uint8, src *uint8, n int, table *uint8)")
	Pragma("noescape")
	Doc("decode8VBMI looks n > 0 bytes, a multiple of 64, up in a table of 256.")
	dst, src, n, table := load64("dst"), load64("src"), load64("n"), load64("table")
	t := []VecVirtual{ZMM(), ZMM(), ZMM(), ZMM()}
	for i := range t {
		VMOVDQU8(Mem{Base: table, Disp: 64 * i}, t[i])
	}
	Label("loop")
	lo, hi, k := ZMM(), ZMM(), K()
	VMOVDQU8(Mem{Base: src}, lo)
	VMOVDQA64(lo, hi)
	VPMOVB2M(lo, k)
	VPERMI2B(t[1], t[0], lo)
	VPERMI2B(t[3], t[2], hi)
	VPBLENDMB(hi, lo, k, lo)
	VMOVDQU8(lo, Mem{Base: dst})
	ADDQ(Imm(64), src)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(64), n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
