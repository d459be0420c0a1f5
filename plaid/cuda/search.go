//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"math"
	"math/bits"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/plaid"
)

const (
	// none marks an empty place in lists of documents, as in the kernels.
	none = ^uint32(0)
	// maxLanes is the longest query, rounded up: a block of the kernels of stage 1 has a thread per lane.
	maxLanes = 1024
	// scaleSample is how many centroids the bytes' scale is estimated from.
	scaleSample = 256
	// groupCentroids is how many centroids share a maximum for probing.
	groupCentroids = 64
	// subBatch bounds the queries of a sub-batch: with more, nothing is won.
	subBatch = 128
	// maxProbes is the most centroids probed per query token. Who wants more, after a filter has multiplied NProbe
	// say, gets all allowed documents for candidates: that is cheaper than selecting so many, and finds no less.
	maxProbes = 1024
)

// Search runs the queries in sub-batches of like lengths, which overlap with one another and with those of other searches.
// See plaid.DeviceIndex.
func (x *deviceIndex) Search(ctx context.Context, q *plaid.DeviceSearch) ([][]plaid.DeviceHit, error) {
	if !q.Exhaustive && len(q.NDocs) != len(x.spaces) {
		return nil, fmt.Errorf("%d shortlists for %d codebooks: %w", len(q.NDocs), len(x.spaces), ErrUnsupported)
	}
	out := make([][]plaid.DeviceHit, len(q.Queries))
	for i, m := range q.Queries {
		if m.Rows > maxLanes {
			return nil, fmt.Errorf("query %d has %d tokens, at most %d: %w", i, m.Rows, maxLanes, ErrUnsupported)
		}
	}
	if len(q.Queries) == 0 {
		return out, ctx.Err()
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	if x.closed {
		return nil, ErrClosed
	}
	if err := x.search(ctx, q, out); err != nil {
		return nil, err
	}
	return out, nil
}

func (x *deviceIndex) search(ctx context.Context, q *plaid.DeviceSearch, out [][]plaid.DeviceHit) error {
	for i, sp := range x.spaces {
		r := &round{x: x, sp: sp, q: q, nprobe: min(q.NProbe, sp.k)}
		if r.nprobe > maxProbes {
			r.nprobe = 0
		}
		if r.prepare(i); r.allowed == 0 {
			continue
		}
		all := make([]int, len(q.Queries))
		for j := range all {
			all[j] = j
		}
		if q.Exhaustive {
			for _, r.listed = range r.pieces() {
				r.keep = len(r.listed)
				if _, err := r.run(ctx, all, out); err != nil {
					return err
				}
			}
			continue
		}
		short, err := r.run(ctx, all, out)
		if err != nil {
			return err
		}
		// Where probing found too few documents, every allowed one is a candidate.
		if len(short) > 0 {
			r.nprobe = 0
			if _, err := r.run(ctx, short, out); err != nil {
				return err
			}
		}
	}
	return nil
}

// round is a search in one space.
type round struct {
	x       *deviceIndex
	sp      *space
	q       *plaid.DeviceSearch
	nprobe  int // 0: all allowed documents are candidates
	allowed int
	bits    []uint32 // documents that may be found
	listed  []uint32 // the same as a list, for exhaustive searches
	ndocs   int      // shortlist
	keep    int
}

// prepare makes the bitset of allowed documents and the sizes of the lists.
func (r *round) prepare(number int) {
	sp := r.sp
	r.bits = make([]uint32, (sp.docs+31)/32)
	for i, seg := range sp.segs {
		n, set := seg.NumDocs(), r.q.Allowed[sp.numbers[i]]
		for w := 0; w*64 < n; w++ {
			word := ^uint64(0)
			if set != nil {
				word = set[w]
			}
			if rest := n - w*64; rest < 64 {
				word &= 1<<rest - 1
			}
			r.allowed += bits.OnesCount64(word)
			for ; word != 0; word &= word - 1 {
				doc := sp.first[i] + w*64 + bits.TrailingZeros64(word)
				r.bits[doc/32] |= 1 << (doc % 32)
				if r.q.Exhaustive {
					r.listed = append(r.listed, uint32(doc))
				}
			}
		}
	}
	if r.q.Exhaustive {
		return
	}
	r.ndocs = min(max(r.q.NDocs[number], r.q.K), r.allowed)
	r.keep = min(r.q.Keep, r.ndocs)
	if sp.levels == nil {
		r.keep = r.ndocs // float16 rows have no first pass
	}
}

// pieces cuts the listed documents so that the residuals of each part fit into the scratch memory, when they come from the
// host: all of them together are what did not fit.
func (r *round) pieces() (pieces [][]uint32) {
	if !r.x.info.HostResiduals {
		return [][]uint32{r.listed}
	}
	from, bytes := 0, 0
	for i, doc := range r.listed {
		n := int(r.sp.starts[doc+1]-r.sp.starts[doc]) * r.sp.rowBytes
		if i > from && bytes+n > r.x.scratch/4 {
			pieces = append(pieces, r.listed[from:i])
			from, bytes = i, 0
		}
		bytes += n
	}
	return append(pieces, r.listed[from:])
}

// lanesOf is the length of a query on the device.
func lanesOf(rows int) int { return (rows + queryPart - 1) / queryPart * queryPart }

// perQuery is about the scratch of one query in bytes.
func (r *round) perQuery(lanes int) int {
	sp := r.sp
	n := lanes*(9*sp.dim+16) + r.keep*16
	if !r.q.Exhaustive {
		n += sp.k*lanes*5 + sp.k/groupCentroids*lanes*4 + lanes*r.nprobe*4 + sp.docs*4 + sp.docs/8 + r.ndocs*16
	}
	if r.x.info.HostResiduals && !r.q.Exhaustive { // there they come once for all queries
		n += r.ndocs * int(sp.tokens/uint64(max(sp.docs, 1))+1) * sp.rowBytes
	}
	return n
}

// flights cuts the numbered queries into sub-batches of the same number of lanes.
func (r *round) flights(queries []int) (fs []*flight) {
	byLanes := map[int]*flight{}
	for _, i := range queries {
		lanes := lanesOf(r.q.Queries[i].Rows)
		f := byLanes[lanes]
		if f == nil {
			f = &flight{round: r, lanes: lanes}
			byLanes[lanes] = f
			fs = append(fs, f)
		}
		f.queries = append(f.queries, i)
		most := min(max(r.x.scratch/r.perQuery(lanes), 1), subBatch)
		if r.x.batch > 0 {
			most = min(most, r.x.batch)
		}
		if len(f.queries) == most {
			delete(byLanes, lanes)
		}
	}
	return fs
}

// run searches for the numbered queries and returns those that found too few documents.
func (r *round) run(ctx context.Context, queries []int, out [][]plaid.DeviceHit) (short []int, err error) {
	fs := r.flights(queries)
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(searchStreams)
	for _, f := range fs {
		g.Go(func() error { return f.run(ctx, out) })
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for _, f := range fs {
		short = append(short, f.short...)
	}
	slices.Sort(short)
	return short, nil
}

// flight is a sub-batch on its way.
type flight struct {
	*round
	s       *stream
	lanes   int
	queries []int
	short   []int // those of them that found too few documents

	// Pinned: lengths of the queries, their vectors row by row and column by column, in int8 as fragments with their scales,
	// the largest scores that they can have, documents that may be found or are to be scored.
	rows             []int32
	vectors, columns []float32
	ints             []int8
	scales, tops     []float32
	may              []uint32
	// And the results, keep per query.
	docs    []uint32
	results []float32

	scores, table mem // of the centroids, for every query
}

// run does a sub-batch on a stream of its own. An error from a mapped file's fault is an error of the search.
func (f *flight) run(ctx context.Context, out [][]plaid.DeviceHit) (err error) {
	if f.s, err = f.x.streams.acquire(ctx); err != nil {
		return err
	}
	defer f.x.streams.release(f.s)
	if err := f.s.submit(ctx, f.reserve); err != nil {
		return err
	}
	f.pack()
	if err = index.Guard(func() error { return f.fly(ctx) }); err != nil {
		f.s.drain() // what is still in flight ends before its memory is used again
		return err
	}
	return f.collect(out)
}

// fly runs the stages. When residuals come from the host it lands in between to see which.
func (f *flight) fly(ctx context.Context) error {
	n := len(f.queries)
	kept := func() mem { return f.s.room("kept", 4*n*f.keep) }
	if f.q.Exhaustive {
		return f.land(ctx, f.keep, func() mem {
			f.upload()
			put(f.s, kept(), f.docs)
			return kept()
		}, func(residuals, slots mem) { f.decode(kept(), residuals, slots) })
	}
	twoPasses := f.keep < f.ndocs
	decode := func(residuals, slots mem) { f.decode(kept(), residuals, slots) }
	list := func() mem {
		f.upload()
		f.scoreCentroids()
		f.findCandidates()
		docs := f.s.room("shortlist", 4*n*f.ndocs)
		f.s.run("select_best", n, 1, selectThreads, 0, docs, f.s.room("approx", 4*n*f.sp.docs), f.sp.docs, f.ndocs)
		if !twoPasses {
			f.s.run("copy_words", (n*f.keep+127)/128, 1, 128, 0, kept(), docs, n*f.keep)
		}
		return docs
	}
	if !twoPasses {
		return f.land(ctx, f.ndocs, list, decode)
	}
	if !f.x.info.HostResiduals {
		return f.s.finish(ctx, func() {
			f.compress(list(), f.sp.residuals, mem{})
			decode(f.sp.residuals, mem{})
			f.download()
		})
	}
	if err := f.move(ctx, f.ndocs, list); err != nil {
		return err
	}
	return f.land(ctx, f.keep, func() mem {
		f.compress(f.s.room("shortlist", 4*n*f.ndocs), f.moved(), f.slots())
		return kept()
	}, decode)
}

// land runs the last stages: first lists the documents to score, per of a query, last scores them.
func (f *flight) land(ctx context.Context, per int, first func() mem, last func(residuals, slots mem)) error {
	if !f.x.info.HostResiduals {
		return f.s.finish(ctx, func() {
			first()
			last(f.sp.residuals, mem{})
			f.download()
		})
	}
	if err := f.move(ctx, per, first); err != nil {
		return err
	}
	return f.s.finish(ctx, func() {
		last(f.moved(), f.slots())
		f.download()
	})
}

// reserve gets the pinned memory.
func (f *flight) reserve() {
	s, n, l, dim := f.s, len(f.queries), f.lanes, f.sp.dim
	f.rows = host[int32](s, "rows", n)
	f.vectors, f.columns = host[float32](s, "queries", n*l*dim), host[float32](s, "columns", n*l*dim)
	f.ints = host[int8](s, "queries8", n*l*f.intDim())
	f.tops, f.scales = host[float32](s, "tops", n*l), host[float32](s, "scales", n*l)
	if !f.q.Exhaustive {
		f.may = host[uint32](s, "allowed", len(f.bits))
	}
	f.docs, f.results = host[uint32](s, "docs", n*f.keep), host[float32](s, "results", n*f.keep)
}

// intDim is the dimension as the int8 kernel has it: chunks of 32.
func (f *flight) intDim() int { return (f.sp.dim + 31) &^ 31 }

// pack rotates the queries and lays them out.
func (f *flight) pack() {
	sp, l, dim, wide := f.sp, f.lanes, f.sp.dim, f.intDim()
	clear(f.vectors)
	clear(f.columns)
	clear(f.ints)
	clear(f.tops)
	clear(f.scales)
	copy(f.may, f.bits)
	ints := make([]int8, wide)
	for i, number := range f.queries {
		m := f.q.Queries[number]
		f.rows[i] = int32(m.Rows)
		at := i * l
		rotated := f.vectors[at*dim : (at+m.Rows)*dim]
		sp.cb.Rotate(rotated, m.Data, m.Rows)
		for r := 0; r < m.Rows; r += queryPart {
			to := min(r+queryPart, m.Rows)
			columns(f.columns[(at+r)*dim:], maxsim.Matrix{Data: rotated[r*dim : to*dim], Rows: to - r, Dim: dim})
		}
		for r := range m.Rows {
			row := rotated[r*dim : (r+1)*dim]
			f.tops[at+r] = norm(row) * sp.longest
			if sp.levels != nil && !f.q.Exhaustive {
				f.scales[at+r] = kernel.Int8Row(ints, row) * sp.levels.Scale()
				part := f.ints[(at+r/queryPart*queryPart)*wide:]
				for c := 0; c < dim; c += 8 {
					copy(part[fragment(r%queryPart, c)*8:], ints[c:c+8])
				}
			}
		}
		if f.q.Exhaustive {
			copy(f.docs[i*f.keep:(i+1)*f.keep], f.listed)
		}
	}
}

// upload queues the copies of what pack has made.
func (f *flight) upload() {
	s := f.s
	put(s, s.room("rows", 4*len(f.rows)), f.rows)
	put(s, s.room("columns", 4*len(f.columns)), f.columns)
	if !f.q.Exhaustive {
		put(s, s.room("queries", 4*len(f.vectors)), f.vectors)
		put(s, s.room("queries8", len(f.ints)), f.ints)
		put(s, s.room("tops", 4*len(f.tops)), f.tops)
		put(s, s.room("scales", 4*len(f.scales)), f.scales)
		put(s, s.room("allowed", 4*len(f.may)), f.may)
	}
}

// download queues the copies of the results.
func (f *flight) download() {
	get(f.s, f.docs, f.s.room("kept", 4*len(f.docs)))
	get(f.s, f.results, f.s.room("results", 4*len(f.results)))
}

func norm(x []float32) float32 { return float32(math.Sqrt(float64(kernel.Dot(x, x)))) }

// scoreCentroids is stage 1: float32 scores and the table of bytes.
func (f *flight) scoreCentroids() {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	rows, tops := s.room("rows", 4*n), s.room("tops", 4*n*l)
	f.scores = s.room("centroid scores", 4*n*sp.k*l)
	s.run("centroid_scores", (sp.k+63)/64, (n*l+63)/64, 256, 0, f.scores, sp.cents, sp.k, s.room("queries", 4*n*l*sp.dim), n*l, l, sp.dim)
	floors, inv := s.room("floors", 4*n*l), s.room("inv", 4*n)
	s.run("byte_scale", n, 1, l, 0, floors, inv, f.scores, tops, rows, sp.k, l, min(sp.k, scaleSample))
	groups := s.room("groups", 4*n*l*f.groups())
	f.table = s.room("table", n*sp.k*l)
	s.run("centroid_bytes", f.groups(), n, l, 0, f.table, groups, f.scores, floors, inv, rows, sp.k, l, f.groups())
}

func (f *flight) groups() int { return (f.sp.k + groupCentroids - 1) / groupCentroids }

// findCandidates is stages 2 and 3: approximate scores of all documents, 0 for those that are no candidates.
func (f *flight) findCandidates() {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	may := s.room("allowed", 4*len(f.bits))
	var marked mem
	if f.nprobe > 0 {
		probes := s.room("probes", 4*n*l*f.nprobe)
		s.run("probe_select", l, n, 256, 12*f.nprobe, probes, f.scores, s.room("groups", 4*n*l*f.groups()), s.room("rows", 4*n), sp.k, l, f.groups(), f.nprobe)
		marked = s.room("marked", 4*n*len(f.bits))
		s.fill(marked, 0)
		s.run("mark_postings", l*f.nprobe, n, 128, 0, marked, probes, sp.posts, sp.lists, l*f.nprobe, len(f.bits))
	}
	approx := s.room("approx", 4*n*sp.docs)
	s.run("interact", min((sp.docs+3)/4, 1<<16), n, 128, 0, approx, marked, may, sp.distinctOff, sp.distinct, f.table, sp.k, l, sp.docs)
}

const selectThreads = 512

// compress is stage 4: compressed-domain scores of the listed candidates, of which the best are kept.
func (f *flight) compress(docs, residuals, slots mem) {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	keys, picked, kept := s.room("keys", 4*n*f.ndocs), s.room("picked", 4*n*f.keep), s.room("kept", 4*n*f.keep)
	s.run("score_compressed", (f.ndocs+blockDocs-1)/blockDocs, n, 128, sp.compressedShared(), keys, docs, f.ndocs, sp.off, sp.codes, residuals, slots,
		sp.inv, sp.scales, f.scores, sp.bytes, s.room("queries8", n*l*f.intDim()), s.room("scales", 4*n*l), s.room("rows", 4*n), sp.k, l, sp.dim,
		sp.cachedInts, sp.nbits, sp.rowBytes)
	s.run("select_best", n, 1, selectThreads, 0, picked, keys, f.ndocs, f.keep)
	s.run("gather_docs", n, 1, 128, 0, kept, picked, docs, f.keep, f.ndocs)
}

// decode is the last pass: exact scores.
func (f *flight) decode(docs, residuals, slots mem) {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	s.run("score_decoded", (f.keep+blockDocs-1)/blockDocs, n, 128, sp.decodedShared(), s.room("results", 4*n*f.keep), docs, f.keep, sp.off, sp.codes,
		residuals, slots, sp.inv, sp.scales, sp.cents, sp.fields, s.room("columns", 4*n*l*sp.dim), s.room("rows", 4*n), l, sp.dim, sp.cachedFloats,
		sp.nbits, sp.rowBytes)
}

// moved and slots are the residual rows that came from the host, and where each place of the list has them.
func (f *flight) moved() mem { return *f.s.device["moved"] }
func (f *flight) slots() mem { return *f.s.device["slots"] }

// move runs what lists documents, per of a query, waits for the list and copies the residual rows of its documents to the
// device, each document once.
func (f *flight) move(ctx context.Context, per int, first func() mem) error {
	s, sp := f.s, f.sp
	var list []uint32
	err := s.finish(ctx, func() {
		list = host[uint32](s, "list", len(f.queries)*per)
		get(s, list, first())
	})
	if err != nil {
		return err
	}
	at := map[uint32]uint64{}
	rows := uint64(0)
	var order []uint32
	for _, doc := range list {
		if doc == none {
			continue
		}
		if int64(doc) >= int64(sp.docs) {
			return fmt.Errorf("cuda: document %d of %d in a shortlist: %w", doc, sp.docs, ErrLost)
		}
		if _, ok := at[doc]; !ok {
			at[doc] = rows
			order = append(order, doc)
			rows += sp.starts[doc+1] - sp.starts[doc]
		}
	}
	var buf []byte
	var places []uint64
	err = s.submit(ctx, func() {
		buf, places = host[byte](s, "moved", int(rows)*sp.rowBytes), host[uint64](s, "slots", len(list))
	})
	if err != nil {
		return err
	}
	for i, doc := range list {
		places[i] = at[doc]
	}
	for _, doc := range order {
		seg, ord := sp.locate(int(doc))
		r, err := sp.segs[seg].Residuals(ord)
		if err != nil {
			return err
		}
		copy(buf[int(at[doc])*sp.rowBytes:], r)
	}
	return s.submit(ctx, func() {
		put(s, s.room("moved", len(buf)), buf)
		put(s, s.room("slots", 8*len(places)), places)
	})
}

// locate finds a document of the space in its segment.
func (sp *space) locate(doc int) (seg int, ord uint32) {
	lo, hi := 0, len(sp.first)-1
	for lo < hi {
		m := (lo + hi + 1) / 2
		if sp.first[m] <= doc {
			lo = m
		} else {
			hi = m - 1
		}
	}
	return lo, uint32(doc - sp.first[lo])
}

// collect turns the results into hits.
func (f *flight) collect(out [][]plaid.DeviceHit) error {
	want := min(f.q.K, f.allowed)
	for i, number := range f.queries {
		found := out[number]
		n := 0
		for j := range f.keep {
			doc := f.docs[i*f.keep+j]
			if doc == none {
				continue
			}
			if int(doc) >= f.sp.docs {
				return fmt.Errorf("cuda: document %d of %d in the results: %w", doc, f.sp.docs, ErrLost)
			}
			n++
			seg, ord := f.sp.locate(int(doc))
			if f.sp.segs[seg].DocTokens(ord) == 0 {
				continue // a document without tokens has no score
			}
			found = append(found, plaid.DeviceHit{Segment: f.sp.numbers[seg], Ord: ord, Score: f.results[i*f.keep+j]})
		}
		if n < want && f.nprobe > 0 {
			f.short = append(f.short, number)
			continue // it is searched again
		}
		out[number] = found
	}
	return nil
}
