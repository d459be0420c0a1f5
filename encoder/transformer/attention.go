package transformer

import (
	"fmt"
	"math"

	"github.com/golbert/golbert/internal/kernel"
)

// maskedKey is added to the scores of keys that are not attended to. It is finite so that no arithmetic on it
// gives NaN, and low enough that the softmax turns it into zero.
const maskedKey = -math.MaxFloat32 / 4

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

// attention is softmax(Q K^T / sqrt(d)) V for the sequences of a batch and all heads. qkv holds the rows
// (query | key | value) of width 3*hidden each, out gets rows of width hidden.
func (s *scratch) attention(out, qkv []float32, b *Batch, hidden, heads int) error {
	d := hidden / heads
	ld := 3 * hidden
	ep := kernel.Epilogue{Scale: float32(1 / math.Sqrt(float64(d)))}
	if s.keys == nil {
		s.keys, s.values = new(kernel.Packed), new(kernel.Packed)
	}
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
		ep.Bias = keys.bias
		s.scores = grow(s.scores, n*keys.n)
		rows := qkv[at*ld : (at+n)*ld]
		for h := range heads {
			q, k, v := rows[h*d:], rows[hidden+h*d:], rows[2*hidden+h*d:]
			s.keys.Repack(k, keys.n, d, ld)
			s.keys.Gemm(s.scores, keys.n, q, ld, n, &ep)
			for r := range n {
				kernel.Softmax(s.scores[r*keys.n : (r+1)*keys.n])
			}
			s.values.RepackT(v, d, keys.n, ld)
			s.values.Gemm(out[at*hidden+h*d:], hidden, s.scores, keys.n, n, nil)
		}
		at += n
	}
	return nil
}
