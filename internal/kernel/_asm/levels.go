package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func genLevels(s isa) {
	if s == avx2 { // left to the compiler
		return
	}
	for _, nbits := range []int{1, 2, 4} {
		genAddLevels(nbits)
	}
}

// genAddLevels writes the decoder of a row of fields of nbits bits to float32, 16 at a time: the bytes that hold them
// are broadcast, each field's byte is moved to its lane and shifted, and what is above the field does not matter,
// because the table repeats itself.
func genAddLevels(nbits int) {
	name := label("addLevels%dAVX512", nbits)
	TEXT(name, NOSPLIT, "func(dst *float32, cent *float32, src *uint8, n int, scale float32, table *float32, place *uint8, shift *uint32)")
	Pragma("noescape")
	Doc(label("%s sets n > 0 values, a multiple of 16, to cent + scale * table[field].", name))
	dst, cent, src, n := load64("dst"), load64("cent"), load64("src"), load64("n")
	table, place, shift := load64("table"), load64("place"), load64("shift")
	f, tab, pl, sh := ZMM(), ZMM(), ZMM(), ZMM()
	avx512.broadcast("scale", f)
	VMOVUPS(Mem{Base: table}, tab)
	VMOVDQU8(Mem{Base: place}, pl)
	VMOVDQU32(Mem{Base: shift}, sh)
	Label("loop")
	x := ZMM()
	switch nbits {
	case 1:
		VPBROADCASTW(Mem{Base: src}, x)
	case 2:
		VPBROADCASTD(Mem{Base: src}, x)
	case 4:
		VPBROADCASTQ(Mem{Base: src}, x)
	}
	VPSHUFB(pl, x, x)
	VPSRLVD(sh, x, x)
	VPERMPS(tab, x, x)
	VMULPS(f, x, x) // unfused, as in the generic code
	VADDPS(Mem{Base: cent}, x, x)
	VMOVUPS(x, Mem{Base: dst})
	ADDQ(Imm(uint64(2*nbits)), src)
	ADDQ(Imm(64), cent)
	ADDQ(Imm(64), dst)
	SUBQ(Imm(16), n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
