//go:build amd64 && !noasm

package kernel

import "math"

// gemmBlock is the number of values of A that are worked through before the next panel: with a panel beside them they stay
// in a 1 MiB second-level cache.
const gemmBlock = 128 << 10

// tileShape returns the rows and columns of the register tile of a level. A panel of 32 columns is done in two halves
// where a tile is 16 wide.
func tileShape(l isa) (rows, cols int) {
	if l >= isaAVX512 {
		return 12, 32
	}
	return 6, 16
}

func gemm(l isa, p *Packed, c []float32, ldc int, a []float32, lda, m int, e *Epilogue) {
	if l == isaGeneric {
		gemmGeneric(p, c, ldc, a, lda, m, e)
		return
	}
	tall, wide := tileShape(l)
	eachTile(l, c, ldc, m, p.n, p.k, tall, wide, e, func(r, rows, at, cols int, ct *float32, ld int, bias, add *float32) {
		b := &p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
		if l >= isaAVX512 {
			gemmTileAVX512(rows, &a[r*lda], 4*lda, b, p.k, ct, 4*ld, cols, e.Scale, bias, add, 4*e.LdAdd)
		} else {
			gemmTileAVX2(rows, &a[r*lda], 4*lda, b, p.k, ct, 4*ld, cols, e.Scale, bias, add, 4*e.LdAdd)
		}
	})
}

// eachTile cuts an m x n product into register tiles and calls tile for each: rows rows from r, cols columns from at, to be
// stored at ct with stride ld, with what the tile's own epilogue takes (nil for nothing). k is the number of words in a row
// of A.
func eachTile(l isa, c []float32, ldc, m, n, k, tall, wide int, e *Epilogue, tile func(r, rows, at, cols int, ct *float32, ld int, bias, add *float32)) {
	var tmp *[12 * panelCols]float32
	if e.Act == GELU && e.Add != nil {
		tmp = new([12 * panelCols]float32) // Add may be C; no known model does that
	}
	block := max(tall, gemmBlock/k/tall*tall)
	for r0 := 0; r0 < m; r0 += block {
		r1 := min(m, r0+block)
		for at := 0; at < n; at += wide {
			cols := min(wide, n-at)
			var bias *float32
			if e.Bias != nil {
				bias = &e.Bias[at]
			}
			// The rows are shared out evenly: 13 are done as 7 and 6, not as 12 and 1.
			for r, tiles := r0, (r1-r0+tall-1)/tall; tiles > 0; tiles-- {
				rows := (r1 - r + tiles - 1) / tiles
				var add *float32
				if e.Add != nil && e.Act == NoActivation {
					add = &e.Add[r*e.LdAdd+at]
				}
				ct, ld := &c[r*ldc+at], ldc
				if tmp != nil {
					ct, ld = &tmp[0], panelCols
				}
				tile(r, rows, at, cols, ct, ld, bias, add)
				if e.Act == GELU {
					geluTile(l, ct, ld, rows, cols)
					if tmp != nil {
						addTile(c[r*ldc+at:], ldc, tmp, e.Add[r*e.LdAdd+at:], e.LdAdd, rows, cols)
					}
				}
				r += rows
			}
		}
	}
}

// addTile adds after an activation, which no known model needs: plain Go will do.
func addTile(c []float32, ldc int, x *[12 * panelCols]float32, add []float32, ldadd, rows, cols int) {
	for r := range rows {
		for j := range cols {
			c[r*ldc+j] = x[r*panelCols+j] + add[r*ldadd+j]
		}
	}
}

// argMaxRows is the number of rows whose running maxima ArgMax keeps at a time, a multiple of every tile's height.
const argMaxRows = 48

func argMax(l isa, p *Packed, idx []uint32, score []float32, a []float32, lda, m int) {
	tall, wide := tileShape(l)
	if l == isaGeneric {
		argMaxGeneric(p, idx, score, a, lda, m)
		return
	}
	if m < tall {
		// The tile has a fixed height: repeat the last row into a buffer of that height.
		tmp := make([]float32, tall*p.k)
		var ti [12]uint32
		var ts [12]float32
		for r := range tall {
			copy(tmp[r*p.k:(r+1)*p.k], a[min(r, m-1)*lda:])
		}
		argMax(l, p, ti[:tall], ts[:tall], tmp, p.k, tall)
		copy(idx, ti[:m])
		if score != nil {
			copy(score, ts[:m])
		}
		return
	}
	var best [argMaxRows * 16]float32
	var arg [argMaxRows * 16]uint32
	lanes := wide / 2
	for r0 := 0; r0 < m; r0 += argMaxRows {
		// The last tile of all starts early enough to be whole; rows that are done twice give the same result.
		r1 := min(m, r0+argMaxRows)
		tiles := (r1 - r0 + tall - 1) / tall
		for i := range best {
			best[i] = float32(math.Inf(-1))
		}
		clear(arg[:])
		for at := 0; at < p.n; at += wide {
			b := &p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
			cols := min(wide, p.n-at)
			for t := range tiles {
				x := &a[min(r0+t*tall, m-tall)*lda]
				s := t * tall * lanes
				if l >= isaAVX512 {
					argMaxTileAVX512(x, 4*lda, b, p.k, uint32(at), cols, &best[s], &arg[s])
				} else {
					argMaxTileAVX2(x, 4*lda, b, p.k, uint32(at), cols, &best[s], &arg[s])
				}
			}
		}
		for t := range tiles {
			first := min(r0+t*tall, m-tall)
			for r := range tall {
				s := (t*tall + r) * lanes
				top, n := best[s], arg[s]
				for i := s + 1; i < s+lanes; i++ {
					if best[i] > top || (best[i] == top && arg[i] < n) {
						top, n = best[i], arg[i]
					}
				}
				idx[first+r] = n
				if score != nil {
					score[first+r] = top
				}
			}
		}
	}
}
