package main

// genGemmInt8 is the tile of products of bytes (unsigned, of activations) with int8 weights. SDOT wants both signed: the
// bytes' top bits are turned, which takes 128 off each, and 128 times the sum of the weights is added again, together
// with what the zero point takes off: all exact.
func genGemmInt8(a *asm) {
	a.text("gemmTileInt8Dot", "computes rows rows (1 to 4) by 16 columns of (A * B - zero * sum) * rowScale * scale + bias + add for bytes A and int8 B; units are 4 values of k, strides are in bytes, B's is 128; less holds 128 - zero of each row; bias and add may be nil.",
		[]param{{"rows", "int"}, {"a", "*uint32"}, {"lda", "int"}, {"b", "*uint32"}, {"units", "int"}, {"c", "*float32"}, {"ldc", "int"},
			{"less", "*int32"}, {"rowScale", "*float32"}, {"sum", "*int32"}, {"scale", "*float32"}, {"bias", "*float32"}, {"add", "*float32"}, {"ldadd", "int"}}, "")
	rows, lda, c, ldc, less, rowScale, sum, scale, bias, add, ldadd := gp(0), gp(10), gp(11), gp(12), gp(13), gp(14), gp(16), gp(17), gp(19), gp(20), gp(21)
	a.load("rows", rows)
	a.load("a", rA)
	a.load("lda", lda)
	a.load("b", rB)
	a.load("units", rK)
	a.load("c", c)
	a.load("ldc", ldc)
	a.load("less", less)
	a.load("rowScale", rowScale)
	a.load("sum", sum)
	a.load("scale", scale)
	a.load("bias", bias)
	a.load("add", add)
	a.load("ldadd", ldadd)
	a.op("MOVD $128, %v", rLdb)
	a.op("VMOVI $128, V28.B16")
	a.byRows(rows, func(n int) {
		a.rowPointers(lda, n)
		a.tile(sdotE, n, 28)
		a.op("VLD1 (%v), [V16.S4, V17.S4, V18.S4, V19.S4]", sum)
		a.op("VLD1 (%v), [V20.S4, V21.S4, V22.S4, V23.S4]", scale)
		for r := range n {
			a.op("MOVW.P 4(%v), R15", less)
			a.op("VDUP R15, V24.S4")
			a.op("FMOVS.P 4(%v), F25", rowScale)
			for j := range 4 {
				v := acc(r, j)
				a.v3(mlaS, v, vec(16+j), 24)
				a.v2(scvtf, v, v)
				a.by(fmulE, v, v, 25, 0)
				a.v3(fmulV, v, v, vec(20+j))
			}
		}
		a.store(n, c, ldc, bias, add, ldadd)
		a.op("RET")
	})
}
