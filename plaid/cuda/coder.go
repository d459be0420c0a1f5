//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"iter"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/quant"
)

const (
	// coderStreams is how many pieces are coded at a time: one is read from the host, say, while the device is at the other.
	coderStreams = 2
	// coderRows is how many vectors a piece has, about.
	coderRows = 1 << 16
)

// Coder codes vectors with a codebook on a device: rotation, the nearest centroid by an exact search, levels of the residual
// and, when the codebook has directions, their refinement (package quant). What comes out is what Codebook.Encode gives, in
// every bit, on amd64 with vector kernels and for vectors whose centroids are the same: Encode looks for the centroids of
// large codebooks in some groups only, and then a few vectors in a hundred have better ones here. It is safe for concurrent use.
type Coder struct {
	v       *Device
	cb      *quant.Codebook
	tables  quant.Tables
	streams *streams
	books   map[string]mem
	warps   struct{ rotate, encode int } // per block

	mu     sync.RWMutex // held by calls for reading, by Close for writing
	closed bool
}

// NewCoder copies a codebook to the device. Errors: ErrUnsupported for a dimension of which not one vector fits into a
// block's shared memory (about 12,000 on an A100), ErrOutOfMemory, ErrLost, ErrClosed, the context's.
func (v *Device) NewCoder(ctx context.Context, cb *quant.Codebook) (*Coder, error) {
	c := &Coder{v: v, cb: cb, tables: cb.Tables(), books: map[string]mem{}}
	if err := v.do(ctx, c.setup); err != nil {
		return nil, fmt.Errorf("coder of dimension %d: %w", cb.Dim(), err)
	}
	if err := c.load(ctx); err != nil {
		_ = c.Close() // the error before says more
		return nil, err
	}
	return c, nil
}

// rotateBytes and encodeBytes are the shared memory of a warp.
func (c *Coder) rotateBytes() int { return 8 * c.cb.Dim() }
func (c *Coder) encodeBytes() int { return 12*c.cb.Dim() + (c.cb.Dim()+3)/4*4 }

func (c *Coder) setup() (err error) {
	c.warps.rotate, c.warps.encode = max(c.v.warpsOf(c.rotateBytes()), 1), max(c.v.warpsOf(c.encodeBytes()), 1)
	if c.rotated() {
		if err := c.v.allowShared("rotate", c.warps.rotate*c.rotateBytes()); err != nil {
			return err
		}
	}
	if c.cb.NBits() < 16 {
		if err := c.v.allowShared("encode", c.warps.encode*c.encodeBytes()); err != nil {
			return err
		}
	}
	c.streams, err = c.v.newStreams(coderStreams)
	return err
}

func (c *Coder) rotated() bool { return len(c.tables.Perms) > 0 }

// load copies the tables.
func (c *Coder) load(ctx context.Context) error {
	d := c.cb.Dim()
	var perms []int32
	var signs []float32
	for i := range c.tables.Perms {
		perms, signs = append(perms, c.tables.Perms[i]...), append(signs, c.tables.Signs[i]...)
	}
	inverses := make([]float32, len(c.cb.Scales()))
	for i, s := range c.cb.Scales() {
		inverses[i] = 1 / s
	}
	cols := make([]float32, len(c.tables.Moment))
	for i, q := range c.tables.Moment {
		cols[i%d*d+i/d] = q
	}
	for name, b := range map[string][]byte{
		"perms": bytesOf(perms), "signs": bytesOf(signs), "centroids": bytesOf(c.cb.Centroids()), "cutoffs": bytesOf(c.cb.Cutoffs()),
		"weights": bytesOf(c.cb.Weights()), "scales": bytesOf(c.cb.Scales()), "inverses": bytesOf(inverses),
		"moment rows": bytesOf(c.tables.Moment), "moment columns": bytesOf(cols), "steps": bytesOf(c.tables.Steps),
	} {
		if len(b) == 0 {
			continue // a null pointer
		}
		if err := c.store(ctx, name, b); err != nil {
			return err
		}
	}
	return nil
}

func (c *Coder) store(ctx context.Context, name string, b []byte) error {
	var m mem
	err := c.v.do(ctx, func() (err error) {
		if m, err = c.v.alloc(len(b)); err == nil {
			c.books[name] = m
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	s, err := c.streams.acquire(ctx)
	if err != nil {
		return err
	}
	defer c.streams.release(s)
	const piece = 16 << 20
	for at := 0; at < len(b) && err == nil; at += piece {
		some := b[at:min(at+piece, len(b))]
		err = s.finish(ctx, func() {
			buf := host[byte](s, "piece", len(some))
			copy(buf, some)
			put(s, m.at(at, len(some)), buf)
		})
	}
	return err
}

// Encode codes vectors in the space of the input, not rotated. Errors: maxsim.ErrDim, maxsim.ErrNotFinite, ErrOutOfMemory,
// ErrLost, ErrClosed, the context's.
func (c *Coder) Encode(ctx context.Context, m maxsim.Matrix) (quant.Encoded, error) {
	if err := m.Validate(); err != nil {
		return quant.Encoded{}, err
	}
	if m.Rows > 0 && m.Dim != c.cb.Dim() {
		return quant.Encoded{}, fmt.Errorf("vectors of dimension %d, the codebook has %d: %w", m.Dim, c.cb.Dim(), maxsim.ErrDim)
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return quant.Encoded{}, ErrClosed
	}
	enc := quant.Encoded{Codes: make([]uint32, m.Rows), Residuals: make([]byte, m.Rows*c.cb.RowBytes()), InvNorms: make([]float32, m.Rows)}
	s, err := c.streams.acquire(ctx)
	if err != nil {
		return quant.Encoded{}, err
	}
	defer c.streams.release(s)
	for at := 0; at < m.Rows; at += coderRows {
		if err := c.encode(ctx, s, &enc, m, at, min(coderRows, m.Rows-at)); err != nil {
			s.drain()
			return quant.Encoded{}, err
		}
	}
	return enc, ctx.Err()
}

// encode codes n vectors from one on: nothing comes back to the host between the kernels.
func (c *Coder) encode(ctx context.Context, s *stream, enc *quant.Encoded, m maxsim.Matrix, at, n int) error {
	d, rb := c.cb.Dim(), c.cb.RowBytes()
	var in, norms []float32
	var codes []uint32
	var rows []byte
	err := s.submit(ctx, func() {
		in, norms, codes = host[float32](s, "vectors", n*d), host[float32](s, "norms", n), host[uint32](s, "codes", n)
		rows = host[byte](s, "rows", n*rb)
	})
	if err != nil {
		return err
	}
	copy(in, m.Data[at*d:(at+n)*d])
	err = s.finish(ctx, func() {
		put(s, s.room("vectors", 4*n*d), in)
		c.rotate(s, n)
		c.assign(s, n)
		c.residuals(s, n)
		get(s, codes, s.room("codes", 4*n))
		get(s, rows, s.room("rows", n*rb))
		if c.cb.NBits() < 16 {
			get(s, norms, s.room("norms", 4*n))
		}
	})
	if err != nil {
		return err
	}
	if c.cb.NBits() == 16 { // nothing is normalised
		for i := range norms {
			norms[i] = 1
		}
	}
	copy(enc.Codes[at:], codes)
	copy(enc.InvNorms[at:], norms)
	copy(enc.Residuals[at*rb:], rows)
	return nil
}

// vectors is where n vectors lie in codec space.
func (c *Coder) vectors(s *stream, n int) mem {
	if c.rotated() {
		return s.room("rotated", 4*n*c.cb.Dim())
	}
	return s.room("vectors", 4*n*c.cb.Dim())
}

// rotate queues the way into codec space.
func (c *Coder) rotate(s *stream, n int) {
	if !c.rotated() {
		return
	}
	d, w := c.cb.Dim(), c.warps.rotate
	s.run("rotate", (n+w-1)/w, 1, 32*w, w*c.rotateBytes(), c.vectors(s, n), s.room("vectors", 4*n*d), n, d, c.books["perms"], c.books["signs"],
		len(c.tables.Perms), w)
}

// assign queues the search for centroids.
func (c *Coder) assign(s *stream, n int) {
	s.run("assign", (n+63)/64, 1, 256, 0, s.room("codes", 4*n), s.room("products", 4*n), c.vectors(s, n), n, c.books["centroids"], c.cb.K(), c.cb.Dim())
}

// residuals queues their coding.
func (c *Coder) residuals(s *stream, n int) {
	d, rb, x := c.cb.Dim(), c.cb.RowBytes(), c.vectors(s, n)
	rows := s.room("rows", n*rb)
	if c.cb.NBits() == 16 {
		s.run("encode_half", (n*d+127)/128, 1, 128, 0, rows, x, n*d)
		return
	}
	w, b := c.warps.encode, c.books
	s.run("encode", (n+w-1)/w, 1, 32*w, w*c.encodeBytes(), rows, s.room("norms", 4*n), x, s.room("codes", 4*n), s.room("products", 4*n), n,
		b["centroids"], b["scales"], b["inverses"], b["cutoffs"], b["weights"], b["moment rows"], b["moment columns"], b["steps"], c.tables.Passes, d,
		c.cb.NBits(), rb, w)
}

// Documents codes documents as they come, many with one call of the device, for Index.AddEncoded; token ids are not looked
// at. While the index takes some, the device is at the next: docs runs on a goroutine of its own, and texts and metadata
// must not change behind it. Errors are Encode's, naming the document where there is one, and
// those of docs; they end the iteration.
func (c *Coder) Documents(ctx context.Context, docs iter.Seq2[index.Document, error]) iter.Seq2[index.EncodedDocument, error] {
	return func(yield func(index.EncodedDocument, error) bool) {
		outer := ctx
		ctx, cancel := context.WithCancel(ctx)
		pieces := make(chan *coded, 1)
		var wg sync.WaitGroup
		wg.Go(func() {
			defer close(pieces)
			c.gather(ctx, docs, pieces)
		})
		defer wg.Wait()
		defer cancel()
		for p := range pieces {
			for d, err := range p.documents(c.cb.RowBytes()) {
				if !yield(d, err) || err != nil {
					return
				}
			}
		}
		if err := outer.Err(); err != nil {
			yield(index.EncodedDocument{}, err)
		}
	}
}

// coded are documents that were coded with one call, and the error that ended it all.
type coded struct {
	docs []index.Document // without vectors
	rows []int
	enc  quant.Encoded
	err  error
}

func (p *coded) documents(rowBytes int) iter.Seq2[index.EncodedDocument, error] {
	return func(yield func(index.EncodedDocument, error) bool) {
		if p.err != nil {
			yield(index.EncodedDocument{}, p.err)
			return
		}
		at := 0
		for i, d := range p.docs {
			to := at + p.rows[i]
			e := index.EncodedDocument{ID: d.ID, Text: d.Text, Meta: d.Meta, Codes: p.enc.Codes[at:to], Residuals: p.enc.Residuals[at*rowBytes : to*rowBytes]}
			if !yield(e, nil) {
				return
			}
			at = to
		}
	}
}

// gather reads documents and codes them in pieces.
func (c *Coder) gather(ctx context.Context, docs iter.Seq2[index.Document, error], pieces chan<- *coded) {
	send := func(p *coded) bool {
		select {
		case pieces <- p:
			return p.err == nil
		case <-ctx.Done():
			return false
		}
	}
	p, m := &coded{}, maxsim.Matrix{Dim: c.cb.Dim()}
	flush := func() bool {
		if len(p.docs) == 0 {
			return true
		}
		p.enc, p.err = c.Encode(ctx, m)
		sent := send(p)
		p, m = &coded{}, maxsim.Matrix{Dim: m.Dim, Data: m.Data[:0]}
		return sent
	}
	for d, err := range docs {
		if err == nil {
			err = c.check(d.Vectors)
			if err != nil {
				err = fmt.Errorf("document %q: %w", d.ID, err)
			}
		}
		if err != nil {
			if flush() {
				send(&coded{err: err})
			}
			return
		}
		m.Data, m.Rows = append(m.Data, d.Vectors.Data...), m.Rows+d.Vectors.Rows
		p.rows = append(p.rows, d.Vectors.Rows)
		d.Vectors, d.TokenIDs = maxsim.Matrix{}, nil
		p.docs = append(p.docs, d)
		if m.Rows >= coderRows && !flush() {
			return
		}
	}
	flush()
}

func (c *Coder) check(m maxsim.Matrix) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Rows > 0 && m.Dim != c.cb.Dim() {
		return fmt.Errorf("vectors of dimension %d, the codebook has %d: %w", m.Dim, c.cb.Dim(), maxsim.ErrDim)
	}
	return nil
}

// Close frees the device memory, when the calls in progress have ended.
func (c *Coder) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.v.do(context.Background(), func() error {
		if c.closed {
			return nil
		}
		c.closed = true
		for _, m := range c.books {
			c.v.free(m)
		}
		c.streams.close()
		return nil
	})
}

// Encode codes vectors with a codebook that is copied to the device for this one call; see Coder.
func (v *Device) Encode(ctx context.Context, cb *quant.Codebook, m maxsim.Matrix) (enc quant.Encoded, err error) {
	c, err := v.NewCoder(ctx, cb)
	if err != nil {
		return quant.Encoded{}, err
	}
	defer func() {
		if e := c.Close(); err == nil {
			err = e
		}
	}()
	return c.Encode(ctx, m)
}
