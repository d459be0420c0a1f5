package index

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"

	"github.com/golbert/golbert/internal/vfs"
)

// spoolName is the file that holds the documents of one Add until it is known which codebook codes them. It
// is always temporary, and never synced.
const spoolName = "spool-1" + tmpSuffix

// spoolMemory is how much a spool holds before it takes to a file.
const spoolMemory = 8 << 20

// spool keeps accepted documents, vectors as float32, to be read again any number of times.
type spool struct {
	fs     vfs.FS
	path   string
	dim    int
	most   int    // what buf may hold
	buf    []byte // not yet in the file
	file   vfs.File
	size   int64 // bytes in the file
	docs   int
	tokens uint64
}

func newSpool(ix *Index) *spool {
	return &spool{fs: ix.fs, path: filepath.Join(ix.dir, spoolName), dim: ix.opts.Dim, most: ix.opts.spoolMem}
}

// close removes the file.
func (s *spool) close() {
	if s.file != nil {
		_ = s.file.Close()
		_ = s.fs.Remove(s.path)
		s.file = nil
	}
	s.buf = nil
}

func (s *spool) add(d *incoming) error {
	b := binary.AppendUvarint(s.buf, uint64(len(d.id)))
	b = append(b, d.id...)
	b = binary.AppendUvarint(b, uint64(len(d.text)))
	b = append(b, d.text...)
	b = binary.AppendUvarint(b, uint64(len(d.meta)))
	for name, v := range d.meta {
		x, err := toValue(name, v)
		if err != nil {
			return err
		}
		b = append(binary.AppendUvarint(b, uint64(len(name))), name...)
		b = append(b, byte(x.typ))
		b = binary.LittleEndian.AppendUint64(b, uint64(x.n))
		b = binary.AppendUvarint(b, uint64(x.nano))
		b = append(binary.AppendUvarint(b, uint64(len(x.s))), x.s...)
	}
	b = binary.AppendUvarint(b, uint64(d.rows))
	for _, v := range d.vec {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	b = binary.AppendUvarint(b, uint64(len(d.ids)))
	for _, v := range d.ids {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	s.buf = b
	s.docs++
	s.tokens += uint64(d.rows)
	if len(s.buf) >= s.most {
		return s.flush()
	}
	return nil
}

func (s *spool) flush() error {
	if s.file == nil {
		f, err := s.fs.Create(s.path)
		if err != nil {
			return fmt.Errorf("index: %s: %w", spoolName, err)
		}
		s.file = f
	}
	if _, err := s.file.Write(s.buf); err != nil {
		return fmt.Errorf("index: %s: %w", spoolName, err)
	}
	s.size += int64(len(s.buf))
	s.buf = s.buf[:0]
	return nil
}

// each reads the documents back in order. The vectors are good until f returns.
func (s *spool) each(f func(*incoming) error) error {
	r := &spoolReader{dim: s.dim}
	var src io.Reader = readerOf(s.buf)
	if s.file != nil {
		src = io.MultiReader(io.NewSectionReader(s.file, 0, s.size), src)
	}
	r.r = bufio.NewReaderSize(src, int(min(1<<20, s.size+int64(len(s.buf))))) // small batches are read from memory
	for i := range s.docs {
		d, err := r.next()
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return fmt.Errorf("index: %s: document %d: %w", spoolName, i, err)
		}
		d.pos = i
		if err := f(d); err != nil {
			return err
		}
	}
	return nil
}

type sliceReader struct{ b []byte }

func readerOf(b []byte) io.Reader { return &sliceReader{b} }

func (r *sliceReader) Read(p []byte) (int, error) {
	if len(r.b) == 0 {
		return 0, io.EOF
	}
	n := copy(p, r.b)
	r.b = r.b[n:]
	return n, nil
}

type spoolReader struct {
	r   *bufio.Reader
	dim int
	raw []byte
	vec []float32
	ids []uint32
}

func (r *spoolReader) bytes() ([]byte, error) {
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return nil, err
	}
	if n > maxTextBytes {
		return nil, fmt.Errorf("length %d", n)
	}
	b := make([]byte, n)
	_, err = io.ReadFull(r.r, b)
	return b, err
}

func (r *spoolReader) next() (*incoming, error) {
	id, err := r.bytes()
	if err != nil {
		return nil, err
	}
	text, err := r.bytes()
	if err != nil {
		return nil, err
	}
	d := &incoming{id: string(id), text: string(text)}
	n, err := binary.ReadUvarint(r.r)
	if err != nil {
		return nil, err
	}
	if n > 0 {
		d.meta = make(Metadata)
	}
	for range n {
		if err := r.meta(d.meta); err != nil {
			return nil, err
		}
	}
	rows, err := binary.ReadUvarint(r.r)
	if err != nil {
		return nil, err
	}
	if rows > HardMaxDocTokens {
		return nil, fmt.Errorf("%d tokens", rows)
	}
	d.rows = int(rows)
	size := d.rows * r.dim
	if cap(r.vec) < size {
		r.vec, r.raw = make([]float32, size), make([]byte, 4*size)
	}
	raw := r.raw[:4*size]
	if _, err := io.ReadFull(r.r, raw); err != nil {
		return nil, err
	}
	d.vec = r.vec[:size]
	for i := range d.vec {
		d.vec[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return d, r.tokens(d)
}

// tokens reads the rows' ids, if there are any.
func (r *spoolReader) tokens(d *incoming) error {
	n, err := binary.ReadUvarint(r.r)
	if err != nil || n == 0 {
		return err
	}
	if n != uint64(d.rows) {
		return fmt.Errorf("%d ids for %d tokens", n, d.rows)
	}
	raw := r.raw[:4*d.rows] // large enough: a vector has at least one value
	if _, err := io.ReadFull(r.r, raw); err != nil {
		return err
	}
	r.ids = r.ids[:0]
	for i := range d.rows {
		r.ids = append(r.ids, binary.LittleEndian.Uint32(raw[4*i:]))
	}
	d.ids = r.ids
	return nil
}

func (r *spoolReader) meta(m Metadata) error {
	name, err := r.bytes()
	if err != nil {
		return err
	}
	var fixed [9]byte
	if _, err := io.ReadFull(r.r, fixed[:]); err != nil {
		return err
	}
	v := value{typ: columnType(fixed[0]), n: int64(binary.LittleEndian.Uint64(fixed[1:]))}
	nano, err := binary.ReadUvarint(r.r)
	if err != nil {
		return err
	}
	v.nano = int64(nano)
	s, err := r.bytes()
	v.s = string(s)
	m[string(name)] = v.any()
	return err
}
