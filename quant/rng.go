package quant

import "math/bits"

// rng is SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). What comes out of it is part of the codebook
// format (the rotation is stored as its seed), so it must never change; math/rand gives no such promise for
// permutations and bounded integers.
type rng struct{ s uint64 }

func (r *rng) next() uint64 {
	r.s += 0x9e3779b97f4a7c15
	z := r.s
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number in [0, n) by Lemire's multiply and shift; the bias is below n/2^64.
func (r *rng) below(n uint64) uint64 {
	hi, _ := bits.Mul64(r.next(), n)
	return hi
}

// perm fills p with a random permutation of its indices (Fisher and Yates).
func (r *rng) perm(p []int32) {
	for i := range p {
		j := int(r.below(uint64(i + 1)))
		p[i] = p[j]
		p[j] = int32(i)
	}
}

// choose returns m of the numbers 0..n-1, ascending (Knuth's selection sampling, algorithm S).
func (r *rng) choose(n, m int) []int {
	out := make([]int, 0, m)
	for i := 0; i < n && len(out) < m; i++ {
		if int(r.below(uint64(n-i))) < m-len(out) {
			out = append(out, i)
		}
	}
	return out
}

// float returns a number in [0, 1).
func (r *rng) float() float64 { return float64(r.next()>>11) / (1 << 53) }
