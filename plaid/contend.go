package plaid

import (
	"math"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/quant"
)

// Of a document's tokens few can have a query token's largest score, and MaxSim is made of those alone. Scores in the
// compressed domain say which: they are off by little, so a token that is further behind the best is out. Only the others
// are decoded, and the score is the same in every bit.
//
// With v = c + s w of a token, N = 1/|v|, and n, the stored inverse norm, within e of N, the score in the compressed domain is
// (<q,c> + b + s (<q,w> + r)) n, where b and r are the errors of products of bytes. It is off by
//
//	<q,v> (n-N) + b n + r s n,  and  |<q,v> (n-N)| <= |q| e / (n-e).
//
// b and r are sums of a rounding per dimension times a value that knows nothing of it, and so no wider than a normal
// distribution of their variance. Where the compressed domain has larger scales than the codebook (see leastScale), <q,w> is off
// by what |w| allows. Two scores have to differ by contenderDeviations of that: one in 10^15 would be needed for
// a token to be missed, and it would have to be the document's best. What the maxima of both domains differ by shows whether
// roundings are what they are taken for; where it is too much, everything is decoded. On 20,000 real passages at 4 bits,
// the contenders are 20 of 125 tokens in the mean.

// contenderDeviations is how many standard deviations of the difference of two scores a contender may be behind.
const contenderDeviations = 8

// rowError is what makes a query token's scores in the compressed domain differ from exact ones.
type rowError struct {
	level float64 // variance of r, and of what 16 bits make of (<q,c> + b)/s
	base  float64 // variance of b
	norm  float64 // |q|
}

// worthwhile is the part of a document's tokens of which it does not pay to leave the others out.
const worthwhile = .75

// fewTokens are decoded anyway.
const fewTokens = 24

// prepareErrors sets the errors of all query tokens; none where contenders cannot be told.
func (st *state) prepareErrors() {
	for i := range st.spaces {
		sp, cb := &st.spaces[i], st.s.spaces[i].cb
		sp.errors = sp.errors[:0]
		if !sp.compressed || len(sp.base.Scores) == 0 || !kernel.FastContenders() {
			continue
		}
		d, longest := float64(cb.Dim()), float64(cb.MaxNorm())
		step := 0.
		if sp.rows != nil {
			step = float64(sp.rows.Step())
		}
		for j := range st.rows {
			q := sp.residual.Error(j)
			unit := float64(sp.base.Unit[j])
			e := rowError{level: q.Level*q.Level + unit*unit/12, norm: q.Norm}
			if sp.rows != nil { // the query in bytes with centroids, and a centroid in bytes with the query
				e.base = q.Rounding*q.Rounding*longest*longest/d + q.Norm*q.Norm*step*step/12
			}
			sp.errors = append(sp.errors, e)
		}
	}
}

// contenders leaves in w.some those of n tokens of the loaded document, from the one at on, that may have the largest score of
// a query token. It says no if that cannot be told, or if they are too many to be worth the trouble.
func (st *state) contenders(w *worker, unit uint32, at, n int) bool {
	u := &st.s.units[unit]
	sp, space := &st.spaces[u.space], &st.s.spaces[u.space]
	cb := space.cb
	if len(sp.errors) == 0 || n < fewTokens {
		return false
	}
	some := &w.some
	codes, norms := w.codes[at:at+n], w.invNorms[at:at+n]
	some.invNorms = append(some.invNorms[:0], norms...)
	if scales := space.scales; scales != nil {
		kernel.ScaleAt(some.invNorms, scales, codes)
	}
	most, mostScaled := kernel.Largest(norms), kernel.Largest(some.invNorms)
	off := float64(u.seg.NormError())
	if off > 0 && most > 0 {
		if off = off / (float64(u.seg.LeastNorm()) - off); !(off >= 0) {
			return false
		}
	}
	w.margin = grow(w.margin, st.rows)
	level, base := 2*float64(mostScaled)*float64(mostScaled), 2*float64(most)*float64(most)
	off += float64(cb.Dim()) * 0x1p-22 * (1 + float64(cb.MaxNorm())*float64(most)) // float32's part
	off += space.raised * float64(most)
	for i := range sp.errors {
		e := &sp.errors[i]
		m := contenderDeviations*math.Sqrt(level*e.level+base*e.base) + 2*e.norm*off
		if !(m < math.MaxFloat32/4) { // scores overflow
			return false
		}
		w.margin[i] = float32(m)
	}
	rb := cb.RowBytes()
	residuals := w.residuals[at*rb : (at+n)*rb]
	w.tokensLeft = w.contend.Find(w.tokensLeft, &sp.residual, w.margin, &sp.base, codes, residuals, some.invNorms)
	if m := len(w.tokensLeft); m == 0 || float64(m) > worthwhile*float64(n) {
		return false
	}
	some.codes, some.residuals, some.invNorms = some.codes[:0], some.residuals[:0], some.invNorms[:0]
	for _, t := range w.tokensLeft {
		some.codes = append(some.codes, codes[t])
		some.residuals = append(some.residuals, residuals[int(t)*rb:][:rb]...)
		some.invNorms = append(some.invNorms, norms[t])
	}
	return true
}

// maxima writes the largest scores of n tokens of the loaded document, from the one at on, to w.part, one per row of the query.
func (st *state) maxima(w *worker, unit uint32, at, n int) {
	space := st.s.units[unit].space
	cb, query := st.s.spaces[space].cb, &st.spaces[space].query
	dim, rb := cb.Dim(), cb.RowBytes()
	w.part = grow(w.part, st.lanes)
	if st.contenders(w, unit, at, n) {
		some := &w.some
		w.decode(cb, some.codes, some.residuals, some.invNorms)
		query.Max(w.part, w.vec, len(some.codes))
		if w.agree() {
			return
		}
	}
	w.decode(cb, w.codes[at:at+n], w.residuals[at*rb:(at+n)*rb], w.invNorms[at:at+n])
	query.Max(w.part, w.vec[:n*dim], n)
}

// agree tells whether the maxima of the contenders are what their scores in the compressed domain have promised, within half
// of what was expected at most.
func (w *worker) agree() bool {
	for i, v := range w.contend.Max() {
		if d := v - w.part[i]; !(max(d, -d) <= w.margin[i]/2) {
			return false
		}
	}
	return true
}

// decode writes tokens' vectors to w.vec. A stored inverse norm of exactly 0 marks a vector of zeros.
func (w *worker) decode(cb *quant.Codebook, codes []uint32, residuals []byte, invNorms []float32) {
	dim := cb.Dim()
	cb.Decode(w.vec[:len(codes)*dim], codes, residuals)
	for i, inv := range invNorms {
		if inv == 0 {
			clear(w.vec[i*dim : (i+1)*dim])
		}
	}
}
