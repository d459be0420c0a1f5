package kernel

import (
	"fmt"
	"math"
	"sync"
)

// Half says what 16-bit numbers are.
type Half uint8

const (
	F16  Half = iota // IEEE 754 half precision
	BF16             // bfloat16: the upper half of a float32
)

// String names the format.
func (h Half) String() string {
	if h == BF16 {
		return "bfloat16"
	}
	return "float16"
}

// HalfQuery is a Query for documents of 16-bit numbers, which are read as they are: half the memory, and where the
// processor multiplies bfloat16, twice the speed. It is safe for concurrent use except for Reset.
//
// Float16 documents are widened, which is exact. For bfloat16 documents the query is rounded to bfloat16, too, on every
// machine; products are exact, and sums are in float32.
type HalfQuery struct {
	half  Half
	f     Query    // rounded with BF16
	pairs []uint32 // BF16: f's panels, [dim/2][w][2]
}

// NewHalfQuery packs a copy of q, rows x dim row-major. It panics when the shape is impossible or q is too short.
func NewHalfQuery(h Half, q []float32, rows, dim int) *HalfQuery {
	p := new(HalfQuery)
	p.Reset(h, q, rows, dim)
	return p
}

// Reset packs another query, reusing memory. It must not run concurrently with any other method.
func (q *HalfQuery) Reset(h Half, v []float32, rows, dim int) {
	q.half = h
	q.f.Reset(v, rows, dim)
	if h != BF16 {
		return
	}
	for i, x := range q.f.data {
		q.f.data[i] = math.Float32frombits(bf16Bits(x) << 16)
	}
	if dim%2 != 0 {
		return
	}
	lanes := q.f.Lanes()
	q.pairs = alignedSlice(q.pairs, lanes*dim/2)
	for at := 0; at < lanes; at += panelCols {
		w := min(panelCols, lanes-at)
		panel, to := q.f.data[at*dim:(at+w)*dim], q.pairs[at*dim/2:(at+w)*dim/2]
		for k := range dim / 2 {
			even, odd := panel[2*k*w:(2*k+1)*w], panel[(2*k+1)*w:(2*k+2)*w]
			for i := range even {
				to[k*w+i] = math.Float32bits(even[i])>>16 | math.Float32bits(odd[i])&0xffff0000
			}
		}
	}
}

// Max is Query.Max.
func (q *HalfQuery) Max(out []float32, doc []uint16, rows int) { q.maxAt(active, out, doc, rows) }

// MaxSim is Query.MaxSim.
func (q *HalfQuery) MaxSim(doc []uint16, rows int) float32 { return q.maxSimAt(active, doc, rows) }

func (q *HalfQuery) check(doc []uint16, rows int) {
	if rows < 0 || len(doc) < rows*q.f.dim {
		panic(fmt.Sprintf("kernel: document of %d rows of dimension %d in %d values", rows, q.f.dim, len(doc)))
	}
}

func (q *HalfQuery) maxAt(l isa, out []float32, doc []uint16, rows int) {
	q.check(doc, rows)
	if len(out) < q.f.rows {
		panic(fmt.Sprintf("kernel: %d maxima into %d values", q.f.rows, len(out)))
	}
	var acc [panelCols]float32
	for at := 0; at < q.f.rows; at += panelCols {
		q.panelMax(l, &acc, at, doc, rows)
		copy(out[at:q.f.rows], acc[:])
	}
}

func (q *HalfQuery) maxSimAt(l isa, doc []uint16, rows int) float32 {
	q.check(doc, rows)
	if rows == 0 {
		panic("kernel: MaxSim of a document without rows")
	}
	var acc [panelCols]float32
	var sum float32
	for at := 0; at < q.f.rows; at += panelCols {
		q.panelMax(l, &acc, at, doc, rows)
		for _, v := range acc[:min(panelCols, q.f.rows-at)] {
			sum += v
		}
	}
	return sum
}

// halfScratch is the number of values that are widened at a time: 24 rows of dimension 128, which stay in the first-level
// cache. Larger rows than 256 take pooled memory for 12 of them, a tile.
const halfScratch = 3 << 10

var halfPool = sync.Pool{New: func() any { return new([]float32) }}

// panelMax computes the maxima of the lanes from at on, at most 32 of them.
func (q *HalfQuery) panelMax(l isa, acc *[panelCols]float32, at int, doc []uint16, rows int) {
	for i := range acc {
		acc[i] = float32(math.Inf(-1))
	}
	dim := q.f.dim
	w := min(panelCols, q.f.Lanes()-at)
	if q.half == BF16 && dim%2 == 0 && hasMaxPanelBF16(l) {
		panel, units := q.pairs[at*dim/2:(at+w)*dim/2], dim/2
		block := max(12, maxSimBlock/units/12*12)
		for r := 0; r < rows; r += block {
			n := min(block, rows-r)
			maxPanelBF16(acc, panel, w, doc[r*dim:(r+n)*dim], n, units)
		}
		return
	}
	panel := q.f.data[at*dim : (at+w)*dim]
	var buf [halfScratch]float32
	wide := buf[:]
	if 12*dim > len(wide) {
		p := halfPool.Get().(*[]float32)
		defer halfPool.Put(p)
		if cap(*p) < 12*dim {
			*p = make([]float32, 12*dim)
		}
		wide = (*p)[:12*dim]
	}
	block := len(wide) / dim / 12 * 12
	for r := 0; r < rows; r += block {
		n := min(block, rows-r)
		widen(l, q.half, wide[:n*dim], doc[r*dim:(r+n)*dim])
		// The next block comes from memory while this one is multiplied.
		prefetchHalf(l, doc[(r+n)*dim:min(r+2*n, rows)*dim])
		maxPanel(l, acc, panel, w, wide[:n*dim], n, dim)
	}
}

// BF16ToF32 widens bfloat16 numbers, which is exact. It panics when dst is shorter than src.
func BF16ToF32(dst []float32, src []uint16) {
	if len(dst) < len(src) {
		panic(fmt.Sprintf("kernel: BF16ToF32 of %d values into %d", len(src), len(dst)))
	}
	bf16ToF32(active, dst, src)
}

// F32ToBF16 rounds to bfloat16, to nearest, ties to even; NaN stays NaN. It panics when dst is shorter than src.
func F32ToBF16(dst []uint16, src []float32) {
	if len(dst) < len(src) {
		panic(fmt.Sprintf("kernel: F32ToBF16 of %d values into %d", len(src), len(dst)))
	}
	for i, v := range src {
		dst[i] = uint16(bf16Bits(v))
	}
}

func widen(l isa, h Half, dst []float32, src []uint16) {
	if h == BF16 {
		bf16ToF32(l, dst, src)
	} else {
		f16ToF32(l, dst, src)
	}
}

func bf16ToF32Generic(dst []float32, src []uint16) {
	for i, h := range src {
		dst[i] = math.Float32frombits(uint32(h) << 16)
	}
}

// Finite says whether x is free of NaN and infinities.
func Finite(x []float32) bool { return finiteAt(active, x) }

func finiteAt(l isa, x []float32) bool { return maxAbs32(l, x) < 0x7f800000 }

// FiniteHalf says whether x is free of NaN and infinities.
func FiniteHalf(h Half, x []uint16) bool { return finiteHalfAt(active, h, x) }

func finiteHalfAt(l isa, h Half, x []uint16) bool {
	if h == BF16 {
		return maxAbs16(l, x) < 0x7f80
	}
	return maxAbs16(l, x) < 0x7c00
}

// maxAbs32 is the largest magnitude's bits; those of NaN and infinities are the largest of all.
func maxAbs32(l isa, x []float32) uint32 {
	if len(x) == 0 {
		return 0
	}
	_, _, abs := rowRange(l, x)
	return abs
}

func maxAbs16Generic(x []uint16) uint16 {
	var top uint16
	for _, v := range x {
		top = max(top, v&0x7fff)
	}
	return top
}
