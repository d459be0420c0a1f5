package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func genMaxSim(s isa) {
	if s == avx512 {
		genMaxPanel(s, "W32", 32, 2)
		genMaxPanel(s, "W16", 16, 1)
		return
	}
	genMaxPanel(s, "W32", 32, 2)
	genMaxPanel(s, "W16", 16, 2)
}

// genMaxPanel writes MaxSim for nv registers of lanes of a panel of w lanes. It reads a document in tiles of rows and
// prefetches the next tile: twelve row streams are too many for the hardware prefetcher, and without it a document
// that is not in cache costs twice the time.
func genMaxPanel(s isa, suffix string, w, nv int) {
	name := "maxPanel" + suffix + s.String()
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
	maxTile(s, label("t%d", tall), tall, nv, 4*w, doc, lda, panel, dim, accp, 4, pf)
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
		maxTile(s, label("t%d", r), r, nv, 4*w, doc, lda, panel, dim, accp, 2, nil)
		if r+1 < tall {
			JMP(LabelRef("end"))
		}
	}
	Label("end")
	VZEROUPPER()
	RET()
}

// maxTile multiplies one tile and takes it into the running maxima.
func maxTile(s isa, name string, rows, nv, ldb int, doc, lda, panel, dim, accp GPVirtual, unroll int, pf GPVirtual) {
	t := newTile(s, rows, nv, ldb, doc, lda)
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
