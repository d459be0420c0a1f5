package kernel

// maxPanelGeneric raises acc[i] to the largest inner product of lane i of the panel ([dim][w]) with any of the rows
// of doc. A NaN product is ignored.
func maxPanelGeneric(acc *[panelCols]float32, panel []float32, w int, doc []float32, rows, dim int) {
	for ; rows >= 2; rows -= 2 {
		d0, d1 := doc[:dim], doc[dim:2*dim]
		for j := 0; j < w; j += 4 {
			s := dot2x4(d0, d1, panel[j:], w)
			a := acc[j : j+4 : j+4]
			for i := range a {
				if s[i] > a[i] {
					a[i] = s[i]
				}
				if s[4+i] > a[i] {
					a[i] = s[4+i]
				}
			}
		}
		doc = doc[2*dim:]
	}
	if rows == 1 {
		for j := 0; j < w; j += 4 {
			s := dot1x4(doc[:dim], panel[j:], w)
			a := acc[j : j+4 : j+4]
			for i := range a {
				if s[i] > a[i] {
					a[i] = s[i]
				}
			}
		}
	}
}

// dot2x4 returns the inner products of two rows with four neighbouring columns of a panel of width w: the first
// row's four, then the second row's. Eight accumulators are what fits in the registers.
func dot2x4(a0, a1, panel []float32, w int) [8]float32 {
	var s00, s01, s02, s03, s10, s11, s12, s13 float32
	a1 = a1[:len(a0)]
	for k, x := range a0 {
		y := a1[k]
		b := panel[k*w:]
		b = b[:4:4]
		s00 += x * b[0]
		s01 += x * b[1]
		s02 += x * b[2]
		s03 += x * b[3]
		s10 += y * b[0]
		s11 += y * b[1]
		s12 += y * b[2]
		s13 += y * b[3]
	}
	return [8]float32{s00, s01, s02, s03, s10, s11, s12, s13}
}

// dot1x4 is dot2x4 for one row.
func dot1x4(a0, panel []float32, w int) [4]float32 {
	var s0, s1, s2, s3 float32
	for k, x := range a0 {
		b := panel[k*w:]
		b = b[:4:4]
		s0 += x * b[0]
		s1 += x * b[1]
		s2 += x * b[2]
		s3 += x * b[3]
	}
	return [4]float32{s0, s1, s2, s3}
}
