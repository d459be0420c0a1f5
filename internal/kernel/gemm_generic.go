package kernel

import "math"

// gemmGeneric is the reference of Gemm; e.Scale is set.
func gemmGeneric(p *Packed, c []float32, ldc int, a []float32, lda, m int, e *Epilogue) {
	for at := 0; at < p.n; at += panelCols {
		panel, cols := p.panel(at), min(panelCols, p.n-at)
		for i := 0; i < m; i += 2 {
			a0 := a[i*lda : i*lda+p.k]
			a1 := a0
			if i+1 < m {
				a1 = a[(i+1)*lda : (i+1)*lda+p.k]
			}
			for j := 0; j < cols; j += 4 {
				s := dot2x4(a0, a1, panel[j:], panelCols)
				for r := range min(2, m-i) {
					for q := range min(4, cols-j) {
						finish(c, (i+r)*ldc, at+j+q, s[4*r+q], i+r, e)
					}
				}
			}
		}
	}
}

// finish applies the epilogue to one product, which belongs to row i, column j.
func finish(c []float32, row, j int, v float32, i int, e *Epilogue) {
	v *= e.Scale
	if e.Bias != nil {
		v += e.Bias[j]
	}
	if e.Act == GELU {
		v = gelu(v)
	}
	if e.Add != nil {
		v += e.Add[i*e.LdAdd+j]
	}
	c[row+j] = v
}

// argMaxGeneric is the reference of ArgMax.
func argMaxGeneric(p *Packed, idx []uint32, score []float32, a []float32, lda, m int) {
	for i := 0; i < m; i += 2 {
		a0 := a[i*lda : i*lda+p.k]
		a1 := a0
		if i+1 < m {
			a1 = a[(i+1)*lda : (i+1)*lda+p.k]
		}
		best := [2]float32{float32(math.Inf(-1)), float32(math.Inf(-1))}
		var arg [2]uint32
		for at := 0; at < p.n; at += panelCols {
			panel, cols := p.panel(at), min(panelCols, p.n-at)
			for j := 0; j < cols; j += 4 {
				s := dot2x4(a0, a1, panel[j:], panelCols)
				for r := range 2 {
					for q := range min(4, cols-j) {
						if v := s[4*r+q]; v > best[r] {
							best[r], arg[r] = v, uint32(at+j+q)
						}
					}
				}
			}
		}
		for r := range min(2, m-i) {
			idx[i+r] = arg[r]
			if score != nil {
				score[i+r] = best[r]
			}
		}
	}
}
