//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// hasVBMI tells whether there are byte permutations, which are no level of their own: nothing but decode8VBMI has them.
var hasVBMI = hasAVX512() && cpu.X86.HasAVX512VBMI

func residualPanel(l isa, q *ResidualQuery, acc *[panelCols]float32, at int, base *Base, codes []uint32, residuals []byte, invNorms []float32, scratch []uint8, out *scoreRows) {
	if l == isaGeneric {
		residualPanelGeneric(q, acc, at, base, codes, residuals, invNorms, scratch, out)
		return
	}
	lanes, n := q.Lanes(), len(codes)
	w := min(panelCols, lanes-at)
	panel := q.q8[at*q.groups*4 : (at+w)*q.groups*4]
	vnni := l >= isaVNNI // else the integer kernels of AVX2
	decodeRows(l, q.levels, scratch, 4*q.groups, residuals, n, vnni)
	switch {
	case vnni && w == 32:
		residualPanelW32AVX512(&acc[0], &panel[0], &scratch[0], n, q.groups, &q.scale[at], &q.offset[at], &base.Scores[at], &base.Unit[at], 2*lanes, &codes[0], &invNorms[0], &out.data[0], 4*out.stride)
	case vnni:
		residualPanelW16AVX512(&acc[0], &panel[0], &scratch[0], n, q.groups, &q.scale[at], &q.offset[at], &base.Scores[at], &base.Unit[at], 2*lanes, &codes[0], &invNorms[0], &out.data[0], 4*out.stride)
	case w == 32:
		residualPanelW32AVX2(&acc[0], &panel[0], &scratch[0], n, q.groups, &q.scale[at], nil, &base.Scores[at], &base.Unit[at], 2*lanes, &codes[0], &invNorms[0], &out.data[0], 4*out.stride)
		at += 16
		residualPanelW32AVX2(&acc[16], &panel[64], &scratch[0], n, q.groups, &q.scale[at], nil, &base.Scores[at], &base.Unit[at], 2*lanes, &codes[0], &invNorms[0], &out.data[16], 4*out.stride)
	default:
		residualPanelW16AVX2(&acc[0], &panel[0], &scratch[0], n, q.groups, &q.scale[at], nil, &base.Scores[at], &base.Unit[at], 2*lanes, &codes[0], &invNorms[0], &out.data[0], 4*out.stride)
	}
}

// decodeRows is Levels.decode with the instructions of a level.
func decodeRows(l isa, t *Levels, dst []uint8, stride int, src []byte, rows int, biased bool) {
	table, flip := &t.signed, uint8(0)
	if biased {
		table, flip = &t.biased, 0x80
	}
	rb := t.RowBytes()
	if t.nbits == 8 && stride == rb {
		n := rows * rb
		done := n &^ 31
		switch {
		case l >= isaAVX512 && hasVBMI && n >= 64:
			done = n &^ 63
			decode8VBMI(&dst[0], &src[0], done, &table[0])
		case n >= 32:
			decode8AVX2(&dst[0], &src[0], done, &table[0])
		}
		for i, b := range src[done:n] {
			dst[done+i] = table[b]
		}
		return
	}
	if rb < 16 || t.nbits == 8 {
		t.decode(dst, stride, src, rows, flip)
		return
	}
	if l >= isaAVX512 && rb%64 == 0 {
		switch t.nbits {
		case 1:
			decode1AVX512(&dst[0], stride, &src[0], rb, rows, &table[0])
		case 2:
			decode2AVX512(&dst[0], stride, &src[0], rb, rows, &table[0])
		case 4:
			decode4AVX512(&dst[0], stride, &src[0], rb, rows, &table[0])
		}
		return
	}
	switch t.nbits {
	case 1:
		decode1AVX2(&dst[0], stride, &src[0], rb, rows, &table[0])
	case 2:
		decode2AVX2(&dst[0], stride, &src[0], rb, rows, &table[0])
	case 4:
		decode4AVX2(&dst[0], stride, &src[0], rb, rows, &table[0])
	}
}
