package kernel

// residualPanelGeneric raises acc to the scores of the lanes from at on with the given tokens, and writes the scores to
// those rows of out. The integer products are computed in float32, where sums of up to 1024 products of int8 are exact.
func residualPanelGeneric(q *ResidualQuery, acc *[panelCols]float32, at int, base *Base, codes []uint32, residuals []byte, invNorms []float32, scratch []uint8, out *scoreRows) {
	const exact = 1024
	lanes, size := q.Lanes(), 4*q.groups
	w := min(panelCols, lanes-at)
	panel := q.qf[at*size : (at+w)*size]
	q.levels.decode(scratch, size, residuals, len(codes), 0)
	var row [exact]float32
	for t, c := range codes {
		var dot [panelCols]int32
		for d := 0; d < q.levels.dim; d += exact {
			n := min(exact, q.levels.dim-d)
			for i, v := range scratch[t*size+d : t*size+d+n] {
				row[i] = float32(int8(v))
			}
			for j := 0; j < w; j += 4 {
				for i, s := range dot1x4(row[:n], panel[d*w+j:], w) {
					dot[j+i] += int32(s)
				}
			}
		}
		b, to := base.Scores[int(c)*lanes+at:][:w], out.row(t, w)
		for j, v := range b {
			// The conversions keep the compiler from fusing a product with the sum.
			s := (float32(float32(dot[j])*q.scale[at+j]) + float32(float32(v)*base.Unit[at+j])) * invNorms[t]
			to[j] = s
			if s > acc[j] {
				acc[j] = s
			}
		}
	}
}

func maxU32Generic(x []uint32) uint32 {
	var top uint32
	for _, v := range x {
		top = max(top, v)
	}
	return top
}
