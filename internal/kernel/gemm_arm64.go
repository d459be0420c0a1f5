//go:build arm64 && !noasm

package kernel

import "math"

const (
	// tileRows and tileCols are the shape of the register tile; a panel of 32 columns is done in two halves.
	tileRows, tileCols = 4, 16
	// gemmBlock is the number of values of A that are worked through before the next panel: they stay in a second-level
	// cache of 512 KiB.
	gemmBlock = 64 << 10
)

var iota16 = [16]uint32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

func gemm(l isa, p *Packed, c []float32, ldc int, a []float32, lda, m int, e *Epilogue) {
	if l == isaGeneric {
		gemmGeneric(p, c, ldc, a, lda, m, e)
		return
	}
	eachTile(c, ldc, m, p.n, p.k, e, &operands{p: p, a: a, lda: lda})
}

// operands are the factors of a product: of float32, or of bytes. A function value in its place would make the caller's
// buffers escape to the heap.
type operands struct {
	p   *Packed
	a   []float32
	lda int

	q *PackedInt8 // not nil: of bytes
	x *Rows
}

// tile computes one tile.
func (o *operands) tile(r, rows, at int, ct *float32, ld int, e *Epilogue, bias, add *float32) {
	if o.q != nil {
		o.int8Tile(r, rows, at, ct, ld, e, bias, add)
		return
	}
	b := &o.p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
	gemmTileNEON(rows, &o.a[r*o.lda], 4*o.lda, b, o.p.k, ct, 4*ld, e.Scale, bias, add, 4*e.LdAdd)
}

// eachTile computes a product of m rows and n columns whose rows have so many 32-bit words, tile by tile. Where a tile is not
// whole, or an activation follows, it goes through a buffer, and the rest of the epilogue is done here.
func eachTile(c []float32, ldc, m, n, words int, e *Epilogue, o *operands) {
	var tile [tileRows * tileCols]float32
	var pad [tileCols]float32
	block := max(tileRows, gemmBlock/words/tileRows*tileRows)
	for r0 := 0; r0 < m; r0 += block {
		r1 := min(m, r0+block)
		for at := 0; at < n; at += tileCols {
			cols := min(tileCols, n-at)
			var bias *float32
			if e.Bias != nil {
				bias = &e.Bias[at]
				if cols < tileCols {
					copy(pad[:], e.Bias[at:at+cols])
					bias = &pad[0]
				}
			}
			for r := r0; r < r1; r += tileRows {
				rows := min(tileRows, r1-r)
				if cols == tileCols && e.Act == NoActivation {
					var add *float32
					if e.Add != nil {
						add = &e.Add[r*e.LdAdd+at]
					}
					o.tile(r, rows, at, &c[r*ldc+at], ldc, e, bias, add)
					continue
				}
				o.tile(r, rows, at, &tile[0], tileCols, e, bias, nil)
				if e.Act == GELU {
					geluNEON(&tile[0], rows*tileCols)
				}
				for i := range rows {
					row, to := tile[i*tileCols:i*tileCols+cols], c[(r+i)*ldc+at:]
					if e.Add != nil {
						for j, v := range e.Add[(r+i)*e.LdAdd+at:][:cols] {
							row[j] += v
						}
					}
					copy(to, row)
				}
			}
		}
	}
}

// argMaxRows is the number of rows whose running maxima ArgMax keeps at a time.
const argMaxRows = 48

func argMax(l isa, p *Packed, idx []uint32, score []float32, a []float32, lda, m int) {
	if l == isaGeneric {
		argMaxGeneric(p, idx, score, a, lda, m)
		return
	}
	if m < tileRows {
		// The tile has a fixed height: repeat the last row into a buffer of that height.
		tmp := make([]float32, tileRows*p.k)
		var ti [tileRows]uint32
		var ts [tileRows]float32
		for r := range tileRows {
			copy(tmp[r*p.k:(r+1)*p.k], a[min(r, m-1)*lda:])
		}
		argMax(l, p, ti[:], ts[:], tmp, p.k, tileRows)
		copy(idx, ti[:m])
		if score != nil {
			copy(score, ts[:m])
		}
		return
	}
	var best [argMaxRows * tileCols]float32
	var arg [argMaxRows * tileCols]uint32
	for r0 := 0; r0 < m; r0 += argMaxRows {
		// The last tile of all starts early enough to be whole; rows that are done twice give the same result.
		tiles := (min(m, r0+argMaxRows) - r0 + tileRows - 1) / tileRows
		for i := range best {
			best[i] = float32(math.Inf(-1))
		}
		clear(arg[:])
		for at := 0; at < p.n; at += tileCols {
			b := &p.panel(at &^ (panelCols - 1))[at&(panelCols-1)]
			cols := uint32(min(tileCols, p.n-at))
			for t := range tiles {
				s := t * tileRows * tileCols
				argMaxTileNEON(&a[min(r0+t*tileRows, m-tileRows)*lda], 4*lda, b, p.k, uint32(at), cols, &iota16[0], &best[s], &arg[s])
			}
		}
		for t := range tiles {
			first := min(r0+t*tileRows, m-tileRows)
			for r := range tileRows {
				s := (t*tileRows + r) * tileCols
				top, n := best[s], arg[s]
				for i := s + 1; i < s+tileCols; i++ {
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
