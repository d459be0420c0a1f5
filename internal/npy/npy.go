// Package npy reads and writes NumPy's array files (.npy, format versions 1 to 3), the part of the format
// that other programs' indexes use: little-endian numbers in C order. The header is a Python literal, which
// is parsed by a small grammar; arrays of objects, which are pickles, are refused.
//
// The format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
package npy

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"strconv"
	"strings"

	"github.com/golbert/golbert/internal/kernel"
)

// ErrFormat reports bytes that are not an array this package reads. Errors that wrap it say what is wrong.
var ErrFormat = errors.New("npy: bad array file")

// maxHeader bounds the header's length. NumPy itself writes at most a few hundred bytes here.
const maxHeader = 64 << 10

// DType is an element type.
type DType uint8

// The element types that are read and written.
const (
	Bool DType = iota + 1
	Int8
	Uint8
	Int16
	Uint16
	Int32
	Uint32
	Int64
	Uint64
	Float16
	Float32
	Float64
)

var dtypes = []struct {
	d     DType
	descr string
	size  int
}{
	{Bool, "|b1", 1}, {Int8, "|i1", 1}, {Uint8, "|u1", 1}, {Int16, "<i2", 2}, {Uint16, "<u2", 2},
	{Int32, "<i4", 4}, {Uint32, "<u4", 4}, {Int64, "<i8", 8}, {Uint64, "<u8", 8},
	{Float16, "<f2", 2}, {Float32, "<f4", 4}, {Float64, "<f8", 8},
}

// String gives NumPy's name of the type, such as "<f4".
func (d DType) String() string {
	for _, t := range dtypes {
		if t.d == d {
			return t.descr
		}
	}
	return "invalid"
}

// Size gives the bytes of one element.
func (d DType) Size() int {
	for _, t := range dtypes {
		if t.d == d {
			return t.size
		}
	}
	return 0
}

// Array is an array whose elements lie little-endian in Data, in C order.
type Array struct {
	DType DType
	Shape []int
	Data  []byte
}

// Len counts the elements.
func (a *Array) Len() int { return len(a.Data) / a.DType.Size() }

// Parse reads an array from a file's bytes. Data shares memory with b. Bytes after the array are ignored,
// as NumPy ignores them. The error wraps ErrFormat.
func Parse(b []byte) (*Array, error) {
	if len(b) < 10 || string(b[:6]) != "\x93NUMPY" {
		return nil, fmt.Errorf("no NumPy magic in the first 10 of %d bytes: %w", len(b), ErrFormat)
	}
	start, n := 10, uint64(binary.LittleEndian.Uint16(b[8:]))
	switch b[6] {
	case 1:
	case 2, 3:
		if len(b) < 12 {
			return nil, fmt.Errorf("%d bytes cannot hold a version %d header: %w", len(b), b[6], ErrFormat)
		}
		start, n = 12, uint64(binary.LittleEndian.Uint32(b[8:]))
	default:
		return nil, fmt.Errorf("format version %d, this reads 1 to 3: %w", b[6], ErrFormat)
	}
	if n > maxHeader || n > uint64(len(b)-start) {
		return nil, fmt.Errorf("header of %d bytes in a file of %d: %w", n, len(b), ErrFormat)
	}
	a, err := parseHeader(string(b[start : start+int(n)]))
	if err != nil {
		return nil, err
	}
	data := b[start+int(n):]
	size := uint64(a.DType.Size())
	for _, s := range a.Shape {
		hi, lo := bits.Mul64(size, uint64(s))
		if hi != 0 || lo > math.MaxInt {
			return nil, fmt.Errorf("shape %v overflows: %w", a.Shape, ErrFormat)
		}
		size = lo
	}
	if size > uint64(len(data)) {
		return nil, fmt.Errorf("shape %v of %v needs %d bytes, %d follow the header: %w", a.Shape, a.DType, size, len(data), ErrFormat)
	}
	a.Data = data[:size:size]
	return a, nil
}

// parseHeader reads the dictionary {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }.
func parseHeader(h string) (*Array, error) {
	s := &scanner{s: h}
	a := &Array{}
	var order, shape bool
	s.expect('{')
	for s.err == nil && !s.accept('}') {
		key := s.quoted()
		s.expect(':')
		switch key {
		case "descr":
			descr := s.quoted()
			if s.err == nil && !a.setDescr(descr) {
				return nil, fmt.Errorf("element type %q is not read (arrays of objects are pickles, which are never run): %w", descr, ErrFormat)
			}
		case "fortran_order":
			if w := s.word(); s.err == nil && w != "False" {
				return nil, fmt.Errorf("fortran_order %s is not read: %w", w, ErrFormat)
			}
			order = true
		case "shape":
			a.Shape = s.tuple()
			shape = true
		default:
			s.fail("unknown key " + strconv.Quote(key))
		}
		if !s.accept(',') && !s.peek('}') {
			s.fail("missing comma")
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	if a.DType == 0 || !order || !shape {
		return nil, fmt.Errorf("header %.80q lacks descr, fortran_order or shape: %w", h, ErrFormat)
	}
	return a, nil
}

// setDescr accepts every spelling that the peers write: "<u1" beside "|u1", "=" for native.
func (a *Array) setDescr(descr string) bool {
	if len(descr) != 3 || (descr[0] == '>' && descr[2] != '1') {
		return false
	}
	for _, t := range dtypes {
		if t.descr[1:] == descr[1:] && strings.ContainsRune("<|=>", rune(descr[0])) {
			a.DType = t.d
			return true
		}
	}
	return false
}

type scanner struct {
	s   string
	i   int
	err error
}

func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("header, byte %d: %s: %w", s.i, what, ErrFormat)
	}
}

func (s *scanner) space() {
	for s.i < len(s.s) && (s.s[s.i] == ' ' || s.s[s.i] == '\n' || s.s[s.i] == '\t') {
		s.i++
	}
}

func (s *scanner) peek(c byte) bool {
	s.space()
	return s.i < len(s.s) && s.s[s.i] == c
}

func (s *scanner) accept(c byte) bool {
	if !s.peek(c) {
		return false
	}
	s.i++
	return true
}

func (s *scanner) expect(c byte) {
	if !s.accept(c) {
		s.fail(fmt.Sprintf("expected %q", c))
	}
}

func (s *scanner) quoted() string {
	s.space()
	if s.i >= len(s.s) || (s.s[s.i] != '\'' && s.s[s.i] != '"') {
		s.fail("expected a string")
		return ""
	}
	end := strings.IndexByte(s.s[s.i+1:], s.s[s.i])
	if end < 0 {
		s.fail("string without end")
		return ""
	}
	v := s.s[s.i+1 : s.i+1+end]
	s.i += end + 2
	return v
}

func (s *scanner) word() string {
	s.space()
	start := s.i
	for s.i < len(s.s) && (s.s[s.i]|0x20 >= 'a' && s.s[s.i]|0x20 <= 'z' || s.s[s.i] >= '0' && s.s[s.i] <= '9') {
		s.i++
	}
	if s.i == start {
		s.fail("expected a word")
	}
	return s.s[start:s.i]
}

func (s *scanner) tuple() []int {
	shape := []int{}
	s.expect('(')
	for s.err == nil && !s.accept(')') {
		// Python 2 wrote 3L; NumPy still reads it.
		n, err := strconv.ParseUint(strings.TrimSuffix(s.word(), "L"), 10, 62)
		if err != nil || len(shape) == 32 || n > math.MaxInt {
			s.fail("bad shape")
			return nil
		}
		shape = append(shape, int(n))
		if !s.accept(',') && !s.peek(')') {
			s.fail("missing comma in shape")
		}
	}
	return shape
}

// Float32s converts floating-point elements. Other types are an error that wraps ErrFormat.
func (a *Array) Float32s() ([]float32, error) {
	out := make([]float32, a.Len())
	switch a.DType {
	case Float32:
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(a.Data[4*i:]))
		}
	case Float64:
		for i := range out {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(a.Data[8*i:])))
		}
	case Float16:
		h := make([]uint16, len(out))
		for i := range h {
			h[i] = binary.LittleEndian.Uint16(a.Data[2*i:])
		}
		kernel.F16ToF32(out, h)
	default:
		return nil, fmt.Errorf("elements are %v, floating-point numbers were expected: %w", a.DType, ErrFormat)
	}
	return out, nil
}

// Int64s converts integer elements. Other types, and values over 2^63-1, are an error that wraps ErrFormat.
func (a *Array) Int64s() ([]int64, error) {
	out := make([]int64, a.Len())
	for i := range out {
		switch a.DType {
		case Bool, Uint8:
			out[i] = int64(a.Data[i])
		case Int8:
			out[i] = int64(int8(a.Data[i]))
		case Int16:
			out[i] = int64(int16(binary.LittleEndian.Uint16(a.Data[2*i:])))
		case Uint16:
			out[i] = int64(binary.LittleEndian.Uint16(a.Data[2*i:]))
		case Int32:
			out[i] = int64(int32(binary.LittleEndian.Uint32(a.Data[4*i:])))
		case Uint32:
			out[i] = int64(binary.LittleEndian.Uint32(a.Data[4*i:]))
		case Int64, Uint64:
			out[i] = int64(binary.LittleEndian.Uint64(a.Data[8*i:]))
			if a.DType == Uint64 && out[i] < 0 {
				return nil, fmt.Errorf("element %d is over 2^63-1: %w", i, ErrFormat)
			}
		default:
			return nil, fmt.Errorf("elements are %v, integers were expected: %w", a.DType, ErrFormat)
		}
	}
	return out, nil
}

// Header returns the bytes that precede the data of an array in a version 1.0 file. Their number is a
// multiple of 64, so that a mapped file's data is aligned.
func Header(d DType, shape ...int) []byte {
	dims := make([]string, len(shape))
	for i, n := range shape {
		dims[i] = strconv.Itoa(n)
	}
	tuple := strings.Join(dims, ", ")
	if len(shape) == 1 {
		tuple += ","
	}
	h := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", d, tuple)
	pad := (64 - (10+len(h)+1)%64) % 64
	h += strings.Repeat(" ", pad) + "\n"
	out := append([]byte("\x93NUMPY\x01\x00"), byte(len(h)), byte(len(h)>>8))
	return append(out, h...)
}

// Append appends a whole file holding v to dst. shape's product must be len(v).
func Append[T Number](dst []byte, v []T, shape ...int) []byte {
	dst = append(dst, Header(dtypeOf[T](), shape...)...)
	dst, err := binary.Append(dst, binary.LittleEndian, v)
	if err != nil {
		panic("npy: " + err.Error()) // cannot happen: every Number has a fixed size
	}
	return dst
}

// Number is an element type of Append.
type Number interface {
	int8 | uint8 | int16 | uint16 | int32 | uint32 | int64 | uint64 | float32 | float64
}

func dtypeOf[T Number]() DType {
	var v T
	switch any(v).(type) {
	case int8:
		return Int8
	case uint8:
		return Uint8
	case int16:
		return Int16
	case uint16:
		return Uint16
	case int32:
		return Int32
	case uint32:
		return Uint32
	case int64:
		return Int64
	case uint64:
		return Uint64
	case float32:
		return Float32
	}
	return Float64
}
