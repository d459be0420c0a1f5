package main

import "fmt"

func genResidual(a *asm) {
	a.text("residualPanelDot", "raises 16 lanes of acc to the scores of rows > 0 tokens: (scale * product + unit * base) * inv, the product being that of int8 rows; ldpanel and ldbase are strides in bytes.",
		[]param{{"acc", "*float32"}, {"panel", "*int8"}, {"ldpanel", "int"}, {"doc", "*uint8"}, {"rows", "int"}, {"groups", "int"},
			{"scale", "*float32"}, {"base", "*int16"}, {"unit", "*float32"}, {"ldbase", "int"}, {"codes", "*uint32"}, {"inv", "*float32"}}, "")
	accp, rows, stride, scale, base, ldbase, codes, inv := gp(0), gp(10), gp(11), gp(12), gp(13), gp(14), gp(16), gp(17)
	a.load("acc", accp)
	a.load("panel", rB)
	a.load("ldpanel", rLdb)
	a.load("doc", rA)
	a.load("rows", rows)
	a.load("groups", rK)
	a.load("scale", scale)
	a.load("base", base)
	a.load("ldbase", ldbase)
	a.load("codes", codes)
	a.load("inv", inv)
	a.op("LSL $2, %v, %v", rK, stride)
	a.op("VLD1 (%v), [V28.S4, V29.S4, V30.S4, V31.S4]", accp)
	a.op("CMP $%d, %v", tileRows, rows)
	a.op("BLT residual_rest")
	a.label("residual_tile")
	take := func(n int) {
		a.rowPointers(stride, n)
		a.tile(sdotE, n, noFlip)
		a.op("MOVD %v, %v", rA+gp(n-1), rA)
		a.op("VLD1 (%v), [V20.S4, V21.S4, V22.S4, V23.S4]", scale)
		for r := range n {
			a.op("MOVWU.P 4(%v), R8", codes)
			a.op("MUL %v, R8, R8", ldbase)
			a.op("ADD %v, R8, R8", base)
			a.op("VLD1 (R8), [V18.H8, V19.H8]")
			a.v2(sxtl, 16, 18)
			a.v2(sxtl2, 17, 18)
			a.v2(sxtl, 18, 19)
			a.v2(sxtl2, 19, 19)
			a.load("unit", 8)
			for c := range 4 {
				a.loadVec(8, 16*c, 25)
				a.v2(scvtf, vec(16+c), vec(16+c))
				a.v3(fmulV, vec(16+c), vec(16+c), 25)
			}
			a.op("FMOVS.P 4(%v), F24", inv)
			for c := range 4 {
				v := acc(r, c)
				a.v2(scvtf, v, v)
				a.v3(fmulV, v, v, vec(20+c))
				a.v3(faddV, v, v, vec(16+c))
				a.by(fmulE, v, v, 24, 0)
				a.v3(fmaxnmV, best(c), best(c), v)
			}
		}
	}
	take(tileRows)
	a.op("SUB $%d, %v", tileRows, rows)
	a.op("CMP $%d, %v", tileRows, rows)
	a.op("BGE residual_tile")
	a.label("residual_rest")
	a.op("CBZ %v, residual_done", rows)
	a.byRows(rows, func(n int) {
		if n < tileRows {
			take(n)
			a.op("B residual_done")
		}
	})
	a.label("residual_done")
	a.op("VST1 [V28.S4, V29.S4, V30.S4, V31.S4], (%v)", accp)
	a.op("RET")

	for _, nbits := range []int{1, 2, 4} {
		genDecode(a, nbits)
	}
}

// genDecode looks the fields of 16 packed bytes up at a time. Where the bytes of a row do not fill whole registers the
// last ones overlap those before.
func genDecode(a *asm, nbits int) {
	name := fmt.Sprintf("decode%dNEON", nbits)
	a.text(name, fmt.Sprintf("is Levels.decode for %d bits and rows of at least 16 bytes.", nbits),
		[]param{{"dst", "*uint8"}, {"stride", "int"}, {"src", "*uint8"}, {"rowBytes", "int"}, {"rows", "int"}, {"table", "*uint8"}}, "")
	dst, stride, src, rb, rows, table, at, out, last := gp(0), gp(1), gp(2), gp(3), gp(4), gp(5), gp(6), gp(7), gp(8)
	a.load("dst", dst)
	a.load("stride", stride)
	a.load("src", src)
	a.load("rowBytes", rb)
	a.load("rows", rows)
	a.load("table", table)
	perNibble := 4 / nbits
	for f := range perNibble {
		a.loadVec(table, 32*f, vec(16+f))
	}
	a.op("VMOVI $15, V20.B16")
	a.op("SUB $16, %v, %v", rb, last)
	row, part, again, next := a.newLabel("row"), a.newLabel("part"), a.newLabel("again"), a.newLabel("next")
	a.label(row)
	a.op("MOVD $0, %v", at)
	a.label(part)
	a.op("ADD %v, %v, R9", src, at)
	a.loadVec(9, 0, 0)
	a.v2(ushr4, 1, 0)
	a.v3(andB, 0, 0, 20)
	a.op("ADD %v, %v, %v", dst, at, out)
	for half := range 2 {
		for f := range perNibble {
			a.v3(tblB, 2, vec(16+f), vec(1-half))
			a.storeVec(2, out, 0)
			if half*perNibble+f+1 < 2*perNibble {
				a.op("ADD %v, %v", rb, out)
			}
		}
	}
	a.op("ADD $16, %v", at)
	a.op("CMP %v, %v", last, at)
	a.op("BLE %s", part)
	// at is past the last whole part: done when that was the end, else once more from the last possible place.
	a.label(again)
	a.op("CMP %v, %v", rb, at)
	a.op("BGE %s", next)
	a.op("MOVD %v, %v", last, at)
	a.op("B %s", part)
	a.label(next)
	a.op("ADD %v, %v", rb, src)
	a.op("ADD %v, %v", stride, dst)
	a.op("SUBS $1, %v, %v", rows, rows)
	a.op("BNE %s", row)
	a.op("RET")
}
