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

// maxBaseBytes is the largest table of centroid scores. A query so long that it would need more is scored
// exhaustively: its final scoring dwarfs everything else anyway.
const maxBaseBytes = 1 << 30

// candidate is a document on its way through the stages.
type candidate struct {
	sum       float32 // of bytes, in stage 3; the exact score in the last pass
	approx    float32 // in the compressed domain
	unit, ord uint32
}

// state is the scratch of one query in flight. It belongs to one search at a time.
type state struct {
	s     *Searcher
	pl    *plan
	alone [1]*state
	own   plan            // of a search that is not one of a batch
	ctx   context.Context // of the search in progress, for the stages; never kept beyond it
	rows  int
	lanes int // rows rounded up to 16

	spaces  []spaceState
	cur     int // the space that a stage works on
	workers []worker
	bits    []uint64
	mean    []float32
	cands   []candidate
	ends    []int       // of each codebook's candidates
	round   []candidate // that a stage works on, some of cands
	rest    []candidate
	values  []float32
	gather  gather
	stage1  centroidStage
	stats   Stats

	patience         float32
	compressedScores bool // the candidates have some
}

// spaceState is a query seen by one codebook.
type spaceState struct {
	rot   []float32 // the query in codec space, lanes x dim; zeros behind its rows
	query kernel.Query
	gemm  kernel.Packed
	low   kernel.PackedInt8 // instead of gemm where rows is set
	rows  *kernel.Rows

	residual   kernel.ResidualQuery
	compressed bool        // residual is set
	errors     []rowError  // of the query's rows, for the pass that decodes; none if all tokens are decoded
	base       kernel.Base // K x lanes: centroid scores, divided by the centroids' scales
	inverse    []float32   // of base.Unit

	probed []uint32  // centroids whose posting lists are read, ascending
	table  []uint8   // len(probed) x lanes: how far above the credit a score is
	credit []float32 // per row: what the token has in a document without any of its centroids
}

// worker is the scratch of one goroutine of one query.
type worker struct {
	sel   []selector // per lane
	limit []float32  // per lane: scores below cannot be among the best
	block []float32  // of centroids: their scores
	hits  []uint16   // of that block: lanes that reach their limit
	acc   []uint8    // of a block of documents
	hist  []uint32   // of the documents' sums
	vec   []float32  // decoded token vectors

	loaded        // the document to score
	ahead  loaded // the one after it, on its way from memory

	contend    kernel.Contenders
	margin     []float32 // per row: how far behind the largest score a contender may be
	tokensLeft []uint32  // of the document: the contenders
	some       loaded    // their codes, residuals and norms

	max    []float32 // per lane maxima of a long document
	part   []float32
	best   topk
	scored int
	tokens int
}

// loaded is what a document's score is made of.
type loaded struct {
	codes     []uint32
	residuals []byte // mapped memory, not ours, or part of read
	mapped    bool
	read      []byte
	invNorms  []float32
}

func (s *Searcher) state() *state {
	st, _ := s.pool.Get().(*state)
	if st == nil {
		st = &state{s: s, spaces: make([]spaceState, len(s.spaces))}
	}
	return st
}

func (s *Searcher) release(st *state) {
	st.pl, st.ctx, st.own.masks, st.stage1.group, st.round = nil, nil, nil, nil, nil
	for i := range st.workers {
		st.workers[i].residuals, st.workers[i].ahead.residuals = nil, nil
	}
	if st.bytes() <= maxPooledBytes {
		s.pool.Put(st)
	}
}

// bytes is about what st holds.
func (st *state) bytes() int {
	n := cap(st.bits)*8 + (cap(st.cands)+cap(st.rest))*16 + cap(st.values)*4 + st.gather.bytes()
	for i := range st.spaces {
		sp := &st.spaces[i]
		n += cap(sp.rot)*16 + cap(sp.table) + cap(sp.base.Scores)*2 + cap(sp.probed)*4
	}
	for i := range st.workers {
		w := &st.workers[i]
		n += (cap(w.block)+cap(w.hist)+cap(w.vec))*4 + cap(w.hits)*2 + cap(w.acc) + (cap(w.codes)+cap(w.invNorms)+cap(w.ahead.codes)+cap(w.ahead.invNorms)+cap(w.some.codes)+cap(w.some.invNorms)+cap(w.tokensLeft))*4 + cap(w.some.residuals) + cap(w.read) + cap(w.ahead.read) + cap(w.best.h)*48
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
	for i := range st.spaces {
		sp, cb := &st.spaces[i], st.s.spaces[i].cb
		// The lanes beyond the query are rows of zeros, so that their scores are zeros and not what an earlier query
		// has left there.
		sp.rot = grow(sp.rot, st.lanes*q.Dim)
		clear(sp.rot[q.Rows*q.Dim:])
		cb.Rotate(sp.rot[:q.Rows*q.Dim], q.Data, q.Rows)
		sp.query.Reset(sp.rot, q.Rows, q.Dim)
		levels := st.s.spaces[i].levels
		sp.compressed = levels != nil
		sp.base.Scores = sp.base.Scores[:0]
		if sp.compressed && pl.mode != modeExhaustive {
			sp.residual.Reset(levels, sp.rot, q.Rows)
		}
	}
}

// search runs one query with the plan's workers sharing its stages.
func (st *state) search(ctx context.Context, q maxsim.Matrix, pl *plan) ([]Hit, error) {
	st.begin(ctx, q, pl, pl.workers)
	if !st.exhaustive() {
		if err := st.group().scoreCentroids(ctx, pl.workers, pl.nprobe); err != nil {
			return nil, err
		}
	}
	return st.finish(ctx, pl.workers)
}

// group is st as a group of its own.
func (st *state) group() stateGroup {
	st.alone[0] = st
	return st.alone[:]
}

// exhaustive says whether the query goes straight to stage 4.
func (st *state) exhaustive() bool {
	if st.pl.mode == modeExhaustive {
		return true
	}
	for i := range st.s.spaces {
		if st.s.spaces[i].cb.K() > maxBaseBytes/2/st.lanes {
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
