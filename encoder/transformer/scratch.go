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
	gates     []float32
	ids       []int32
	positions []int32
	lens      []int
	attend    []bool
	bias      []float32
	rows      kernel.Rows // the input of a product in bfloat16 or int8
	team      *team       // nil for a call on one goroutine
}

var scratchPool = sync.Pool{New: func() any { return new(scratch) }}

// getScratch takes scratch memory for the forward pass of a batch from the pool, and
// helpers where the batch wants them; release gives both back.
func getScratch(b *Batch) *scratch {
	s := scratchPool.Get().(*scratch)
	busy.Add(1)
	s.team = newTeam(b.Workers)
	return s
}

// release ends the helpers and gives the memory back.
func (s *scratch) release() {
	if s.team != nil {
		s.team.end()
		s.team = nil
	}
	busy.Add(-1)
	scratchPool.Put(s)
}

// headScratch is the memory of one attention head at a time.
type headScratch struct {
	keys, values kernel.Packed
	scores       []float32
}

var headPool = sync.Pool{New: func() any { return new(headScratch) }}

// grow returns buf with length n; its contents are undefined.
func grow(buf []float32, n int) []float32 {
	if cap(buf) < n {
		// A quarter more, so that batches of slowly growing size do not allocate each time.
		return make([]float32, n, n+n/4)
	}
	return buf[:n]
}
