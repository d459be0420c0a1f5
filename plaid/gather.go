package plaid

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/golbert/golbert/internal/kernel"
)

// Stages 2 and 3 in one. PLAID unites the posting lists of the probed centroids and then, document by document, reads
// all of a document's codes for their scores. Here the lists themselves carry the scores: every document has a row
// of bytes, one for each query token, and reading the list of a centroid raises the rows of its documents to the
// centroid's own row. What is left out are centroids that no token probes, which can hardly be a token's best; see
// collectProbes for what it is credited instead. (WARP and TACHIOM gather scores from lists, too, per token.)
//
// Documents are taken in blocks whose rows fit into a core's cache.

const (
	// blockBytes is the most of a block's rows, and partBytes the least of blocks that workers share: every block has to
	// look for its part of every list.
	blockBytes = 768 << 10
	partBytes  = 128 << 10
	// listChunk is how many posting lists a task reads.
	listChunk = 32
	// listsAhead is how long before it is read a list is asked for.
	listsAhead = 3
	// maxBins bounds the histogram of a query's sums.
	maxBins = 8192
	// maxTies bounds how far stage 3 exceeds its shortlist for documents that tie with its last one: enough for
	// the copies of a document that real collections hold, without scoring a whole collection for a query that
	// says nothing.
	maxTies = 4096
)

// gather is the scratch of stages 2 and 3 of one query.
type gather struct {
	chunks []listRun // per unit of the space and chunk of its probed centroids
	per    int       // chunks per unit
	blocks []docBlock
	sums   []uint32 // per document of the space's units: the sum of its row
	shift  uint     // a histogram's bin has so many bits of a sum less
}

// listRun holds posting lists one after the other.
type listRun struct {
	ords []uint32
	ends []int
}

// docBlock is a run of documents of one unit.
type docBlock struct {
	unit, place int // the unit, and its place among those of the space
	first, n    int
	sums        int // where its sums start
}

func (g *gather) bytes() int {
	n := cap(g.sums)*4 + cap(g.blocks)*40
	for i := range g.chunks {
		c := &g.chunks[i]
		n += cap(c.ords)*4 + cap(c.ends)*8
	}
	return n
}

// gatherAll fills st.cands with the shortlists of all codebooks, one after the other; st.ends says where they end. Each
// codebook has one of its own: scores by centroids do not compare across codebooks, because finer ones give higher scores.
func (st *state) gatherAll(ctx context.Context, workers int) error {
	st.ctx = ctx
	st.cands, st.ends, st.patience = st.cands[:0], st.ends[:0], st.pl.patience
	st.stats.ProbedCentroids, st.stats.Postings, st.stats.Candidates = 0, 0, 0
	for i := range st.spaces {
		st.cur = i
		if err := st.gatherSpace(ctx, workers); err != nil {
			return err
		}
		st.ends = append(st.ends, len(st.cands))
	}
	return nil
}

func (st *state) gatherSpace(ctx context.Context, workers int) error {
	sp, space, g := &st.spaces[st.cur], &st.s.spaces[st.cur], &st.gather
	start := time.Now()
	st.stats.ProbedCentroids += len(sp.probed)
	g.per = (len(sp.probed) + listChunk - 1) / listChunk
	for len(g.chunks) < g.per*len(space.units) {
		g.chunks = append(g.chunks, listRun{})
	}
	if err := parallel(ctx, workers, g.per*len(space.units), (*postingStage)(st)); err != nil {
		return err
	}
	for i := range g.per * len(space.units) {
		st.stats.Postings += len(g.chunks[i].ords)
	}
	since(&st.stats.CandidateTime, start)
	start = time.Now()
	defer since(&st.stats.InteractionTime, start)

	g.blocks = g.blocks[:0]
	total := 0
	for place, u := range space.units {
		if st.pl.masks[u].n == 0 {
			continue
		}
		n := st.s.units[u].seg.NumDocs()
		// As many for each worker, if they are not too small.
		size := max(min((n-1)/max(workers, 1)+1, blockBytes/st.lanes), partBytes/st.lanes, 64)
		for first := 0; first < n; first += size {
			b := docBlock{unit: u, place: place, first: first, n: min(size, n-first), sums: total}
			g.blocks = append(g.blocks, b)
			total += b.n
		}
	}
	g.sums = grow(g.sums, total)
	top := 255 * st.rows
	g.shift = 0
	for top>>g.shift >= maxBins {
		g.shift++
	}
	for i := range st.workers {
		w := &st.workers[i]
		w.hist = grow(w.hist, top>>g.shift+1)
		clear(w.hist)
	}
	if err := parallel(ctx, workers, len(g.blocks), (*blockStage)(st)); err != nil {
		return err
	}
	st.pick(st.pl.shortlist[st.cur])
	return nil
}

// pick appends the n documents of the largest sums to st.cands, in order, and those that tie with the last of them.
func (st *state) pick(n int) {
	g := &st.gather
	hist := st.workers[0].hist
	for i := 1; i < len(st.workers); i++ {
		for j, v := range st.workers[i].hist {
			hist[j] += v
		}
	}
	hist[0] = 0 // see pickBlock
	found, bin := 0, len(hist)
	for bin > 0 && found < n {
		bin--
		found += int(hist[bin])
	}
	least := max(uint32(bin)<<g.shift, 1)
	for _, v := range hist[:bin] {
		found += int(v)
	}
	st.stats.Candidates += found
	from := len(st.cands)
	for _, b := range g.blocks {
		sums := g.sums[b.sums:][:b.n]
		for i, v := range sums {
			if v >= least {
				st.cands = append(st.cands, candidate{sum: float32(v), approx: float32(v), unit: uint32(b.unit), ord: uint32(b.first + i)})
			}
		}
	}
	st.cands = st.cands[:from+len(st.keepBest(st.cands[from:], n, n+maxTies))]
}

// postingStage has a task per unit of the space and chunk of probed centroids.
type postingStage state

func (t *postingStage) run(_, task int) error {
	st := (*state)(t)
	sp, space, g := &st.spaces[st.cur], &st.s.spaces[st.cur], &st.gather
	run := &g.chunks[task]
	run.ords, run.ends = run.ords[:0], run.ends[:0]
	u := space.units[task/g.per]
	if st.pl.masks[u].n == 0 {
		return nil
	}
	seg := st.s.units[u].seg
	at := task % g.per * listChunk
	centroids, pub := sp.probed[at:min(at+listChunk, len(sp.probed))], st.s.units[u].pub
	for i, c := range centroids {
		if next := i + listsAhead; pub != nil && next < len(centroids) {
			pub.PrefetchPostings(centroids[next])
		}
		// Behind the other lists, if there is room.
		list, err := seg.Postings(run.ords[len(run.ords):], c)
		if err != nil {
			return fmt.Errorf("postings of centroid %d: %w", c, err)
		}
		run.ords = append(slices.Grow(run.ords, cap(list)), list...)
		run.ends = append(run.ends, len(run.ords))
	}
	return nil
}

// blockStage has a task per block of documents.
type blockStage state

func (t *blockStage) run(worker, task int) error {
	st := (*state)(t)
	w, g, lanes := &st.workers[worker], &st.gather, st.lanes
	sp, b := &st.spaces[st.cur], g.blocks[task]
	seg := st.s.units[b.unit].seg
	w.acc = grow(w.acc, b.n*lanes)
	clear(w.acc)
	whole := b.n == seg.NumDocs()
	for i := range g.per {
		run := &g.chunks[b.place*g.per+i]
		if err := st.ctx.Err(); err != nil {
			return err
		}
		from := 0
		for j, to := range run.ends {
			list := run.ords[from:to]
			from = to
			if !whole {
				list = within(list, uint32(b.first), uint32(b.first+b.n))
			}
			kernel.RaiseU8(w.acc, lanes, uint32(b.first), list, sp.table[(i*listChunk+j)*lanes:])
		}
	}
	sums := g.sums[b.sums:][:b.n]
	kernel.SumRowsU8(sums, w.acc, lanes)
	m := &st.pl.masks[b.unit]
	// A sum of 0 is a document that no list holds, or that may not be found.
	if !m.all {
		for i := range sums {
			if ord := b.first + i; m.docs[ord/64]&(1<<(ord%64)) == 0 {
				sums[i] = 0
			}
		}
	}
	for _, v := range sums {
		w.hist[v>>g.shift]++
	}
	return nil
}

// within gives the part of an ascending list from one number up to another, which is not in it.
func within(list []uint32, from, to uint32) []uint32 {
	if len(list) > 0 && list[0] < from {
		n, _ := slices.BinarySearch(list, from)
		list = list[n:]
	}
	if n := len(list); n > 0 && list[n-1] >= to {
		n, _ = slices.BinarySearch(list, to)
		list = list[:n]
	}
	return list
}
