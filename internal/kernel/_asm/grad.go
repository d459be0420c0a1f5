package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// genGrad is what derivatives need beyond matrix products.
func genGrad(s isa) {
	genGELUGrad(s)
	genLayerNormGrad(s)
	genMul(s)
	genAddScaled(s)
	genPairBF16(s)
	if s == avx2 {
		genTranspose(s)
	}
}

func genGELUGrad(s isa) {
	TEXT("geluGrad"+s.String(), NOSPLIT, "func(y, d, x *float32, n int)")
	Pragma("noescape")
	Doc("geluGrad" + s.String() + " is GELUGrad of n > 0 values.")
	y, d, x, n := load64("y"), load64("d"), load64("x"), load64("n")
	s.stream("gelu", n, 1, []GPVirtual{y, d, x}, func(_, disp int, m *mask) {
		v := s.get(x, disp, m)
		h, p := s.geluParts(v)
		out, e := s.v(), s.v()
		VMOVAPS(h, out)
		VFMADD231PS(p, h, out)
		s.put(out, y, disp, m)
		// Phi + x phi, where Phi = (1 + p) / 2.
		VMULPS(v, h, e)
		VXORPS(constU32("signBit", 0x80000000), e, e)
		s.expNeg(e)
		VMULPS(v, e, e)
		VMOVUPS(constF32("half", 0.5), out)
		VFMADD213PS(constF32("half", 0.5), out, p)
		VFMADD231PS(constF32("sqrtHalfPi", 0.3989422804014327), e, p)
		s.put(p, d, disp, m)
	})
	VZEROUPPER()
	RET()
}

func genLayerNormGrad(s isa) {
	TEXT("layerNormGrad"+s.String(), NOSPLIT, "func(dx, dy, x, gamma, dgamma, dbeta *float32, n int, eps float32)")
	Pragma("noescape")
	Doc("layerNormGrad" + s.String() + " is LayerNormGrad of a row of n > 0 values.")
	x, n := load64("x"), load64("n")
	count := s.float(n)
	mean, inv := s.moments(x, n, count)
	dy, gamma, dgamma, dbeta := load64("dy"), load64("gamma"), load64("dgamma"), load64("dbeta")
	acc := s.zeros(2)
	{
		x, dy, gamma := again(x), again(dy), again(gamma)
		s.stream("sums", again(n), 1, []GPVirtual{x, dy, gamma, dgamma, dbeta}, func(_, disp int, m *mask) {
			z, v, g := s.get(x, disp, m), s.get(dy, disp, m), s.get(gamma, disp, m)
			VSUBPS(mean, z, z)
			VMULPS(inv, z, z)
			VMULPS(v, g, g)
			VADDPS(g, acc[0], acc[0])
			VFMADD231PS(z, g, acc[1])
			dg, db := s.get(dgamma, disp, m), s.get(dbeta, disp, m)
			VFMADD231PS(v, z, dg)
			VADDPS(v, db, db)
			s.put(dg, dgamma, disp, m)
			s.put(db, dbeta, disp, m)
		})
	}
	mg, mgz := s.total(acc[:1]), s.total(acc[1:])
	VDIVPS(count, mg, mg)
	VDIVPS(count, mgz, mgz)
	dx := load64("dx")
	s.stream("apply", n, 1, []GPVirtual{dx, x, dy, gamma}, func(_, disp int, m *mask) {
		z, g := s.get(x, disp, m), s.get(gamma, disp, m)
		VSUBPS(mean, z, z)
		VMULPS(inv, z, z)
		VMULPS(s.get(dy, disp, m), g, g)
		VSUBPS(mg, g, g)
		VFNMADD231PS(mgz, z, g)
		VMULPS(inv, g, g)
		s.put(g, dx, disp, m)
	})
	VZEROUPPER()
	RET()
}

func genMul(s isa) {
	TEXT("mul"+s.String(), NOSPLIT, "func(dst, x, y *float32, n int)")
	Pragma("noescape")
	Doc("mul" + s.String() + " is Mul of n > 0 values.")
	dst, x, y, n := load64("dst"), load64("x"), load64("y"), load64("n")
	s.stream("mul", n, 4, []GPVirtual{dst, x, y}, func(_, disp int, m *mask) {
		v := s.get(x, disp, m)
		VMULPS(s.get(y, disp, m), v, v)
		s.put(v, dst, disp, m)
	})
	VZEROUPPER()
	RET()
}

func genAddScaled(s isa) {
	TEXT("addScaled"+s.String(), NOSPLIT, "func(dst, x *float32, n int, f float32)")
	Pragma("noescape")
	Doc("addScaled" + s.String() + " is AddScaled of n > 0 values.")
	dst, x, n := load64("dst"), load64("x"), load64("n")
	f := s.v()
	s.broadcast("f", f)
	s.stream("add", n, 4, []GPVirtual{dst, x}, func(_, disp int, m *mask) {
		v := s.get(dst, disp, m)
		VFMADD231PS(s.get(x, disp, m), f, v)
		s.put(v, dst, disp, m)
	})
	VZEROUPPER()
	RET()
}

// genTranspose transposes 8 rows, in blocks of 8 columns.
func genTranspose(s isa) {
	TEXT("transpose8"+s.String(), NOSPLIT, "func(dst *float32, ldd int, src *float32, lds int, blocks int)")
	Pragma("noescape")
	Doc("transpose8" + s.String() + " writes 8 rows of 8*blocks > 0 values, at stride lds bytes, as 8*blocks rows of 8 values at stride ldd.")
	dst, ldd, src, lds, n := load64("dst"), load64("ldd"), load64("src"), load64("lds"), load64("blocks")
	rows := func(p, ld, ld3 GPVirtual) func(i int) Mem {
		half := GP64()
		LEAQ(Mem{Base: p, Index: ld, Scale: 4}, half)
		return func(i int) Mem {
			b := p
			if i >= 4 {
				b, i = half, i-4
			}
			switch i {
			case 0:
				return Mem{Base: b}
			case 3:
				return Mem{Base: b, Index: ld3, Scale: 1}
			}
			return Mem{Base: b, Index: ld, Scale: uint8(i)}
		}
	}
	lds3, ldd3 := GP64(), GP64()
	LEAQ(Mem{Base: lds, Index: lds, Scale: 2}, lds3)
	LEAQ(Mem{Base: ldd, Index: ldd, Scale: 2}, ldd3)
	Label("block")
	from, to := rows(src, lds, lds3), rows(dst, ldd, ldd3)
	r, t := s.vs(8), s.vs(8)
	for i := range r {
		VMOVUPS(from(i), r[i])
	}
	for i := range 4 {
		VUNPCKLPS(r[2*i+1], r[2*i], t[2*i])
		VUNPCKHPS(r[2*i+1], r[2*i], t[2*i+1])
	}
	u := s.vs(8)
	for i := range 2 {
		VSHUFPS(Imm(0x44), t[4*i+2], t[4*i], u[4*i])
		VSHUFPS(Imm(0xee), t[4*i+2], t[4*i], u[4*i+1])
		VSHUFPS(Imm(0x44), t[4*i+3], t[4*i+1], u[4*i+2])
		VSHUFPS(Imm(0xee), t[4*i+3], t[4*i+1], u[4*i+3])
	}
	for i := range 4 {
		lo, hi := s.v(), s.v()
		VPERM2F128(Imm(0x20), u[4+i], u[i], lo)
		VPERM2F128(Imm(0x31), u[4+i], u[i], hi)
		VMOVUPS(lo, to(i))
		VMOVUPS(hi, to(i+4))
	}
	ADDQ(Imm(32), src)
	LEAQ(Mem{Base: dst, Index: ldd, Scale: 8}, dst)
	DECQ(n)
	JNE(LabelRef("block"))
	VZEROUPPER()
	RET()
}

// genPairBF16 packs the transposed rows of a matrix in bfloat16: [k/2][32][2] of k rows of 32 columns.
func genPairBF16(s isa) {
	TEXT("pairBF16"+s.String(), NOSPLIT, "func(dst *uint32, src *float32, lds int, pairs int)")
	Pragma("noescape")
	Doc("pairBF16" + s.String() + " rounds pairs > 0 pairs of rows of 32 values, at stride lds bytes, to bfloat16 and writes them side by side.")
	dst, src, lds, pairs := load64("dst"), load64("src"), load64("lds"), load64("pairs")
	half, one, quiet, high := s.v(), s.v(), s.v(), s.v()
	VMOVUPS(constU32("bf16Half", 0x7fff), half)
	VMOVUPS(constU32("bf16One", 1), one)
	VMOVUPS(constU32("bf16Quiet", 0x400000), quiet)
	VMOVUPS(constU32("bf16High", 0xffff0000), high)
	round := func(at Mem) VecVirtual {
		v, r := s.v(), s.v()
		VMOVUPS(at, v)
		VPSRLD(Imm(16), v, r)
		if s == avx512 {
			nan := K()
			VPANDD(one, r, r)
			VPADDD(half, r, r)
			VPADDD(v, r, r)
			VCMPPS(Imm(3), v, v, nan) // unordered
			VPORD(quiet, v, v)
			VMOVDQA32(v, nan, r)
			return r
		}
		nan := YMM()
		VPAND(one, r, r)
		VPADDD(half, r, r)
		VPADDD(v, r, r)
		VCMPPS(Imm(3), v, v, nan)
		VPOR(quiet, v, v)
		VBLENDVPS(nan, v, r, r)
		return r
	}
	Label("pair")
	for i := range 32 / s.lanes() {
		a := round(Mem{Base: src, Disp: i * s.width()})
		b := round(Mem{Base: src, Index: lds, Scale: 1, Disp: i * s.width()})
		VPSRLD(Imm(16), a, a)
		if s == avx512 {
			VPANDD(high, b, b)
			VPORD(b, a, a)
		} else {
			VPAND(high, b, b)
			VPOR(b, a, a)
		}
		VMOVUPS(a, Mem{Base: dst, Disp: i * s.width()})
	}
	ADDQ(Imm(128), dst)
	LEAQ(Mem{Base: src, Index: lds, Scale: 2}, src)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	VZEROUPPER()
	RET()
}
