//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// Format is how Documents keeps vectors.
type Format uint8

// The formats. Float16 and BFloat16 take half the memory and run on tensor cores.
const (
	Float32 Format = iota
	Float16
	BFloat16
)

// String is the format's usual short name.
func (f Format) String() string { return [...]string{"f32", "f16", "bf16"}[f] }

const (
	queryPart     = 32 // query rows that a kernel takes at a time
	maxsimThreads = 128
	blockDocs     = 4 // documents that a block takes at a time: one per warp
	// maxParts bounds the parts of queries that are scored with one launch, scoreBytes their scores.
	maxParts   = 64
	scoreBytes = 64 << 20
	// documentStreams is how many calls of Scores overlap.
	documentStreams = 2
)

// Documents are token vectors in device memory, for exact scores without an index. It is safe for concurrent use.
type Documents struct {
	v       *Device
	format  Format
	dim     int // as given
	padded  int // on the device
	cached  int // columns of a query in shared memory
	n       int
	streams *streams
	rows    mem
	off     mem

	mu     sync.RWMutex // held by calls for reading, by Close for writing
	closed bool
}

// LoadDocuments copies documents to the device, rows of one dimension and at least one each. Values that float16 cannot
// hold become infinities, which is an error. Errors: those of maxsim.Matrix.Validate naming the document, maxsim.ErrEmpty,
// maxsim.ErrDim, ErrUnsupported, ErrOutOfMemory, the context's.
func (v *Device) LoadDocuments(ctx context.Context, docs []maxsim.Matrix, f Format) (*Documents, error) {
	if f > BFloat16 {
		return nil, fmt.Errorf("format %d: %w", f, ErrUnsupported)
	}
	d := &Documents{v: v, format: f, n: len(docs)}
	total := 0
	for i, m := range docs {
		if err := m.Validate(); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		switch {
		case m.Rows == 0:
			return nil, fmt.Errorf("document %d: %w", i, maxsim.ErrEmpty)
		case i > 0 && m.Dim != d.dim:
			return nil, fmt.Errorf("document %d: dimension %d, those before have %d: %w", i, m.Dim, d.dim, maxsim.ErrDim)
		}
		d.dim = m.Dim
		total += m.Rows
	}
	step := 4 // of dimensions, so that loads of 16 bytes are aligned
	if f != Float32 {
		step = 32
	}
	d.padded = (d.dim + step - 1) / step * step
	err := v.do(ctx, func() (err error) {
		d.cached = v.cached(d.padded, queryPart*d.size())
		if err := v.allowShared(d.kernel(), d.shared()); err != nil {
			return err
		}
		if d.streams, err = v.newStreams(documentStreams); err != nil {
			return err
		}
		if d.rows, err = v.alloc(total * d.padded * d.size()); err != nil {
			return err
		}
		d.off, err = v.alloc((d.n + 1) * 8)
		return err
	})
	if err == nil {
		err = d.load(ctx, docs)
	}
	if err != nil {
		_ = d.Close()
		return nil, err
	}
	return d, nil
}

func (d *Documents) kernel() string { return "maxsim_" + d.format.String() }

// shared is the dynamic shared memory of the kernel.
func (d *Documents) shared() int { return d.cached * queryPart * d.size() }

func (d *Documents) size() int {
	if d.format == Float32 {
		return 4
	}
	return 2
}

// load copies the rows in pieces through pinned memory.
func (d *Documents) load(ctx context.Context, docs []maxsim.Matrix) error {
	s, err := d.streams.acquire(ctx)
	if err != nil {
		return err
	}
	defer d.streams.release(s)
	const piece = 4 << 20
	l := loader{d: d, s: s, per: max(piece/max(d.padded*d.size(), 1), 1)}
	var off []uint64
	err = s.submit(ctx, func() {
		off, l.buf = host[uint64](s, "off", d.n+1), host[byte](s, "rows", l.per*d.padded*d.size())
		clear(off)
	})
	for i := 0; i < len(docs) && err == nil; i++ {
		off[i+1] = off[i] + uint64(docs[i].Rows)
		if err = l.add(ctx, docs[i]); err != nil {
			err = fmt.Errorf("document %d: %w", i, err)
		}
	}
	if err == nil {
		err = l.flush(ctx)
	}
	if err == nil {
		err = s.finish(ctx, func() { put(s, d.off, off) })
	}
	return err
}

// loader gathers rows and sends them when there are enough.
type loader struct {
	d   *Documents
	s   *stream
	buf []byte
	per int // rows in buf
	n   int // of them in use
	at  int // row that the first one goes to
}

func (l *loader) add(ctx context.Context, m maxsim.Matrix) error {
	row := l.d.padded * l.d.size()
	for i := range m.Rows {
		to := l.buf[l.n*row : (l.n+1)*row]
		if l.d.format == Float32 {
			clear(to[copy(to, bytesOf(m.Row(i))):])
		} else if err := narrow(valuesOf[uint16](to), m.Row(i), l.d.format); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
		if l.n++; l.n == l.per {
			if err := l.flush(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *loader) flush(ctx context.Context) error {
	row := l.d.padded * l.d.size()
	err := l.s.finish(ctx, func() { put(l.s, l.d.rows.at(l.at*row, l.n*row), l.buf[:l.n*row]) })
	l.at, l.n = l.at+l.n, 0
	return err
}

// narrow converts to half precision, rounding to nearest even, and pads with zeros.
func narrow(dst []uint16, src []float32, f Format) error {
	clear(dst[len(src):])
	if f == Float16 {
		kernel.F32ToF16(dst[:len(src)], src)
	} else {
		kernel.F32ToBF16(dst[:len(src)], src)
	}
	inf := uint16(0x7c00)
	if f == BFloat16 {
		inf = 0x7f80
	}
	for i, h := range dst {
		if h&inf == inf {
			return fmt.Errorf("value %d, %g, is too large for %v: %w", i, src[i], f, maxsim.ErrNotFinite)
		}
	}
	return nil
}

// Len returns the number of documents.
func (d *Documents) Len() int { return d.n }

// Scores returns, for each query, MaxSim with every document in the order of LoadDocuments. A batch reads
// the documents once for many queries. Float32 scores equal the CPU's up to the order in which maxima of more than 32 query
// rows are added. Errors: maxsim.ErrDim, maxsim.ErrNotFinite,
// maxsim.ErrEmpty naming the query, ErrClosed, ErrLost, the context's.
func (d *Documents) Scores(ctx context.Context, queries []maxsim.Matrix) ([][]float32, error) {
	for i, q := range queries {
		if err := q.Validate(); err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
		switch {
		case q.Rows == 0:
			return nil, fmt.Errorf("query %d: %w", i, maxsim.ErrEmpty)
		case d.n > 0 && q.Dim != d.dim:
			return nil, fmt.Errorf("query %d: dimension %d, the documents have %d: %w", i, q.Dim, d.dim, maxsim.ErrDim)
		}
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.closed {
		return nil, ErrClosed
	}
	out := make([][]float32, len(queries))
	var parts []part
	most := max(min(scoreBytes/4/max(d.n, 1), maxParts), 1)
	for i, q := range queries {
		out[i] = make([]float32, d.n)
		for r := 0; r < q.Rows && d.n > 0; r += queryPart {
			parts = append(parts, part{i, r == 0, q.Slice(r, min(r+queryPart, q.Rows))})
		}
	}
	s, err := d.streams.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer d.streams.release(s)
	for at := 0; at < len(parts); at += most {
		some := parts[at:min(at+most, len(parts))]
		if err := d.score(ctx, s, out, some); err != nil {
			return nil, fmt.Errorf("queries %d to %d: %w", some[0].query, some[len(some)-1].query, err)
		}
	}
	return out, ctx.Err()
}

// part is up to 32 rows of a query.
type part struct {
	query int
	first bool // of the query
	rows  maxsim.Matrix
}

// score adds the scores of some parts to those of their queries.
func (d *Documents) score(ctx context.Context, s *stream, out [][]float32, parts []part) error {
	size := queryPart * d.padded * d.size() // of a part
	var packed []byte
	var rows []int32
	var got []float32
	err := s.submit(ctx, func() {
		packed, rows, got = host[byte](s, "query", len(parts)*size), host[int32](s, "query rows", len(parts)), host[float32](s, "scores", len(parts)*d.n)
	})
	if err != nil {
		return err
	}
	for i, p := range parts {
		rows[i] = int32(p.rows.Rows)
		if err := d.pack(packed[i*size:(i+1)*size], p.rows); err != nil {
			return fmt.Errorf("query %d: %w", p.query, err)
		}
	}
	err = s.finish(ctx, func() {
		put(s, s.room("query", len(packed)), packed)
		put(s, s.room("query rows", 4*len(rows)), rows)
		get(s, got, d.launch(s, len(parts)))
	})
	if err != nil {
		s.drain()
		return err
	}
	for i, p := range parts {
		to, scores := out[p.query], got[i*d.n:(i+1)*d.n]
		if p.first {
			copy(to, scores)
			continue
		}
		for doc, v := range scores {
			to[doc] += v
		}
	}
	return nil
}

// launch queues the kernel for so many parts, which are there, and tells where the scores will be: those of a part together.
func (d *Documents) launch(s *stream, parts int) mem {
	query, counts, scores := s.room("query", parts*queryPart*d.padded*d.size()), s.room("query rows", 4*parts), s.room("scores", 4*parts*d.n)
	groups := min((d.n+blockDocs-1)/blockDocs, max(32*d.v.info.Multiprocessors/parts, d.v.info.Multiprocessors), 1<<16-1)
	s.run(d.kernel(), parts, groups, maxsimThreads, d.shared(), scores, query, counts, d.padded, d.cached, d.rows, d.off, d.n)
	return scores
}

// pack lays out a part as the kernels want it (kernels/maxsim.cu); rows that are missing are zeros.
func (d *Documents) pack(to []byte, q maxsim.Matrix) error {
	clear(to)
	if d.format == Float32 {
		columns(valuesOf[float32](to), q)
		return nil
	}
	v, row := valuesOf[uint16](to), make([]uint16, d.padded)
	for r := range q.Rows {
		if err := narrow(row, q.Row(r), d.format); err != nil {
			return err
		}
		for c := 0; c < d.padded; c += 8 {
			copy(v[fragment(r, c)*8:], row[c:c+8])
		}
	}
	return nil
}

// columns writes up to 32 rows column by column.
func columns(to []float32, q maxsim.Matrix) {
	for r := range q.Rows {
		for c, v := range q.Row(r) {
			to[c*queryPart+r] = v
		}
	}
}

// fragment is where the kernels look for the 8 dimensions of a query row from c on, in eights: chunks of 32 dimensions, in
// them groups of 8 rows, in them the lanes of a warp.
func fragment(r, c int) int {
	return (c/32*4+r/8)*32 + r%8*4 + c%32/8
}

// Close frees the device memory, when the calls in progress have ended.
func (d *Documents) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.v.do(context.Background(), func() error {
		if !d.closed {
			d.closed = true
			d.v.free(d.rows)
			d.v.free(d.off)
			if d.streams != nil {
				d.streams.close()
			}
		}
		return nil
	})
}
