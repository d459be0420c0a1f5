package plaid

import "math/bits"

// selectBest rearranges x so that x[:n] are its n best elements in no particular order, except that x[n-1] is the
// worst of them. before must be a total order; then the set does not depend on the order of x. n must be
// 1 to len(x). Expected time is linear; bad pivots fall back to a heap, so the worst case is n log n.
func selectBest[T any](x []T, n int, before func(a, b T) bool) {
	lo, hi := 0, len(x) // the n-th best lies in x[lo:hi]
	for budget := 2 * bits.Len(uint(len(x))); hi-lo > 12; budget-- {
		if budget == 0 {
			heapSelect(x[lo:hi], n-lo, before)
			return
		}
		p := pivot(x[lo:hi], before)
		// Hoare partition around the value p.
		i, j := lo, hi-1
		for i <= j {
			for before(x[i], p) {
				i++
			}
			for before(p, x[j]) {
				j--
			}
			if i <= j {
				x[i], x[j] = x[j], x[i]
				i++
				j--
			}
		}
		switch {
		case n-1 <= j:
			hi = j + 1
		case n-1 >= i:
			lo = i
		default:
			return // between the parts everything equals the pivot
		}
	}
	for i := lo + 1; i < hi; i++ {
		for j := i; j > lo && before(x[j], x[j-1]); j-- {
			x[j], x[j-1] = x[j-1], x[j]
		}
	}
}

// pivot is the median of nine spread elements' medians.
func pivot[T any](x []T, before func(a, b T) bool) T {
	m3 := func(a, b, c T) T {
		if before(b, a) {
			a, b = b, a
		}
		if before(c, b) {
			b = c
			if before(b, a) {
				b = a
			}
		}
		return b
	}
	n := len(x)
	if n < 64 {
		return m3(x[0], x[n/2], x[n-1])
	}
	s := n / 8
	return m3(m3(x[0], x[s], x[2*s]), m3(x[3*s], x[n/2], x[5*s]), m3(x[6*s], x[7*s], x[n-1]))
}

// heapSelect does what selectBest does by a heap of the n best with the worst on top.
func heapSelect[T any](x []T, n int, before func(a, b T) bool) {
	h := x[:n]
	down := func(i int) {
		for {
			c := 2*i + 1
			if c >= n {
				return
			}
			if c+1 < n && before(h[c], h[c+1]) {
				c++
			}
			if !before(h[i], h[c]) {
				return
			}
			h[i], h[c] = h[c], h[i]
			i = c
		}
	}
	for i := n/2 - 1; i >= 0; i-- {
		down(i)
	}
	for i := n; i < len(x); i++ {
		if before(x[i], h[0]) {
			x[i], h[0] = h[0], x[i]
			down(0)
		}
	}
	h[0], h[n-1] = h[n-1], h[0]
}
