package quant

// Tables are what Encode computes with beside centroids, cutoffs, weights and scales, for coders that run elsewhere.
// Their arithmetic is Encode's when products and sums are rounded one by one, but for those of assignment and of
// gradients: chains of fused multiply-adds in ascending order. Read-only.
type Tables struct {
	// Perms and Signs are the rotation's rounds, each of Dim values; none without a rotation. Of a round, output i is input
	// Perms[i] times Signs[Perms[i]]; then the blocks that the binary digits of Dim give, largest first, go through an
	// orthonormal Hadamard transform each.
	Perms [][]int32
	Signs [][]float32
	// Moment is Dim x Dim, the weight of errors, row-major and symmetric but for rounding, and Steps the inverse of its
	// diagonal; nil without directions. Passes is how often coordinate descent goes through the dimensions.
	Moment, Steps []float32
	Passes        int
}

// Tables returns the tables; see there.
func (c *Codebook) Tables() Tables {
	var t Tables
	if c.rot != nil {
		for i := range c.rot.rounds {
			t.Perms = append(t.Perms, c.rot.rounds[i].perm)
			t.Signs = append(t.Signs, c.rot.rounds[i].sign)
		}
	}
	if c.focus != nil && c.nbits < 16 {
		c.focus.prepare()
		t.Moment, t.Steps, t.Passes = c.focus.q, c.focus.step, focusPasses
	}
	return t
}
