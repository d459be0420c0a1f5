package interop

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/golbert/golbert/index"
)

// target writes one program's files.
type target interface {
	// chunk writes one chunk; first and firstToken are the numbers of documents and tokens before it.
	chunk(i int, first int, firstToken uint64, c *outChunk) error
	// reader gives the backend that reads the chunks back.
	reader() backend
	// lists writes the inverted lists.
	lists(total uint64, lengths []int32, write func(emit func(list []uint32) error) error) error
	// document takes note of a document's id, text and metadata.
	document(pos int, d *exported) error
	// abandon closes files after a failure; after finish it does no harm.
	abandon()
	// finish writes what is left.
	finish() error
}

// outChunk is a chunk before it is written.
type outChunk struct {
	lens      []uint32
	codes     []uint32
	residuals []byte
}

// run writes chunks and lists.
func (e *exporter) run(ctx context.Context, t target) error {
	var (
		c      outChunk
		counts = make([]int32, e.book.K())
		last   = make([]uint32, e.book.K())
		pairs  uint64
	)
	flush := func() error {
		docs, tokens := len(c.lens), uint64(len(c.codes))
		if docs == 0 {
			return nil
		}
		if err := t.chunk(e.res.Chunks, e.res.Documents-docs, e.res.Tokens-tokens, &c); err != nil {
			return err
		}
		e.res.Chunks++
		c.lens, c.codes, c.residuals = c.lens[:0], c.codes[:0], c.residuals[:0]
		return nil
	}
	err := e.documents(ctx, func(d *exported) error {
		if len(c.codes) > 0 && len(c.codes)+len(d.codes) > e.o.ChunkTokens {
			if err := flush(); err != nil {
				return err
			}
		}
		if err := t.document(e.res.Documents, d); err != nil {
			return err
		}
		c.lens = append(c.lens, uint32(len(d.codes)))
		c.codes = append(c.codes, d.codes...)
		c.residuals = append(c.residuals, d.residuals...)
		e.res.Documents++
		e.res.Tokens += uint64(len(d.codes))
		for _, code := range d.codes {
			if last[code] != uint32(e.res.Documents) {
				last[code] = uint32(e.res.Documents)
				counts[code]++
				pairs++
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	if err := flush(); err != nil {
		return err
	}
	if e.res.Documents == 0 {
		return fmt.Errorf("an index without a single token: %w", ErrUnsupported)
	}
	if err := t.lists(pairs, counts, func(emit func([]uint32) error) error {
		return e.invert(ctx, t.reader(), counts, listMemory, emit)
	}); err != nil {
		return err
	}
	return t.finish()
}

// listMemory is how many entries of lists are in memory at a time.
const listMemory = 32 << 20

// invert makes the lists from the chunks that were written, as many centroids at a time as memory allows, and
// gives them to emit in order.
func (e *exporter) invert(ctx context.Context, r backend, counts []int32, memory int, emit func([]uint32) error) error {
	p := &params{dim: e.book.Dim(), nbits: e.book.NBits()}
	for from := 0; from < len(counts); {
		to, n := from, 0
		for to < len(counts) && (to == from || n+int(counts[to]) <= memory) {
			n += int(counts[to])
			to++
		}
		buf := make([]uint32, n)
		ends := make([]int, to-from) // of the filled part of each list
		for i, at := 0, 0; i < len(ends); i++ {
			ends[i] = at
			at += int(counts[from+i])
		}
		starts := append([]int(nil), ends...)
		doc := uint32(0)
		for i := range e.res.Chunks {
			if err := ctx.Err(); err != nil {
				return err
			}
			c, err := r.chunk(i, p)
			if err != nil {
				return err
			}
			at := 0
			for _, l := range c.lens {
				for range l {
					code := int(c.codes.at(at)) - from
					at++
					if code < 0 || code >= len(ends) {
						continue
					}
					if j := ends[code]; j == starts[code] || buf[j-1] != doc {
						buf[j] = doc
						ends[code]++
					}
				}
				doc++
			}
			c.close()
		}
		for i := range ends {
			if err := emit(buf[starts[i]:ends[i]]); err != nil {
				return err
			}
		}
		from = to
	}
	return nil
}

// createFile writes a file through a buffer and syncs it.
func createFile(dir, name string, write func(w io.Writer) error) (err error) {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	defer func() {
		if cerr := f.Close(); err == nil {
			err = cerr
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<18)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

func writeJSON(dir, name string, v any) error {
	return createFile(dir, name, func(w io.Writer) error {
		b, err := json.MarshalIndent(v, "", "  ")
		if err != nil {
			return err
		}
		_, err = w.Write(b)
		return err
	})
}

// writeInts writes integers of 4 or 8 bytes.
func writeInts[T uint32 | int32](w io.Writer, v []T, width int) error {
	var buf [4096]byte
	for len(v) > 0 {
		n := min(len(v), len(buf)/8)
		for i, x := range v[:n] {
			if width == 8 {
				binary.LittleEndian.PutUint64(buf[8*i:], uint64(int64(int32(x))))
			} else {
				binary.LittleEndian.PutUint32(buf[4*i:], uint32(x))
			}
		}
		if _, err := w.Write(buf[:n*width]); err != nil {
			return err
		}
		v = v[n:]
	}
	return nil
}

// jsonStream writes a JSON array or object element by element.
type jsonStream struct {
	f     *os.File
	w     *bufio.Writer
	n     int
	close byte
	err   error
}

func newJSONStream(dir, name string, open, shut byte) (*jsonStream, error) {
	f, err := os.Create(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	s := &jsonStream{f: f, w: bufio.NewWriterSize(f, 1<<16), close: shut}
	s.err = s.w.WriteByte(open)
	return s, nil
}

// add writes an element; key is "" in arrays.
func (s *jsonStream) add(key string, v any) error {
	if s.err != nil {
		return s.err
	}
	b, err := json.Marshal(v)
	if err != nil {
		s.err = err
		return err
	}
	if s.n++; s.n > 1 {
		_ = s.w.WriteByte(',') // bufio keeps the error
	}
	if key != "" {
		k, _ := json.Marshal(key) // a string always has a form
		_, _ = s.w.Write(append(k, ':'))
	}
	_, s.err = s.w.Write(b)
	return s.err
}

// abandon closes the file of an export that failed.
func (s *jsonStream) abandon() {
	if s != nil {
		_ = s.f.Close()
	}
}

func (s *jsonStream) finish() error {
	if s.err == nil {
		s.err = s.w.WriteByte(s.close)
	}
	if s.err == nil {
		s.err = s.w.Flush()
	}
	if s.err == nil {
		s.err = s.f.Sync()
	}
	if err := s.f.Close(); s.err == nil {
		s.err = err
	}
	return s.err
}

// docInfo is what a document has beside its vectors.
func docInfo(d *exported) (id, text string, meta map[string]any, err error) {
	if id, err = d.seg.ID(d.ord); err != nil {
		return
	}
	if text, err = d.seg.Text(d.ord); err != nil {
		return
	}
	var m index.Metadata
	m, err = d.seg.Metadata(d.ord)
	return id, text, m, err
}
