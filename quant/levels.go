package quant

import (
	"math"
	"slices"
)

// lloydMax returns the 2^nbits levels of least squared error for the values, and the midpoints between them
// as cutoffs (Lloyd, "Least squares quantization in PCM", 1982; Max, 1960). It starts at the quantiles and
// iterates until nothing moves. values are sorted in place. Both results are ascending, and strictly so
// unless the values do not allow it (fewer distinct ones than levels).
func lloydMax(values []float32, nbits int) (cutoffs, weights []float32) {
	slices.Sort(values)
	n := len(values)
	prefix := make([]float64, n+1)
	for i, v := range values {
		prefix[i+1] = prefix[i] + float64(v)
	}
	levels := 1 << nbits
	w := make([]float64, levels)
	for i := range w {
		w[i] = quantile(values, (float64(i)+0.5)/float64(levels))
	}
	const maxIterations = 500
	for range maxIterations {
		moved, from := 0.0, 0
		for i := range w {
			to := n
			if i+1 < levels {
				cut := float32((w[i] + w[i+1]) / 2)
				// Bucket rule: cutoffs strictly below the value, so the cutoff itself belongs below.
				to = from + upperBound(values[from:], cut)
			}
			if to > from {
				m := (prefix[to] - prefix[from]) / float64(to-from)
				moved = max(moved, math.Abs(m-w[i]))
				w[i] = m
			}
			from = to
		}
		if moved <= 1e-7*math.Abs(w[levels-1]-w[0]) {
			break
		}
	}
	slices.Sort(w) // an emptied bucket keeps its old place, which its neighbours may have passed
	weights = make([]float32, levels)
	for i, v := range w {
		weights[i] = float32(v)
	}
	cutoffs = make([]float32, levels-1)
	for i := range cutoffs {
		cutoffs[i] = float32((w[i] + w[i+1]) / 2)
	}
	return cutoffs, weights
}

// upperBound returns how many of the ascending values are at most x.
func upperBound(values []float32, x float32) int {
	i, j := 0, len(values)
	for i < j {
		h := int(uint(i+j) >> 1)
		if values[h] <= x {
			i = h + 1
		} else {
			j = h
		}
	}
	return i
}

// quantile interpolates linearly between the order statistics of ascending values, as numpy and torch do.
func quantile(values []float32, q float64) float64 {
	p := q * float64(len(values)-1)
	i := int(p)
	if i+1 >= len(values) {
		return float64(values[len(values)-1])
	}
	f := p - float64(i)
	return float64(values[i])*(1-f) + float64(values[i+1])*f
}
