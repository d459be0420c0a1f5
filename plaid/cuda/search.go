//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"math"
	"math/bits"

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

// Search runs the queries in sub-batches, two of them in flight. See plaid.DeviceIndex.
func (x *deviceIndex) Search(ctx context.Context, q *plaid.DeviceSearch) ([][]plaid.DeviceHit, error) {
	if !q.Exhaustive && len(q.NDocs) != len(x.spaces) {
		return nil, fmt.Errorf("%d shortlists for %d codebooks: %w", len(q.NDocs), len(x.spaces), ErrUnsupported)
	}
	out := make([][]plaid.DeviceHit, len(q.Queries))
	lanes := 0
	for i, m := range q.Queries {
		if m.Rows > maxLanes {
			return nil, fmt.Errorf("query %d has %d tokens, at most %d: %w", i, m.Rows, maxLanes, ErrUnsupported)
		}
		lanes = max(lanes, (m.Rows+31)/32*32)
	}
	if len(q.Queries) == 0 {
		return out, ctx.Err()
	}
	err := x.v.do(ctx, func() error {
		if x.closed {
			return ErrClosed
		}
		err := index.Guard(func() error { return x.search(ctx, q, lanes, out) })
		if err != nil {
			// What is still in flight ends before its pinned memory is used again.
			for _, s := range x.streams {
				_ = s.wait()
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (x *deviceIndex) search(ctx context.Context, q *plaid.DeviceSearch, lanes int, out [][]plaid.DeviceHit) error {
	for i, sp := range x.spaces {
		r := &round{x: x, sp: sp, q: q, lanes: lanes, nprobe: min(q.NProbe, sp.k)}
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
	lanes   int
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

// perQuery is about the scratch of one query in bytes.
func (r *round) perQuery() int {
	sp := r.sp
	n := r.lanes*(5*sp.dim+16) + r.keep*16
	if !r.q.Exhaustive {
		n += sp.k*r.lanes*5 + sp.k/groupCentroids*r.lanes*4 + r.lanes*r.nprobe*4 + sp.docs*4 + sp.docs/8 + r.ndocs*16
	}
	if r.x.info.HostResiduals && !r.q.Exhaustive { // there they come once for all queries
		n += r.ndocs * int(sp.tokens/uint64(max(sp.docs, 1))+1) * sp.rowBytes
	}
	return n
}

// run searches for the numbered queries and returns those that found too few documents.
func (r *round) run(ctx context.Context, queries []int, out [][]plaid.DeviceHit) (short []int, err error) {
	size := min(max(r.x.scratch/2/r.perQuery(), 1), subBatch)
	if r.x.batch > 0 {
		size = min(size, r.x.batch)
	}
	var before *flight
	for at, n := 0, 0; at < len(queries) || before != nil; n++ {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var next *flight
		if at < len(queries) {
			to := min(at+size, len(queries))
			next = &flight{round: r, s: r.x.streams[n%2], queries: queries[at:to]}
			if err := next.start(); err != nil {
				return nil, err
			}
			at = to
		}
		if before != nil {
			s, err := before.finish(out)
			if err != nil {
				return nil, err
			}
			short = append(short, s...)
		}
		before = next
	}
	return short, nil
}

// flight is a sub-batch on its way.
type flight struct {
	*round
	s       *stream
	queries []int
	docs    []uint32 // pinned: keep per query
	results []float32

	rows, scale, query, ints, tops mem // of the queries: their lengths, int8 scales, vectors twice, largest scores
	scores, table                  mem // of the centroids, for every query
}

// start queues everything of a sub-batch up to the copy of the results.
func (f *flight) start() error {
	f.upload()
	if f.q.Exhaustive {
		f.listAll()
	} else {
		f.scoreCentroids()
		f.findCandidates()
		if err := f.shortlist(); err != nil {
			return err
		}
	}
	n := len(f.queries)
	f.docs, f.results = host[uint32](f.s, "docs", n*f.keep), host[float32](f.s, "results", n*f.keep)
	get(f.s, f.docs, f.s.room("kept", 4*n*f.keep))
	get(f.s, f.results, f.s.room("results", 4*n*f.keep))
	return f.s.err
}

// upload rotates the queries, rounds them to int8 and copies both.
func (f *flight) upload() {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	vectors, ints := host[float32](s, "queries", n*l*sp.dim), host[int8](s, "queries8", n*l*sp.dim)
	tops, scales, rows := host[float32](s, "tops", n*l), host[float32](s, "scales", n*l), host[int32](s, "rows", n)
	if s.err != nil {
		return
	}
	clear(vectors)
	clear(ints)
	clear(tops)
	clear(scales)
	longest := float32(0)
	if !f.q.Exhaustive {
		for i := range min(sp.k, scaleSample) {
			c := int(int64(i) * int64(sp.k) / int64(min(sp.k, scaleSample)))
			longest = max(longest, norm(sp.cb.Centroids()[c*sp.dim:(c+1)*sp.dim]))
		}
	}
	for i, number := range f.queries {
		m := f.q.Queries[number]
		rows[i] = int32(m.Rows)
		at := i * l * sp.dim
		sp.cb.Rotate(vectors[at:at+m.Rows*sp.dim], m.Data, m.Rows)
		for r := range m.Rows {
			row := vectors[at+r*sp.dim : at+(r+1)*sp.dim]
			tops[i*l+r] = norm(row) * longest
			if sp.levels != nil {
				scales[i*l+r] = kernel.Int8Row(ints[at+r*sp.dim:], row) * sp.levels.Scale()
			}
		}
	}
	f.query, f.ints = s.room("queries", 4*len(vectors)), s.room("queries8", len(ints))
	f.tops, f.scale, f.rows = s.room("tops", 4*n*l), s.room("scales", 4*n*l), s.room("rows", 4*n)
	put(s, f.query, vectors)
	put(s, f.ints, ints)
	put(s, f.tops, tops)
	put(s, f.scale, scales)
	put(s, f.rows, rows)
}

func norm(x []float32) float32 { return float32(math.Sqrt(float64(kernel.Dot(x, x)))) }

// scoreCentroids is stage 1: float32 scores and the table of bytes.
func (f *flight) scoreCentroids() {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	f.scores = s.room("scores", 4*n*sp.k*l)
	s.run("centroid_scores", (sp.k+63)/64, (n*l+63)/64, 256, 0, f.scores, sp.cents, sp.k, f.query, n*l, l, sp.dim)
	floors, inv := s.room("floors", 4*n*l), s.room("inv", 4*n)
	s.run("byte_scale", n, 1, l, 0, floors, inv, f.scores, f.tops, f.rows, sp.k, l, min(sp.k, scaleSample))
	groups := s.room("groups", 4*n*l*f.groups())
	f.table = s.room("table", n*sp.k*l)
	s.run("centroid_bytes", f.groups(), n, l, 0, f.table, groups, f.scores, floors, inv, f.rows, sp.k, l, f.groups())
}

func (f *flight) groups() int { return (f.sp.k + groupCentroids - 1) / groupCentroids }

// findCandidates is stages 2 and 3: approximate scores of all documents, 0 for those that are no candidates.
func (f *flight) findCandidates() {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	allowed := host[uint32](s, "allowed", len(f.bits))
	copy(allowed, f.bits)
	may := s.room("allowed", 4*len(f.bits))
	put(s, may, allowed)
	var marked mem
	if f.nprobe > 0 {
		probes := s.room("probes", 4*n*l*f.nprobe)
		s.run("probe_select", l, n, 256, 12*f.nprobe, probes, f.scores, s.room("groups", 4*n*l*f.groups()), f.rows, sp.k, l, f.groups(), f.nprobe)
		marked = s.room("marked", 4*n*len(f.bits))
		s.fill(marked, 0)
		s.run("mark_postings", l*f.nprobe, n, 128, 0, marked, probes, sp.posts, sp.lists, l*f.nprobe, len(f.bits))
	}
	approx := s.room("approx", 4*n*sp.docs)
	s.run("interact", min((sp.docs+3)/4, 1<<16), n, 128, 0, approx, marked, may, sp.distinctOff, sp.distinct, f.table, sp.k, l, sp.docs)
}

// shortlist is stage 4: compressed-domain scores of the best candidates, exact ones of the best of those.
func (f *flight) shortlist() error {
	s, sp, n, l := f.s, f.sp, len(f.queries), f.lanes
	docs, kept, results := s.room("shortlist", 4*n*f.ndocs), s.room("kept", 4*n*f.keep), s.room("results", 4*n*f.keep)
	s.run("select_best", n, 1, selectThreads, 0, docs, s.room("approx", 4*n*sp.docs), sp.docs, f.ndocs)
	residuals, slots, err := f.residualsOf(docs, f.ndocs)
	if err != nil {
		return err
	}
	if f.keep == f.ndocs {
		s.run("copy_words", (n*f.keep+127)/128, 1, 128, 0, kept, docs, n*f.keep)
	} else {
		keys, picked := s.room("keys", 4*n*f.ndocs), s.room("picked", 4*n*f.keep)
		s.run("score_compressed", f.ndocs, n, 128, sp.compressedShared(), keys, docs, f.ndocs, sp.off, sp.codes, residuals, slots, sp.inv,
			sp.scales, f.scores, sp.bytes, f.ints, f.scale, f.rows, sp.k, l, sp.dim, sp.nbits, sp.rowBytes)
		s.run("select_best", n, 1, selectThreads, 0, picked, keys, f.ndocs, f.keep)
		s.run("gather_docs", n, 1, 128, 0, kept, picked, docs, f.keep, f.ndocs)
		if residuals, slots, err = f.residualsOf(kept, f.keep); err != nil {
			return err
		}
	}
	f.decode(kept, results, residuals, slots)
	return s.err
}

// residualsOf gives the residual rows of listed documents, and where each has them when they are moved from the host.
func (f *flight) residualsOf(docs mem, per int) (residuals, slots mem, err error) {
	if !f.x.info.HostResiduals {
		return f.sp.residuals, mem{}, nil
	}
	list := host[uint32](f.s, "shortlist", len(f.queries)*per)
	get(f.s, list, docs)
	if err := f.s.wait(); err != nil {
		return mem{}, mem{}, err
	}
	return f.moveResiduals(list)
}

const selectThreads = 512

// decode is the last pass.
func (f *flight) decode(docs, results, residuals, slots mem) {
	sp := f.sp
	f.s.run("score_decoded", f.keep, len(f.queries), 128, sp.decodedShared(), results, docs, f.keep, sp.off, sp.codes, residuals, slots, sp.inv,
		sp.scales, sp.cents, sp.fields, f.query, f.rows, f.lanes, sp.dim, sp.nbits, sp.rowBytes)
}

// listAll scores every allowed document exactly.
func (f *flight) listAll() {
	s, n := f.s, len(f.queries)
	list := host[uint32](s, "all", n*f.keep)
	if s.err != nil {
		return
	}
	for i := range n {
		copy(list[i*f.keep:], f.listed)
	}
	docs, results := s.room("kept", 4*n*f.keep), s.room("results", 4*n*f.keep)
	put(s, docs, list)
	residuals, slots := f.sp.residuals, mem{}
	if f.x.info.HostResiduals {
		var err error
		if residuals, slots, err = f.moveResiduals(list); err != nil {
			s.err = err
			return
		}
	}
	f.decode(docs, results, residuals, slots)
}

// moveResiduals copies the residual rows of the listed documents, each document once, and tells at which row each
// place of the list has them.
func (f *flight) moveResiduals(list []uint32) (residuals, slots mem, err error) {
	s, sp := f.s, f.sp
	at := map[uint32]uint64{}
	rows := uint64(0)
	places := host[uint64](s, "slots", len(list))
	if s.err != nil {
		return mem{}, mem{}, s.err
	}
	var order []uint32
	for i, doc := range list {
		if places[i] = 0; doc == none {
			continue
		}
		if _, ok := at[doc]; !ok {
			at[doc] = rows
			order = append(order, doc)
			rows += sp.starts[doc+1] - sp.starts[doc]
		}
		places[i] = at[doc]
	}
	buf := host[byte](s, "moved", int(rows)*sp.rowBytes)
	residuals, slots = s.room("moved", len(buf)), s.room("slots", 8*len(places))
	if s.err != nil {
		return mem{}, mem{}, s.err
	}
	for _, doc := range order {
		seg, ord := sp.locate(int(doc))
		r, err := sp.segs[seg].Residuals(ord)
		if err != nil {
			return mem{}, mem{}, err
		}
		copy(buf[int(at[doc])*sp.rowBytes:], r)
	}
	put(s, residuals, buf)
	put(s, slots, places)
	return residuals, slots, s.err
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

// finish waits for the results and returns the queries that found too few.
func (f *flight) finish(out [][]plaid.DeviceHit) (short []int, err error) {
	if err := f.s.wait(); err != nil {
		return nil, err
	}
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
				return nil, fmt.Errorf("cuda: document %d of %d in the results: %w", doc, f.sp.docs, ErrLost)
			}
			n++
			seg, ord := f.sp.locate(int(doc))
			if f.sp.segs[seg].DocTokens(ord) == 0 {
				continue // a document without tokens has no score
			}
			found = append(found, plaid.DeviceHit{Segment: f.sp.numbers[seg], Ord: ord, Score: f.results[i*f.keep+j]})
		}
		if n < want && f.nprobe > 0 {
			short = append(short, number)
			continue // it is searched again
		}
		out[number] = found
	}
	return short, nil
}
