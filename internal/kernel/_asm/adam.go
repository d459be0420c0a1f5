package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// genAdam is steps of optimizers. Products and sums are rounded one by one, as in the Go code, so that results are equal in every
// bit.
func genAdam(s isa) {
	genAdamW(s)
	genScheduleFree(s)
}

// fields broadcasts the float32 fields of a struct, of which p is the first.
func (s isa) fields(p GPVirtual, n int) []VecVirtual {
	r := s.vs(n)
	for i := range r {
		VBROADCASTSS(Mem{Base: p, Disp: 4 * i}, r[i])
	}
	return r
}

func genAdamW(s isa) {
	TEXT("adamW"+s.String(), NOSPLIT, "func(w, d, m, v *float32, n int, c *float32)")
	Pragma("noescape")
	Doc("adamW" + s.String() + " is AdamW of n > 0 values.")
	c := s.fields(load64("c"), 8)
	scale, c1, b2, c2, root, eps, keep, size := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7]
	w, g, m, v, n := load64("w"), load64("d"), load64("m"), load64("v"), load64("n")
	s.stream("adamw", n, 1, []GPVirtual{w, g, m, v}, func(_, disp int, k *mask) {
		x, y := s.get(g, disp, k), s.get(m, disp, k)
		VMULPS(scale, x, x)
		t := s.v()
		VSUBPS(y, x, t)
		VMULPS(c1, t, t)
		VADDPS(t, y, y)
		s.put(y, m, disp, k)
		VMULPS(c2, x, t)
		VMULPS(x, t, t)
		z := s.get(v, disp, k)
		VMULPS(b2, z, z)
		VADDPS(t, z, z)
		s.put(z, v, disp, k)
		VSQRTPS(z, z)
		VDIVPS(root, z, z)
		VADDPS(eps, z, z)
		VMULPS(size, y, y)
		VDIVPS(z, y, y)
		o := s.get(w, disp, k)
		VMULPS(keep, o, o)
		VSUBPS(y, o, o)
		s.put(o, w, disp, k)
		s.zero(t)
		s.put(t, g, disp, k)
	})
	VZEROUPPER()
	RET()
}

func genScheduleFree(s isa) {
	TEXT("scheduleFree"+s.String(), NOSPLIT, "func(y, d, z, v *float32, n int, c *float32)")
	Pragma("noescape")
	Doc("scheduleFree" + s.String() + " is ScheduleFree of n > 0 values.")
	c := s.fields(load64("c"), 9)
	scale, b2, c2, root, eps, decay, toZ, yStep, zStep := c[0], c[1], c[2], c[3], c[4], c[5], c[6], c[7], c[8]
	y, g, z, v, n := load64("y"), load64("d"), load64("z"), load64("v"), load64("n")
	s.stream("free", n, 1, []GPVirtual{y, g, z, v}, func(_, disp int, k *mask) {
		x, t := s.get(g, disp, k), s.v()
		VMULPS(scale, x, x)
		VMULPS(c2, x, t)
		VMULPS(x, t, t)
		d := s.get(v, disp, k)
		VMULPS(b2, d, d)
		VADDPS(t, d, d)
		s.put(d, v, disp, k)
		VDIVPS(root, d, d)
		VSQRTPS(d, d)
		VADDPS(eps, d, d)
		VDIVPS(d, x, x)
		a := s.get(y, disp, k)
		VMULPS(decay, a, d)
		VADDPS(d, x, x)
		b := s.get(z, disp, k)
		VSUBPS(a, b, t)
		VMULPS(toZ, t, t)
		VADDPS(t, a, a)
		VMULPS(yStep, x, t)
		VADDPS(t, a, a)
		s.put(a, y, disp, k)
		VMULPS(zStep, x, x)
		VSUBPS(x, b, b)
		s.put(b, z, disp, k)
		s.zero(t)
		s.put(t, g, disp, k)
	})
	VZEROUPPER()
	RET()
}
