package torchpt

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/golbert/golbert/internal/kernel"
)

// DType is an element type, by torch's name of its storage class without "Storage".
type DType string

// The element types that are read.
const (
	Float    DType = "Float"
	Half     DType = "Half"
	BFloat16 DType = "BFloat16"
	Double   DType = "Double"
	Byte     DType = "Byte"
	Char     DType = "Char"
	Short    DType = "Short"
	Int      DType = "Int"
	Long     DType = "Long"
	Bool     DType = "Bool"
)

// Size gives the bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case Byte, Char, Bool:
		return 1
	case Half, BFloat16, Short:
		return 2
	case Float, Int:
		return 4
	case Double, Long:
		return 8
	}
	return 0
}

// Tensor is one tensor. Its elements lie in C order, little-endian, in Data; they share memory with the
// file where the tensor is contiguous there, and are a copy otherwise.
type Tensor struct {
	DType DType
	Shape []int
	Data  []byte
}

// Len counts the elements.
func (t *Tensor) Len() int { return len(t.Data) / t.DType.Size() }

// newTensor cuts a view out of a storage. offset, sizes and strides count elements.
func newTensor(s *storage, offset int64, sizes, strides []int64) (*Tensor, error) {
	size := int64(s.dtype.Size())
	if offset < 0 || len(sizes) != len(strides) || len(sizes) > 16 {
		return nil, fmt.Errorf("tensor of sizes %v, strides %v, offset %d: %w", sizes, strides, offset, ErrFormat)
	}
	t := &Tensor{DType: s.dtype, Shape: make([]int, len(sizes))}
	count, last, contiguous := uint64(1), uint64(offset), true
	for i := len(sizes) - 1; i >= 0; i-- {
		n, stride := sizes[i], strides[i]
		if n < 0 || stride < 0 || n > math.MaxInt32<<8 {
			return nil, fmt.Errorf("tensor of sizes %v, strides %v: %w", sizes, strides, ErrFormat)
		}
		t.Shape[i] = int(n)
		if n != 1 && uint64(stride) != count {
			contiguous = false
		}
		hi, c := bits.Mul64(count, uint64(n))
		hi2, step := bits.Mul64(uint64(max(n-1, 0)), uint64(stride))
		l, carry := bits.Add64(last, step, 0)
		if hi|hi2|carry != 0 || c > math.MaxInt64/8 {
			return nil, fmt.Errorf("tensor of sizes %v, strides %v overflows: %w", sizes, strides, ErrFormat)
		}
		count, last = c, l
	}
	have := uint64(len(s.data)) / uint64(size)
	if count == 0 || s.probe {
		return t, nil
	}
	if last >= have {
		return nil, fmt.Errorf("tensor of sizes %v, strides %v, offset %d reaches element %d of a storage of %d: %w", sizes, strides, offset, last, have, ErrFormat)
	}
	if contiguous {
		lo, hi := uint64(offset)*uint64(size), (uint64(offset)+count)*uint64(size)
		t.Data = s.data[lo:hi:hi]
		return t, nil
	}
	if count > have {
		// A stride of 0 repeats elements: legal in torch, but a tiny file could ask for any amount of memory.
		return nil, fmt.Errorf("tensor of sizes %v, strides %v repeats a storage of %d elements: %w", sizes, strides, have, ErrFormat)
	}
	t.Data = make([]byte, 0, count*uint64(size))
	index := make([]int64, len(sizes))
	for range count {
		at := offset
		for d, i := range index {
			at += i * strides[d]
		}
		t.Data = append(t.Data, s.data[at*size:(at+1)*size]...)
		for d := len(index) - 1; d >= 0; d-- {
			if index[d]++; index[d] < sizes[d] {
				break
			}
			index[d] = 0
		}
	}
	return t, nil
}

// Float32s converts floating-point elements. Other types are an error that wraps ErrFormat.
func (t *Tensor) Float32s() ([]float32, error) {
	out := make([]float32, t.Len())
	switch t.DType {
	case Float:
		for i := range out {
			out[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	case Double:
		for i := range out {
			out[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
	case Half:
		h := make([]uint16, len(out))
		for i := range h {
			h[i] = binary.LittleEndian.Uint16(t.Data[2*i:])
		}
		kernel.F16ToF32(out, h)
	case BFloat16:
		for i := range out {
			out[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	default:
		return nil, fmt.Errorf("tensor of %s, floating-point numbers were expected: %w", t.DType, ErrFormat)
	}
	return out, nil
}

// Int64s converts integer elements. Other types are an error that wraps ErrFormat.
func (t *Tensor) Int64s() ([]int64, error) {
	out := make([]int64, t.Len())
	for i := range out {
		switch t.DType {
		case Byte, Bool:
			out[i] = int64(t.Data[i])
		case Char:
			out[i] = int64(int8(t.Data[i]))
		case Short:
			out[i] = int64(int16(binary.LittleEndian.Uint16(t.Data[2*i:])))
		case Int:
			out[i] = int64(int32(binary.LittleEndian.Uint32(t.Data[4*i:])))
		case Long:
			out[i] = int64(binary.LittleEndian.Uint64(t.Data[8*i:]))
		default:
			return nil, fmt.Errorf("tensor of %s, integers were expected: %w", t.DType, ErrFormat)
		}
	}
	return out, nil
}
