package plaid

import (
	"context"
	"math"
	"time"

	"github.com/golbert/golbert/internal/kernel"
)

// Stage 1. The product of all centroids with the query tokens is made block by block; each block is used
// while it lies in cache: for probing, for the bytes of stage 3, and (kept in float32) for the scores of stage 4.
// For that the bytes' scale must be known beforehand: byte 0 stands for the token's mean score over a sample of the centroids (a document
// whose best centroid is worse than the average one is far from the top, and being credited the average
// does not bring it there), byte 255 for the largest score that the token's and the centroids' lengths
// allow, and the step is the widest such range among the tokens, so that byte sums are sums of scores.

const (
	// scaleSample is how many centroids the mean score is estimated from.
	scaleSample = 256
	// blockValues is about how many scores a block has: 32 KB of float32.
	blockValues = 8192
	// floatOne is 2^23: adding it to a float32 under 2^23 leaves the rounded integer in the low bits.
	floatOne     = 1 << 23
	floatOneBits = 0x4B000000
)

// stateGroup is a batch of queries whose stage 1 is one product: every block of centroids is multiplied
// with all of them while it is in cache. Each query's arithmetic is the same as alone.
type stateGroup []*state

// scoreCentroids runs stage 1 for the group: per codebook the byte tables, and the nprobe best centroids of
// every query token.
func (g stateGroup) scoreCentroids(ctx context.Context, workers, nprobe int) error {
	if len(g) == 0 {
		return nil
	}
	start := time.Now()
	for cur := range g[0].s.spaces {
		k := g[0].s.spaces[cur].cb.K()
		lanes := 16
		for _, st := range g {
			st.cur = cur
			st.prepareSpace(min(nprobe, k))
			lanes = max(lanes, st.lanes)
		}
		t := centroidStage{group: g, rows: blockRows(lanes)}
		n := (k + t.rows - 1) / t.rows
		if err := parallel(ctx, workers, n, &t); err != nil {
			return err
		}
		for _, st := range g {
			st.collectProbes(min(nprobe, k))
			st.prune()
			st.stats.Centroids += k
		}
	}
	for _, st := range g {
		st.stats.NProbe = nprobe
		st.stats.CentroidTime += time.Since(start) / time.Duration(len(g))
	}
	return nil
}

// blockRows is the number of centroids per block for queries of so many lanes.
func blockRows(lanes int) int {
	return max(blockValues/lanes/16*16, 16)
}

type centroidStage struct {
	group stateGroup
	rows  int
}

func (t *centroidStage) run(w, task int) error {
	for _, st := range t.group {
		st.centroidBlock(w, task*t.rows, t.rows)
	}
	return nil
}

// prepareSpace packs the query for the current space and fixes the scale of its bytes.
func (st *state) prepareSpace(nprobe int) {
	sp, cb := &st.spaces[st.cur], st.s.spaces[st.cur].cb
	dim, k, lanes := cb.Dim(), cb.K(), st.lanes
	sp.gemm.Repack(sp.rot, st.rows, dim, dim)
	sp.table = grow(sp.table, k*lanes)
	sp.floor = grow(sp.floor, lanes)
	sp.bias = grow(sp.bias, lanes)

	// Mean score per token over an even sample of the centroids.
	if sp.compressed {
		sp.base = grow(sp.base, k*lanes)
	}
	clear(sp.floor)
	n := min(k, scaleSample)
	w := &st.workers[0]
	w.block = grow(w.block, lanes)
	cents := cb.Centroids()
	longest := float32(0)
	for i := range n {
		c := int(int64(i) * int64(k) / int64(n))
		row := cents[c*dim : (c+1)*dim]
		longest = max(longest, norm(row))
		sp.gemm.Gemm(w.block, lanes, row, dim, 1, nil)
		for j, v := range w.block[:st.rows] {
			sp.floor[j] += v
		}
	}
	width := float32(0)
	sp.zero = 0
	for i := range st.rows {
		sp.floor[i] /= float32(n)
		sp.zero += sp.floor[i]
		width = max(width, st.norms[i]*longest-sp.floor[i])
	}
	sp.step = width / 255
	sp.inv = 0
	if width > 0 {
		sp.inv = 255 / width
	}
	for i := range sp.bias {
		sp.bias[i] = floatOne - sp.floor[i]*sp.inv
	}

	for i := range st.workers {
		w := &st.workers[i]
		w.limit = grow(w.limit, lanes)
		for len(w.sel) < st.rows {
			w.sel = append(w.sel, selector{})
		}
		for j := range st.rows {
			w.sel[j].reset(nprobe)
			w.limit[j] = float32(math.Inf(-1))
		}
	}
}

// centroidBlock scores centroids from at on, fills their rows of the tables and offers them for probing.
func (st *state) centroidBlock(worker, at, rows int) {
	sp, cb, w := &st.spaces[st.cur], st.s.spaces[st.cur].cb, &st.workers[worker]
	dim, lanes, n := cb.Dim(), st.lanes, st.rows
	rows = min(rows, cb.K()-at)
	var block []float32
	if sp.compressed {
		block = sp.base[at*lanes : (at+rows)*lanes]
	} else {
		w.block = grow(w.block, rows*lanes)
		block = w.block
	}
	sp.gemm.Gemm(block, lanes, cb.Centroids()[at*dim:], dim, rows, nil)
	limit, bias, inv := w.limit[:n], sp.bias[:n], sp.inv
	scales := cb.Scales()
	for r := range rows {
		row := block[r*lanes:][:n]
		out := sp.table[(at+r)*lanes:][:lanes]
		for i, v := range row {
			// The byte: rounded (v-floor)*inv in 0..255, without a branch.
			b := int32(math.Float32bits(v*inv+bias[i])) - floatOneBits
			out[i] = uint8(min(max(b, 0), 255))
			if v >= limit[i] {
				limit[i] = w.sel[i].push(probe{score: v, centroid: uint32(at + r)})
			}
		}
		clear(out[n:])
		if scales != nil && sp.compressed {
			f := 1 / scales[at+r]
			for i := range row {
				row[i] *= f
			}
		}
	}
}

// collectProbes merges the workers' best centroids per lane.
func (st *state) collectProbes(nprobe int) {
	sp := &st.spaces[st.cur]
	sp.tops = sp.tops[:0]
	sp.topAt = append(sp.topAt[:0], 0)
	for i := range st.rows {
		first := &st.workers[0].sel[i]
		for j := 1; j < len(st.workers); j++ {
			for _, p := range st.workers[j].sel[i].buf {
				first.push(p)
			}
		}
		sp.tops = append(sp.tops, first.best()...)
		sp.topAt = append(sp.topAt, len(sp.tops))
	}
}

// prune marks the centroids that take part in stage 3: those that for some token reach the threshold's
// fraction of the best centroid's byte.
func (st *state) prune() {
	sp := &st.spaces[st.cur]
	sp.keep = sp.keep[:0]
	if st.pl.threshold <= 0 {
		return
	}
	need := make([]uint8, st.lanes)
	for i := range st.rows {
		need[i] = 255
		best := float32(math.Inf(-1))
		for _, p := range sp.tops[sp.topAt[i]:sp.topAt[i+1]] {
			best = max(best, p.score)
		}
		if top := float64((best - sp.floor[i]) * sp.inv * st.pl.threshold); top < 255 {
			need[i] = uint8(max(math.Round(top), 1))
		}
	}
	k := st.s.spaces[st.cur].cb.K()
	sp.keep = grow(sp.keep, words(k))
	clear(sp.keep)
	for c := range k {
		row := sp.table[c*st.lanes:][:st.rows]
		for i, b := range row {
			if b >= need[i] {
				sp.keep[c/64] |= 1 << (c % 64)
				break
			}
		}
	}
}

// probe is a centroid with its score for one token.
type probe struct {
	score    float32
	centroid uint32
}

// before is the order of probes: score descending, number ascending.
func (a probe) before(b probe) bool {
	return a.score > b.score || (a.score == b.score && a.centroid < b.centroid)
}

// selector keeps the n best of a stream of probes: it collects up to twice as many and then selects, which
// costs amortised constant time per probe kept and nothing for one under the limit.
type selector struct {
	n     int
	limit float32 // no further probe under it can be among the best
	buf   []probe
}

func (s *selector) reset(n int) {
	s.n, s.limit, s.buf = n, float32(math.Inf(-1)), s.buf[:0]
}

// push offers a probe and returns the limit.
func (s *selector) push(p probe) float32 {
	s.buf = append(s.buf, p)
	if len(s.buf) >= 2*s.n {
		s.trim()
	}
	return s.limit
}

// trim reduces buf to the n best.
func (s *selector) trim() {
	if len(s.buf) > s.n {
		selectBest(s.buf, s.n, probe.before)
		s.buf = s.buf[:s.n]
		s.limit = s.buf[s.n-1].score
	}
}

// best returns the n best in no particular order, valid until the next reset.
func (s *selector) best() []probe {
	s.trim()
	return s.buf
}

// norm is the L2 norm of x.
func norm(x []float32) float32 {
	return float32(math.Sqrt(float64(kernel.Dot(x, x))))
}
