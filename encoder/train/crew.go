package train

import (
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/internal/kernel"
)

// crew shares work between goroutines.
type crew struct {
	hands []*hand
	packs []*matrix // of what all share
	low   bool      // products of dense layers are in bfloat16
}

// hand is one goroutine's working memory.
type hand struct {
	buf   [6][]float32
	packs [5]kernel.Packed
	rows  kernel.Rows
}

func newCrew(n int, low bool) *crew {
	c := &crew{low: low}
	for range n {
		c.hands = append(c.hands, new(hand))
	}
	return c
}

// memory gives n values of any content, in the hand's i-th buffer.
func (h *hand) memory(i, n int) []float32 {
	if cap(h.buf[i]) < n {
		h.buf[i] = make([]float32, n+n/4)
	}
	return h.buf[i][:n]
}

// each runs f(0) to f(n-1), whoever is free taking the next. The pieces must not depend on each other, nor their results
// on how many goroutines there are.
func (c *crew) each(n int, f func(h *hand, i int)) {
	if n == 0 {
		return
	}
	var next atomic.Int64
	work := func(h *hand) {
		for {
			i := int(next.Add(1)) - 1
			if i >= n {
				return
			}
			f(h, i)
		}
	}
	var wg sync.WaitGroup
	for _, h := range c.hands[1:min(len(c.hands), n)] {
		wg.Go(func() { work(h) })
	}
	work(c.hands[0])
	wg.Wait()
}

// eachBlock runs f for blocks of size of n rows.
func (c *crew) eachBlock(n, size int, f func(h *hand, from, to int)) {
	c.each((n+size-1)/size, func(h *hand, i int) { f(h, i*size, min(n, (i+1)*size)) })
}
