package transformer

import (
	"math"
	"sync"
)

// rope is rotary position embedding (Su et al., "RoFormer", 2021) in the half-rotated form: value i of a head is
// paired with value i + dim/2, and the pair is turned by the token's position times a frequency.
type rope struct {
	freq  []float32 // radians per position, one per pair
	scale float32   // of cosines and sines

	mu sync.RWMutex
	// turns holds, per position, the cosines of all pairs and then their sines.
	turns []float32
}

// newRope makes the frequencies theta^(-2i/dim).
func newRope(theta float64, dim int) *rope {
	r := &rope{freq: make([]float32, dim/2), scale: 1}
	for i := range r.freq {
		// The frequencies and angles are float32 in the originals: at long distances that rounding shows.
		r.freq[i] = 1 / float32(math.Pow(theta, float64(float32(2*i)/float32(dim))))
	}
	return r
}

// upTo returns the turns of at least n positions.
func (r *rope) upTo(n int) []float32 {
	w := 2 * len(r.freq)
	r.mu.RLock()
	t := r.turns
	r.mu.RUnlock()
	if len(t) >= n*w {
		return t
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	have := len(r.turns) / w
	if have >= n {
		return r.turns
	}
	n = max(n, 2*have, 64)
	t = make([]float32, n*w)
	copy(t, r.turns)
	for p := have; p < n; p++ {
		row := t[p*w : (p+1)*w]
		for i, f := range r.freq {
			sin, cos := math.Sincos(float64(float32(p) * f))
			row[i], row[len(r.freq)+i] = float32(cos)*r.scale, float32(sin)*r.scale
		}
	}
	r.turns = t
	return t
}

// apply turns the first heads*dim values of every row of x (stride ld) by the row's position in its sequence.
func (r *rope) apply(x []float32, ld, heads int, lens []int) {
	half := len(r.freq)
	longest := 0
	for _, n := range lens {
		longest = max(longest, n)
	}
	turns := r.upTo(longest)
	at := 0
	for _, n := range lens {
		for p := range n {
			t := turns[p*2*half : (p+1)*2*half]
			cos, sin := t[:half], t[half:][:half]
			row := x[at*ld:][:heads*2*half]
			for len(row) > 0 {
				a, b := row[:half], row[half:][:half]
				for i, c := range cos {
					s, u, v := sin[i], a[i], b[i]
					a[i], b[i] = u*c-v*s, v*c+u*s
				}
				row = row[2*half:]
			}
			at++
		}
	}
}

// stretch slows the low frequencies down by a factor, as Llama 3.1 does: those that turn less than low times within
// the original length by all of it, those that turn more than high times not at all.
func (r *rope) stretch(factor, low, high, original float64) {
	for i, f := range r.freq {
		turns := original * float64(f) / (2 * math.Pi)
		switch {
		case turns > high:
		case turns < low:
			r.freq[i] = f / float32(factor)
		default:
			smooth := (turns - low) / (high - low)
			r.freq[i] = float32((1-smooth)*float64(f)/factor + smooth*float64(f))
		}
	}
}
