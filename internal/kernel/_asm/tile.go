package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tile is the register tile that all products share: rows rows of A, read as scalars that are broadcast, times nv
// registers of columns of a panel. Each accumulator is one chain of FMAs in ascending k, so that the result of
// an element does not depend on the tile it is in.
type tile struct {
	s        isa
	rows, nv int
	ldb      int // bytes from one k to the next in the panel
	a        []GPVirtual
	lda      GPVirtual
	acc      []VecPhysical // rows * nv
	b        []VecPhysical // nv registers of the panel
	x        []VecPhysical // broadcast values of A, used in turn
	step     func(b GPVirtual, u int)
}

// newTile sets up the row pointers: every third row has a register, the others are reached by adding lda once or twice.
func newTile(s isa, rows, nv, ldb int, a, lda GPVirtual) *tile {
	t := &tile{s: s, rows: rows, nv: nv, ldb: ldb, lda: lda}
	t.step = t.fma
	// Physical registers: avo's allocator gives up on loops that use nearly all of them.
	all := s.all()
	t.acc, t.b = all[:rows*nv], all[rows*nv:rows*nv+nv]
	t.x = all[rows*nv+nv : rows*nv+nv+2]
	for r := 0; r < rows; r += 3 {
		p := GP64()
		if r == 0 {
			MOVQ(a, p)
		} else {
			LEAQ(Mem{Base: t.a[len(t.a)-1], Index: lda, Scale: 2}, p)
			ADDQ(lda, p)
		}
		t.a = append(t.a, p)
	}
	for _, r := range t.acc {
		s.zero(r)
	}
	return t
}

// at addresses A's value in a row, u values after the current k.
func (t *tile) at(row, u int) Mem {
	m := Mem{Base: t.a[row/3], Disp: 4 * u}
	if row%3 > 0 {
		m.Index, m.Scale = t.lda, uint8(row%3)
	}
	return m
}

// fma is the step of float32: one k.
func (t *tile) fma(b GPVirtual, u int) {
	for i, r := range t.b {
		VMOVUPS(Mem{Base: b, Disp: u*t.ldb + i*t.s.width()}, r)
	}
	for r := range t.rows {
		if t.s == avx512 && t.nv == 1 {
			VFMADD231PS_BCST(t.at(r, u), t.b[0], t.acc[r])
			continue
		}
		x := t.x[r%len(t.x)]
		VBROADCASTSS(t.at(r, u), x)
		for i := range t.nv {
			VFMADD231PS(t.b[i], x, t.acc[r*t.nv+i])
		}
	}
}

// loop emits the loop over k, unrolled; each, if not nil, is called once in each unrolled body. b and k are changed.
func (t *tile) loop(name string, b, k GPVirtual, unroll int, each func()) {
	rest, done := name+"_rest", name+"_done"
	SUBQ(Imm(uint64(unroll)), k)
	JLT(LabelRef(rest))
	Label(name + "_k")
	if each != nil {
		each()
	}
	for u := range unroll {
		t.step(b, u)
	}
	for _, p := range t.a {
		ADDQ(Imm(uint64(4*unroll)), p)
	}
	ADDQ(I32(int32(unroll*t.ldb)), b)
	SUBQ(Imm(uint64(unroll)), k)
	JGE(LabelRef(name + "_k"))
	Label(rest)
	ADDQ(Imm(uint64(unroll)), k)
	JE(LabelRef(done))
	Label(name + "_k1")
	t.step(b, 0)
	for _, p := range t.a {
		ADDQ(Imm(4), p)
	}
	ADDQ(I32(int32(t.ldb)), b)
	DECQ(k)
	JNE(LabelRef(name + "_k1"))
	Label(done)
}
