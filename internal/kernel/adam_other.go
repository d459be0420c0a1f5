//go:build !amd64 || noasm

package kernel

func adamW(_ isa, w, g, m, v []float32, c *AdamWStep) { adamWGeneric(w, g, m, v, c) }

func scheduleFree(_ isa, y, g, z, v []float32, c *ScheduleFreeStep) {
	scheduleFreeGeneric(y, g, z, v, c)
}
