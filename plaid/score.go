package plaid

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"time"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/quant"
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
	cb, query := st.s.spaces[u.space].cb, &st.spaces[u.space].query
	if err := w.load(u.seg, ord, cb.RowBytes()); err != nil {
		return err
	}
	n := len(w.codes)
	if n == 0 {
		return nil
	}
	w.scored++
	w.tokens += n
	dim := cb.Dim()
	chunk := max(decodeValues/dim, 1)
	w.vec = grow(w.vec, min(chunk, n)*dim)
	if n <= chunk {
		w.decode(cb, 0, n)
		w.best.push(entry{score: query.MaxSim(w.vec, n), unit: unit, ord: ord})
		return w.best.err
	}
	// Long: maxima chunk by chunk, then the same sum in the same order as MaxSim's.
	w.max, w.part = grow(w.max, st.lanes), grow(w.part, st.lanes)
	for i := range st.rows {
		w.max[i] = float32(math.Inf(-1))
	}
	for at := 0; at < n; at += chunk {
		if err := st.ctx.Err(); err != nil {
			return err
		}
		m := min(chunk, n-at)
		w.decode(cb, at, m)
		query.Max(w.part, w.vec, m)
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

// load reads a document's codes, residuals and inverse norms into w.
func (w *worker) load(seg segment, ord uint32, rowBytes int) (err error) {
	if w.codes, err = seg.Codes(w.codes, ord); err != nil {
		return fmt.Errorf("codes of document %d: %w", ord, err)
	}
	if len(w.codes) == 0 {
		return nil
	}
	if w.residuals, err = seg.Residuals(ord); err != nil {
		return fmt.Errorf("residuals of document %d: %w", ord, err)
	}
	if w.invNorms, err = seg.InvNorms(w.invNorms, ord); err != nil {
		return fmt.Errorf("norms of document %d: %w", ord, err)
	}
	if n := len(w.codes); len(w.residuals) != n*rowBytes || len(w.invNorms) != n {
		return fmt.Errorf("document %d has %d codes, %d residual bytes and %d norms: %w",
			ord, n, len(w.residuals), len(w.invNorms), index.ErrCorrupt)
	}
	return nil
}

// decode writes n vectors of the loaded document, from the one at on, to w.vec. A stored inverse norm of
// exactly 0 marks a vector of zeros.
func (w *worker) decode(cb *quant.Codebook, at, n int) {
	dim, rowBytes := cb.Dim(), cb.RowBytes()
	cb.Decode(w.vec[:n*dim], w.codes[at:at+n], w.residuals[at*rowBytes:(at+n)*rowBytes])
	for i, inv := range w.invNorms[at : at+n] {
		if inv == 0 {
			clear(w.vec[i*dim : (i+1)*dim])
		}
	}
}
