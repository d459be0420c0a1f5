package main

import "fmt"

func genInteract(a *asm) {
	for _, lanes := range []int{16, 32, 64} {
		regs := lanes / 16
		a.text(fmt.Sprintf("interact%dNEON", lanes), fmt.Sprintf("raises the %d bytes of acc to those of the rows of n > 0 codes and returns their sum.", lanes),
			[]param{{"acc", "*uint8"}, {"table", "*uint8"}, {"stride", "int"}, {"codes", "*uint32"}, {"n", "int"}}, "uint32")
		accp, table, stride, codes, n := gp(0), gp(1), gp(2), gp(3), gp(4)
		a.load("acc", accp)
		a.load("table", table)
		a.load("stride", stride)
		a.load("codes", codes)
		a.load("n", n)
		for i := range regs {
			a.loadVec(accp, 16*i, vec(i))
		}
		loop := a.newLabel("code")
		a.label(loop)
		a.op("MOVWU.P 4(%v), R5", codes)
		a.op("MADD %v, %v, R5, R6", stride, table)
		for i := range regs {
			a.loadVec(6, 16*i, vec(8+i))
			a.v3(umaxB, vec(i), vec(i), vec(8+i))
		}
		a.op("SUBS $1, %v, %v", n, n)
		a.op("BNE %s", loop)
		a.op("MOVD $0, R6")
		for i := range regs {
			a.storeVec(vec(i), accp, 16*i)
			a.v2(uaddlv, 8, vec(i))
			a.op("VMOV V8.H[0], R5")
			a.op("ADD R5, R6")
		}
		a.retW(6)
	}

	a.text("maxU32NEON", "returns the largest of n > 0 values, n a multiple of 4.", []param{{"x", "*uint32"}, {"n", "int"}}, "uint32")
	a.load("x", 0)
	a.load("n", 1)
	a.zero(0)
	a.label("maxu32")
	a.op("FMOVQ.P 16(R0), F1")
	a.v3(umaxS, 0, 0, 1)
	a.op("SUBS $4, R1, R1")
	a.op("BNE maxu32")
	a.v2(umaxv, 0, 0)
	a.op("VMOV V0.S[0], R0")
	a.retW(0)
}
