package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// panelBytes is the stride of a panel: 32 columns of float32.
const panelBytes = 128

// maxRows is the height of the tallest tile: what fills the registers with two registers of columns.
func (s isa) maxRows() int { return [...]int{6, 12}[s] }

func genGemm(s isa) {
	genGemmTile(s)
	genArgMaxTile(s)
}

func genGemmTile(s isa) {
	TEXT("gemmTile"+s.String(), NOSPLIT, "func(rows int, a *float32, lda int, b *float32, k int, c *float32, ldc int, cols int, scale float32, bias *float32, add *float32, ldadd int)")
	Pragma("noescape")
	Doc("gemmTile"+s.String()+" computes rows x cols products of A (stride lda bytes) with a panel and stores scale*product + bias + add;",
		label("0 < rows <= %d, 0 < cols <= %d; bias and add may be nil.", s.maxRows(), 2*s.lanes()))
	rows := load64("rows")
	a, lda, b, k := load64("a"), load64("lda"), load64("b"), load64("k")
	for r := 1; r <= s.maxRows(); r++ {
		CMPQ(rows, Imm(uint64(r)))
		JE(LabelRef(label("r%d", r)))
	}
	RET()
	for r := 1; r <= s.maxRows(); r++ {
		Label(label("r%d", r))
		unroll := 2
		if r == s.maxRows() {
			unroll = 4
		}
		t := newTile(s, r, 2, panelBytes, a, lda)
		t.loop(label("r%d", r), b, k, unroll, nil)
		t.store(label("r%d", r))
		VZEROUPPER()
		RET()
	}
}

// store is the epilogue of gemmTile: scale, bias, add.
func (t *tile) store(name string) {
	cols, full := load64("cols"), GP64()
	MOVQ(cols, full)
	m := t.s.newMask(cols, t.nv)
	sc := t.s.v()
	t.s.broadcast("scale", sc)
	bv := t.bias(name, m)
	for i, r := range t.acc {
		VFMADD213PS(bv[i%t.nv], sc, r)
	}
	t.write(name, m, full)
}

// bias loads the columns' biases, zero where there are none.
func (t *tile) bias(name string, m mask) []VecVirtual {
	bias, bv := load64("bias"), t.s.vs(t.nv)
	for i := range bv {
		t.s.zero(bv[i])
	}
	TESTQ(bias, bias)
	JE(LabelRef(name + "_nobias"))
	for i := range bv {
		m.load(i, Mem{Base: bias, Disp: i * t.s.width()}, bv[i])
	}
	Label(name + "_nobias")
	return bv
}

// write adds what is to be added to the accumulators and stores the columns in use, full of them.
func (t *tile) write(name string, m mask, full GPVirtual) {
	s := t.s
	c, ldc := load64("c"), load64("ldc")
	add, ldadd := load64("add"), load64("ldadd")
	TESTQ(add, add)
	JE(LabelRef(name + "_noadd"))
	for r := range t.rows {
		for i := range t.nv {
			x := s.v()
			m.load(i, Mem{Base: add, Disp: i * s.width()}, x)
			VADDPS(x, t.acc[r*t.nv+i], t.acc[r*t.nv+i])
		}
		ADDQ(ldadd, add)
	}
	Label(name + "_noadd")

	CMPQ(full, Imm(uint64(t.nv*s.lanes())))
	JNE(LabelRef(name + "_edge"))
	c2 := GP64()
	MOVQ(c, c2)
	for r := range t.rows {
		for i := range t.nv {
			VMOVUPS(t.acc[r*t.nv+i], Mem{Base: c2, Disp: i * s.width()})
		}
		ADDQ(ldc, c2)
	}
	VZEROUPPER()
	RET()
	Label(name + "_edge")
	for r := range t.rows {
		for i := range t.nv {
			m.store(i, t.acc[r*t.nv+i], Mem{Base: c, Disp: i * s.width()})
		}
		ADDQ(ldc, c)
	}
}

func genArgMaxTile(s isa) {
	TEXT("argMaxTile"+s.String(), NOSPLIT, "func(a *float32, lda int, b *float32, k int, base uint32, cols int, best *float32, idx *uint32)")
	Pragma("noescape")
	Doc(label("argMaxTile%s multiplies %d rows of A with a panel and updates the running maxima of each row: best and idx hold", s, s.maxRows()),
		label("%d lanes per row. Column j of the panel has the number base+j; a later column must be strictly larger to win.", s.lanes()))
	a, lda, b, k := load64("a"), load64("lda"), load64("b"), load64("k")
	t := newTile(s, s.maxRows(), 2, panelBytes, a, lda)
	t.loop("argmax", b, k, 4, nil)

	best, idx, cols := load64("best"), load64("idx"), load64("cols")
	m := s.newMask(cols, 2)
	base := Load(Param("base"), GP32())
	num := s.vs(2)
	if s == avx512 {
		for i := range num {
			VPBROADCASTD(base, num[i])
			VPADDD(iota32().Offset(64*i), num[i], num[i])
		}
	}
	for r := range t.rows {
		bv, iv := s.v(), s.v()
		VMOVUPS(Mem{Base: best, Disp: r * s.width()}, bv)
		VMOVDQUx(s, Mem{Base: idx, Disp: r * s.width()}, iv)
		for i := range 2 {
			x := t.acc[2*r+i]
			if s == avx512 {
				gt := K()
				VCMPPS(Imm(30), bv, x, m.k[i], gt) // x > best, quiet, false on NaN
				VMOVAPS(x, gt, bv)
				VMOVDQA32(num[i], gt, iv)
				continue
			}
			gt, n := YMM(), YMM()
			VCMPPS(Imm(30), bv, x, gt)
			VANDPS(Mem{Base: m.p, Disp: 32 * i}, gt, gt)
			VBLENDVPS(gt, x, bv, bv)
			VMOVD(base, n.AsX())
			VPBROADCASTD(n.AsX(), n)
			VPADDD(iota32().Offset(32*i), n, n)
			VBLENDVPS(gt, n, iv, iv)
		}
		VMOVUPS(bv, Mem{Base: best, Disp: r * s.width()})
		VMOVDQUx(s, iv, Mem{Base: idx, Disp: r * s.width()})
	}
	VZEROUPPER()
	RET()
}

// VMOVDQUx moves a whole register of integers.
func VMOVDQUx(s isa, src, dst Op) {
	if s == avx512 {
		VMOVDQU32(src, dst)
	} else {
		VMOVDQU(src, dst)
	}
}
