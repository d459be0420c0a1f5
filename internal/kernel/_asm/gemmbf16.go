package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lowRows is the height of the tallest tile of the products of 16 and 8 bits.
func (s isa) lowRows() int { return [...]int{4, 12}[s] }

// lowTiles writes a tile function for each number of rows. Both operands come in units of four bytes (two values of 16
// bits or four of 8) along the inner dimension, so that the loop is that of float32.
func (s isa) lowTiles(name, tail string, doc []string, body func(t *tile), store func(t *tile, label string)) {
	TEXT(name, NOSPLIT, "func(rows int, a *uint32, lda int, b *uint32, units int, c *float32, ldc int, cols int, "+tail+")")
	Pragma("noescape")
	Doc(append([]string{label("%s computes rows x cols products of A (stride lda bytes) with a panel; 0 < rows <= %d, 0 < cols <= %d;", name, s.lowRows(), 2*s.lanes())}, doc...)...)
	rows := load64("rows")
	a, lda, b, units := load64("a"), load64("lda"), load64("b"), load64("units")
	for r := 1; r <= s.lowRows(); r++ {
		CMPQ(rows, Imm(uint64(r)))
		JE(LabelRef(label("r%d", r)))
	}
	RET()
	for r := 1; r <= s.lowRows(); r++ {
		Label(label("r%d", r))
		unroll := 2
		if r == s.lowRows() {
			unroll = 4
		}
		t := newTile(s, r, 2, panelBytes, a, lda)
		body(t)
		t.loop(label("r%d", r), b, units, unroll, nil)
		store(t, label("r%d", r))
		VZEROUPPER()
		RET()
	}
}

// dot512 is the step of AVX-512's dot-product instructions: op is VPDPBUSD or, after encodeBF16, VDPBF16PS.
func (t *tile) dot512(b GPVirtual, u int) {
	for i, r := range t.b {
		VMOVDQU32(Mem{Base: b, Disp: u*t.ldb + 64*i}, r)
	}
	for r := range t.rows {
		x := t.x[r%len(t.x)]
		VPBROADCASTD(t.at(r, u), x)
		for i := range t.nv {
			VPDPBUSD(t.b[i], x, t.acc[r*t.nv+i])
		}
	}
}

func genGemmBF16(s isa) {
	// bfloat16 is the upper half of a float32.
	high := constU32("high", 0xffff0000)
	s.lowTiles("gemmTileBF16"+s.String(), "scale float32, bias *float32, add *float32, ldadd int",
		[]string{"a unit is a pair of bfloat16. It stores scale*product + bias + add; bias and add may be nil."},
		func(t *tile) {
			if s == avx512 {
				t.step = t.dot512
				return
			}
			t.step = func(b GPVirtual, u int) {
				// The panel's pairs, and those of A, are taken apart into float32.
				even, odd := s.all()[8:10], s.all()[10:12]
				x, y := Y12, Y13
				for i := range t.nv {
					VMOVDQU(Mem{Base: b, Disp: u*t.ldb + 32*i}, odd[i])
					VPSLLD(Imm(16), odd[i], even[i])
					VPAND(high, odd[i], odd[i])
				}
				for r := range t.rows {
					VPBROADCASTD(t.at(r, u), y)
					VPSLLD(Imm(16), y, x)
					VPAND(high, y, y)
					for i := range t.nv {
						VFMADD231PS(odd[i], y, t.acc[r*t.nv+i])
						VFMADD231PS(even[i], x, t.acc[r*t.nv+i])
					}
				}
			}
		}, func(t *tile, name string) { t.store(name) })
	genToBF16(s)
}

// genToBF16 converts to bfloat16, rounding to nearest even; a NaN becomes a quiet one.
func genToBF16(s isa) {
	TEXT("toBF16"+s.String(), NOSPLIT, "func(dst *uint32, src *float32, n int)")
	Pragma("noescape")
	Doc(label("toBF16%s converts n > 0 values; it writes up to %d more.", s, s.lanes()-1))
	dst, src, n := load64("dst"), load64("src"), load64("n")
	half, one, quiet := s.v(), s.v(), s.v()
	VMOVUPS(constU32("bf16Half", 0x7fff), half)
	VMOVUPS(constU32("bf16One", 1), one)
	VMOVUPS(constU32("bf16Quiet", 0x400000), quiet)
	p := again(dst)
	s.stream("bf16", n, 1, []GPVirtual{src}, func(_, disp int, m *mask) {
		v, r, q := s.get(src, disp, m), s.v(), s.v()
		VPSRLD(Imm(16), v, r)
		if s == avx512 {
			nan := K()
			VPANDD(one, r, r)
			VPADDD(half, r, r)
			VPADDD(v, r, r)
			VPORD(quiet, v, q)
			VCMPPS(Imm(3), v, v, nan) // unordered
			VMOVDQA32(q, nan, r)
			VPSRLD(Imm(16), r, r)
			VPMOVDW(r, Mem{Base: p})
			ADDQ(Imm(32), p)
			return
		}
		nan := YMM()
		VPAND(one, r, r)
		VPADDD(half, r, r)
		VPADDD(v, r, r)
		VPOR(quiet, v, q)
		VCMPPS(Imm(3), v, v, nan)
		VBLENDVPS(nan, q, r, r)
		VPSRLD(Imm(16), r, r)
		x := XMM()
		VEXTRACTI128(Imm(1), r, x)
		VPACKUSDW(x, r.AsX(), x)
		VMOVDQU(x, Mem{Base: p})
		ADDQ(Imm(16), p)
	})
	VZEROUPPER()
	RET()
}
