package main

import (
	"fmt"
	"math"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is an instruction set that generators write for.
type isa int

const (
	avx2 isa = iota
	avx512
)

func (s isa) String() string { return [...]string{"AVX2", "AVX512"}[s] }

// lanes is the number of float32 in a register, width its bytes.
func (s isa) lanes() int { return [...]int{8, 16}[s] }
func (s isa) width() int { return 4 * s.lanes() }

// v allocates a vector register, vs several.
func (s isa) v() VecVirtual {
	if s == avx512 {
		return ZMM()
	}
	return YMM()
}

func (s isa) vs(n int) []VecVirtual {
	r := make([]VecVirtual, n)
	for i := range r {
		r[i] = s.v()
	}
	return r
}

// all returns the physical vector registers.
func (s isa) all() []VecPhysical {
	if s == avx512 {
		return []VecPhysical{
			Z0, Z1, Z2, Z3, Z4, Z5, Z6, Z7, Z8, Z9, Z10, Z11, Z12, Z13, Z14, Z15,
			Z16, Z17, Z18, Z19, Z20, Z21, Z22, Z23, Z24, Z25, Z26, Z27, Z28, Z29, Z30, Z31,
		}
	}
	return []VecPhysical{Y0, Y1, Y2, Y3, Y4, Y5, Y6, Y7, Y8, Y9, Y10, Y11, Y12, Y13, Y14, Y15}
}

// zero clears a register.
func (s isa) zero(r Op) {
	if s == avx512 {
		VPXORD(r, r, r)
	} else {
		VXORPS(r, r, r)
	}
}

var consts = map[string]Mem{}

// constU32 is a read-only 64-byte vector of one value, usable as a memory operand by both instruction sets.
func constU32(name string, u uint32) Mem {
	if m, ok := consts[name]; ok {
		return m
	}
	m := GLOBL(name, RODATA|NOPTR)
	for i := range 16 {
		DATA(4*i, U32(u))
	}
	consts[name] = m
	return m
}

func constF32(name string, f float64) Mem { return constU32(name, math.Float32bits(float32(f))) }

// iota32 is the vector 0, 1, 2 ... 31.
func iota32() Mem {
	if m, ok := consts["iota32"]; ok {
		return m
	}
	m := GLOBL("iota32", RODATA|NOPTR)
	for i := range 32 {
		DATA(4*i, U32(uint32(i)))
	}
	consts["iota32"] = m
	return m
}

// maskTable is 16 words of ones followed by 16 words of zeros.
func maskTable() Mem {
	if m, ok := consts["maskTable"]; ok {
		return m
	}
	m := GLOBL("maskTable", RODATA|NOPTR)
	for i := range 32 {
		DATA(4*i, U32(uint32(int32(i/16-1))))
	}
	consts["maskTable"] = m
	return m
}

// mask says which of the lanes of nv registers are in use.
type mask struct {
	s isa
	k []OpmaskVirtual // AVX-512
	p Register        // AVX2: the address of nv*8 words, all ones or zero
}

// newMask makes the mask of the first cols of nv registers; 0 < cols <= nv * lanes, nv <= 2. It changes cols.
func (s isa) newMask(cols GPVirtual, nv int) mask {
	m := mask{s: s}
	if s == avx2 {
		p := GP64()
		LEAQ(maskTable(), p)
		SHLQ(Imm(2), cols)
		SUBQ(cols, p)
		ADDQ(Imm(64), p)
		m.p = p
		return m
	}
	bits := GP32()
	MOVL(U32(math.MaxUint32), bits)
	BZHIL(cols.As32(), bits, bits)
	for i := range nv {
		m.k = append(m.k, K())
		KMOVW(bits, m.k[i])
		if i+1 < nv {
			SHRL(Imm(16), bits)
		}
	}
	return m
}

// vec returns register i of the mask (AVX2).
func (m mask) vec(i int) VecVirtual {
	r := YMM()
	VMOVUPS(Mem{Base: m.p, Disp: 32 * i}, r)
	return r
}

// load reads the lanes in use of vector i, zero elsewhere; store writes them.
func (m mask) load(i int, src Mem, dst VecVirtual) {
	if m.s == avx512 {
		VMOVUPS_Z(src, m.k[i], dst)
	} else {
		VMASKMOVPS(src, m.vec(i), dst)
	}
}

func (m mask) store(i int, src, dst Op) {
	if m.s == avx512 {
		VMOVUPS(src, m.k[i], dst)
	} else {
		VMASKMOVPS(src, m.vec(i), dst)
	}
}

// keep sets the lanes of r that are not in use to those of fill.
func (m mask) keep(i int, r, fill VecVirtual) {
	if m.s == avx512 {
		VBLENDMPS(r, fill, m.k[i], r)
	} else {
		VBLENDVPS(m.vec(i), r, fill, r)
	}
}

// sumLanes adds up the lanes of r; the sum ends in the lowest lane of the register that is returned.
func (s isa) sumLanes(r VecVirtual) VecVirtual {
	return s.reduce(r, func(a, b, c Op) { VADDPS(a, b, c) })
}
func (s isa) maxLanes(r VecVirtual) VecVirtual {
	return s.reduce(r, func(a, b, c Op) { VMAXPS(a, b, c) })
}

func (s isa) reduce(r VecVirtual, op func(a, b, c Op)) VecVirtual {
	y := YMM()
	if s == avx512 {
		VEXTRACTF64X4(Imm(1), r, y)
		op(r.AsY(), y, y)
	} else {
		y = r
	}
	x, t := XMM(), XMM()
	VEXTRACTF128(Imm(1), y, x)
	op(y.AsX(), x, x)
	VPERMILPS(Imm(0x4e), x, t)
	op(t, x, x)
	VPERMILPS(Imm(0xb1), x, t)
	op(t, x, x)
	return x
}

func label(format string, args ...any) string { return fmt.Sprintf(format, args...) }

// load64 loads an argument of 8 bytes, by name.
func load64(name string) GPVirtual {
	return Load(Param(name), GP64()).(GPVirtual)
}

// broadcast fills a register with a float32 argument. It comes from memory: MOVSS has no encoding for X16 to X31.
func (s isa) broadcast(arg string, dst VecVirtual) {
	p, err := Param(arg).Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSS(p.Addr, dst)
}
