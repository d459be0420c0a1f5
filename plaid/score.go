package plaid

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"time"
)

const (
	// scoreChunk is how many documents one task of stage 4 decodes.
	scoreChunk = 8
	// decodeValues bounds the values decoded at a time, so that they lie in cache when they are scored and
	// a huge document needs no more scratch than any other: 256 KB.
	decodeValues = 1 << 16
)

// scoreShortlist is stage 4 over the candidates that are left.
func (st *state) scoreShortlist(ctx context.Context, workers int) ([]Hit, error) {
	n := (len(st.cands) + scoreChunk - 1) / scoreChunk
	return st.score(ctx, workers, n, (*shortlistStage)(st))
}

// scoreAll scores every allowed document.
func (st *state) scoreAll(ctx context.Context, workers int) ([]Hit, error) {
	n := 0
	for i := range st.s.units {
		n += words(st.s.units[i].seg.NumDocs())
	}
	return st.score(ctx, workers, n, (*exhaustiveStage)(st))
}

// score runs a scoring stage and merges what its workers found.
func (st *state) score(ctx context.Context, workers, tasks int, stage stage) ([]Hit, error) {
	start := time.Now()
	st.ctx = ctx
	for i := range st.workers {
		st.workers[i].best.reset(st.s.units, st.pl.k)
	}
	if err := parallel(ctx, workers, tasks, stage); err != nil {
		return nil, err
	}
	best := &st.workers[0].best
	for i := range st.workers {
		w := &st.workers[i]
		if i > 0 {
			best.merge(&w.best)
		}
		st.stats.Scored += w.scored
		st.stats.ScoredTokens += w.tokens
	}
	if st.stats.Mode == modeExhaustive.String() {
		st.stats.Candidates, st.stats.NDocs, st.stats.NProbe = st.stats.Scored, st.stats.Scored, 0
	}
	hits, err := best.hits()
	for i := range st.workers {
		st.workers[i].best.reset(nil, 0)
	}
	since(&st.stats.ScoringTime, start)
	return hits, err
}

type shortlistStage state

func (t *shortlistStage) run(worker, task int) error {
	st := (*state)(t)
	for _, c := range st.cands[task*scoreChunk : min((task+1)*scoreChunk, len(st.cands))] {
		if err := st.scoreDoc(worker, c.unit, c.ord); err != nil {
			return err
		}
	}
	return nil
}

// exhaustiveStage has one task per 64 documents.
type exhaustiveStage state

func (t *exhaustiveStage) run(worker, task int) error {
	st := (*state)(t)
	for u := range st.s.units {
		n := st.s.units[u].seg.NumDocs()
		if task >= words(n) {
			task -= words(n)
			continue
		}
		set := ^uint64(0)
		if m := &st.pl.masks[u]; !m.all {
			set = m.docs[task]
		} else if r := n - task*64; r < 64 {
			set = 1<<r - 1
		}
		for ; set != 0; set &= set - 1 {
			if err := st.scoreDoc(worker, uint32(u), uint32(task*64+bits.TrailingZeros64(set))); err != nil {
				return err
			}
		}
		return nil
	}
	return nil
}

// scoreDoc decodes a document and offers its exact MaxSim to the worker's best. A document without tokens
// has no score and is never a hit.
func (st *state) scoreDoc(worker int, unit, ord uint32) error {
	if err := st.ctx.Err(); err != nil {
		return err
	}
	u, w := &st.s.units[unit], &st.workers[worker]
	cb, sp := st.s.spaces[u.space].cb, &st.spaces[u.space]
	var err error
	if w.codes, err = u.seg.Codes(w.codes, ord); err != nil {
		return fmt.Errorf("codes of document %d: %w", ord, err)
	}
	if len(w.codes) == 0 {
		return nil
	}
	res, err := u.seg.Residuals(ord)
	if err != nil {
		return fmt.Errorf("residuals of document %d: %w", ord, err)
	}
	dim, rowBytes := cb.Dim(), cb.RowBytes()
	if len(res) < len(w.codes)*rowBytes {
		return fmt.Errorf("residuals of document %d: %d bytes for %d tokens", ord, len(res), len(w.codes))
	}
	w.scored++
	w.tokens += len(w.codes)
	chunk := max(decodeValues/dim, 1)
	w.vec = grow(w.vec, min(chunk, len(w.codes))*dim)
	if len(w.codes) <= chunk {
		cb.Decode(w.vec, w.codes, res)
		w.best.push(entry{score: sp.query.MaxSim(w.vec, len(w.codes)), unit: unit, ord: ord})
		return w.best.err
	}
	// Long: maxima chunk by chunk, then the same sum in the same order as MaxSim's.
	w.max, w.part = grow(w.max, st.lanes), grow(w.part, st.lanes)
	for i := range st.rows {
		w.max[i] = float32(math.Inf(-1))
	}
	for at := 0; at < len(w.codes); at += chunk {
		if err := st.ctx.Err(); err != nil {
			return err
		}
		n := min(chunk, len(w.codes)-at)
		cb.Decode(w.vec[:n*dim], w.codes[at:at+n], res[at*rowBytes:])
		sp.query.Max(w.part, w.vec, n)
		for i, v := range w.part[:st.rows] {
			w.max[i] = max(w.max[i], v)
		}
	}
	score := float32(0)
	for _, v := range w.max[:st.rows] {
		score += v
	}
	w.best.push(entry{score: score, unit: unit, ord: ord})
	return w.best.err
}
