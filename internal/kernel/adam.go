package kernel

import (
	"fmt"
	"math"
)

// AdamWStep holds the numbers of one step of AdamW, see there.
type AdamWStep struct {
	Scale, C1, Beta2, C2, Root, Epsilon, Keep, Size float32
}

// AdamW makes a step of AdamW for weights w with gradients g and moments m and v, and sets g to zero:
//
//	x = Scale*g, m += C1*(x-m), v = Beta2*v + C2*x*x, w = Keep*w - Size*m / (sqrt(v)/Root + Epsilon)
//
// Every product and sum is rounded by itself, on all machines, so that results are equal in every bit. It panics when a slice
// is shorter than w.
func AdamW(w, g, m, v []float32, c *AdamWStep) { adamWAt(active, w, g, m, v, c) }

func adamWAt(l isa, w, g, m, v []float32, c *AdamWStep) {
	if n := len(w); len(g) < n || len(m) < n || len(v) < n {
		panic(fmt.Sprintf("kernel: AdamW of %d weights with %d, %d and %d", n, len(g), len(m), len(v)))
	}
	adamW(l, w, g, m, v, c)
}

// ScheduleFreeStep holds the numbers of one step of ScheduleFree, see there.
type ScheduleFreeStep struct {
	Scale, Beta2, C2, Root, Epsilon, Decay, ToZ, YStep, ZStep float32
}

// ScheduleFree makes a step of schedule-free AdamW for weights y with gradients g, base sequence z and moments v, and
// sets g to zero:
//
//	x = Scale*g, v = Beta2*v + C2*x*x, x = x/(sqrt(v/Root)+Epsilon) + Decay*y, y += ToZ*(z-y), y += YStep*x, z -= ZStep*x
//
// Rounding and panics are AdamW's.
func ScheduleFree(y, g, z, v []float32, c *ScheduleFreeStep) { scheduleFreeAt(active, y, g, z, v, c) }

func scheduleFreeAt(l isa, y, g, z, v []float32, c *ScheduleFreeStep) {
	if n := len(y); len(g) < n || len(z) < n || len(v) < n {
		panic(fmt.Sprintf("kernel: ScheduleFree of %d weights with %d, %d and %d", n, len(g), len(z), len(v)))
	}
	scheduleFree(l, y, g, z, v, c)
}

// The conversions keep compilers from joining products with sums.

func adamWGeneric(w, g, m, v []float32, c *AdamWStep) {
	for i := range w {
		x := g[i] * c.Scale
		m[i] += float32(c.C1 * (x - m[i]))
		v[i] = float32(v[i]*c.Beta2) + float32(float32(c.C2*x)*x)
		d := float32(float32(math.Sqrt(float64(v[i])))/c.Root) + c.Epsilon
		w[i] = float32(w[i]*c.Keep) - float32(c.Size*m[i])/d
		g[i] = 0
	}
}

func scheduleFreeGeneric(y, g, z, v []float32, c *ScheduleFreeStep) {
	for i := range y {
		x := g[i] * c.Scale
		v[i] = float32(v[i]*c.Beta2) + float32(float32(c.C2*x)*x)
		x = x/(float32(math.Sqrt(float64(v[i]/c.Root)))+c.Epsilon) + float32(c.Decay*y[i])
		y[i] += float32(c.ToZ * (z[i] - y[i]))
		y[i] += float32(c.YStep * x)
		z[i] -= float32(c.ZStep * x)
		g[i] = 0
	}
}
