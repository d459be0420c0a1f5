package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// peakChains is the number of independent FMA chains of the peak loop.
const peakChains = 12

func genPeak(s isa) {
	TEXT("peakFMA"+s.String(), NOSPLIT, "func(n int)")
	Doc(label("peakFMA%s runs n > 0 rounds of %d independent FMAs of %d lanes on registers.", s, peakChains, s.lanes()))
	n := load64("n")
	acc := s.zeros(peakChains)
	x, y := s.v(), s.v()
	s.zero(x)
	s.zero(y)
	Label("loop")
	for _, r := range acc {
		VFMADD231PS(x, y, r)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	VZEROUPPER()
	RET()
}
