package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func genMaxSim(s isa) {
	float := func(t *tile) {}
	if s == avx512 {
		genMaxPanel(s, "maxPanelW32AVX512", 32, 2, float)
		genMaxPanel(s, "maxPanelW16AVX512", 16, 1, float)
		return
	}
	genMaxPanel(s, "maxPanelW32AVX2", 32, 2, float)
	genMaxPanel(s, "maxPanelW16AVX2", 16, 2, float)
}

// genHalf writes what documents of 16-bit numbers need: MaxSim with bfloat16 products, the conversion of bfloat16 and
// the test for numbers that are not finite. Float16 is converted by genConvert's functions.
func genHalf(s isa) {
	if s == avx512 {
		dot := func(t *tile) { t.step = t.dot512 }
		genMaxPanel(s, "maxPanelW32BF16", 32, 2, dot)
		genMaxPanel(s, "maxPanelW16BF16", 16, 1, dot)
	}
	genFromBF16(s)
	genMaxAbs16(s)
	if s == avx2 {
		genPrefetch()
	}
}

func genPrefetch() {
	TEXT("prefetch", NOSPLIT, "func(p *uint16, n int)")
	Pragma("noescape")
	Doc("prefetch asks for n > 0 cache lines from p on.")
	p, n := load64("p"), load64("n")
	Label("loop")
	PREFETCHT0(Mem{Base: p})
	ADDQ(Imm(64), p)
	DECQ(n)
	JNE(LabelRef("loop"))
	RET()
}

func genFromBF16(s isa) {
	name := "bf16ToF32" + s.String()
	TEXT(name, NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Pragma("noescape")
	Doc(label("%s converts n > 0 values, a multiple of %d.", name, s.lanes()))
	dst, src, n := load64("dst"), load64("src"), load64("n")
	Label("loop")
	v := s.v()
	VPMOVZXWD(Mem{Base: src}, v)
	VPSLLD(Imm(16), v, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(uint64(s.width()/2)), src)
	ADDQ(Imm(uint64(s.width())), dst)
	SUBQ(Imm(uint64(s.lanes())), n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

func genMaxAbs16(s isa) {
	name := "maxAbs16" + s.String()
	TEXT(name, NOSPLIT, "func(x *uint16, n int) uint32")
	Pragma("noescape")
	Doc(label("%s is, in each half, the largest of some of the n pairs of 16-bit values at x without their top bits; n > 0.", name))
	x, n := load64("x"), load64("n")
	top, low := s.vs(4), s.v()
	for _, r := range top {
		s.zero(r)
	}
	VMOVUPS(constU32("low15", 0x7fff7fff), low)
	s.stream("abs", n, len(top), []GPVirtual{x}, func(i, disp int, m *mask) {
		v := s.get(x, disp, m)
		if s == avx512 {
			VPANDD(low, v, v)
		} else {
			VPAND(low, v, v)
		}
		VPMAXUW(v, top[i], top[i])
	})
	for _, r := range top[1:] {
		VPMAXUW(r, top[0], top[0])
	}
	r := s.reduce(top[0], func(a, b, c Op) { VPMAXUW(a, b, c) })
	out := GP32()
	VMOVD(r.AsX(), out)
	Store(out, ReturnIndex(0))
	VZEROUPPER()
	RET()
}

// genMaxPanel writes MaxSim for nv registers of lanes of a panel of w lanes, in units of four bytes along the inner
// dimension: a float32 or, when step sets that up, a pair of bfloat16. It reads a document in tiles of rows and
// prefetches the next tile: twelve row streams are too many for the hardware prefetcher, and without it a document
// that is not in cache costs twice the time.
func genMaxPanel(s isa, name string, w, nv int, step func(*tile)) {
	TEXT(name, NOSPLIT, "func(acc *float32, panel *float32, doc *float32, rows int, dim int)")
	Pragma("noescape")
	Doc(label("%s raises %d running maxima at acc to the inner products of the lanes of a panel of %d with the rows of doc.", name, nv*s.lanes(), w))
	accp, panel, doc, rows, dim := load64("acc"), load64("panel"), load64("doc"), load64("rows"), load64("dim")
	lda := GP64()
	MOVQ(dim, lda)
	SHLQ(Imm(2), lda)
	tall := s.maxRows()
	pf := GP64()
	Label("tall")
	CMPQ(rows, Imm(uint64(tall)))
	JLT(LabelRef("tail"))
	maxTile(s, label("t%d", tall), tall, nv, 4*w, doc, lda, panel, dim, accp, 4, pf, step)
	// doc += tall * lda
	for range tall / 4 {
		LEAQ(Mem{Base: doc, Index: lda, Scale: 4}, doc)
	}
	if tall%4 == 2 {
		LEAQ(Mem{Base: doc, Index: lda, Scale: 2}, doc)
	}
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
		maxTile(s, label("t%d", r), r, nv, 4*w, doc, lda, panel, dim, accp, 2, nil, step)
		if r+1 < tall {
			JMP(LabelRef("end"))
		}
	}
	Label("end")
	VZEROUPPER()
	RET()
}

// maxTile multiplies one tile and takes it into the running maxima.
func maxTile(s isa, name string, rows, nv, ldb int, doc, lda, panel, dim, accp GPVirtual, unroll int, pf GPVirtual, step func(*tile)) {
	t := newTile(s, rows, nv, ldb, doc, lda)
	step(t)
	var each func()
	if pf != nil {
		// The next tile begins three rows after the last row pointer's. rows * unroll * 4 bytes of it belong to one
		// unrolled step.
		LEAQ(Mem{Base: t.a[len(t.a)-1], Index: lda, Scale: 2}, pf)
		ADDQ(lda, pf)
		bytes := rows * unroll * 4
		each = func() {
			for d := 0; d < bytes; d += 64 {
				PREFETCHT0(Mem{Base: pf, Disp: d})
			}
			ADDQ(Imm(uint64(bytes)), pf)
		}
	}
	b, k := GP64(), GP64()
	MOVQ(panel, b)
	MOVQ(dim, k)
	t.loop(name, b, k, unroll, each)
	// They lie in memory: AVX2 has no register to spare for them during the loop.
	run := s.vs(nv)
	for i := range run {
		VMOVUPS(Mem{Base: accp, Disp: i * s.width()}, run[i])
	}
	for i, r := range t.acc {
		// The order of the operands matters: a NaN product leaves the maximum as it is.
		VMAXPS(run[i%nv], r, run[i%nv])
	}
	for i := range run {
		VMOVUPS(run[i], Mem{Base: accp, Disp: i * s.width()})
	}
}
