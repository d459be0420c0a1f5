package plaid

import (
	"context"
	"math"
	"math/bits"
	"time"

	"github.com/golbert/golbert/internal/kernel"
)

// Stage 1. The product of all centroids with the query tokens is made block by block. While a block lies in cache each token's
// best centroids are collected, and the scores are rounded to 16 bits, which is what stage 4 keeps of them.

const (
	// meanSample is how many centroids the mean score is estimated from.
	meanSample = 256
	// blockValues is about how many scores a block has: 32 KB of float32.
	blockValues = 8192
)

// stateGroup is a batch of queries whose stage 1 is one product: every block of centroids is multiplied
// with all of them while it is in cache. Each query's arithmetic is the same as alone.
type stateGroup []*state

// scoreCentroids runs stage 1 for the group: per codebook the scores of all centroids, the nprobe best ones of
// every query token, and the rows of bytes that stage 3 needs of them.
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
			st.prepareSpace(ranks(nprobe, k))
			lanes = max(lanes, st.lanes)
		}
		t := &g[0].stage1
		*t = centroidStage{group: g, rows: blockRows(lanes)}
		n := (k + t.rows - 1) / t.rows
		if err := parallel(ctx, workers, n, t); err != nil {
			return err
		}
		for _, st := range g {
			st.collectProbes(min(nprobe, k))
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

// ranks is how many of a token's best centroids are collected for nprobe probes; see collectProbes.
func ranks(nprobe, k int) int { return min(max(nprobe, minRanks), k) }

// prepareSpace packs the query for the current space.
func (st *state) prepareSpace(ranks int) {
	sp, cb := &st.spaces[st.cur], st.s.spaces[st.cur].cb
	dim, k, lanes := cb.Dim(), cb.K(), st.lanes
	// The scores of centroids only help to find and to compare candidates; the hits' own are made of decoded vectors.
	if sp.rows = cb.Rows8(); sp.rows != nil {
		sp.low.Repack(sp.rot, lanes, dim)
	} else {
		sp.gemm.Repack(sp.rot, lanes, dim, dim)
	}
	if cap(sp.base.Scores) < k*lanes {
		sp.base.Scores = kernel.LargeUnset[int16](k * lanes)
	}
	sp.base.Scores = sp.base.Scores[:k*lanes]
	st.setUnits()
	for i := range st.workers {
		w := &st.workers[i]
		w.limit = grow(w.limit, lanes)
		for len(w.sel) < st.rows {
			w.sel = append(w.sel, selector{})
		}
		for j := range w.limit {
			w.limit[j] = float32(math.Inf(1)) // lanes beyond the query
		}
		for j := range st.rows {
			w.sel[j].reset(ranks)
			w.limit[j] = float32(math.Inf(-1))
		}
	}
}

// setUnits sets the units of the table of scores: the largest that a row can have, by Cauchy and Schwarz and with some room for
// products of bytes, fills 16 bits. It is not so small that its inverse is none, or 0.
func (st *state) setUnits() {
	sp, space := &st.spaces[st.cur], &st.s.spaces[st.cur]
	dim, most := space.cb.Dim(), min(float64(space.cb.MaxNorm())*float64(space.steepest), math.MaxFloat32)
	sp.base.Unit, sp.inverse = grow(sp.base.Unit, st.lanes), grow(sp.inverse, st.lanes)
	for j := range st.lanes {
		square := 0.
		for _, v := range sp.rot[j*dim:][:dim] {
			square += float64(v) * float64(v)
		}
		unit := float32(max(min(1.05*math.Sqrt(square)*most, math.MaxFloat32)/math.MaxInt16, 0x1p-126))
		sp.base.Unit[j], sp.inverse[j] = unit, 1/unit
	}
}

// centroidBlock scores centroids from at on and offers them for probing.
func (st *state) centroidBlock(worker, at, rows int) {
	sp, space, w := &st.spaces[st.cur], &st.s.spaces[st.cur], &st.workers[worker]
	cb, lanes := space.cb, st.lanes
	dim := cb.Dim()
	rows = min(rows, cb.K()-at)
	w.block = grow(w.block, rows*lanes)
	block := w.block
	if sp.rows != nil {
		part := sp.rows.Slice(at, at+rows)
		sp.low.Gemm(block, lanes, &part, nil)
	} else {
		sp.gemm.Gemm(block, lanes, cb.Centroids()[at*dim:], dim, rows, nil)
	}
	perRow := lanes / 16
	w.hits = grow(w.hits, rows*perRow)
	kernel.ScanRows(w.hits, sp.base.Scores[at*lanes:], block, lanes, w.limit, space.inverse[at:at+rows], sp.inverse)
	if st.pl.mode == modeScan {
		return
	}
	for i, h := range w.hits {
		if h == 0 {
			continue
		}
		r, lane := i/perRow, i%perRow*16
		c := uint32(at + r)
		for ; h != 0; h &= h - 1 {
			j := lane + bits.TrailingZeros16(h)
			w.limit[j] = w.sel[j].push(probeOf(block[r*lanes+j], c))
		}
	}
}

// collectProbes merges the workers' best centroids per lane, unites the nprobe best of every lane, and makes their
// rows of bytes.
//
// A byte says how far a score lies above what the token is credited in a document of which no posting list of its own
// was read. All lists of the token's nprobe best centroids were, so that is at most the score of the last one; the
// credit lies below it by creditGap times the way from there to the best, because most such documents have nothing near. A
// byte of 0 is no more than the credit, the best score of the token that stands out most is 255, and a step is the same for
// all tokens, so that sums of bytes over tokens compare.
func (st *state) collectProbes(nprobe int) {
	sp, space := &st.spaces[st.cur], &st.s.spaces[st.cur]
	k, lanes := space.cb.K(), st.lanes
	st.bits = grow(st.bits, words(k))
	clear(st.bits)
	sp.credit = grow(sp.credit, lanes)
	for i := st.rows; i < lanes; i++ {
		sp.credit[i] = float32(math.Inf(1)) // lanes beyond the query
	}
	var need []float32
	if st.pl.threshold > 0 {
		need = st.means(sp, space)
	}
	width := float32(0)
	for i := range st.rows {
		first := &st.workers[0].sel[i]
		for j := 1; j < len(st.workers); j++ {
			for _, p := range st.workers[j].sel[i].buf {
				first.push(p)
			}
		}
		tops := first.best()
		worst, best := float32(math.Inf(1)), float32(math.Inf(-1))
		for _, p := range tops {
			worst, best = min(worst, p.score()), max(best, p.score())
		}
		sp.credit[i] = worst - creditGap*(best-worst)
		if w := min(best-sp.credit[i], math.MaxFloat32); w > width { // not where scores overflow to NaN
			width = w
		}
		if len(tops) > nprobe {
			nthLargest(tops, nprobe)
			tops = tops[:nprobe]
		}
		floor := float32(math.Inf(-1))
		if need != nil {
			floor = need[i] + st.pl.threshold*(best-need[i])
		}
		for _, p := range tops {
			if c := p.centroid(); p.score() >= floor {
				st.bits[c/64] |= 1 << (c % 64)
			}
		}
	}
	sp.probed = sp.probed[:0]
	for j, w := range st.bits {
		for ; w != 0; w &= w - 1 {
			sp.probed = append(sp.probed, uint32(j*64+bits.TrailingZeros64(w)))
		}
	}
	inv := float32(0)
	if width > 0 {
		inv = min(254/width, math.MaxFloat32)
	}
	sp.table = grow(sp.table, len(sp.probed)*lanes)
	for i, c := range sp.probed {
		// Not below the credit, but for rounding: one step at least, so that a document that was found has a sum above 0.
		kernel.AboveU8(sp.table[i*lanes:][:lanes], sp.base.Scores[int(c)*lanes:], sp.base.Unit, sp.credit, space.scale(c), inv)
	}
}

// means gives each token's mean score over an even sample of the centroids.
func (st *state) means(sp *spaceState, space *space) []float32 {
	k := space.cb.K()
	n := min(k, meanSample)
	st.mean = grow(st.mean, st.rows)
	clear(st.mean)
	for i := range n {
		c := int(int64(i) * int64(k) / int64(n))
		scale := space.scale(uint32(c))
		for j, v := range sp.base.Scores[c*st.lanes:][:st.rows] {
			st.mean[j] += float32(v) * sp.base.Unit[j] * scale
		}
	}
	for j := range st.mean {
		st.mean[j] /= float32(n)
	}
	return st.mean
}

// probe is a centroid with its score for one token, as a number whose order is theirs: score, and of equal ones the
// lower centroid is the larger probe.
type probe uint64

func probeOf(score float32, centroid uint32) probe {
	u := math.Float32bits(score)
	if u>>31 != 0 {
		u = ^u
	} else {
		u |= 1 << 31
	}
	return probe(u)<<32 | probe(^centroid)
}

func (p probe) centroid() uint32 { return ^uint32(p) }

func (p probe) score() float32 {
	u := uint32(p >> 32)
	if u>>31 != 0 {
		u &^= 1 << 31
	} else {
		u = ^u
	}
	return math.Float32frombits(u)
}

// selector keeps the n best of a stream of probes, and some more: it collects several times as many and then drops some of
// those that are not among the best, which costs amortised constant time per probe kept and nothing for one under the limit.
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
	if len(s.buf) >= 4*s.n {
		s.shrink()
	}
	return s.limit
}

// shrink drops probes that are not among the n best, about half of them at least. Selection is costly, because no branch of it
// can be foretold, so it looks for a probe of which there are a few more than n that are no worse: among some, sorted.
func (s *selector) shrink() {
	const some = 9
	if s.n < 2*some {
		s.trim()
		return
	}
	var of [some]probe
	for i := range of {
		v, j := s.buf[i*len(s.buf)/some], i
		for ; j > 0 && v > of[j-1]; j-- {
			of[j] = of[j-1]
		}
		of[j] = v
	}
	for _, p := range of[some*4/10 : some*6/10+1] { // those in which n of 4*n are likely, and more
		n := 0
		for _, v := range s.buf {
			_, less := bits.Sub64(uint64(v), uint64(p), 0)
			n += int(1 - less)
		}
		if n < s.n {
			continue
		}
		n = 0
		for _, v := range s.buf {
			s.buf[n] = v
			_, less := bits.Sub64(uint64(v), uint64(p), 0)
			n += int(1 - less)
		}
		s.buf, s.limit = s.buf[:n], p.score()
		return
	}
	s.trim()
}

// trim reduces buf to the n best.
func (s *selector) trim() {
	if len(s.buf) > s.n {
		s.limit = nthLargest(s.buf, s.n).score()
		s.buf = s.buf[:s.n]
	}
}

// best returns the n best in no particular order, valid until the next reset.
func (s *selector) best() []probe {
	s.trim()
	return s.buf
}
