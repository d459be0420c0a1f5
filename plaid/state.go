package plaid

import (
	"context"
	"time"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// maxPooledBytes is the largest scratch that goes back to the pool; what an unusually long query needed is
// left to the garbage collector.
const maxPooledBytes = 64 << 20

// maxTableBytes is the largest table of byte scores. A query so long that it would need more is scored
// exhaustively: its final scoring dwarfs everything else anyway.
const maxTableBytes = 1 << 30

// maxBaseBytes is the largest table of float32 centroid scores that the compressed-domain scoring of stage 4 is
// given. Without it documents are decoded.
const maxBaseBytes = 128 << 20

// candidate is a document on its way through the stages.
type candidate struct {
	approx    float32
	unit, ord uint32
}

// state is the scratch of one query in flight. It belongs to one search at a time.
type state struct {
	s     *Searcher
	pl    *plan
	ctx   context.Context // of the search in progress, for the stages; never kept beyond it
	rows  int
	lanes int // rows rounded up to 16
	norms []float32

	spaces  []spaceState
	cur     int // the space that a stage works on
	workers []worker
	probed  []uint32
	posting []uint32
	bits    []uint64
	cands   []candidate
	spare   []candidate
	counts  []int
	stats   Stats
}

// spaceState is a query seen by one codebook.
type spaceState struct {
	rot   []float32 // the query in codec space, rows x dim
	query kernel.Query
	gemm  kernel.Packed

	residual   kernel.ResidualQuery
	compressed bool      // residual and base are set
	base       []float32 // K x lanes: centroid scores, divided by the centroids' scales

	floor []float32 // per lane: the score that byte 0 stands for
	bias  []float32 // per lane: see centroid.go
	inv   float32   // bytes per unit of score
	step  float32   // 1/inv
	zero  float32   // sum of floor over the rows: the score of all bytes 0
	table []uint8   // K x lanes
	keep  []uint64  // bitset over centroids after pruning; empty = all
	tops  []probe   // best centroids of every lane, one after another
	topAt []int     // lane i's are tops[topAt[i]:topAt[i+1]]
}

// worker is the scratch of one goroutine of one query.
type worker struct {
	block []float32  // a block of centroid scores, rows x lanes
	sel   []selector // per lane
	limit []float32  // per lane: scores below cannot be among the best
	codes []uint32
	vec   []float32 // decoded token vectors

	residuals []byte // of the loaded document: mapped memory, not ours
	invNorms  []float32

	max    []float32 // per lane maxima of a long document
	part   []float32
	best   topk
	scored int
	tokens int
}

func (s *Searcher) state() *state {
	st, _ := s.pool.Get().(*state)
	if st == nil {
		st = &state{s: s, spaces: make([]spaceState, len(s.spaces))}
	}
	return st
}

func (s *Searcher) release(st *state) {
	st.pl, st.ctx = nil, nil
	for i := range st.workers {
		st.workers[i].residuals = nil
	}
	if st.bytes() <= maxPooledBytes {
		s.pool.Put(st)
	}
}

// bytes is about what st holds.
func (st *state) bytes() int {
	n := cap(st.probed)*4 + cap(st.posting)*4 + cap(st.bits)*8 + (cap(st.cands)+cap(st.spare))*12
	for i := range st.spaces {
		sp := &st.spaces[i]
		n += cap(sp.rot)*16 + cap(sp.table) + cap(sp.base)*4 + cap(sp.tops)*8 + cap(sp.keep)*8
	}
	for i := range st.workers {
		w := &st.workers[i]
		n += cap(w.block)*4 + cap(w.codes)*4 + cap(w.vec)*4 + cap(w.invNorms)*4 + cap(w.best.h)*48
		for j := range w.sel {
			n += cap(w.sel[j].buf) * 8
		}
	}
	return n
}

// begin prepares st for a query that checkQuery has passed.
func (st *state) begin(ctx context.Context, q maxsim.Matrix, pl *plan, workers int) {
	st.ctx, st.pl = ctx, pl
	st.rows, st.lanes = q.Rows, (q.Rows+15)/16*16
	st.stats = Stats{Queries: 1, NProbe: pl.nprobe, Allowed: pl.allowed}
	for _, n := range pl.shortlist {
		st.stats.NDocs += n
	}
	for len(st.workers) < workers {
		st.workers = append(st.workers, worker{})
	}
	for i := range st.workers {
		w := &st.workers[i]
		w.scored, w.tokens = 0, 0
	}
	st.norms = grow(st.norms, st.lanes)
	for i := range q.Rows {
		st.norms[i] = norm(q.Row(i))
	}
	for i := range st.spaces {
		sp, cb := &st.spaces[i], st.s.spaces[i].cb
		sp.rot = grow(sp.rot, q.Rows*q.Dim)
		cb.Rotate(sp.rot, q.Data, q.Rows)
		sp.query.Reset(sp.rot, q.Rows, q.Dim)
		levels := st.s.spaces[i].levels
		sp.compressed = levels != nil && cb.K() <= maxBaseBytes/4/st.lanes
		if sp.compressed && pl.mode != modeExhaustive {
			sp.residual.Reset(levels, sp.rot, q.Rows)
		}
	}
}

// search runs one query with the plan's workers sharing its stages.
func (st *state) search(ctx context.Context, q maxsim.Matrix, pl *plan) ([]Hit, error) {
	st.begin(ctx, q, pl, pl.workers)
	if !st.exhaustive() {
		group := stateGroup{st}
		if err := group.scoreCentroids(ctx, pl.workers, pl.nprobe); err != nil {
			return nil, err
		}
	}
	return st.finish(ctx, pl.workers)
}

// exhaustive says whether the query goes straight to stage 4.
func (st *state) exhaustive() bool {
	if st.pl.mode == modeExhaustive {
		return true
	}
	for i := range st.s.spaces {
		if st.s.spaces[i].cb.K() > maxTableBytes/st.lanes {
			return true
		}
	}
	return false
}

// finish runs stages 2 to 4 after stage 1.
func (st *state) finish(ctx context.Context, workers int) ([]Hit, error) {
	pl := st.pl
	if st.exhaustive() {
		st.stats.Mode = modeExhaustive.String()
		return st.scoreAll(ctx, workers)
	}
	st.stats.Mode = pl.mode.String()
	if err := st.candidates(ctx, workers); err != nil {
		return nil, err
	}
	if err := st.interact(ctx, workers); err != nil {
		return nil, err
	}
	if err := st.scoreCompressed(ctx, workers); err != nil {
		return nil, err
	}
	return st.scoreShortlist(ctx, workers)
}

// since adds the time from start to d.
func since(d *time.Duration, start time.Time) { *d += time.Since(start) }

// grow returns n values, in buf's memory if it is large enough; their content is undefined.
func grow[T any](buf []T, n int) []T {
	if cap(buf) >= n {
		return buf[:n]
	}
	return make([]T, n)
}
