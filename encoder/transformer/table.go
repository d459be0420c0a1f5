package transformer

import (
	"encoding/binary"
	"math"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// table is an embedding table that is read a row at a time. It keeps the tensor's own bytes, which for a
// large vocabulary are most of a model, and widens a row when it is asked for.
type table struct {
	data  []byte
	dtype checkpoint.DType
	dim   int
	scale []float32 // of int8 rows
}

// row writes row i to dst.
func (t *table) row(dst []float32, i int) {
	le := binary.LittleEndian
	dst = dst[:t.dim]
	switch t.dtype {
	case checkpoint.F32:
		kernel.LoadF32(dst, t.data[i*t.dim*4:(i+1)*t.dim*4])
	case checkpoint.F16:
		b := t.data[i*t.dim*2 : (i+1)*t.dim*2]
		var h [64]uint16
		for j := 0; j < len(dst); j += len(h) {
			n := min(len(h), len(dst)-j)
			for k := range n {
				h[k] = le.Uint16(b[2*(j+k):])
			}
			kernel.F16ToF32(dst[j:j+n], h[:n])
		}
	case checkpoint.BF16:
		b := t.data[i*t.dim*2 : (i+1)*t.dim*2]
		for j := range dst {
			dst[j] = math.Float32frombits(uint32(le.Uint16(b[2*j:])) << 16)
		}
	case checkpoint.I8:
		b, s := t.data[i*t.dim:(i+1)*t.dim], t.scale[i]
		for j, v := range b {
			dst[j] = s * float32(int8(v))
		}
	}
}
