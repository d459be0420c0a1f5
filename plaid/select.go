package plaid

import (
	"cmp"
	"slices"
)

// nthLargest rearranges x so that x[:n] are its n largest elements, in no particular order, and returns the least of
// them. There must be no NaN, and n must be 1 to len(x). Expected time is linear; bad pivots fall back to sorting, so
// the worst case is len(x) log len(x).
func nthLargest[T cmp.Ordered](x []T, n int) T {
	for budget := 64; len(x) > 24 && budget > 0; budget-- {
		p := pivot(x)
		// Hoare partition around the value p, descending.
		i, j := 0, len(x)-1
		for i <= j {
			for x[i] > p {
				i++
			}
			for p > x[j] {
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
			x = x[:j+1]
		case n-1 >= i:
			x, n = x[i:], n-i
		default:
			return p // between the parts everything equals the pivot
		}
	}
	if len(x) > 24 {
		slices.Sort(x)
		slices.Reverse(x)
		return x[n-1]
	}
	for i := 1; i < len(x); i++ {
		v := x[i]
		j := i
		for ; j > 0 && v > x[j-1]; j-- {
			x[j] = x[j-1]
		}
		x[j] = v
	}
	return x[n-1]
}

// pivot is the median of three, of longer ones of three medians.
func pivot[T cmp.Ordered](x []T) T {
	m3 := func(a, b, c T) T { return max(min(a, b), min(max(a, b), c)) }
	n := len(x)
	if n < 64 {
		return m3(x[0], x[n/2], x[n-1])
	}
	s := n / 8
	return m3(m3(x[0], x[s], x[2*s]), m3(x[3*s], x[n/2], x[5*s]), m3(x[6*s], x[7*s], x[n-1]))
}
