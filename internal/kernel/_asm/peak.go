package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// peakChains is the number of independent FMA chains of the peak loop.
const peakChains = 12

func genPeak(s isa) {
	genPeakLoop(s, "peakFMA"+s.String(), "FMAs", func(x, y, r VecVirtual) { VFMADD231PS(x, y, r) })
	if s == avx512 {
		dot := func(x, y, r VecVirtual) { VPDPBUSD(x, y, r) }
		genPeakLoop(s, "peakBF16AVX512", "VDPBF16PS", dot)
		genPeakLoop(s, "peakInt8AVX512", "VPDPBUSD", dot)
	}
}

func genPeakLoop(s isa, name, what string, op func(x, y, r VecVirtual)) {
	TEXT(name, NOSPLIT, "func(n int)")
	Doc(label("%s runs n > 0 rounds of %d independent %s of %d lanes on registers.", name, peakChains, what, s.lanes()))
	n := load64("n")
	acc := s.zeros(peakChains)
	x, y := s.v(), s.v()
	s.zero(x)
	s.zero(y)
	Label("loop")
	for _, r := range acc {
		op(x, y, r)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
