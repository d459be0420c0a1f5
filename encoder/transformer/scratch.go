package transformer

import (
	"sync"

	"github.com/golbert/golbert/internal/kernel"
)

// scratch is the working memory of one Forward call. It grows to the largest batch seen and is reused, so
// that a steady stream of batches allocates nothing.
type scratch struct {
	qkv, ctx, ffn []float32
	scores        []float32
	normed        []float32
	relative      []relative
	// What is left after a delete gate.
	gates        []float32
	ids          []int32
	positions    []int32
	lens         []int
	attend       []bool
	bias         []float32
	keys, values *kernel.Packed
	rows         kernel.Rows // the input of a product in bfloat16 or int8
}

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// getScratch takes scratch memory for the forward pass of a batch from the pool; scratchPool.Put gives it back.
func getScratch(b *Batch) *scratch { return scratchPool.Get().(*scratch) }

// grow returns buf with length n; its contents are undefined.
func grow(buf []float32, n int) []float32 {
	if cap(buf) < n {
		// A quarter more, so that batches of slowly growing size do not allocate each time.
		return make([]float32, n, n+n/4)
	}
	return buf[:n]
}
