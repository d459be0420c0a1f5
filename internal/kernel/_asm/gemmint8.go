package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func genGemmInt8(s isa) {
	s.lowTiles("gemmTileInt8"+s.String(), "zero *int32, rowScale *float32, sum *int32, colScale *float32, bias *float32, add *float32, ldadd int",
		[]string{"a unit is four unsigned bytes in A, four signed ones in the panel. It stores",
			"(product - zero*sum)*rowScale*colScale + bias + add, zero and rowScale by row, sum and colScale by column (of whole",
			"panels); bias and add may be nil."},
		func(t *tile) {
			if s == avx512 {
				t.step = t.dot512
				return
			}
			t.step = t.dotAVX2
		}, func(t *tile, name string) { t.storeInt8(name) })
	genRowRange(s)
	genQuantize(s)
}

// dotAVX2 multiplies words, because VPMADDUBSW saturates: the even and the odd bytes of a unit each make a pair of words,
// and the sum of two products of 8 bits is exact in the 32 bits of VPMADDWD.
func (t *tile) dotAVX2(b GPVirtual, u int) {
	even, odd := t.s.all()[8:10], t.s.all()[10:12]
	x, y, p := Y12, Y13, Y14
	for i := range t.nv {
		VMOVDQU(Mem{Base: b, Disp: u*t.ldb + 32*i}, odd[i])
		VPSLLW(Imm(8), odd[i], even[i])
		VPSRAW(Imm(8), even[i], even[i])
		VPSRAW(Imm(8), odd[i], odd[i])
	}
	for r := range t.rows {
		VPBROADCASTD(t.at(r, u), x)
		VPSRLW(Imm(8), x, y)
		VPAND(constU32("lowBytes", 0x00ff00ff), x, x)
		for i := range t.nv {
			acc := t.acc[r*t.nv+i]
			VPMADDWD(even[i], x, p)
			VPADDD(p, acc, acc)
			VPMADDWD(odd[i], y, p)
			VPADDD(p, acc, acc)
		}
	}
}

// storeInt8 takes the integers to float32: the zero point of the row comes off first, exactly.
func (t *tile) storeInt8(name string) {
	s := t.s
	cols, full := load64("cols"), GP64()
	MOVQ(cols, full)
	m := s.newMask(cols, t.nv)
	{
		sum, zero := load64("sum"), load64("zero")
		sv := s.vs(t.nv)
		for i := range sv {
			VMOVDQUx(s, Mem{Base: sum, Disp: i * s.width()}, sv[i])
		}
		for r := range t.rows {
			z, p := s.v(), s.v()
			VPBROADCASTD(Mem{Base: zero, Disp: 4 * r}, z)
			for i := range sv {
				acc := t.acc[r*t.nv+i]
				VPMULLD(sv[i], z, p)
				VPSUBD(p, acc, acc)
				VCVTDQ2PS(acc, acc)
			}
		}
	}
	colScale, rowScale := load64("colScale"), load64("rowScale")
	cs := s.vs(t.nv)
	for i := range cs {
		VMOVUPS(Mem{Base: colScale, Disp: i * s.width()}, cs[i])
	}
	bv := t.bias(name, m)
	for r := range t.rows {
		rs := s.v()
		VBROADCASTSS(Mem{Base: rowScale, Disp: 4 * r}, rs)
		for i := range t.nv {
			acc := t.acc[r*t.nv+i]
			VMULPS(rs, acc, acc)
			VFMADD213PS(bv[i], cs[i], acc)
		}
	}
	t.write(name, m, full)
}

// genRowRange finds the range of a row of activations.
func genRowRange(s isa) {
	TEXT("rowRange"+s.String(), NOSPLIT, "func(x *float32, n int) (low float32, high float32, abs uint32)")
	Pragma("noescape")
	Doc("rowRange"+s.String()+" returns the least and the largest of zero and n > 0 values, NaN left out, and the largest magnitude as the",
		"bits of a float32, which NaN and infinity raise to 0x7f800000 or more.")
	x, n := load64("x"), load64("n")
	low, high, abs := s.zeros(2), s.zeros(2), s.zeros(2)
	sign := s.v()
	VMOVUPS(constU32("magnitude", 0x7fffffff), sign)
	s.stream("range", n, 2, []GPVirtual{x}, func(u, disp int, m *mask) {
		v := s.get(x, disp, m)
		VMINPS(low[u], v, low[u])
		VMAXPS(high[u], v, high[u])
		if s == avx512 {
			VPANDD(sign, v, v)
		} else {
			VPAND(sign, v, v)
		}
		VPMAXUD(v, abs[u], abs[u])
	})
	VMINPS(low[1], low[0], low[0])
	VMAXPS(high[1], high[0], high[0])
	VPMAXUD(abs[1], abs[0], abs[0])
	Store(s.reduce(low[0], func(a, b, c Op) { VMINPS(a, b, c) }).AsX(), Return("low"))
	Store(s.maxLanes(high[0]).AsX(), Return("high"))
	top, r := s.reduce(abs[0], func(a, b, c Op) { VPMAXUD(a, b, c) }), GP32()
	VMOVD(top.AsX(), r)
	Store(r, Return("abs"))
	VZEROUPPER()
	RET()
}

// genQuantize rounds a row of activations to bytes.
func genQuantize(s isa) {
	TEXT("quantize"+s.String(), NOSPLIT, "func(dst *uint32, src *float32, n int, inv float32, zero uint32)")
	Pragma("noescape")
	Doc(label("quantize%s writes src*inv + zero, rounded and cut to 0..255, for n > 0 values, and up to %d bytes more.", s, s.lanes()-1))
	dst, src, n := load64("dst"), load64("src"), load64("n")
	inv, zero, least := s.v(), s.v(), s.v()
	s.broadcast("inv", inv)
	z := XMM()
	VMOVD(Load(Param("zero"), GP32()), z)
	VPBROADCASTD(z, zero)
	s.zero(least)
	s.stream("quantize", n, 1, []GPVirtual{src}, func(_, disp int, m *mask) {
		v := s.get(src, disp, m)
		VMULPS(inv, v, v)
		VCVTPS2DQ(v, v)
		VPADDD(zero, v, v)
		if s == avx512 {
			VPMAXSD(least, v, v)
			VPMOVUSDB(v, Mem{Base: dst})
			ADDQ(Imm(16), dst)
			return
		}
		x := XMM()
		VEXTRACTI128(Imm(1), v, x)
		VPACKSSDW(x, v.AsX(), x)
		VPACKUSWB(x, x, x)
		VMOVQ(x, Mem{Base: dst})
		ADDQ(Imm(8), dst)
	})
	VZEROUPPER()
	RET()
}
