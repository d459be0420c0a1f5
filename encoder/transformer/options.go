package transformer

import (
	"fmt"

	"github.com/golbert/golbert/internal/kernel"
)

// Precision is the arithmetic of the matrix products with a model's weights. Everything else (embeddings, attention,
// norms, activations, biases, sums) is float32 in each of them.
type Precision uint8

const (
	// Float32 multiplies float32 weights with float32 activations.
	Float32 Precision = iota
	// BFloat16 rounds weights and activations to bfloat16 and sums in float32.
	BFloat16
	// Int8 multiplies int8 weights, one scale per output, with 8-bit activations, scaled per token at run time. Sums
	// are exact integers.
	Int8
)

// String is "float32", "bfloat16" or "int8".
func (p Precision) String() string {
	switch p {
	case Float32:
		return "float32"
	case BFloat16:
		return "bfloat16"
	case Int8:
		return "int8"
	}
	return fmt.Sprintf("precision %d", uint8(p))
}

// Instructions names the instruction set that multiplies in this precision on this machine, as GOLBERT_SIMD does;
// "generic" is plain Go.
func (p Precision) Instructions() string {
	switch p {
	case BFloat16:
		return kernel.LevelBF16()
	case Int8:
		return kernel.LevelInt8()
	}
	return kernel.LevelFloat32()
}

// Options are the options of New. A nil pointer means the zero value.
type Options struct {
	// Precision is that of the matrix products.
	Precision Precision
	// ShapeOnly checks the tensors and packs none: the encoder tells its shape and its languages, and Forward is
	// ErrUnsupported.
	ShapeOnly bool
}
