package main

import "math"

// Element-wise kernels take a multiple of 4 values; the Go code around them pads what is left.

// consts hands out registers for constants, from V16 on.
type consts struct {
	a    *asm
	next vec
	have map[uint32]vec
}

func newConsts(a *asm) *consts { return &consts{a: a, next: 16, have: map[uint32]vec{}} }

func (c *consts) f32(f float64, name string) vec { return c.u32(math.Float32bits(float32(f)), name) }

func (c *consts) u32(u uint32, name string) vec {
	if v, ok := c.have[u]; ok {
		return v
	}
	if c.next > 31 {
		panic("too many constants")
	}
	v := c.next
	c.next++
	c.have[u] = v
	c.a.constU32(v, u, name)
	return v
}

// loop emits a loop over n values, 4 at a time, with the pointers advanced by body.
func (a *asm) loop(name string, n gp, body func()) {
	l := a.newLabel(name)
	a.label(l)
	body()
	a.op("SUBS $4, %v, %v", n, n)
	a.op("BNE %s", l)
}

func genVector(a *asm) {
	xn := []param{{"x", "*float32"}, {"n", "int"}}
	a.text("maxNEON", "returns the largest of n > 0 values, or NaN when there is one; n is a multiple of 4.", xn, "float32")
	a.load("x", 0)
	a.load("n", 1)
	a.constU32(0, 0xff800000, "-Inf")
	a.loop("max", 1, func() {
		a.op("FMOVQ.P 16(R0), F1")
		a.v3(fmaxV, 0, 0, 1)
	})
	a.v2(fmaxv, 0, 0)
	a.retF32(0)

	genExpSum(a)
	genGELU(a)

	a.text("scaleNEON", "multiplies n > 0 values by f; n is a multiple of 4.", append(xn, param{"f", "float32"}), "")
	a.load("x", 0)
	a.load("n", 1)
	a.loadF32("f", 0)
	a.loop("scale", 1, func() {
		a.loadVec(0, 0, 1)
		a.v3(fmulV, 1, 1, 0)
		a.op("FMOVQ.P F1, 16(R0)")
	})
	a.op("RET")

	a.text("dotNEON", "is the inner product of n > 0 values, a multiple of 4.", []param{{"a", "*float32"}, {"b", "*float32"}, {"n", "int"}}, "float32")
	a.load("a", 0)
	a.load("b", 1)
	a.load("n", 2)
	// Four chains while there are 16 values.
	for i := range 4 {
		a.zero(vec(i))
	}
	a.op("SUBS $16, R2, R2")
	a.op("BLT dot_rest")
	a.label("dot_many")
	a.op("VLD1.P 64(R0), [V4.S4, V5.S4, V6.S4, V7.S4]")
	a.op("VLD1.P 64(R1), [V16.S4, V17.S4, V18.S4, V19.S4]")
	for i := range 4 {
		a.v3(fmlaV, vec(i), vec(4+i), vec(16+i))
	}
	a.op("SUBS $16, R2, R2")
	a.op("BGE dot_many")
	a.label("dot_rest")
	a.op("ADDS $16, R2, R2")
	a.op("BEQ dot_done")
	a.loop("dot", 2, func() {
		a.op("FMOVQ.P 16(R0), F4")
		a.op("FMOVQ.P 16(R1), F5")
		a.v3(fmlaV, 0, 4, 5)
	})
	a.label("dot_done")
	a.sum(4)
	a.retF32(0)

	a.text("squaresNEON", "is the sum of (x - mean)^2 of n > 0 values, a multiple of 4.", append(xn, param{"mean", "float32"}), "float32")
	a.load("x", 0)
	a.load("n", 1)
	a.loadF32("mean", 2)
	a.zero(0)
	a.loop("squares", 1, func() {
		a.op("FMOVQ.P 16(R0), F1")
		a.v3(fsubV, 1, 1, 2)
		a.v3(fmlaV, 0, 1, 1)
	})
	a.sum(1)
	a.retF32(0)

	a.text("sumNEON", "is the sum of n > 0 values, a multiple of 4.", xn, "float32")
	a.load("x", 0)
	a.load("n", 1)
	a.zero(0)
	a.loop("sum", 1, func() {
		a.op("FMOVQ.P 16(R0), F1")
		a.v3(faddV, 0, 0, 1)
	})
	a.sum(1)
	a.retF32(0)

	a.text("normNEON", "writes (x - mean) * inv * gamma + beta of n > 0 values, a multiple of 4; beta may be nil.",
		[]param{{"dst", "*float32"}, {"x", "*float32"}, {"gamma", "*float32"}, {"beta", "*float32"}, {"n", "int"}, {"mean", "float32"}, {"inv", "float32"}}, "")
	for i, p := range []string{"dst", "x", "gamma", "beta", "n"} {
		a.load(p, gp(i))
	}
	a.loadF32("mean", 4)
	a.loadF32("inv", 5)
	a.zero(6)
	a.loop("norm", 4, func() {
		nobeta := a.newLabel("nobeta")
		a.op("FMOVQ.P 16(R1), F0")
		a.op("FMOVQ.P 16(R2), F1")
		a.v3(fsubV, 0, 0, 4)
		a.v3(fmulV, 0, 0, 5)
		a.op("CBZ R3, %s", nobeta)
		a.op("FMOVQ.P 16(R3), F6")
		a.label(nobeta)
		a.v2(moveAll, 2, 6)
		a.v3(fmlaV, 2, 0, 1)
		a.op("FMOVQ.P F2, 16(R0)")
	})
	a.op("RET")
}

// sum adds the lanes of V0 and up, n registers of them, into the first lane of V0.
func (a *asm) sum(n int) {
	for ; n > 1; n /= 2 {
		for i := range n / 2 {
			a.v3(faddV, vec(i), vec(i), vec(n/2+i))
		}
	}
	a.v3(faddpV, 0, 0, 0)
	a.v3(faddpV, 0, 0, 0)
}

// genExpSum is the middle part of a softmax: the same steps as expNeg of the Go code, four at a time.
func genExpSum(a *asm) {
	a.text("expSumNEON", "replaces n > 0 values by exp(x - top), top being the largest, and returns their sum; n is a multiple of 4.",
		[]param{{"x", "*float32"}, {"n", "int"}, {"top", "float32"}}, "float32")
	a.load("x", 0)
	a.load("n", 1)
	a.loadF32("top", 15)
	c := newConsts(a)
	log2e, hi, lo := c.f32(1.44269504088896341, "log2 e"), c.f32(0.693359375, "ln 2, high part"), c.f32(-2.12194440e-4, "ln 2, low part")
	var poly []vec
	for _, f := range []float64{1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1} {
		poly = append(poly, c.f32(f, "coefficient"))
	}
	one, bias, least := c.f32(1, "1"), c.u32(127, "exponent bias"), c.f32(-87.3, "below this exp is 0")
	a.zero(0)
	a.loop("exp", 1, func() {
		x, n, r, p, t := vec(1), vec(2), vec(3), vec(4), vec(5)
		a.loadVec(0, 0, x)
		a.v3(fsubV, x, x, 15)
		a.v3(fmulV, n, x, log2e)
		a.v2(frintn, n, n)
		a.v2(moveAll, r, x)
		a.v3(fmlsV, r, n, hi)
		a.v3(fmlsV, r, n, lo)
		a.v2(moveAll, p, poly[0])
		for _, k := range poly[1:] {
			a.v2(moveAll, t, k)
			a.v3(fmlaV, t, p, r)
			p, t = t, p
		}
		a.v3(fmulV, 6, r, r)
		a.v3(fmlaV, r, p, 6)
		a.v3(faddV, r, r, one)
		a.v2(fcvtns, n, n)
		a.v3(addS, n, n, bias)
		a.v2(shl23, n, n)
		a.v3(fmulV, r, r, n)
		// 0 where x < least; a NaN is not less and stays.
		a.v3(fcmgtV, t, least, x)
		a.zero(6)
		a.v3(bitB, r, 6, t)
		a.op("FMOVQ.P F%d, 16(R0)", int(r))
		a.v3(faddV, 0, 0, r)
	})
	a.sum(1)
	a.retF32(0)
}

// genGELU uses the error function as z * P(z^2) / Q(z^2) for |z| <= 4, the approximation of Eigen and XLA, as the amd64
// kernels do.
func genGELU(a *asm) {
	a.text("geluNEON", "is GELU of n > 0 values, a multiple of 4.", []param{{"x", "*float32"}, {"n", "int"}}, "")
	a.load("x", 0)
	a.load("n", 1)
	c := newConsts(a)
	var p, q []vec
	for _, f := range []float64{-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02} {
		p = append(p, c.f32(f, "P"))
	}
	for _, f := range []float64{-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02} {
		q = append(q, c.f32(f, "Q"))
	}
	half, sqrtHalf, four := c.f32(0.5, "1/2"), c.f32(0.70710678118654752, "1/sqrt 2"), c.f32(4, "4")
	minusFour := vec(15)
	a.constU32(minusFour, math.Float32bits(-4), "-4")
	one, minusOne := vec(14), vec(13)
	a.constU32(one, math.Float32bits(1), "1")
	a.constU32(minusOne, math.Float32bits(-1), "-1")
	a.loop("gelu", 1, func() {
		x, h, z, z2, t := vec(0), vec(1), vec(2), vec(3), vec(4)
		a.loadVec(0, 0, x)
		a.v3(fmulV, h, x, half)
		a.v3(fmulV, z, x, sqrtHalf)
		a.v3(fminV, z, z, four)
		a.v3(fmaxV, z, z, minusFour)
		a.v3(fmulV, z2, z, z)
		horner := func(k []vec, u, v vec) vec {
			a.v2(moveAll, u, k[0])
			for _, c := range k[1:] {
				a.v2(moveAll, v, c)
				a.v3(fmlaV, v, u, z2)
				u, v = v, u
			}
			return u
		}
		pp := horner(p, t, 5)
		qq := horner(q, 6, 7)
		a.v3(fmulV, pp, pp, z)
		a.v3(fdivV, pp, pp, qq)
		a.v3(fminV, pp, pp, one)
		a.v3(fmaxV, pp, pp, minusOne)
		a.v2(moveAll, x, h)
		a.v3(fmlaV, x, h, pp)
		a.op("FMOVQ.P F0, 16(R0)")
	})
	a.op("RET")
}

func genConvert(a *asm) {
	a.text("f16ToF32NEON", "widens n > 0 values, a multiple of 8.", []param{{"dst", "*float32"}, {"src", "*uint16"}, {"n", "int"}}, "")
	a.load("dst", 0)
	a.load("src", 1)
	a.load("n", 2)
	a.label("widen")
	a.op("FMOVQ.P 16(R1), F0")
	a.v2(fcvtl, 1, 0)
	a.v2(fcvtl2, 2, 0)
	a.op("VST1.P [V1.S4, V2.S4], 32(R0)")
	a.op("SUBS $8, R2, R2")
	a.op("BNE widen")
	a.op("RET")

	a.text("f32ToF16NEON", "narrows n > 0 values, a multiple of 8.", []param{{"dst", "*uint16"}, {"src", "*float32"}, {"n", "int"}}, "")
	a.load("dst", 0)
	a.load("src", 1)
	a.load("n", 2)
	a.label("narrow")
	a.op("VLD1.P 32(R1), [V1.S4, V2.S4]")
	a.v2(fcvtn, 0, 1)
	a.v2(fcvtn2, 0, 2)
	a.op("FMOVQ.P F0, 16(R0)")
	a.op("SUBS $8, R2, R2")
	a.op("BNE narrow")
	a.op("RET")
}

// peakChains is the number of independent chains of the peak loop.
const peakChains = 16

func genPeak(a *asm) {
	a.text("peakFMANEON", "runs n > 0 rounds of 16 independent FMAs of 4 lanes on registers.", []param{{"n", "int"}}, "")
	a.load("n", 0)
	for i := range peakChains + 2 {
		a.zero(vec(i))
	}
	a.label("peak")
	for i := range peakChains {
		a.v3(fmlaV, vec(i), 16, 17)
	}
	a.op("SUBS $1, R0, R0")
	a.op("BNE peak")
	a.op("RET")
}
