package kernel

import (
	"fmt"
	"math"
	"slices"
)

// Contenders finds the tokens of a document that matter for its exact score. MaxSim takes each query row's largest score
// alone, and scores in the compressed domain tell with a known error which tokens can have it: a tenth to a third of a
// document's. The zero value is ready; it keeps its memory and belongs to one goroutine.
type Contenders struct {
	scores []float32
	found  []uint8 // per token: 1 is a contender
	limits [panelCols]float32
	max    []float32
}

// Max returns the largest scores of the last document, one per query row. They are valid until the next Find.
func (c *Contenders) Max() []float32 { return c.max }

// FastContenders tells whether Find takes less time than it saves.
func FastContenders() bool { return active >= isaAVX2 }

// Find appends to dst[:0], in order, the tokens whose score with at least one row i of the query is not more than
// margin[i] below the largest of all tokens. If scores are off by half the margin at most, the token that is truly
// best is among them, and so are those that tie with it. Tokens whose scores are all NaN are left out. The other
// arguments are those of ResidualQuery.Max, which has the conditions under which it panics.
func (c *Contenders) Find(dst []uint32, q *ResidualQuery, margin []float32, base *Base, codes []uint32, residuals []byte, invNorms []float32) []uint32 {
	return c.findAt(active, dst, q, margin, base, codes, residuals, invNorms)
}

func (c *Contenders) findAt(l isa, dst []uint32, q *ResidualQuery, margin []float32, base *Base, codes []uint32, residuals []byte, invNorms []float32) []uint32 {
	if l == isaNEON {
		l = isaGeneric // whose kernel keeps no scores
	}
	q.check(l, base, codes, residuals, invNorms)
	if len(margin) < q.rows {
		panic(fmt.Sprintf("kernel: %d margins for %d rows", len(margin), q.rows))
	}
	n := len(codes)
	if cap(c.found) < n {
		c.found = make([]uint8, n)
		c.scores = alignedSlice(c.scores, n*panelCols)
	}
	found := c.found[:n]
	clear(found)
	c.max = c.max[:0]
	var acc [panelCols]float32
	for at := 0; at < q.rows; at += panelCols {
		w := min(panelCols, q.Lanes()-at)
		q.panelMax(l, &acc, at, base, codes, residuals, invNorms, scoreRows{data: c.scores[:n*panelCols], stride: w})
		c.max = append(c.max, acc[:min(w, q.rows-at)]...)
		for i := range c.limits {
			c.limits[i] = float32(math.Inf(1)) // lanes beyond the query
		}
		for i, m := range margin[at:min(at+w, q.rows)] {
			c.limits[i] = acc[i] - m
		}
		reachRows(l, found, c.scores[:n*w], w, c.limits[:w])
	}
	dst = slices.Grow(dst[:0], n)[:n]
	some := 0
	for t, h := range found { // most are not: no branch that cannot be foretold
		dst[some] = uint32(t)
		some += int(h)
	}
	return dst[:some]
}

// reachRowsGeneric sets a byte of found to 1 for each row of scores, lanes of them, of which one reaches its limit. NaN
// reaches nothing.
func reachRowsGeneric(found []uint8, scores []float32, lanes int, limits []float32) {
	limits = limits[:lanes]
	for t := range found {
		for j, v := range scores[t*lanes:][:len(limits)] {
			if v >= limits[j] {
				found[t] = 1
			}
		}
	}
}
