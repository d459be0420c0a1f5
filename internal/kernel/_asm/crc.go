package main

import (
	"math/bits"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// genCRC writes the folding of CRC32C by carry-less products (Gopal, Ozturk et al., "Fast CRC Computation for Generic
// Polynomials Using PCLMULQDQ Instruction", Intel 2009), on four registers of 64 bytes.
func genCRC(s isa) {
	if s != avx512 {
		return
	}
	TEXT("crc32cAVX512", NOSPLIT, "func(p *byte, n int, state uint32) uint32")
	Pragma("noescape")
	Doc("crc32cAVX512 is the state of a CRC32C after n bytes at p; n is a multiple of 256, not 0.")
	p, n := load64("p"), load64("n")
	k, acc, hi := s.v(), s.vs(4), s.vs(4)
	start := XMM()
	VMOVD(Load(Param("state"), GP32()), start)
	for i := range acc {
		VMOVDQU64(Mem{Base: p, Disp: 64 * i}, acc[i])
	}
	VPXORQ(start.AsZ(), acc[0], acc[0])
	fold := func(acc, hi, next Op) {
		VPCLMULQDQ(Imm(0x11), k, acc, hi)
		VPCLMULQDQ(Imm(0x00), k, acc, acc)
		VPTERNLOGQ(Imm(0x96), next, hi, acc)
	}
	VBROADCASTI32X4(foldBy("foldBy256", 256), k)
	JMP(LabelRef("next"))
	Label("loop")
	for i := range acc {
		fold(acc[i], hi[i], Mem{Base: p, Disp: 64 * i})
	}
	Label("next")
	ADDQ(U32(256), p)
	SUBQ(U32(256), n)
	JNE(LabelRef("loop"))
	VBROADCASTI32X4(foldBy("foldBy64", 64), k)
	for i := range acc[1:] {
		fold(acc[i], hi[i], acc[i+1])
		acc[i+1] = acc[i]
	}
	// What is left has the same CRC, from state 0 on.
	rest, crc := AllocLocal(64), GP64()
	VMOVDQU64(acc[3], rest)
	VZEROUPPER()
	XORL(crc.As32(), crc.As32())
	for i := range 8 {
		CRC32Q(rest.Offset(8*i), crc)
	}
	Store(crc.As32(), ReturnIndex(0))
	RET()
}

// foldBy are the factors that move the two halves of 16 bytes so many bytes further on.
func foldBy(name string, distance int) Mem {
	m := GLOBL(name, RODATA|NOPTR)
	DATA(0, U64(crcPower(8*distance+32)))
	DATA(8, U64(crcPower(8*distance-32)))
	return m
}

// crcPower is x^n modulo CRC32C's polynomial, as a factor of numbers whose lowest bit is the highest power.
func crcPower(n int) uint64 {
	r := uint32(1)
	for range n {
		carry := r >> 31
		r = r<<1 ^ 0x1edc6f41*carry
	}
	return uint64(bits.Reverse32(r)) << 1
}
