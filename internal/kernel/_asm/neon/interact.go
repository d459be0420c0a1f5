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

	a.text("raiseU8NEON", "raises the rows of acc, lanes bytes each, of n > 0 ords to those of row; numbers are taken less first, and those from rows on are passed over.",
		[]param{{"acc", "*uint8"}, {"lanes", "int"}, {"first", "uint32"}, {"rows", "uint32"}, {"ords", "*uint32"}, {"n", "int"}, {"row", "*uint8"}}, "")
	a.load("acc", 0)
	a.load("lanes", 1)
	a.loadU32("first", 2)
	a.loadU32("rows", 3)
	a.load("ords", 4)
	a.load("n", 5)
	a.load("row", 6)
	a.label("raise")
	a.op("MOVWU.P 4(R4), R7")
	a.op("SUBW R2, R7, R7")
	a.op("CMPW R3, R7")
	a.op("BHS raise_next")
	a.op("MOVWU R7, R7")
	a.op("MADD R1, R0, R7, R8") // acc + ord*lanes
	a.op("MOVD R6, R9")
	a.op("MOVD R1, R10")
	a.label("raise_part")
	a.op("FMOVQ.P 16(R9), F0")
	a.loadVec(8, 0, 1)
	a.v3(umaxB, 0, 0, 1)
	a.op("FMOVQ.P F0, 16(R8)")
	a.op("SUBS $16, R10, R10")
	a.op("BNE raise_part")
	a.label("raise_next")
	a.op("SUBS $1, R5, R5")
	a.op("BNE raise")
	a.op("RET")

	a.text("sumRowsU8NEON", "writes the sums of n > 0 rows of lanes bytes.",
		[]param{{"dst", "*uint32"}, {"acc", "*uint8"}, {"lanes", "int"}, {"n", "int"}}, "")
	a.load("dst", 0)
	a.load("acc", 1)
	a.load("lanes", 2)
	a.load("n", 3)
	a.label("sumrow")
	a.op("MOVD $0, R4")
	a.op("MOVD R2, R5")
	a.label("sumrow_part")
	a.op("FMOVQ.P 16(R1), F0")
	a.v2(uaddlv, 0, 0)
	a.op("VMOV V0.H[0], R6")
	a.op("ADD R6, R4")
	a.op("SUBS $16, R5, R5")
	a.op("BNE sumrow_part")
	a.op("MOVW.P R4, 4(R0)")
	a.op("SUBS $1, R3, R3")
	a.op("BNE sumrow")
	a.op("RET")

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
