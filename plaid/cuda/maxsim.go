//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"runtime"

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

// queryPart is how many query rows a kernel takes at a time, maxsimThreads the size of its blocks.
const (
	queryPart     = 32
	maxsimThreads = 128
)

// Documents are token vectors in device memory, for exact scores without an index.
type Documents struct {
	v      *Device
	format Format
	dim    int // as given
	padded int // on the device
	n      int
	s      *stream
	rows   mem
	off    mem
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
	d.padded = d.dim
	if f != Float32 {
		d.padded = (d.dim + 15) &^ 15
	}
	err := v.do(ctx, func() (err error) {
		if err := v.allowShared(d.kernel(), d.shared()); err != nil {
			return err
		}
		if d.s, err = v.newStream(); err != nil {
			return err
		}
		if err = d.load(ctx, docs, total); err != nil {
			d.free()
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

func (d *Documents) kernel() string { return "maxsim_" + d.format.String() }

// shared is the dynamic shared memory of the kernel.
func (d *Documents) shared() int {
	if d.format == Float32 {
		return d.padded*queryPart*4 + maxsimThreads*4
	}
	return d.padded/16*1024 + maxsimThreads*4
}

func (d *Documents) size() int {
	if d.format == Float32 {
		return 4
	}
	return 2
}

// load copies the rows in pieces through pinned memory.
func (d *Documents) load(ctx context.Context, docs []maxsim.Matrix, total int) (err error) {
	if d.rows, err = d.v.alloc(total * d.padded * d.size()); err != nil {
		return err
	}
	if d.off, err = d.v.alloc((d.n + 1) * 8); err != nil {
		return err
	}
	off := host[uint64](d.s, "off", d.n+1)
	clear(off)
	const piece = 1 << 16 // values
	at := 0
	for i, m := range docs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if off != nil {
			off[i+1] = off[i] + uint64(m.Rows)
		}
		step := max(piece/max(d.padded, 1), 1)
		for r := 0; r < m.Rows; r += step {
			n := min(step, m.Rows-r)
			if err := d.copyRows(m, r, n, at); err != nil {
				return fmt.Errorf("document %d: %w", i, err)
			}
			at += n
		}
	}
	put(d.s, d.off, off)
	return d.s.wait()
}

func (d *Documents) copyRows(m maxsim.Matrix, from, n, at int) error {
	size := d.padded * d.size()
	to := d.rows.at(at*size, n*size)
	if d.format == Float32 {
		buf := host[float32](d.s, "rows", n*d.padded)
		copy(buf, m.Data[from*m.Dim:(from+n)*m.Dim])
		put(d.s, to, buf)
	} else {
		buf := host[uint16](d.s, "rows", n*d.padded)
		for r := range n {
			if buf == nil {
				break
			}
			row := buf[r*d.padded : (r+1)*d.padded]
			if err := narrow(row, m.Row(from+r), d.format); err != nil {
				return fmt.Errorf("row %d: %w", from+r, err)
			}
		}
		put(d.s, to, buf)
	}
	return d.s.wait()
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

// Scores returns, for each query, MaxSim with every document in the order of LoadDocuments. Float32 scores equal the
// CPU's up to the order in which maxima of more than 32 query rows are added. Errors: maxsim.ErrDim, maxsim.ErrNotFinite,
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
	out := make([][]float32, len(queries))
	for i, q := range queries {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out[i] = make([]float32, d.n)
		if d.n == 0 {
			continue
		}
		err := d.v.do(ctx, func() error {
			if d.closed {
				return ErrClosed
			}
			return d.score(out[i], q)
		})
		if err != nil {
			return nil, fmt.Errorf("query %d: %w", i, err)
		}
	}
	return out, nil
}

func (d *Documents) score(out []float32, q maxsim.Matrix) error {
	s := d.s
	parts := (q.Rows + queryPart - 1) / queryPart
	var packed mem
	if d.format == Float32 {
		buf := host[float32](s, "query", len(q.Data))
		copy(buf, q.Data)
		packed = s.room("query", len(q.Data)*4)
		put(s, packed, buf)
	} else {
		buf := host[uint16](s, "query", q.Rows*d.padded)
		for r := 0; r < q.Rows && buf != nil; r++ {
			if err := narrow(buf[r*d.padded:(r+1)*d.padded], q.Row(r), d.format); err != nil {
				return err
			}
		}
		packed = s.room("query", q.Rows*d.padded*2)
		put(s, packed, buf)
	}
	scores := s.room("scores", d.n*parts*4)
	if s.err != nil {
		return s.wait()
	}
	for p := range parts {
		rows := min(queryPart, q.Rows-p*queryPart)
		part := packed.at(p*queryPart*d.padded*d.size(), rows*d.padded*d.size())
		s.run(d.kernel(), min(d.n, 32*max(d.v.info.Multiprocessors, 1)), 1, maxsimThreads, d.shared(),
			scores, part, rows, d.padded, d.rows, d.off, d.n, parts, p)
	}
	got := host[float32](s, "scores", d.n*parts)
	get(s, got, scores)
	if err := s.wait(); err != nil {
		return err
	}
	for i := range out {
		out[i] = 0
		for _, v := range got[i*parts : (i+1)*parts] {
			out[i] += v
		}
	}
	runtime.KeepAlive(q)
	return nil
}

// Close frees the device memory.
func (d *Documents) Close() error {
	return d.v.do(context.Background(), func() error {
		if !d.closed {
			d.closed = true
			d.free()
		}
		return nil
	})
}

func (d *Documents) free() {
	d.v.free(d.rows)
	d.v.free(d.off)
	d.s.close()
}
