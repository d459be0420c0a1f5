package encoder

import "github.com/golbert/golbert/encoder/transformer"

// Precision is the arithmetic of the matrix products with a model's weights; everything else is float32 always.
type Precision = transformer.Precision

// The precisions. Float32 is exact to about 1e-6. BFloat16 needs half the memory and, where the processor has AVX-512
// BF16, half the time; its token vectors have a cosine of .9999 with the exact ones. Int8 needs a quarter of the memory
// and, with AVX-512 VNNI, a third of the time, and works well on AVX2, too; its cosine is above .99. Of checkpoints in
// int8 (as golbertmini) the weights stay as they are, and only activations are rounded. Info says which instructions do
// the products: a processor without any for a precision runs plain Go, slowly, and never another precision.
const (
	Float32  = transformer.Float32
	BFloat16 = transformer.BFloat16
	Int8     = transformer.Int8
)
