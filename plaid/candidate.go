package plaid

import (
	"context"
	"math/bits"
)

// Which documents go to stage 4: those that stages 2 and 3 find, or every allowed one.

// candidates fills st.cands, per codebook in the order of units and ordinals. There are at least min(k, allowed) of them,
// documents without tokens aside.
func (st *state) candidates(ctx context.Context, workers int) error {
	if st.pl.mode == modeScan {
		st.allCandidates()
		return nil
	}
	want := min(st.pl.k, st.pl.allowed)
	for nprobe := st.pl.nprobe; ; {
		if err := st.gatherAll(ctx, workers); err != nil {
			return err
		}
		if len(st.cands) >= want {
			return nil
		}
		if nprobe >= st.s.centroids {
			// Every list was read. What is missing has no tokens, or was pruned, or the scores overflowed to NaN,
			// which is never among the best.
			st.allCandidates()
			return nil
		}
		// Too few: probe further, in strides, because each costs another pass over the centroids.
		nprobe = max(saturatingMul(nprobe, 4), 64)
		if nprobe > st.s.centroids/4 {
			nprobe = st.s.centroids
		}
		if err := st.group().scoreCentroids(ctx, workers, nprobe); err != nil {
			return err
		}
	}
}

// allCandidates takes every allowed document.
func (st *state) allCandidates() {
	st.cands = st.cands[:0]
	for i := range st.s.units {
		m := &st.pl.masks[i]
		if m.all {
			for ord := range m.n {
				st.cands = append(st.cands, candidate{unit: uint32(i), ord: uint32(ord)})
			}
			continue
		}
		for j, w := range m.docs {
			for ; w != 0; w &= w - 1 {
				st.cands = append(st.cands, candidate{unit: uint32(i), ord: uint32(j*64 + bits.TrailingZeros64(w))})
			}
		}
	}
	st.stats.Candidates = len(st.cands)
	st.ends, st.patience = append(st.ends[:0], len(st.cands)), 0 // there are no sums to go by
}

// keepBest keeps the n best of c by approximate score, in the order that they have. Those that tie with the n-th stay,
// too, so that the order of ids can decide between equal documents, but no more than limit in all.
func (st *state) keepBest(c []candidate, n, limit int) []candidate {
	if len(c) <= n {
		return c
	}
	st.values = grow(st.values, len(c))
	for i := range c {
		st.values[i] = c[i].approx
	}
	last := nthLargest(st.values, n)
	above := 0
	for i := range c {
		if c[i].approx > last {
			above++
		}
	}
	ties := limit - above
	kept := c[:0]
	for _, x := range c {
		if x.approx > last {
			kept = append(kept, x)
		} else if x.approx == last && ties > 0 {
			ties--
			kept = append(kept, x)
		}
	}
	return kept
}
