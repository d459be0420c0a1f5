package plaid

import (
	"context"
	"fmt"
	"math/bits"
	"slices"
	"time"
)

// Stage 2: documents of the probed centroids' posting lists, or every allowed document.

// candidates fills st.cands in the order of units and ordinals. There are at least min(k, allowed) of them,
// documents without tokens aside.
func (st *state) candidates(ctx context.Context, workers int) error {
	if st.pl.mode == modeFlood {
		start := time.Now()
		st.allCandidates()
		since(&st.stats.CandidateTime, start)
		return nil
	}
	want := min(st.pl.k, st.pl.allowed)
	for nprobe := st.pl.nprobe; ; {
		start := time.Now()
		err := st.probe(ctx)
		since(&st.stats.CandidateTime, start)
		if err != nil {
			return err
		}
		if len(st.cands) >= want {
			return nil
		}
		if nprobe >= st.maxK() {
			// Every list was read. What is missing has no tokens, or the scores overflowed to NaN, which
			// is never among the best.
			st.allCandidates()
			return nil
		}
		// Too few: probe further, in strides, because each costs another pass over the centroids.
		nprobe = max(saturatingMul(nprobe, 4), 64)
		if nprobe > st.maxK()/4 {
			nprobe = st.maxK()
		}
		if err := (stateGroup{st}).scoreCentroids(ctx, workers, nprobe); err != nil {
			return err
		}
	}
}

// maxK is the size of the largest codebook.
func (st *state) maxK() int {
	k := 0
	for i := range st.s.spaces {
		k = max(k, st.s.spaces[i].cb.K())
	}
	return k
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
		st.appendSet(i, m.docs)
	}
	st.stats.Candidates = len(st.cands)
}

// probe unites the posting lists of the best centroids.
func (st *state) probe(ctx context.Context) error {
	st.cands = st.cands[:0]
	st.stats.ProbedCentroids, st.stats.Postings = 0, 0
	for i := range st.spaces {
		sp := &st.spaces[i]
		st.uniteProbes(sp, st.s.spaces[i].cb.K())
		st.stats.ProbedCentroids += len(st.probed)
		for _, u := range st.s.spaces[i].units {
			m := &st.pl.masks[u]
			if m.n == 0 {
				continue
			}
			seg := st.s.units[u].seg
			st.bits = grow(st.bits, words(seg.NumDocs()))
			clear(st.bits)
			for j, c := range st.probed {
				if j%64 == 0 {
					if err := ctx.Err(); err != nil {
						return err
					}
				}
				var err error
				if st.posting, err = seg.Postings(st.posting, c); err != nil {
					return fmt.Errorf("postings of centroid %d: %w", c, err)
				}
				st.stats.Postings += len(st.posting)
				for _, ord := range st.posting {
					st.bits[ord/64] |= 1 << (ord % 64)
				}
			}
			if !m.all {
				for j, w := range m.docs {
					st.bits[j] &= w
				}
			}
			st.appendSet(u, st.bits)
		}
	}
	// Spaces interleave units when codebooks alternate; later stages want them in order.
	if len(st.spaces) > 1 {
		slices.SortFunc(st.cands, candidate.compareOrd)
	}
	st.stats.Candidates = len(st.cands)
	return nil
}

// uniteProbes lists the probed centroids of all tokens in st.probed, ascending, each once.
func (st *state) uniteProbes(sp *spaceState, k int) {
	st.bits = grow(st.bits, words(k))
	clear(st.bits)
	for _, p := range sp.tops {
		st.bits[p.centroid/64] |= 1 << (p.centroid % 64)
	}
	st.probed = st.probed[:0]
	for j, w := range st.bits {
		for ; w != 0; w &= w - 1 {
			st.probed = append(st.probed, uint32(j*64+bits.TrailingZeros64(w)))
		}
	}
}

// appendSet appends the documents of a bitset.
func (st *state) appendSet(unit int, set []uint64) {
	for j, w := range set {
		for ; w != 0; w &= w - 1 {
			st.cands = append(st.cands, candidate{unit: uint32(unit), ord: uint32(j*64 + bits.TrailingZeros64(w))})
		}
	}
}

// compareOrd orders candidates by place.
func (a candidate) compareOrd(b candidate) int {
	if a.unit != b.unit {
		return int(a.unit) - int(b.unit)
	}
	return int(int64(a.ord) - int64(b.ord))
}

// before orders candidates by approximate score descending, then by place.
func (a candidate) before(b candidate) bool {
	return a.approx > b.approx || (a.approx == b.approx && a.compareOrd(b) < 0)
}
