package quant

import (
	"math"
	"math/bits"
)

// rotationKind is stored in the codebook file.
type rotationKind uint8

const (
	rotationNone     rotationKind = 0
	rotationHadamard rotationKind = 1
)

// rotationRounds is part of the format of rotationHadamard.
const rotationRounds = 3

// rotation is a fixed pseudo-random orthogonal map of R^dim, dim log dim operations per vector: three
// rounds of random signs, a random permutation, and Hadamard transforms of the blocks that the binary
// digits of dim give (128: one block; 96: 64 + 32; 100: 64 + 32 + 4), scaled to be orthonormal. Three
// rounds mix blocks of unlike size well enough for the levels; one would do for powers of two. All steps
// but the scaling are additions and sign changes, so that every machine rounds alike.
type rotation struct {
	dim    int
	blocks []int
	rounds [rotationRounds]struct {
		sign []float32
		perm []int32 // output i takes input perm[i]
	}
}

// newRotation derives the rotation from dim and seed.
func newRotation(dim int, seed uint64) *rotation {
	r := &rotation{dim: dim}
	for rest := dim; rest > 0; {
		b := 1 << (bits.Len(uint(rest)) - 1)
		r.blocks = append(r.blocks, b)
		rest -= b
	}
	g := rng{seed}
	for i := range r.rounds {
		rd := &r.rounds[i]
		rd.sign = make([]float32, dim)
		for j := range rd.sign {
			rd.sign[j] = 1 - 2*float32(g.next()>>63)
		}
		rd.perm = make([]int32, dim)
		g.perm(rd.perm)
	}
	return r
}

// apply writes the rotation of x to dst; tmp is scratch. All have length dim; dst may be x, not tmp.
func (r *rotation) apply(dst, x, tmp []float32) {
	for i := range r.rounds {
		rd := &r.rounds[i]
		for j, p := range rd.perm {
			tmp[j] = x[p] * rd.sign[p]
		}
		off := 0
		for _, b := range r.blocks {
			hadamard(tmp[off : off+b])
			off += b
		}
		copy(dst, tmp)
		x = dst
	}
}

// invert undoes apply: the transposed steps in the opposite order.
func (r *rotation) invert(dst, x, tmp []float32) {
	for i := len(r.rounds) - 1; i >= 0; i-- {
		rd := &r.rounds[i]
		copy(tmp, x)
		off := 0
		for _, b := range r.blocks {
			hadamard(tmp[off : off+b])
			off += b
		}
		for j, p := range rd.perm {
			dst[p] = tmp[j] * rd.sign[p]
		}
		x = dst
	}
}

// hadamard applies the orthonormal Walsh-Hadamard transform, which is its own inverse, in place. The
// length must be a power of two.
func hadamard(x []float32) {
	n := len(x)
	h := 1
	if n >= 4 { // the two smallest steps in one, where slices of h would cost more than the sums
		for i := 0; i+4 <= n; i += 4 {
			y := x[i : i+4 : i+4]
			a, b, c, d := y[0], y[1], y[2], y[3]
			a, b = a+b, a-b
			c, d = c+d, c-d
			y[0], y[1], y[2], y[3] = a+c, b+d, a-c, b-d
		}
		h = 4
	}
	for ; h < n; h *= 2 {
		for i := 0; i < n; i += 2 * h {
			lo, hi := x[i:i+h:i+h], x[i+h:i+2*h:i+2*h]
			for j := range lo {
				a, b := lo[j], hi[j]
				lo[j], hi[j] = a+b, a-b
			}
		}
	}
	scale := float32(1 / math.Sqrt(float64(n)))
	for i := range x {
		x[i] *= scale
	}
}
