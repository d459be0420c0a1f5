package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func genVector(s isa) {
	genSoftmax(s)
	genGELU(s)
	genSwish(s)
	genExp(s)
	genLayerNorm(s)
	genDot(s)
	genScale(s)
}

// stream emits a loop over vectors of n float32: unrolled, then one by one, then the tail under a mask. body gets the
// number of the copy within the unrolled loop (0 outside of it), the displacement from the pointers, and the mask, nil
// for whole vectors. It changes n and the pointers.
func (s isa) stream(name string, n GPVirtual, unroll int, ptrs []GPVirtual, body func(copy, disp int, m *mask)) {
	one, tail, done := name+"_one", name+"_tail", name+"_done"
	if unroll > 1 {
		SUBQ(Imm(uint64(unroll*s.lanes())), n)
		JLT(LabelRef(one))
		Label(name + "_many")
		for u := range unroll {
			body(u, u*s.width(), nil)
		}
		for _, p := range ptrs {
			ADDQ(I32(int32(unroll*s.width())), p)
		}
		SUBQ(Imm(uint64(unroll*s.lanes())), n)
		JGE(LabelRef(name + "_many"))
		Label(one)
		ADDQ(Imm(uint64(unroll*s.lanes())), n)
	}
	SUBQ(Imm(uint64(s.lanes())), n)
	JLT(LabelRef(tail))
	Label(name + "_single")
	body(0, 0, nil)
	for _, p := range ptrs {
		ADDQ(Imm(uint64(s.width())), p)
	}
	SUBQ(Imm(uint64(s.lanes())), n)
	JGE(LabelRef(name + "_single"))
	Label(tail)
	ADDQ(Imm(uint64(s.lanes())), n)
	JE(LabelRef(done))
	m := s.newMask(n, 1)
	body(0, 0, &m)
	Label(done)
}

// get loads a vector, whole or masked; put stores one.
func (s isa) get(p GPVirtual, disp int, m *mask) VecVirtual {
	r := s.v()
	if m == nil {
		VMOVUPS(Mem{Base: p, Disp: disp}, r)
	} else {
		m.load(0, Mem{Base: p, Disp: disp}, r)
	}
	return r
}

func (s isa) put(r VecVirtual, p GPVirtual, disp int, m *mask) {
	if m == nil {
		VMOVUPS(r, Mem{Base: p, Disp: disp})
	} else {
		m.store(0, r, Mem{Base: p, Disp: disp})
	}
}

func again(r GPVirtual) GPVirtual {
	c := GP64()
	MOVQ(r, c)
	return c
}

// round is to the nearest integer, ties to even.
func (s isa) round(src, dst VecVirtual) {
	if s == avx512 {
		VRNDSCALEPS(Imm(8), src, dst)
	} else {
		VROUNDPS(Imm(8), src, dst)
	}
}

// expNeg replaces x by exp(x), for x <= 0; under -87.3 it is 0. NaN stays.
func (s isa) expNeg(x VecVirtual) {
	n, r, p, r2 := s.v(), s.v(), s.v(), s.v()
	VMULPS(constF32("expLog2E", 1.44269504088896341), x, n)
	s.round(n, n)
	VMOVAPS(x, r)
	VFNMADD231PS(constF32("expLn2Hi", 0.693359375), n, r)
	VFNMADD231PS(constF32("expLn2Lo", -2.12194440e-4), n, r)
	VMOVUPS(constF32("expC0", 1.9875691500e-4), p)
	VFMADD213PS(constF32("expC1", 1.3981999507e-3), r, p)
	VFMADD213PS(constF32("expC2", 8.3334519073e-3), r, p)
	VFMADD213PS(constF32("expC3", 4.1665795894e-2), r, p)
	VFMADD213PS(constF32("expC4", 1.6666665459e-1), r, p)
	VFMADD213PS(constF32("expC5", 5.0000001201e-1), r, p)
	VMULPS(r, r, r2)
	VFMADD213PS(r, r2, p) // p*r^2 + r
	VADDPS(constF32("one", 1), p, p)
	VCVTPS2DQ(n, n)
	VPADDD(constU32("expBias", 127), n, n)
	VPSLLD(Imm(23), n, n)
	VMULPS(n, p, p)
	// Not less than the minimum, or NaN.
	if s == avx512 {
		k := K()
		VCMPPS(Imm(5), constF32("expMin", -87.3), x, k)
		VMOVAPS_Z(p, k, x)
		return
	}
	ge := YMM()
	VCMPPS(Imm(5), constF32("expMin", -87.3), x, ge)
	VANDPS(ge, p, x)
}

func genSoftmax(s isa) {
	TEXT("softmax"+s.String(), NOSPLIT, "func(x *float32, n int) (top, sum float32)")
	Pragma("noescape")
	Doc("softmax" + s.String() + " is Softmax of n > 0 values; it returns the largest and the sum of the exponentials below it.")
	x, n := load64("x"), load64("n")

	top, inf := s.v(), s.v()
	VMOVUPS(constU32("negInf", 0xff800000), inf)
	VMOVAPS(inf, top)
	p := again(x)
	s.stream("max", again(n), 1, []GPVirtual{p}, func(_, disp int, m *mask) {
		v := s.get(p, disp, m)
		if m != nil {
			m.keep(0, v, inf)
		}
		VMAXPS(v, top, top)
	})
	VBROADCASTSS(s.maxLanes(top).AsX(), top)
	Store(top.AsX(), Return("top"))

	sum, zero := s.v(), s.v()
	s.zero(sum)
	s.zero(zero)
	q := again(x)
	s.stream("exp", again(n), 1, []GPVirtual{q}, func(_, disp int, m *mask) {
		v := s.get(q, disp, m)
		VSUBPS(top, v, v)
		s.expNeg(v)
		s.put(v, q, disp, m)
		if m != nil {
			m.keep(0, v, zero)
		}
		VADDPS(v, sum, sum)
	})
	inv, one := s.v(), s.v()
	VBROADCASTSS(s.sumLanes(sum).AsX(), sum)
	Store(sum.AsX(), Return("sum"))
	VMOVUPS(constF32("one", 1), one)
	VDIVPS(sum, one, inv)
	s.stream("scale", n, 1, []GPVirtual{x}, func(_, disp int, m *mask) {
		v := s.get(x, disp, m)
		VMULPS(inv, v, v)
		s.put(v, x, disp, m)
	})
	VZEROUPPER()
	RET()
}

// The error function as z * P(z^2) / Q(z^2) for |z| <= 4, highest power first: the approximation of Eigen and XLA, off
// by at most 6.5e-8. At 4 it reaches 1.
var (
	erfP = []float64{-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02}
	erfQ = []float64{-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03, -7.37332916720468e-03, -1.42647390514189e-02}
)

// horner evaluates a polynomial of x.
func (s isa) horner(name string, c []float64, x VecVirtual) VecVirtual {
	p := s.v()
	VMOVUPS(constF32(name+"0", c[0]), p)
	for i, v := range c[1:] {
		VFMADD213PS(constF32(label("%s%d", name, i+1), v), x, p)
	}
	return p
}

// gelu replaces x by x * Phi(x) = h + h * erf(x / sqrt 2) with h = x / 2.
func (s isa) gelu(x VecVirtual) {
	h, p := s.geluParts(x)
	VMOVAPS(h, x)
	VFMADD231PS(p, h, x)
}

// geluParts gives x / 2 and erf(x / sqrt 2).
func (s isa) geluParts(x VecVirtual) (h, p VecVirtual) {
	h, z, z2 := s.v(), s.v(), s.v()
	VMULPS(constF32("half", 0.5), x, h)
	VMULPS(constF32("sqrtHalf", 0.70710678118654752), x, z)
	VMINPS(constF32("erfMax", 4), z, z)
	VMAXPS(constF32("erfMin", -4), z, z)
	VMULPS(z, z, z2)
	p = s.horner("erfP", erfP, z2)
	q := s.horner("erfQ", erfQ, z2)
	VMULPS(z, p, p)
	VDIVPS(q, p, p)
	// What the rounding leaves above 1 would become an error proportional to x.
	VMINPS(constF32("one", 1), p, p)
	VMAXPS(constF32("minusOne", -1), p, p)
	return h, p
}

func genGELU(s isa) {
	TEXT("geluTile"+s.String(), NOSPLIT, "func(x *float32, ldx int, rows int, n int)")
	Pragma("noescape")
	Doc("geluTile" + s.String() + " is GELU of rows > 0 rows of n > 0 values each, at stride ldx bytes.")
	x, ldx, rows, n := load64("x"), load64("ldx"), load64("rows"), load64("n")
	Label("row")
	p := again(x)
	s.stream("gelu", again(n), 2, []GPVirtual{p}, func(_, disp int, m *mask) {
		v := s.get(p, disp, m)
		s.gelu(v)
		s.put(v, p, disp, m)
	})
	ADDQ(ldx, x)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// genSwish is x * sigmoid(a*x + b*x^3), which is SiLU and the approximation of GELU by tanh.
func genSwish(s isa) {
	TEXT("swish"+s.String(), NOSPLIT, "func(x *float32, n int, a, b float32)")
	Pragma("noescape")
	Doc("swish" + s.String() + " is Swish of n > 0 values.")
	x, n := load64("x"), load64("n")
	a, b := s.v(), s.v()
	s.broadcast("a", a)
	s.broadcast("b", b)
	s.stream("swish", n, 1, []GPVirtual{x}, func(_, disp int, m *mask) {
		v := s.get(x, disp, m)
		u, e, num, one := s.v(), s.v(), s.v(), s.v()
		VMULPS(v, v, u)
		VMINPS(constF32("swishMax", 1e30), u, u) // so that b = 0 gives no 0 * Inf
		VFMADD213PS(a, b, u)
		VMULPS(v, u, u)
		// sigmoid(u) is 1/(1+e) or e/(1+e) with e = exp(-|u|).
		VORPS(constU32("signBit", 0x80000000), u, e)
		s.expNeg(e)
		VMOVUPS(constF32("one", 1), one)
		if s == avx512 {
			k := K()
			VPMOVD2M(u, k)
			VBLENDMPS(e, one, k, num)
		} else {
			VBLENDVPS(u, e, one, num)
		}
		VADDPS(one, e, e)
		VDIVPS(e, num, num)
		VMULPS(num, v, v)
		s.put(v, x, disp, m)
	})
	VZEROUPPER()
	RET()
}

// genExp is exp(x) for x <= 0.
func genExp(s isa) {
	TEXT("expNeg"+s.String(), NOSPLIT, "func(x *float32, n int)")
	Pragma("noescape")
	Doc("expNeg" + s.String() + " is ExpNeg of n > 0 values.")
	x, n := load64("x"), load64("n")
	s.stream("exp", n, 1, []GPVirtual{x}, func(_, disp int, m *mask) {
		v := s.get(x, disp, m)
		s.expNeg(v)
		s.put(v, x, disp, m)
	})
	VZEROUPPER()
	RET()
}

// total adds the accumulators up and broadcasts the sum of their lanes.
func (s isa) total(acc []VecVirtual) VecVirtual {
	for len(acc) > 1 {
		h := len(acc) / 2
		for i := range h {
			VADDPS(acc[h+i], acc[i], acc[i])
		}
		acc = acc[:h]
	}
	r := s.v()
	VBROADCASTSS(s.sumLanes(acc[0]).AsX(), r)
	return r
}

func (s isa) zeros(n int) []VecVirtual {
	r := s.vs(n)
	for i := range r {
		s.zero(r[i])
	}
	return r
}

// moments gives the mean of n values and 1 / sqrt(variance + eps), the argument.
func (s isa) moments(x, n GPVirtual, count VecVirtual) (mean, inv VecVirtual) {
	sum := s.zeros(4)
	p := again(x)
	s.stream("sum", again(n), 4, []GPVirtual{p}, func(u, disp int, m *mask) {
		VADDPS(s.get(p, disp, m), sum[u], sum[u])
	})
	mean = s.total(sum)
	VDIVPS(count, mean, mean)

	sq := s.zeros(4)
	q := again(x)
	s.stream("sq", again(n), 4, []GPVirtual{q}, func(u, disp int, m *mask) {
		v := s.get(q, disp, m)
		VSUBPS(mean, v, v)
		if m != nil {
			z := s.v()
			s.zero(z)
			m.keep(0, v, z)
		}
		VFMADD231PS(v, v, sq[u])
	})
	inv = s.total(sq)
	eps, one := s.v(), s.v()
	VDIVPS(count, inv, inv)
	s.broadcast("eps", eps)
	VADDPS(eps, inv, inv)
	VSQRTPS(inv, inv)
	VMOVUPS(constF32("one", 1), one)
	VDIVPS(inv, one, inv)

	return mean, inv
}

// float gives an integer as a float32 in every lane.
func (s isa) float(n GPVirtual) VecVirtual {
	v, c := s.v(), XMM()
	VXORPS(c, c, c)
	VCVTSI2SSQ(n, c, c)
	VBROADCASTSS(c, v)
	return v
}

func genLayerNorm(s isa) {
	TEXT("layerNorm"+s.String(), NOSPLIT, "func(dst, x, gamma, beta *float32, n int, eps float32)")
	Pragma("noescape")
	Doc("layerNorm" + s.String() + " is LayerNorm of n > 0 values; beta may be nil.")
	x, n := load64("x"), load64("n")
	count := s.float(n)
	mean, inv := s.moments(x, n, count)
	dst, gamma, beta := load64("dst"), load64("gamma"), load64("beta")
	apply := func(name string, ptrs []GPVirtual) {
		s.stream(name, n, 1, ptrs, func(_, disp int, m *mask) {
			v, g := s.get(x, disp, m), s.get(gamma, disp, m)
			VSUBPS(mean, v, v)
			VMULPS(inv, v, v)
			if len(ptrs) == 4 {
				VFMADD213PS(s.get(beta, disp, m), g, v)
			} else {
				VMULPS(g, v, v)
			}
			s.put(v, dst, disp, m)
		})
	}
	TESTQ(beta, beta)
	JE(LabelRef("nobeta"))
	apply("apply", []GPVirtual{dst, x, gamma, beta})
	VZEROUPPER()
	RET()
	Label("nobeta")
	apply("plain", []GPVirtual{dst, x, gamma})
	VZEROUPPER()
	RET()
}

func genDot(s isa) {
	TEXT("dot"+s.String(), NOSPLIT, "func(a, b *float32, n int) float32")
	Pragma("noescape")
	Doc("dot" + s.String() + " is Dot of n > 0 values.")
	a, b, n := load64("a"), load64("b"), load64("n")
	acc := s.zeros(4)
	s.stream("dot", n, 4, []GPVirtual{a, b}, func(u, disp int, m *mask) {
		VFMADD231PS(s.get(a, disp, m), s.get(b, disp, m), acc[u])
	})
	Store(s.total(acc).AsX(), ReturnIndex(0))
	VZEROUPPER()
	RET()
}

func genScale(s isa) {
	TEXT("scale"+s.String(), NOSPLIT, "func(x *float32, n int, f float32)")
	Pragma("noescape")
	Doc("scale" + s.String() + " multiplies n > 0 values by f.")
	x, n := load64("x"), load64("n")
	f := s.v()
	s.broadcast("f", f)
	s.stream("scale", n, 1, []GPVirtual{x}, func(_, disp int, m *mask) {
		v := s.get(x, disp, m)
		VMULPS(f, v, v)
		s.put(v, x, disp, m)
	})
	VZEROUPPER()
	RET()
}
