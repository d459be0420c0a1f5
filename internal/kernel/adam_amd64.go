//go:build amd64 && !noasm

package kernel

func adamW(l isa, w, g, m, v []float32, c *AdamWStep) {
	if l == isaGeneric {
		adamWGeneric(w, g, m, v, c)
		return
	}
	for len(w) > 0 {
		n := min(len(w), maxStream/4)
		if l >= isaAVX512 {
			adamWAVX512(&w[0], &g[0], &m[0], &v[0], n, &c.Scale)
		} else {
			adamWAVX2(&w[0], &g[0], &m[0], &v[0], n, &c.Scale)
		}
		w, g, m, v = w[n:], g[n:], m[n:], v[n:]
	}
}

func scheduleFree(l isa, y, g, z, v []float32, c *ScheduleFreeStep) {
	if l == isaGeneric {
		scheduleFreeGeneric(y, g, z, v, c)
		return
	}
	for len(y) > 0 {
		n := min(len(y), maxStream/4)
		if l >= isaAVX512 {
			scheduleFreeAVX512(&y[0], &g[0], &z[0], &v[0], n, &c.Scale)
		} else {
			scheduleFreeAVX2(&y[0], &g[0], &z[0], &v[0], n, &c.Scale)
		}
		y, g, z, v = y[n:], g[n:], z[n:], v[n:]
	}
}
