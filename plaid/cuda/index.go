//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"math"
	"sync"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/plaid"
	"github.com/golbert/golbert/quant"
)

// deviceIndex is a snapshot on a device.
type deviceIndex struct {
	v       *Device
	snap    *index.Snapshot
	spaces  []*space
	streams *streams // of sub-batches
	info    plaid.DeviceInfo
	scratch int // bytes of device memory for the queries of one sub-batch
	batch   int // the most queries of a sub-batch, 0 for no bound

	mu      sync.RWMutex // held by searches for reading, by Close for writing
	closed  bool
	release sync.Once // of snap
}

// space is a codebook with the segments coded by it. Documents and tokens are numbered through its segments.
type space struct {
	cb       *quant.Codebook
	segs     []*index.Segment
	numbers  []int // of segs in the snapshot
	first    []int // document that a segment begins with
	starts   []uint64
	docs     int
	tokens   uint64
	k, dim   int
	nbits    int
	rowBytes int
	levels   *kernel.Levels // nil for float16 rows
	longest  float32        // norm of a sample of the centroids

	cachedFloats, cachedInts int // columns of a query in the shared memory of the last two passes

	cents, fields, bytes, scales        mem // float32 K x dim, levels by byte in float32 and in int8, float32 K
	off, codes, inv, residuals          mem // uint64 docs+1, then per token uint32, float32, rowBytes
	distinctOff, distinct, posts, lists mem // uint64 docs+1, uint32; uint64 K+1, uint32
}

const (
	// maxScratch bounds the device memory of all sub-batches in flight.
	maxScratch = 4 << 30
	// searchStreams is how many sub-batches are in flight, of one search or of several.
	searchStreams = 4
)

// Load copies a snapshot to the device. See plaid.Device.
func (v *Device) Load(ctx context.Context, s *index.Snapshot, o *plaid.DeviceOptions) (_ plaid.DeviceIndex, err error) {
	if o == nil {
		o = &plaid.DeviceOptions{}
	}
	if o.MaxBatch < 0 {
		return nil, fmt.Errorf("option MaxBatch is %d: %w", o.MaxBatch, ErrUnsupported)
	}
	if err := s.Retain(); err != nil {
		return nil, err
	}
	x := &deviceIndex{v: v, snap: s, batch: o.MaxBatch}
	x.info = plaid.DeviceInfo{Device: v.Name(), Docs: s.NumDocs(), Tokens: s.NumTokens(), MaxQueryTokens: maxLanes}
	known := map[*quant.Codebook]*space{}
	total := 0
	for i, seg := range s.Segments() {
		sp := known[seg.Codebook()]
		if sp == nil {
			if sp, err = newSpace(seg.Codebook()); err != nil {
				s.Release()
				return nil, err
			}
			known[sp.cb] = sp
			x.spaces = append(x.spaces, sp)
		}
		sp.segs, sp.numbers, sp.first = append(sp.segs, seg), append(sp.numbers, i), append(sp.first, sp.docs)
		sp.docs += seg.NumDocs()
		if sp.docs > math.MaxInt32 {
			s.Release()
			return nil, fmt.Errorf("%d documents of one codebook, at most %d: %w", sp.docs, math.MaxInt32, ErrUnsupported)
		}
		sp.tokens += seg.NumTokens()
		total += seg.NumDocs()
	}
	err = v.do(ctx, func() error {
		return index.Guard(func() error { return x.load(ctx, o, total) })
	})
	if err != nil {
		_ = x.Close() // the error before says more
		return nil, err
	}
	return x, nil
}

func newSpace(cb *quant.Codebook) (*space, error) {
	sp := &space{cb: cb, k: cb.K(), dim: cb.Dim(), nbits: cb.NBits(), rowBytes: cb.RowBytes()}
	if sp.dim%8 != 0 {
		return nil, fmt.Errorf("dimension %d is not a multiple of 8: %w", sp.dim, ErrUnsupported)
	}
	if sp.nbits <= 8 {
		sp.levels = kernel.NewLevels(cb.Weights(), sp.nbits, sp.dim)
	}
	for i := range min(sp.k, scaleSample) {
		c := int(int64(i) * int64(sp.k) / int64(min(sp.k, scaleSample)))
		sp.longest = max(sp.longest, norm(cb.Centroids()[c*sp.dim:(c+1)*sp.dim]))
	}
	return sp, nil
}

// free frees everything that load has allocated; it may be half of it.
func (x *deviceIndex) free() {
	if x.streams != nil {
		x.streams.close()
		x.streams = nil
	}
	for _, sp := range x.spaces {
		for _, m := range []*mem{&sp.cents, &sp.fields, &sp.bytes, &sp.scales, &sp.off, &sp.codes, &sp.inv, &sp.residuals, &sp.distinctOff, &sp.distinct, &sp.posts, &sp.lists} {
			x.v.free(*m)
			*m = mem{}
		}
	}
}

func (x *deviceIndex) load(ctx context.Context, o *plaid.DeviceOptions, total int) (err error) {
	if x.streams, err = x.v.newStreams(searchStreams); err != nil {
		return err
	}
	for _, sp := range x.spaces {
		sp.cachedFloats, sp.cachedInts = x.v.cached(sp.dim, 4*queryPart), x.v.cached((sp.dim+31)&^31, queryPart)
		if err := x.v.allowShared("score_decoded", sp.decodedShared()); err != nil {
			return err
		}
		if err := x.v.allowShared("score_compressed", sp.compressedShared()); err != nil {
			return err
		}
	}
	free, err := x.v.freeMemory()
	if err != nil {
		return err
	}
	residuals := uint64(0)
	for _, sp := range x.spaces {
		residuals += sp.tokens * uint64(sp.rowBytes)
	}
	// The rest is codes, norms and lists of at most 4 bytes per token each, offsets and centroids, and a fourth for scratch.
	rest := uint64(0)
	for _, sp := range x.spaces {
		rest += 16*sp.tokens + 24*uint64(sp.docs) + uint64(sp.k)*uint64(4*sp.dim+16)
	}
	x.info.HostResiduals = o.HostResiduals || residuals+rest > uint64(free)/4*3
	done := 0
	for _, sp := range x.spaces {
		l := &loading{x: x, sp: sp, s: x.streams.all[0]}
		err := l.run(ctx, func(n int) {
			done += n
			if o.Progress != nil {
				o.Progress(done, total)
			}
		})
		if err != nil {
			return err
		}
	}
	for _, sp := range x.spaces {
		for _, m := range []mem{sp.cents, sp.fields, sp.bytes, sp.scales, sp.off, sp.codes, sp.inv, sp.residuals, sp.distinctOff, sp.distinct, sp.posts, sp.lists} {
			x.info.DeviceBytes += uint64(m.size)
		}
	}
	if free, err = x.v.freeMemory(); err != nil {
		return err
	}
	x.scratch = min(free/4, maxScratch) / searchStreams
	return nil
}

func (v *Device) freeMemory() (int, error) {
	free, total := new(uintptr), new(uintptr)
	err := v.d.call("cuMemGetInfo_v2", address(free), address(total))
	return int(*free), err
}

// Info tells what is where.
func (x *deviceIndex) Info() plaid.DeviceInfo { return x.info }

// Close waits for the searches in progress, frees the device memory and lets go of the snapshot, the latter also when the
// device is lost or closed, which are its errors. Searches after it return ErrClosed.
func (x *deviceIndex) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.v.do(context.Background(), func() error {
		if !x.closed {
			x.closed = true
			x.free()
		}
		return nil
	})
	x.release.Do(x.snap.Release)
	return err
}

// loading copies one space.
type loading struct {
	x  *deviceIndex
	sp *space
	s  *stream
}

// loadTokens is about how many tokens go to the device at a time.
const loadTokens = 1 << 16

func (l *loading) run(ctx context.Context, loaded func(docs int)) error {
	sp := l.sp
	if err := l.codebook(); err != nil {
		return err
	}
	off, distinctOff := make([]uint64, sp.docs+1), make([]uint64, sp.docs+1)
	var distinct []uint32
	if err := l.alloc(&sp.codes, 4*int(sp.tokens)); err != nil {
		return err
	}
	if err := l.alloc(&sp.inv, 4*int(sp.tokens)); err != nil {
		return err
	}
	if !l.x.info.HostResiduals {
		if err := l.alloc(&sp.residuals, int(sp.tokens)*sp.rowBytes); err != nil {
			return err
		}
	}
	b := batch{at: 0}
	doc := 0
	var codes []uint32
	var inv []float32
	for _, seg := range sp.segs {
		for ord := range uint32(seg.NumDocs()) {
			if err := ctx.Err(); err != nil {
				return err
			}
			var err error
			if codes, err = seg.Codes(codes, ord); err != nil {
				return err
			}
			for i, c := range codes {
				if int64(c) >= int64(sp.k) {
					return fmt.Errorf("document %d, token %d: centroid %d of %d: %w", ord, i, c, sp.k, index.ErrCorrupt)
				}
			}
			if inv, err = seg.InvNorms(inv, ord); err != nil {
				return err
			}
			b.codes, b.inv = append(b.codes, codes...), append(b.inv, inv...)
			if !l.x.info.HostResiduals {
				r, err := seg.Residuals(ord)
				if err != nil {
					return err
				}
				b.residuals = append(b.residuals, r...)
			}
			off[doc+1] = off[doc] + uint64(len(codes))
			if codes, err = seg.DistinctCodes(codes, ord); err != nil {
				return err
			}
			distinct = append(distinct, codes...)
			distinctOff[doc+1] = uint64(len(distinct))
			doc++
			b.docs++
			if len(b.codes) >= loadTokens {
				if err := l.flush(&b, loaded); err != nil {
					return err
				}
			}
		}
	}
	if err := l.flush(&b, loaded); err != nil {
		return err
	}
	if off[sp.docs] != sp.tokens {
		return fmt.Errorf("%d tokens in the documents of segments with %d: %w", off[sp.docs], sp.tokens, index.ErrCorrupt)
	}
	sp.starts = off
	lists, posts := invert(distinct, distinctOff, sp.k)
	for _, c := range []struct {
		to *mem
		v  []byte
	}{{&sp.off, bytesOf(off)}, {&sp.distinctOff, bytesOf(distinctOff)}, {&sp.distinct, bytesOf(distinct)}, {&sp.posts, bytesOf(posts)}, {&sp.lists, bytesOf(lists)}} {
		if err := l.store(c.to, c.v); err != nil {
			return err
		}
	}
	return nil
}

// invert makes posting lists of the documents' distinct codes: the documents of centroid c are lists[posts[c]:posts[c+1]],
// ascending.
func invert(distinct []uint32, off []uint64, k int) (lists []uint32, posts []uint64) {
	lists, posts = make([]uint32, len(distinct)), make([]uint64, k+1)
	for _, c := range distinct {
		posts[c+1]++
	}
	for c := range k {
		posts[c+1] += posts[c]
	}
	next := append([]uint64(nil), posts[:k]...)
	for doc := range len(off) - 1 {
		for _, c := range distinct[off[doc]:off[doc+1]] {
			lists[next[c]] = uint32(doc)
			next[c]++
		}
	}
	return lists, posts
}

// batch is what goes to the device at a time.
type batch struct {
	at        int // token
	docs      int
	codes     []uint32
	inv       []float32
	residuals []byte
}

func (l *loading) flush(b *batch, loaded func(int)) error {
	n, s, sp := len(b.codes), l.s, l.sp
	if n > 0 {
		codes, inv := host[uint32](s, "codes", n), host[float32](s, "norms", n)
		copy(codes, b.codes)
		copy(inv, b.inv)
		put(s, sp.codes.at(4*b.at, 4*n), codes)
		put(s, sp.inv.at(4*b.at, 4*n), inv)
		if !l.x.info.HostResiduals {
			res := host[byte](s, "residuals", len(b.residuals))
			copy(res, b.residuals)
			put(s, sp.residuals.at(b.at*sp.rowBytes, len(b.residuals)), res)
		}
		if err := s.wait(); err != nil {
			return err
		}
	}
	loaded(b.docs)
	*b = batch{at: b.at + n, codes: b.codes[:0], inv: b.inv[:0], residuals: b.residuals[:0]}
	return nil
}

// codebook stores centroids, scales and level tables.
func (l *loading) codebook() error {
	sp := l.sp
	if err := l.store(&sp.cents, bytesOf(sp.cb.Centroids())); err != nil {
		return err
	}
	if sp.nbits > 8 {
		return nil
	}
	fields := kernel.NewFloatLevels(sp.cb.Weights(), sp.nbits).Table()
	ints := sp.levels.Fields()
	if err := l.store(&sp.fields, bytesOf(fields)); err != nil {
		return err
	}
	if err := l.store(&sp.bytes, bytesOf(ints[:])); err != nil {
		return err
	}
	if scales := sp.cb.Scales(); scales != nil {
		return l.store(&sp.scales, bytesOf(scales))
	}
	return nil
}

func (l *loading) alloc(m *mem, size int) (err error) {
	*m, err = l.x.v.alloc(size)
	return err
}

// store allocates memory and fills it, in pieces.
func (l *loading) store(m *mem, v []byte) error {
	if err := l.alloc(m, len(v)); err != nil {
		return err
	}
	const piece = 16 << 20
	for at := 0; at < len(v); at += piece {
		n := min(piece, len(v)-at)
		buf := host[byte](l.s, "piece", n)
		copy(buf, v[at:at+n])
		put(l.s, m.at(at, n), buf)
		if err := l.s.wait(); err != nil {
			return err
		}
	}
	return nil
}

func (sp *space) decodedShared() int    { return sp.cachedFloats * queryPart * 4 }
func (sp *space) compressedShared() int { return sp.cachedInts * queryPart }
