package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func genConvert(s isa) {
	TEXT("f16ToF32"+s.String(), NOSPLIT, "func(dst *float32, src *uint16, n int)")
	Pragma("noescape")
	Doc(label("f16ToF32%s converts n > 0 values, a multiple of %d.", s, s.lanes()))
	dst, src, n := load64("dst"), load64("src"), load64("n")
	Label("loop")
	v := s.v()
	VCVTPH2PS(Mem{Base: src}, v)
	VMOVUPS(v, Mem{Base: dst})
	ADDQ(Imm(uint64(s.width()/2)), src)
	ADDQ(Imm(uint64(s.width())), dst)
	SUBQ(Imm(uint64(s.lanes())), n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()

	TEXT("f32ToF16"+s.String(), NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Pragma("noescape")
	Doc(label("f32ToF16%s converts n > 0 values, a multiple of %d, rounding to nearest even.", s, s.lanes()))
	dst, src, n = load64("dst"), load64("src"), load64("n")
	Label("loop")
	v = s.v()
	VMOVUPS(Mem{Base: src}, v)
	VCVTPS2PH(Imm(0), v, Mem{Base: dst})
	ADDQ(Imm(uint64(s.width())), src)
	ADDQ(Imm(uint64(s.width()/2)), dst)
	SUBQ(Imm(uint64(s.lanes())), n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
