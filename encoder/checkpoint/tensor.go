package checkpoint

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/mmapfile"
)

// DType is the type of a tensor's elements.
type DType uint8

// The element types that safetensors files may hold here.
const (
	InvalidDType DType = iota
	Bool
	U8
	I8
	I16
	I32
	I64
	F16
	BF16
	F32
	F64
)

// dtypes are the names that safetensors gives the types, and their sizes in bytes.
var dtypes = [...]struct {
	name string
	size int
}{
	Bool: {"BOOL", 1}, U8: {"U8", 1}, I8: {"I8", 1}, I16: {"I16", 2}, I32: {"I32", 4}, I64: {"I64", 8},
	F16: {"F16", 2}, BF16: {"BF16", 2}, F32: {"F32", 4}, F64: {"F64", 8},
}

// String is the type's name in safetensors files.
func (d DType) String() string {
	if d == InvalidDType || int(d) >= len(dtypes) {
		return fmt.Sprintf("dtype %d", uint8(d))
	}
	return dtypes[d].name
}

// Size is the number of bytes of one element, 0 for an invalid type.
func (d DType) Size() int {
	if int(d) >= len(dtypes) {
		return 0
	}
	return dtypes[d].size
}

// IsFloat says whether elements are floating-point numbers.
func (d DType) IsFloat() bool { return d == F16 || d == BF16 || d == F32 || d == F64 }

// parseDType finds a type by name.
func parseDType(name []byte) DType {
	for d, t := range dtypes {
		if t.name == string(name) && t.size > 0 {
			return DType(d)
		}
	}
	return InvalidDType
}

// Tensor is one named array, row-major (a Linear weight is [out, in]).
type Tensor struct {
	Name  string
	DType DType
	Shape []int  // must not be changed
	Data  []byte // little-endian elements; mapped memory that is valid until the file is closed
}

// Len is the number of elements; 1 for a tensor without dimensions.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32s converts all elements to float32 and returns them in dst[:Len()], or in new memory when dst is too
// small. Integers convert as numbers (true is 1); what float32 cannot hold is rounded to nearest. The result is
// nil for a tensor of no valid type.
func (t Tensor) Float32s(dst []float32) []float32 {
	size := t.DType.Size()
	if size == 0 {
		return nil
	}
	n := len(t.Data) / size
	if cap(dst) < n || dst == nil {
		dst = make([]float32, n)
	}
	dst = dst[:n]
	b := t.Data[:n*size]
	le := binary.LittleEndian
	switch t.DType {
	case F32:
		kernel.LoadF32(dst, b)
	case F16:
		var half [1024]uint16
		for at := 0; at < n; at += len(half) {
			h := half[:min(len(half), n-at)]
			for i := range h {
				h[i] = le.Uint16(b[2*(at+i):])
			}
			kernel.F16ToF32(dst[at:at+len(h)], h)
		}
	case BF16:
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(le.Uint16(b[2*i:])) << 16)
		}
	case F64:
		for i := range dst {
			dst[i] = float32(math.Float64frombits(le.Uint64(b[8*i:])))
		}
	case Bool:
		for i := range dst {
			dst[i] = 0
			if b[i] != 0 {
				dst[i] = 1
			}
		}
	case U8:
		for i := range dst {
			dst[i] = float32(b[i])
		}
	case I8:
		for i := range dst {
			dst[i] = float32(int8(b[i]))
		}
	case I16:
		for i := range dst {
			dst[i] = float32(int16(le.Uint16(b[2*i:])))
		}
	case I32:
		for i := range dst {
			dst[i] = float32(int32(le.Uint32(b[4*i:])))
		}
	case I64:
		for i := range dst {
			dst[i] = float32(int64(le.Uint64(b[8*i:])))
		}
	}
	return dst
}

// Tensors is a set of named tensors. Implementations are safe for concurrent use, except Close.
type Tensors interface {
	// Names lists the tensors in the order of their data in the file.
	Names() []string
	// Tensor returns the tensor of that name.
	Tensor(name string) (Tensor, bool)
	// Close unmaps the files; the Data of every tensor becomes invalid.
	Close() error
}

// set is the tensors of one or several mapped files.
type set struct {
	names   []string
	tensors map[string]Tensor
	files   []*mmapfile.File
}

// Release tells the system that a tensor's data is not needed in memory for now; it stays valid. Weights that were
// packed into another form would be resident twice otherwise.
func (s *set) Release(t Tensor) {
	for _, f := range s.files {
		f.Release(t.Data)
	}
}

// Names implements Tensors. The slice must not be changed.
func (s *set) Names() []string { return s.names }

// Tensor implements Tensors.
func (s *set) Tensor(name string) (Tensor, bool) {
	t, ok := s.tensors[name]
	return t, ok
}

// Close implements Tensors.
func (s *set) Close() error {
	var errs []error
	for _, f := range s.files {
		errs = append(errs, f.Close())
	}
	s.files = nil
	return errors.Join(errs...)
}

// modernNames gives the tensors of LayerNorms the names that transformers gives them on loading: in the first
// BERT checkpoints they are called gamma and beta.
func (s *set) modernNames() {
	for i, old := range s.names {
		for _, r := range [2][2]string{{"LayerNorm.gamma", "LayerNorm.weight"}, {"LayerNorm.beta", "LayerNorm.bias"}} {
			stem, ok := strings.CutSuffix(old, r[0])
			if !ok {
				continue
			}
			name := stem + r[1]
			if _, taken := s.tensors[name]; taken {
				continue
			}
			t := s.tensors[old]
			delete(s.tensors, old)
			t.Name = name
			s.names[i], s.tensors[name] = name, t
		}
	}
}
