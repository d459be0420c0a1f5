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
// distinct codes, and keeps the ndocs best, in the order of units and ordinals.
func (st *state) interact(ctx context.Context, workers int) error {
	start := time.Now()
	defer since(&st.stats.InteractionTime, start)
	if len(st.cands) <= st.pl.ndocs {
		return nil // everybody passes
	}
	n := (len(st.cands) + interactChunk - 1) / interactChunk
	if err := parallel(ctx, workers, n, (*interactStage)(st)); err != nil {
		return err
	}
	st.keepBest(st.pl.ndocs, st.pl.ndocs+maxTies)
	return nil
}

// keepBest cuts the candidates to the n best by approximate score, in the order of units and ordinals. Those
// that tie with the n-th stay too, so that the order of ids can decide between equal documents, but no more than
// limit in all.
func (st *state) keepBest(n, limit int) {
	c := st.cands
	if len(c) <= n {
		return
	}
	selectBest(c, n, candidate.before)
	last := c[n-1].approx
	for i := n; i < len(c) && n < limit; i++ {
		if c[i].approx == last {
			c[n], c[i] = c[i], c[n]
			n++
		}
	}
	st.cands = c[:n]
	slices.SortFunc(st.cands, candidate.compareOrd)
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
