package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"math/bits"
	"slices"

	"github.com/golbert/golbert/internal/jsonscan"
	"github.com/golbert/golbert/internal/mmapfile"
)

// The safetensors format: a uint64 N, little-endian; N bytes of JSON, an object that maps each tensor's name to
// {"dtype", "shape", "data_offsets": [begin, end]}, and "__metadata__" to strings; then the data, to which the
// offsets are relative. The tensors must cover the data without gaps or overlaps.
const (
	maxHeader   = 100 << 20 // as the reference implementation has it
	maxTensors  = 100_000
	maxDims     = 32
	maxMetadata = 10_000
)

// SafeTensors is an open safetensors file, or the set of files that an index lists. It is safe for concurrent
// use, except Close.
type SafeTensors struct {
	set
	metadata map[string]string
}

// OpenSafeTensors maps the file at path and checks its header. A path that ends in ".index.json" names the
// index of a model that is split over several files, which must lie beside it.
func OpenSafeTensors(path string) (*SafeTensors, error) {
	if isIndex(path) {
		all, err := openSharded(path, func(file string) (*set, error) {
			s, err := OpenSafeTensors(file)
			if err != nil {
				return nil, err
			}
			return &s.set, nil
		})
		if err != nil {
			return nil, err
		}
		return &SafeTensors{set: *all}, nil
	}
	f, err := mmapfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	s, err := parse(f.Bytes(), path)
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	s.files = []*mmapfile.File{f}
	return s, nil
}

// ParseSafeTensors reads the content of a file; the tensors share b's memory.
func ParseSafeTensors(b []byte) (*SafeTensors, error) { return parse(b, "") }

// Metadata returns the strings that the file carries beside its tensors, nil for none.
func (s *SafeTensors) Metadata() map[string]string { return s.metadata }

// parser reads one header.
type parser struct {
	file string
	scan *jsonscan.Scanner
	out  *SafeTensors
	ends []extent
	data []byte
}

// extent is where a tensor's data lies.
type extent struct {
	begin, end int64
	name       string
}

// parse reads a whole file; the name is for errors.
func parse(b []byte, file string) (*SafeTensors, error) {
	corrupt := func(field string, at int64, format string, args ...any) error {
		return &CorruptError{File: file, Field: field, Offset: at, Msg: fmt.Sprintf(format, args...)}
	}
	if len(b) < 8 {
		return nil, corrupt("header", 0, "the file has %d bytes, a header needs 8", len(b))
	}
	n := binary.LittleEndian.Uint64(b)
	if n > maxHeader {
		return nil, corrupt("header", 0, "header of %d bytes, %d are allowed", n, maxHeader)
	}
	if n > uint64(len(b)-8) {
		return nil, corrupt("header", 0, "header of %d bytes in a file of %d", n, len(b))
	}
	header := b[8 : 8+n]
	if n == 0 || header[0] != '{' {
		return nil, corrupt("header", 8, "the header is not a JSON object")
	}
	p := &parser{
		file: file, scan: jsonscan.New(header), data: b[8+n:],
		out: &SafeTensors{set: set{tensors: make(map[string]Tensor)}},
	}
	err := p.scan.Object(p.entry)
	if err == nil {
		err = p.scan.End()
	}
	if err == nil {
		err = p.cover()
	}
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return nil, corrupt("header", 8+syntax.Offset, "%s", syntax.Msg)
	}
	if err != nil {
		return nil, err
	}
	return p.out, nil
}

// entry reads one member of the header.
func (p *parser) entry(key []byte) error {
	s := p.scan
	name := string(key)
	if name == "__metadata__" {
		return p.readMetadata()
	}
	if _, again := p.out.tensors[name]; again {
		return s.Errorf("tensor %q comes twice", name)
	}
	if len(p.out.tensors) == maxTensors {
		return s.Errorf("more than %d tensors", maxTensors)
	}
	t := Tensor{Name: name, Shape: []int{}}
	var offsets []int64
	var seen [3]bool
	once := func(i int) error {
		if seen[i] {
			return s.Errorf("tensor %q has a field twice", name)
		}
		seen[i] = true
		return nil
	}
	err := s.Object(func(key []byte) error {
		switch string(key) {
		case "dtype":
			if err := once(0); err != nil {
				return err
			}
			kind, err := s.Bytes()
			if err != nil {
				return err
			}
			if t.DType = parseDType(kind); t.DType == InvalidDType {
				return fmt.Errorf("%w: %s tensor %q has dtype %q", ErrUnsupported, p.file, name, kind)
			}
			return nil
		case "shape":
			if err := once(1); err != nil {
				return err
			}
			return s.Array(func(i int) error {
				d, err := s.Int()
				if err == nil && (d < 0 || d > math.MaxInt || i == maxDims) {
					err = s.Errorf("tensor %q has dimension %d: %d", name, i, d)
				}
				t.Shape = append(t.Shape, int(d))
				return err
			})
		case "data_offsets":
			if err := once(2); err != nil {
				return err
			}
			return s.Array(func(i int) error {
				o, err := s.Int()
				if err == nil && (o < 0 || o > int64(len(p.data)) || i == 2) {
					err = s.Errorf("tensor %q has data offset %d beyond the file's %d bytes of data", name, o, len(p.data))
				}
				offsets = append(offsets, o)
				return err
			})
		}
		return s.Errorf("tensor %q has a field %q", name, key)
	})
	if err != nil {
		return err
	}
	if !seen[0] || !seen[1] || len(offsets) != 2 {
		return s.Errorf("tensor %q lacks dtype, shape or data_offsets", name)
	}
	size, ok := byteSize(t.DType, t.Shape)
	if begin, end := offsets[0], offsets[1]; !ok || end < begin || end-begin != size {
		return s.Errorf("tensor %q of type %v and shape %v has the data [%d, %d)", name, t.DType, t.Shape, begin, end)
	}
	t.Data = p.data[offsets[0]:offsets[1]:offsets[1]]
	p.out.tensors[name] = t
	p.ends = append(p.ends, extent{offsets[0], offsets[1], name})
	return nil
}

// readMetadata reads the strings of "__metadata__".
func (p *parser) readMetadata() error {
	s := p.scan
	if p.out.metadata != nil {
		return s.Errorf("__metadata__ comes twice")
	}
	p.out.metadata = map[string]string{}
	return s.Object(func(key []byte) error {
		if len(p.out.metadata) == maxMetadata {
			return s.Errorf("more than %d strings of metadata", maxMetadata)
		}
		k := string(key)
		if _, again := p.out.metadata[k]; again {
			return s.Errorf("metadata %q comes twice", k)
		}
		v, err := s.Text()
		p.out.metadata[k] = v
		return err
	})
}

// cover checks that the tensors' data follow each other without gaps, and sets the order of the names.
func (p *parser) cover() error {
	slices.SortFunc(p.ends, func(a, b extent) int {
		if a.begin != b.begin {
			return int(min(max(a.begin-b.begin, -1), 1))
		}
		return int(min(max(a.end-b.end, -1), 1)) // empty tensors come before the one that starts there
	})
	at := int64(0)
	for _, e := range p.ends {
		if e.begin != at {
			return &CorruptError{
				File: p.file, Field: e.name, Offset: -1,
				Msg: fmt.Sprintf("its data starts at %d, that of the tensor before ends at %d", e.begin, at),
			}
		}
		at = e.end
		p.out.names = append(p.out.names, e.name)
	}
	if at != int64(len(p.data)) {
		return &CorruptError{
			File: p.file, Field: "data", Offset: -1,
			Msg: fmt.Sprintf("the tensors have %d bytes of data, the file %d", at, len(p.data)),
		}
	}
	return nil
}

// byteSize multiplies out a shape. It fails when the product does not fit.
func byteSize(d DType, shape []int) (int64, bool) {
	n := uint64(d.Size())
	zero := n == 0
	for _, v := range shape {
		if v < 0 {
			return 0, false
		}
		zero = zero || v == 0
	}
	if zero {
		return 0, true
	}
	for _, v := range shape {
		hi, lo := bits.Mul64(n, uint64(v))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, false
		}
		n = lo
	}
	return int64(n), true
}
