package checkpoint

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

// Tensor is one named array, row-major (a Linear weight is [out, in]).
type Tensor struct {
	Name  string
	DType DType
	Shape []int
	Data  []byte // little-endian elements; mapped memory that is valid until the file is closed
}

// Float32s converts the elements to float32 into dst, which is grown when it is too small.
func (t Tensor) Float32s(dst []float32) []float32 { return nil }

// Len is the number of elements.
func (t Tensor) Len() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Tensors is a set of named tensors. Implementations are safe for concurrent use, except Close.
type Tensors interface {
	// Names lists the tensors in the order of the file.
	Names() []string
	// Tensor returns the tensor of that name.
	Tensor(name string) (Tensor, bool)
	// Close unmaps the files; the Data of every tensor becomes invalid.
	Close() error
}
