package plaid

import (
	"context"
	"math"
)

// The rounds of stage 4's first pass. How far the sums of stage 3 foretell scores differs from query to query, so no length of
// shortlist suits all: here the documents that are scored already tell how much is to be expected of the next ones.

// scoreRounds scores some candidates, the best of stage 3 first, until there is no more to expect, and says how many; they
// are first then. before are those that were scored already.
func (st *state) scoreRounds(ctx context.Context, workers int, before, some []candidate) (int, error) {
	var e expectation
	if st.patience > 0 {
		st.sortBySum(some)
	}
	for at := 0; at < len(some); {
		n := len(some) - at
		if st.patience > 0 {
			n = min(n, max(at/4, firstRound(st.pl.exact)/2))
			if at == 0 {
				n = min(len(some), firstRound(st.pl.exact))
			}
		}
		st.round = some[at : at+n]
		if err := parallel(ctx, workers, (n+compressedChunk-1)/compressedChunk, (*compressedStage)(st)); err != nil {
			return 0, err
		}
		at += n
		if at == len(some) {
			break
		}
		for i := range st.round {
			e.add(&st.round[i])
		}
		// What the rest would have to reach, and what the best of it may: all of the rest have sums that are not above those
		// of the round.
		st.values = grow(st.values, len(before)+at)
		for i := range before {
			st.values[i] = before[i].approx
		}
		for i := range some[:at] {
			st.values[len(before)+i] = some[i].approx
		}
		if len(st.values) >= st.pl.exact && e.most(some[at].sum, st.patience) < float64(nthLargest(st.values, st.pl.exact)) {
			return at, nil
		}
	}
	return len(some), nil
}

// firstRound is how many documents are scored for k hits before anything is expected of the others.
func firstRound(k int) int { return max(128, 2*k) }

// expectation is a line through scores over the sums of stage 3, by least squares.
type expectation struct{ n, x, y, xx, xy, yy float64 }

func (e *expectation) add(c *candidate) {
	x, y := float64(c.sum), float64(c.approx)
	if math.IsInf(y, 0) { // a document without tokens
		return
	}
	e.n++
	e.x += x
	e.y += y
	e.xx += x * x
	e.xy += x * y
	e.yy += y * y
}

// most gives the score that the line has at x, and above it so many standard deviations of the scores around it.
func (e *expectation) most(x float32, deviations float32) float64 {
	if e.n < 2 {
		return math.Inf(1)
	}
	mx, my := e.x/e.n, e.y/e.n
	vx, vy, cov := e.xx/e.n-mx*mx, e.yy/e.n-my*my, e.xy/e.n-mx*my
	slope := 0.
	if vx > 0 {
		slope = max(cov/vx, 0)
	}
	around := max(vy-slope*cov, 0)
	return my + slope*(float64(x)-mx) + float64(deviations)*math.Sqrt(around)
}

// sortBySum sorts candidates by their sums, which are whole numbers, the largest first; equal ones keep their order.
func (st *state) sortBySum(c []candidate) {
	const digit = 11 // bits: two of them hold the sums of 16,000 tokens
	largest := uint32(0)
	for i := range c {
		largest = max(largest, uint32(c[i].sum))
	}
	from, to := c, grow(st.rest, len(c))
	st.rest = to
	for shift := uint(0); largest>>shift > 0; shift += digit {
		var at [1 << digit]uint32 // of the digit's values, descending
		for i := range from {
			at[^(uint32(from[i].sum)>>shift)&(1<<digit-1)]++
		}
		sum := uint32(0)
		for i, n := range at {
			at[i], sum = sum, sum+n
		}
		for i := range from {
			d := ^(uint32(from[i].sum) >> shift) & (1<<digit - 1)
			to[at[d]] = from[i]
			at[d]++
		}
		from, to = to, from
	}
	if len(c) > 0 && &from[0] != &c[0] {
		copy(c, from)
	}
}

// bestFirst puts the n candidates of the largest sums first; of equal ones those that come first. It returns the last of
// these sums.
func (st *state) bestFirst(c []candidate, n int) float32 {
	st.values = grow(st.values, len(c))
	for i := range c {
		st.values[i] = c[i].sum
	}
	last := nthLargest(st.values, n)
	ties := n
	for i := range c {
		if c[i].sum > last {
			ties--
		}
	}
	st.rest = st.rest[:0]
	at := 0
	for _, x := range c {
		switch {
		case x.sum > last:
		case x.sum == last && ties > 0:
			ties--
		default:
			st.rest = append(st.rest, x)
			continue
		}
		c[at] = x
		at++
	}
	copy(c[at:], st.rest)
	return last
}
