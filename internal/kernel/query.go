package kernel

import (
	"fmt"
	"math"
)

// lanesStep is what query rows are rounded up to: one AVX-512 register, or two AVX2 registers.
const lanesStep = 16

// panelCols is the number of columns of a full panel: the width of the register tile.
const panelCols = 32

// Query is a query's token matrix packed for MaxSim: tokens lie in the lanes of vector registers and documents
// are read as they are, one broadcast value at a time, so no horizontal sums are needed. A Query is safe for
// concurrent use except for Reset.
//
// The layout is that of panels: each 32 lanes (16 in the last one if that is enough) are stored as
// [dim][lanes]; lanes beyond Rows are zero and never looked at.
type Query struct {
	data      []float32
	rows, dim int
}

// NewQuery packs a copy of q, rows x dim row-major. It panics when the shape is impossible or q is too short.
func NewQuery(q []float32, rows, dim int) *Query {
	p := new(Query)
	p.Reset(q, rows, dim)
	return p
}

// Reset packs another query, reusing memory. It must not run concurrently with any other method.
func (q *Query) Reset(v []float32, rows, dim int) {
	if rows < 0 || dim <= 0 || len(v) < rows*dim {
		panic(fmt.Sprintf("kernel: query of %d rows of dimension %d in %d values", rows, dim, len(v)))
	}
	q.rows, q.dim = rows, dim
	lanes := q.Lanes()
	q.data = alignedSlice(q.data, lanes*dim)
	for at := 0; at < lanes; at += panelCols {
		w := min(panelCols, lanes-at)
		packPanel(q.data[at*dim:(at+w)*dim], v[min(at, rows)*dim:], min(rows-at, w), dim, dim, w)
	}
}

// Rows returns the number of query tokens.
func (q *Query) Rows() int { return q.rows }

// Dim returns the dimension of the token vectors.
func (q *Query) Dim() int { return q.dim }

// Lanes returns Rows rounded up to a multiple of 16.
func (q *Query) Lanes() int { return (q.rows + lanesStep - 1) / lanesStep * lanesStep }

// Max writes, for each query row i, the largest inner product with any of the document's rows to out[i]. doc is
// rows x Dim, row-major. With rows == 0 it writes -Inf. It panics when out or doc is too short.
func (q *Query) Max(out []float32, doc []float32, rows int) {
	q.maxAt(active, out, doc, rows)
}

// MaxSim returns the late-interaction score: the sum of Max over the query's rows, added in ascending order. rows
// must be positive.
func (q *Query) MaxSim(doc []float32, rows int) float32 {
	return q.maxSimAt(active, doc, rows)
}

func (q *Query) check(doc []float32, rows int) {
	if rows < 0 || len(doc) < rows*q.dim {
		panic(fmt.Sprintf("kernel: document of %d rows of dimension %d in %d values", rows, q.dim, len(doc)))
	}
}

func (q *Query) maxAt(l isa, out []float32, doc []float32, rows int) {
	q.check(doc, rows)
	if len(out) < q.rows {
		panic(fmt.Sprintf("kernel: %d maxima into %d values", q.rows, len(out)))
	}
	var acc [panelCols]float32
	for at := 0; at < q.rows; at += panelCols {
		q.panelMax(l, &acc, at, doc, rows)
		copy(out[at:q.rows], acc[:])
	}
}

func (q *Query) maxSimAt(l isa, doc []float32, rows int) float32 {
	q.check(doc, rows)
	if rows == 0 {
		panic("kernel: MaxSim of a document without rows")
	}
	var acc [panelCols]float32
	var sum float32
	for at := 0; at < q.rows; at += panelCols {
		q.panelMax(l, &acc, at, doc, rows)
		for _, v := range acc[:min(panelCols, q.rows-at)] {
			sum += v
		}
	}
	return sum
}

// panelMax computes the maxima of the lanes from at on, at most 32 of them.
func (q *Query) panelMax(l isa, acc *[panelCols]float32, at int, doc []float32, rows int) {
	for i := range acc {
		acc[i] = float32(math.Inf(-1))
	}
	w := min(panelCols, q.Lanes()-at)
	panel := q.data[at*q.dim : (at+w)*q.dim]
	// About 50,000 document values per assembly call: 30 microseconds in cache, well under 100 out of it.
	block := max(12, maxSimBlock/q.dim/12*12)
	for r := 0; r < rows; r += block {
		n := min(block, rows-r)
		maxPanel(l, acc, panel, w, doc[r*q.dim:(r+n)*q.dim], n, q.dim)
	}
}

const maxSimBlock = 48 << 10
