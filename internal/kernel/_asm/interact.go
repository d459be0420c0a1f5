package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func genInteract(s isa) {
	// One function per number of bytes of the register: 16, 32 and, with AVX-512, 64 lanes at a time.
	if s == avx2 {
		genInteractWidth(s, 16)
		genInteractWidth(s, 32)
	} else {
		genInteractWidth(s, 64)
	}
	genMaxU32(s)
}

func genInteractWidth(s isa, width int) {
	name := label("interact%d%s", width, s)
	TEXT(name, NOSPLIT, "func(acc *uint8, table *uint8, stride int, codes *uint32, n int) uint32")
	Pragma("noescape")
	Doc(label("%s raises %d running maxima at acc to the bytes at table + code*stride for n codes and returns their sum.", name, width))
	accp, table, stride := load64("acc"), load64("table"), load64("stride")
	codes, n := load64("codes"), load64("n")
	reg := func() VecVirtual {
		switch width {
		case 16:
			return XMM()
		case 32:
			return YMM()
		}
		return ZMM()
	}
	load := func(m Mem, r VecVirtual) {
		if width == 64 {
			VMOVDQU8(m, r)
		} else {
			VMOVDQU(m, r)
		}
	}
	// Four maxima at a time: the loads are what takes time, and they are independent.
	acc := make([]VecVirtual, 4)
	for i := range acc {
		acc[i] = reg()
		if i == 0 {
			load(Mem{Base: accp}, acc[0])
		} else if width == 64 {
			VPXORD(acc[i], acc[i], acc[i])
		} else {
			VPXOR(acc[i], acc[i], acc[i])
		}
	}
	one := func(i int) {
		c := GP64()
		MOVL(Mem{Base: codes, Disp: 4 * i}, c.As32())
		IMULQ(stride, c)
		VPMAXUB(Mem{Base: table, Index: c, Scale: 1}, acc[i], acc[i])
	}
	SUBQ(Imm(4), n)
	JLT(LabelRef("rest"))
	Label("loop")
	for i := range acc {
		one(i)
	}
	ADDQ(Imm(16), codes)
	SUBQ(Imm(4), n)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(Imm(4), n)
	JE(LabelRef("sum"))
	Label("single")
	one(0)
	ADDQ(Imm(4), codes)
	DECQ(n)
	JNE(LabelRef("single"))
	Label("sum")
	VPMAXUB(acc[1], acc[0], acc[0])
	VPMAXUB(acc[3], acc[2], acc[2])
	VPMAXUB(acc[2], acc[0], acc[0])
	if width == 64 {
		VMOVDQU8(acc[0], Mem{Base: accp})
	} else {
		VMOVDQU(acc[0], Mem{Base: accp})
	}
	zero := reg()
	if width == 64 {
		VPXORD(zero, zero, zero)
	} else {
		VPXOR(zero, zero, zero)
	}
	VPSADBW(zero, acc[0], acc[0])
	if width == 64 {
		h := YMM()
		VEXTRACTI64X4(Imm(1), acc[0], h)
		VPADDQ(h, acc[0].AsY(), acc[0].AsY())
	}
	if width >= 32 {
		h := XMM()
		VEXTRACTI128(Imm(1), acc[0].AsY(), h)
		VPADDQ(h, acc[0].AsX(), acc[0].AsX())
	}
	h, r := XMM(), GP32()
	VPSRLDQ(Imm(8), acc[0].AsX(), h)
	VPADDQ(h, acc[0].AsX(), acc[0].AsX())
	VMOVD(acc[0].AsX(), r)
	Store(r, ReturnIndex(0))
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
	r := s.reduce(top, func(a, b, c Op) { VPMAXUD(a, b, c) })
	out := GP32()
	VMOVD(r.AsX(), out)
	Store(out, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
