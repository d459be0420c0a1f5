package transformer

import (
	"fmt"
	"math"

	"github.com/golbert/golbert/internal/kernel"
)

// maskedKey is added to the scores of keys that are not attended to. It is finite so that no arithmetic on it
// gives NaN, and low enough that the softmax turns it into zero.
const maskedKey = -math.MaxFloat32 / 4

// queryBlock is how many queries go through attention at a time: it bounds the score matrix of long sequences
// to this many rows and keeps it near the core.
const queryBlock = 128

// heads is the form of a self-attention layer: softmax(scale * Q K^T + bias) V.
type heads struct {
	q, kv, dim int     // query heads, key and value heads (q is a multiple of kv), width of each
	scale      float32 // of the products before the softmax
	// window, when not 0, limits token i to the tokens j with |i-j| < window.
	window int
	causal bool // token i sees no token after itself
	// sink divides by 1 + the sum of the exponentials (softmax1: Miller, "Attention is off by one", 2023), so that a
	// head may attend to nothing.
	sink bool
}

// plainHeads is attention as BERT has it.
func plainHeads(n, hidden int) heads {
	d := hidden / n
	return heads{q: n, kv: n, dim: d, scale: float32(1 / math.Sqrt(float64(d)))}
}

// width is the length of a row of queries, keys and values side by side.
func (a *heads) width() int { return (a.q + 2*a.kv) * a.dim }

// keySet is what the queries of one sequence attend to: the first n keys, and of these, where bias is not nil,
// those with bias 0.
type keySet struct {
	n    int
	bias []float32
}

// keysOf finds the keys of a sequence from its attention flags. Flags that are set for a prefix only, the
// usual case of query expansion, need no bias: the masked keys are left out of the products.
func keysOf(attend []bool, n int, buf []float32) (keySet, []float32) {
	if attend == nil {
		return keySet{n: n}, buf
	}
	last, gap := 0, false
	for i, a := range attend {
		if a {
			gap = gap || i != last
			last = i + 1
		}
	}
	if !gap {
		return keySet{n: last}, buf
	}
	buf = grow(buf, last)
	for i, a := range attend[:last] {
		buf[i] = 0
		if !a {
			buf[i] = maskedKey
		}
	}
	return keySet{n: last, bias: buf}, buf
}

// attention computes all heads for the sequences of a batch. qkv holds rows (queries | keys | values) of
// a.width() values, out gets rows of a.q*a.dim. rel, when not nil, adds to the scores by distance.
//
// A token whose window or past holds no attended key gets zeros: it learns nothing from the others.
func (s *scratch) attention(out, qkv []float32, b *Batch, a *heads, rel *relative) error {
	ld, ldo := a.width(), a.q*a.dim
	at := 0
	for i, n := range b.Lens {
		var attend []bool
		if b.Attend != nil {
			attend = b.Attend[at : at+n]
		}
		var keys keySet
		keys, s.bias = keysOf(attend, n, s.bias)
		if keys.n == 0 {
			return fmt.Errorf("sequence %d has no attended token: %w", i, ErrBatch)
		}
		if rel != nil {
			rel.seek(at, n)
		}
		s.sequence(out[at*ldo:(at+n)*ldo], qkv[at*ld:(at+n)*ld], n, keys, a, rel)
		at += n
	}
	return nil
}

// sequence is attention within one sequence of n tokens.
func (s *scratch) sequence(out, qkv []float32, n int, keys keySet, a *heads, rel *relative) {
	s.each(a.kv, func(g int) { a.group(g, out, qkv, n, keys, rel) })
}

// group is attention for one head of keys and values, and the query heads that share it.
func (a *heads) group(g int, out, qkv []float32, n int, keys keySet, rel *relative) {
	ld, ldo, d := a.width(), a.q*a.dim, a.dim
	limited := a.causal || a.window > 0 && a.window < n
	ep := kernel.Epilogue{Scale: a.scale}
	s := headPool.Get().(*headScratch)
	defer headPool.Put(s)
	k, v := qkv[(a.q+g)*d:], qkv[(a.q+a.kv+g)*d:]
	if !limited {
		s.keys.Repack(k, keys.n, d, ld)
		s.values.RepackT(v, d, keys.n, ld)
	}
	for r0 := 0; r0 < n; r0 += queryBlock {
		r1 := min(r0+queryBlock, n)
		lo, _ := a.reach(r0, keys.n)
		_, hi := a.reach(r1-1, keys.n)
		lo = min(lo, hi)
		if limited && lo < hi {
			s.keys.Repack(k[lo*ld:], hi-lo, d, ld)
			s.values.RepackT(v[lo*ld:], d, hi-lo, ld)
		}
		ldc := hi - lo
		if a.sink {
			ldc++ // room for the score 0 that stands for attending to nothing
		}
		for h := g * (a.q / a.kv); h < (g+1)*(a.q/a.kv); h++ {
			dst := out[r0*ldo+h*d:]
			if lo == hi {
				for r := range r1 - r0 {
					clear(dst[r*ldo : r*ldo+d])
				}
				continue
			}
			s.scores = grow(s.scores, (r1-r0)*ldc)
			if ep.Bias = nil; keys.bias != nil {
				ep.Bias = keys.bias[lo:hi]
			}
			s.keys.Gemm(s.scores, ldc, qkv[r0*ld+h*d:], ld, r1-r0, &ep)
			for r := r0; r < r1; r++ {
				row := s.scores[(r-r0)*ldc : (r-r0+1)*ldc]
				if rel != nil {
					rel.add(row[:hi-lo], h, r, lo)
				}
				a.weigh(row, r, lo, hi, keys)
			}
			s.values.Gemm(dst, ldo, s.scores, ldc, r1-r0, nil)
		}
	}
}

// reach is the range of keys that token i may see of the first n.
func (a *heads) reach(i, n int) (from, to int) {
	to = n
	if a.window > 0 {
		from, to = max(0, i-a.window+1), min(to, i+a.window)
	}
	if a.causal {
		to = min(to, i+1)
	}
	return min(from, to), to
}

// weigh turns token i's scores of the keys lo to hi-1 into weights.
func (a *heads) weigh(row []float32, i, lo, hi int, keys keySet) {
	from, to := a.reach(i, keys.n)
	if seen := from < to && (keys.bias == nil || from == 0 && to == keys.n || sees(keys.bias[from:to])); !seen {
		clear(row)
		return
	}
	clear(row[:from-lo])
	if a.sink {
		row[to-lo] = 0
		kernel.Softmax(row[from-lo : to-lo+1])
	} else {
		kernel.Softmax(row[from-lo : to-lo])
	}
	clear(row[to-lo:])
}

// sees says whether any key is attended to.
func sees(bias []float32) bool {
	for _, b := range bias {
		if b == 0 {
			return true
		}
	}
	return false
}
