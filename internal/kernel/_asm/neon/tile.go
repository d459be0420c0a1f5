package main

import "fmt"

// The register tile: up to 4 rows of A by 16 columns of B, a quarter of a register file each for two rows' worth of
// accumulators; B has 64 bytes per step at any stride, A is read as it is. The same tile serves float32 (a step is one
// value of each row) and int8 (a step is 4 values).
const (
	tileRows = 4
	tileCols = 16
)

func acc(r, c int) vec  { return vec(4*r + c) }      // V0 to V15
func bReg(s, c int) vec { return vec(16 + 4*s + c) } // V16 to V23, in two sets
func aReg(r int) vec    { return vec(24 + r) }       // V24 to V27

// Registers of the tile: rows of A in R4 to R7, which are left behind the last step; B in rB, its stride in rLdb, the
// number of steps in rK. rSteps and rBp are overwritten.
const (
	rA     = gp(4)
	rB     = gp(1)
	rLdb   = gp(2)
	rK     = gp(3)
	rSteps = gp(8)
	rBp    = gp(9)
)

// flip, where it is not 0, is a register with which the bytes of A are exclusive-ored on the way.
const noFlip = vec(0)

// tile multiplies rows rows. The accumulators start at zero.
func (a *asm) tile(e element, rows int, flip vec) {
	four, rest, one, done := a.newLabel("four"), a.newLabel("rest"), a.newLabel("one"), a.newLabel("done")
	for r := range rows {
		for c := range 4 {
			a.zero(acc(r, c))
		}
	}
	a.op("MOVD %v, %v", rB, rBp)
	a.op("SUBS $4, %v, %v", rK, rSteps)
	a.op("BLT %s", rest)
	step := func(set, i int) {
		a.op("VLD1 (%v), [%v.S4, %v.S4, %v.S4, %v.S4]", rBp, bReg(set, 0), bReg(set, 1), bReg(set, 2), bReg(set, 3))
		a.op("ADD %v, %v", rLdb, rBp)
		for r := range rows {
			for c := range 4 {
				a.by(e, acc(r, c), bReg(set, c), aReg(r), i)
			}
		}
	}
	a.label(four)
	for r := range rows {
		a.op("FMOVQ.P 16(%v), F%d", rA+gp(r), int(aReg(r)))
		a.flip(aReg(r), flip)
	}
	for i := range 4 {
		step(i&1, i)
	}
	a.op("SUBS $4, %v, %v", rSteps, rSteps)
	a.op("BGE %s", four)
	a.label(rest)
	a.op("ADDS $4, %v, %v", rSteps, rSteps)
	a.op("BEQ %s", done)
	a.label(one)
	for r := range rows {
		a.op("FMOVS.P 4(%v), F%d", rA+gp(r), int(aReg(r)))
		a.flip(aReg(r), flip)
	}
	step(0, 0)
	a.op("SUBS $1, %v, %v", rSteps, rSteps)
	a.op("BNE %s", one)
	a.label(done)
}

func (a *asm) flip(v, by vec) {
	if by != noFlip {
		a.op("VEOR %v.B16, %v.B16, %v.B16", by, v, v)
	}
}

// byRows emits code for each number of rows up to a whole tile and jumps to it by the register rows.
func (a *asm) byRows(rows gp, body func(rows int)) {
	name := a.newLabel("rows")
	for n := tileRows; n > 1; n-- {
		a.op("CMP $%d, %v", n, rows)
		a.op("BGE %s_%d", name, n)
	}
	for n := 1; n <= tileRows; n++ {
		if n > 1 {
			a.label(fmt.Sprintf("%s_%d", name, n))
		}
		body(n)
	}
}

// rowPointers sets R5 to R7 from R4 and a stride in bytes.
func (a *asm) rowPointers(stride gp, rows int) {
	for r := 1; r < rows; r++ {
		a.op("ADD %v, %v, %v", stride, rA+gp(r-1), rA+gp(r))
	}
}

// store adds bias and addend, where they are not nil, to the scaled products of rows rows, and stores them at stride ldc.
func (a *asm) store(rows int, c, ldc, bias, add, ldadd gp) {
	nobias, noadd := a.newLabel("nobias"), a.newLabel("noadd")
	a.op("CBZ %v, %s", bias, nobias)
	a.op("VLD1 (%v), [V16.S4, V17.S4, V18.S4, V19.S4]", bias)
	for r := range rows {
		for j := range 4 {
			a.v3(faddV, acc(r, j), acc(r, j), vec(16+j))
		}
	}
	a.label(nobias)
	a.op("CBZ %v, %s", add, noadd)
	for r := range rows {
		a.op("VLD1 (%v), [V16.S4, V17.S4, V18.S4, V19.S4]", add)
		a.op("ADD %v, %v", ldadd, add)
		for j := range 4 {
			a.v3(faddV, acc(r, j), acc(r, j), vec(16+j))
		}
	}
	a.label(noadd)
	for r := range rows {
		a.op("VST1 [%v.S4, %v.S4, %v.S4, %v.S4], (%v)", acc(r, 0), acc(r, 1), acc(r, 2), acc(r, 3), c)
		if r+1 < rows {
			a.op("ADD %v, %v", ldc, c)
		}
	}
}

func genGemm(a *asm) {
	a.text("gemmTileNEON", "computes rows rows (1 to 4) by 16 columns of scale * A * B + bias + add; strides are in bytes, B's is 128; bias and add may be nil.",
		[]param{{"rows", "int"}, {"a", "*float32"}, {"lda", "int"}, {"b", "*float32"}, {"k", "int"}, {"c", "*float32"}, {"ldc", "int"},
			{"scale", "float32"}, {"bias", "*float32"}, {"add", "*float32"}, {"ldadd", "int"}}, "")
	rows, lda, c, ldc, bias, add, ldadd := gp(0), gp(10), gp(11), gp(12), gp(13), gp(14), gp(16)
	a.load("rows", rows)
	a.load("a", rA)
	a.load("lda", lda)
	a.load("b", rB)
	a.load("k", rK)
	a.load("c", c)
	a.load("ldc", ldc)
	a.load("bias", bias)
	a.load("add", add)
	a.load("ldadd", ldadd)
	a.op("MOVD $128, %v", rLdb)
	a.byRows(rows, func(n int) {
		a.rowPointers(lda, n)
		a.tile(fmlaE, n, noFlip)
		a.op("FMOVS %s, F24", a.params["scale"])
		for r := range n {
			for j := range 4 {
				a.by(fmulE, acc(r, j), acc(r, j), 24, 0)
			}
		}
		a.store(n, c, ldc, bias, add, ldadd)
		a.op("RET")
	})

	a.text("argMaxTileNEON", "keeps, for 4 rows of A and each of 16 lanes, the largest product so far and its column: cols columns (1 to 16) from base on are looked at; iota holds 0 to 15.",
		[]param{{"a", "*float32"}, {"lda", "int"}, {"b", "*float32"}, {"k", "int"}, {"base", "uint32"}, {"cols", "uint32"}, {"iota", "*uint32"}, {"best", "*float32"}, {"idx", "*uint32"}}, "")
	best, idx, iota := gp(11), gp(12), gp(13)
	a.load("a", rA)
	a.load("lda", lda)
	a.load("b", rB)
	a.load("k", rK)
	a.load("iota", iota)
	a.load("best", best)
	a.load("idx", idx)
	a.op("MOVD $128, %v", rLdb)
	a.rowPointers(lda, tileRows)
	a.tile(fmlaE, tileRows, noFlip)
	// V16 to V19: columns; V20 to V23: which of them count.
	a.op("VLD1 (%v), [V16.S4, V17.S4, V18.S4, V19.S4]", iota)
	a.loadU32("cols", 14)
	a.op("VDUP R14, V24.S4")
	a.loadU32("base", 14)
	a.op("VDUP R14, V25.S4")
	for j := range 4 {
		a.v3(cmhiV, vec(20+j), 24, vec(16+j))
		a.v3(addS, vec(16+j), vec(16+j), 25)
	}
	for r := range tileRows {
		for j := range 4 {
			off := 64*r + 16*j
			a.loadVec(best, off, 26)
			a.loadVec(idx, off, 27)
			a.v3(fcmgtV, 28, acc(r, j), 26)
			a.v3(andB, 28, 28, vec(20+j))
			a.v3(bitB, 26, acc(r, j), 28)
			a.v3(bitB, 27, vec(16+j), 28)
			a.storeVec(26, best, off)
			a.storeVec(27, idx, off)
		}
	}
	a.op("RET")
}

// best holds the running maxima of the 16 lanes: V28 to V31.
func best(c int) vec { return vec(28 + c) }

func genMaxSim(a *asm) {
	a.text("maxPanelNEON", "raises 16 lanes of acc to the largest product with any of rows > 0 rows of doc; ldb is the panel's stride in bytes.",
		[]param{{"acc", "*float32"}, {"panel", "*float32"}, {"ldb", "int"}, {"doc", "*float32"}, {"rows", "int"}, {"dim", "int"}}, "")
	accp, rows, stride := gp(0), gp(10), gp(11)
	a.load("acc", accp)
	a.load("panel", rB)
	a.load("ldb", rLdb)
	a.load("doc", rA)
	a.load("rows", rows)
	a.load("dim", rK)
	a.op("LSL $2, %v, %v", rK, stride)
	a.op("VLD1 (%v), [V28.S4, V29.S4, V30.S4, V31.S4]", accp)
	a.op("CMP $%d, %v", tileRows, rows)
	a.op("BLT maxsim_rest")
	a.label("maxsim_tile")
	take := func(n int) {
		a.rowPointers(stride, n)
		a.tile(fmlaE, n, noFlip)
		for r := range n {
			for c := range 4 {
				a.v3(fmaxnmV, best(c), best(c), acc(r, c)) // a NaN never wins
			}
		}
		// The next row begins where the last pointer ended.
		a.op("MOVD %v, %v", rA+gp(n-1), rA)
	}
	take(tileRows)
	a.op("SUB $%d, %v", tileRows, rows)
	a.op("CMP $%d, %v", tileRows, rows)
	a.op("BGE maxsim_tile")
	a.label("maxsim_rest")
	a.op("CBZ %v, maxsim_done", rows)
	a.byRows(rows, func(n int) {
		if n < tileRows {
			take(n)
			a.op("B maxsim_done")
		}
	})
	a.label("maxsim_done")
	a.op("VST1 [V28.S4, V29.S4, V30.S4, V31.S4], (%v)", accp)
	a.op("RET")
}
