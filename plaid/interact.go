package plaid

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/golbert/golbert/internal/kernel"
)

// interactChunk is how many documents one task of stage 3 looks at: about 10,000 table rows.
const interactChunk = 128

// maxTies bounds how far stage 3 exceeds its shortlist for documents that tie with its last one: enough for
// the copies of a document that real collections hold, without scoring a whole collection for a query that
// says nothing.
const maxTies = 4096

// interact is stage 3: it gives every candidate the sum over tokens of the best centroid score among its
// distinct codes, and keeps the best, in the order of units and ordinals. Each codebook has a shortlist of its
// own: scores by centroids do not compare across codebooks, because finer ones give higher scores.
func (st *state) interact(ctx context.Context, workers int) error {
	start := time.Now()
	defer since(&st.stats.InteractionTime, start)
	if st.allPass() {
		return nil
	}
	n := (len(st.cands) + interactChunk - 1) / interactChunk
	if err := parallel(ctx, workers, n, (*interactStage)(st)); err != nil {
		return err
	}
	if len(st.spaces) == 1 {
		n := st.pl.shortlist[0]
		st.cands = keepBest(st.cands, n, n+maxTies)
		return nil
	}
	st.spare = st.spare[:0]
	for i := range st.spaces {
		from := len(st.spare)
		for _, c := range st.cands {
			if st.s.units[c.unit].space == i {
				st.spare = append(st.spare, c)
			}
		}
		n := st.pl.shortlist[i]
		st.spare = st.spare[:from+len(keepBest(st.spare[from:], n, n+maxTies))]
	}
	st.cands, st.spare = st.spare, st.cands
	slices.SortFunc(st.cands, candidate.compareOrd)
	return nil
}

// allPass says whether every candidate fits into the shortlists, so that stage 3 has nothing to decide.
func (st *state) allPass() bool {
	if len(st.spaces) == 1 {
		return len(st.cands) <= st.pl.shortlist[0]
	}
	st.counts = grow(st.counts, len(st.spaces))
	clear(st.counts)
	for _, c := range st.cands {
		st.counts[st.s.units[c.unit].space]++
	}
	for i, n := range st.counts {
		if n > st.pl.shortlist[i] {
			return false
		}
	}
	return true
}

// keepBest returns the n best candidates by approximate score, in the order of units and ordinals. Those that
// tie with the n-th stay too, so that the order of ids can decide between equal documents, but no more than
// limit in all. It rearranges c.
func keepBest(c []candidate, n, limit int) []candidate {
	if len(c) <= n {
		return c
	}
	selectBest(c, n, candidate.before)
	last := c[n-1].approx
	for i := n; i < len(c) && n < limit; i++ {
		if c[i].approx == last {
			c[n], c[i] = c[i], c[n]
			n++
		}
	}
	slices.SortFunc(c[:n], candidate.compareOrd)
	return c[:n]
}

type interactStage state

func (t *interactStage) run(worker, task int) error {
	st := (*state)(t)
	w := &st.workers[worker]
	for i := task * interactChunk; i < min((task+1)*interactChunk, len(st.cands)); i++ {
		c := &st.cands[i]
		u := &st.s.units[c.unit]
		sp := &st.spaces[u.space]
		var err error
		if w.codes, err = u.seg.DistinctCodes(w.codes, c.ord); err != nil {
			return fmt.Errorf("codes of document %d: %w", c.ord, err)
		}
		codes := w.codes
		if len(sp.keep) > 0 {
			kept := codes[:0]
			for _, code := range codes {
				if sp.keep[code/64]&(1<<(code%64)) != 0 {
					kept = append(kept, code)
				}
			}
			codes = kept
		}
		c.approx = sp.zero + sp.step*float32(kernel.InteractU8(sp.table, st.lanes, codes))
		if c.approx != c.approx { // a query so long that its sums overflow
			c.approx = float32(math.Inf(-1))
		}
	}
	return nil
}
