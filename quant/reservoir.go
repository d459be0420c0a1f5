package quant

import (
	"math"

	"github.com/golbert/golbert/colbert/maxsim"
)

// Reservoir keeps a uniform random sample of a stream of vectors in fixed memory (Li, "Reservoir-Sampling
// Algorithms of Time Complexity O(n(1+log(N/n)))", algorithm L). The sample depends on the seed and the
// order of the vectors alone, not on how Add splits them. Not safe for concurrent use.
type Reservoir struct {
	maxRows, dim int
	data         []float32
	ids          []uint32 // of the vectors' tokens; nil until some are given
	seen         uint64
	next         uint64 // number of the next vector that enters once the reservoir is full
	w            float64
	rng          rng
}

// NewReservoir returns a reservoir of at most maxRows vectors of dimension dim. Memory grows with what is
// added, up to maxRows x dim float32. It panics when maxRows or dim is not positive.
func NewReservoir(maxRows, dim int, seed uint64) *Reservoir {
	if maxRows <= 0 || dim <= 0 {
		panic("quant: reservoir of no size")
	}
	return &Reservoir{maxRows: maxRows, dim: dim, w: 1, rng: rng{seed}}
}

// Add offers the rows of m, which are copied when kept. It panics when m has another dimension.
func (r *Reservoir) Add(m maxsim.Matrix) { r.AddTokens(m, nil) }

// AddTokens is Add with the vocabulary ids of the rows, one each; nil stands for NoToken. It panics when there are
// some but not as many as rows.
func (r *Reservoir) AddTokens(m maxsim.Matrix, ids []uint32) {
	if m.Rows == 0 {
		return
	}
	if m.Dim != r.dim || ids != nil && len(ids) != m.Rows {
		panic("quant: reservoir: vector of another dimension, or not an id for each")
	}
	if ids != nil && r.ids == nil {
		r.ids = make([]uint32, len(r.data)/r.dim, max(len(r.data)/r.dim, min(r.maxRows, 1<<16)))
		for i := range r.ids {
			r.ids[i] = NoToken
		}
	}
	id := func(i int) uint32 {
		if ids == nil {
			return NoToken
		}
		return ids[i]
	}
	i := 0
	if have := len(r.data) / r.dim; have < r.maxRows {
		i = min(m.Rows, r.maxRows-have)
		r.grow(have + i)
		r.data = append(r.data, m.Data[:i*r.dim]...)
		for j := 0; j < i && r.ids != nil; j++ {
			r.ids = append(r.ids, id(j))
		}
		r.seen += uint64(i)
		if have+i == r.maxRows {
			r.skip()
		}
	}
	left := uint64(m.Rows - i)
	for r.next < r.seen+left && left > 0 {
		step := r.next - r.seen
		i += int(step)
		slot := int(r.rng.below(uint64(r.maxRows)))
		copy(r.data[slot*r.dim:(slot+1)*r.dim], m.Row(i))
		if r.ids != nil {
			r.ids[slot] = id(i)
		}
		i++
		left -= step + 1
		r.seen += step + 1
		r.skip()
	}
	r.seen += left
}

// grow makes room for so many rows. A large reservoir gets all of its memory in one piece, or in few, and the system
// backs what is written to; growing it by doubling would take twice the memory while values are copied.
func (r *Reservoir) grow(rows int) {
	const (
		small  = 4 << 20 // values: append will do
		factor = 64
	)
	if need := rows * r.dim; need > small && need > cap(r.data) {
		r.data = append(make([]float32, 0, min(r.maxRows, factor*rows)*r.dim), r.data...)
	}
}

// skip draws how many vectors pass before the next one enters.
func (r *Reservoir) skip() {
	r.w *= math.Exp(math.Log(1-r.rng.float()) / float64(r.maxRows))
	gap := math.Floor(math.Log(1-r.rng.float()) / math.Log1p(-r.w))
	if !(gap < math.MaxInt64/2) { // also NaN and +Inf, once w underflows
		gap = math.MaxInt64 / 2
	}
	r.next = r.seen + uint64(gap)
}

// Sample returns the sample as a view, valid until the next Add. Its rows are in no particular order.
func (r *Reservoir) Sample() maxsim.Matrix {
	return maxsim.Matrix{Data: r.data, Rows: len(r.data) / r.dim, Dim: r.dim}
}

// TokenIDs returns the vocabulary ids of the sample's rows as a view, or nil when none were given.
func (r *Reservoir) TokenIDs() []uint32 { return r.ids }

// Seen returns how many vectors have been offered.
func (r *Reservoir) Seen() uint64 { return r.seen }
