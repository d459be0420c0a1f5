package train

import (
	"slices"
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/internal/kernel"
)

// arena keeps the memory of values between steps. It belongs to one goroutine.
type arena struct {
	free []block // ascending by size
	used map[*float32]block
	step int
}

type block struct {
	data []float32 // its whole capacity
	last int       // the step in which it was used
}

// staleSteps is how many steps memory lies unused before it is let go.
const staleSteps = 4

// get gives n values of any content.
func (a *arena) get(n int) []float32 {
	if n == 0 {
		return nil
	}
	i, _ := slices.BinarySearchFunc(a.free, n, func(b block, n int) int { return len(b.data) - n })
	var b block
	if i < len(a.free) && len(a.free[i].data) <= n+n/2+1024 {
		b = a.free[i]
		a.free = slices.Delete(a.free, i, i+1)
	} else {
		b = block{data: kernel.Large[float32](n + n/16)}
	}
	b.last = a.step
	if a.used == nil {
		a.used = map[*float32]block{}
	}
	a.used[&b.data[0]] = b
	return b.data[:n:n]
}

// put takes back what get gave.
func (a *arena) put(v []float32) {
	if len(v) == 0 {
		return
	}
	b, ok := a.used[&v[0]]
	if !ok {
		panic("train: memory that is not the arena's, or that was given back before")
	}
	delete(a.used, &v[0])
	i, _ := slices.BinarySearchFunc(a.free, len(b.data), func(b block, n int) int { return len(b.data) - n })
	a.free = slices.Insert(a.free, i, b)
}

// end takes everything back and lets go of what has not been used for some steps.
func (a *arena) end() {
	for _, b := range a.used {
		a.free = append(a.free, b)
	}
	clear(a.used)
	a.free = slices.DeleteFunc(a.free, func(b block) bool { return a.step-b.last >= staleSteps })
	slices.SortFunc(a.free, func(x, y block) int { return len(x.data) - len(y.data) })
	a.step++
}

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
