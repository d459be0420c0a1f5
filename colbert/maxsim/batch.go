package maxsim

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/internal/kernel"
)

// Batch holds the token vectors of many documents end to end, without padding: the rows of document 0, then those of
// document 1, and so on, each Dim values. It is a view; nothing in it is copied or changed.
type Batch struct {
	Dim int
	// Lens holds the number of rows of each document.
	Lens []int
	// Exactly one of these has the values: float32, or bits of IEEE half precision, or of bfloat16 (the upper half of a
	// float32). 16-bit values take half the memory, and half the memory's bandwidth where scoring is bound by it.
	F32  []float32
	F16  []uint16
	BF16 []uint16
}

// BatchOptions steer ScoreBatch. A nil pointer means the zero value.
type BatchOptions struct {
	// Workers is the most goroutines to use; 0 means GOMAXPROCS. It does not change the result.
	Workers int
}

// batchBlock is about how many values one step of a goroutine takes: half a millisecond.
const batchBlock = 1 << 20

// ScoreBatch returns MaxSim of one query against every document of a batch, in order. Rows of float16 are taken exactly;
// with bfloat16 rows the query is rounded to bfloat16, too (as torch's bfloat16 products are), which changes a score of
// unit vectors by about 0.002 per query token at most. Sums are in float32 with all of them.
//
// Errors wrap ErrEmpty, ErrDim or ErrNotFinite and name the document, the first one at fault, or are the context's.
func ScoreBatch(ctx context.Context, query Matrix, b Batch, o *BatchOptions) ([]float32, error) {
	if err := checkSide("query", query); err != nil {
		return nil, err
	}
	off, err := b.offsets(query.Dim)
	if err != nil {
		return nil, err
	}
	score := b.scorer(query)
	out := make([]float32, len(b.Lens))
	workers := runtime.GOMAXPROCS(0)
	if o != nil && o.Workers > 0 {
		workers = o.Workers
	}
	// Blocks of documents are taken in order, so that the first fault is among those that are seen.
	starts := []int{0}
	for i := range b.Lens {
		if (off[i+1]-off[starts[len(starts)-1]])*b.Dim >= batchBlock {
			starts = append(starts, i+1)
		}
	}
	var next atomic.Int64
	var mu sync.Mutex
	bad, fault := len(b.Lens), error(nil)
	run := func() {
		for ctx.Err() == nil {
			n := int(next.Add(1)) - 1
			if n >= len(starts) {
				return
			}
			end := len(b.Lens)
			if n+1 < len(starts) {
				end = starts[n+1]
			}
			for i := starts[n]; i < end; i++ {
				s, err := score(off[i], off[i+1])
				if err != nil {
					mu.Lock()
					if i < bad {
						bad, fault = i, fmt.Errorf("document %d: %w", i, err)
					}
					mu.Unlock()
					next.Store(int64(len(starts)))
					return
				}
				out[i] = s
			}
		}
	}
	if workers = min(workers, len(starts)); workers <= 1 {
		run()
	} else {
		var wg sync.WaitGroup
		for range workers {
			wg.Go(run)
		}
		wg.Wait()
	}
	if fault != nil {
		return nil, fault
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

// offsets checks the shape and returns where each document's rows begin.
func (b *Batch) offsets(dim int) ([]int, error) {
	values, sets := 0, 0
	for _, n := range []int{len(b.F32), len(b.F16), len(b.BF16)} {
		if n > 0 {
			values, sets = n, sets+1
		}
	}
	if sets > 1 {
		return nil, fmt.Errorf("batch: values in %d of F32, F16 and BF16, want one: %w", sets, ErrDim)
	}
	if b.Dim != dim {
		return nil, fmt.Errorf("batch: dimension %d, the query has %d: %w", b.Dim, dim, ErrDim)
	}
	off := make([]int, len(b.Lens)+1)
	for i, n := range b.Lens {
		switch rows := values / dim; {
		case n == 0:
			return nil, fmt.Errorf("document %d: %w", i, ErrEmpty)
		case n < 0 || n > rows-off[i]:
			return nil, fmt.Errorf("document %d: %d rows behind %d others, there are %d: %w", i, n, off[i], rows, ErrDim)
		}
		off[i+1] = off[i] + n
	}
	if rows := off[len(b.Lens)]; values != rows*dim {
		return nil, fmt.Errorf("batch: %d values, the documents have %d rows of dimension %d: %w", values, rows, dim, ErrDim)
	}
	return off, nil
}

// scorer returns a function that scores the rows from i to j, safe for concurrent use. The check for values that are
// not finite brings them into the cache for the product.
func (b *Batch) scorer(query Matrix) func(i, j int) (float32, error) {
	d := b.Dim
	if b.F32 != nil || b.F16 == nil && b.BF16 == nil {
		q := kernel.NewQuery(query.Data, query.Rows, d)
		return func(i, j int) (float32, error) {
			m := Matrix{Data: b.F32[i*d : j*d], Rows: j - i, Dim: d}
			if err := m.Validate(); err != nil {
				return 0, err
			}
			return q.MaxSim(m.Data, m.Rows), nil
		}
	}
	half, values := kernel.F16, b.F16
	if values == nil {
		half, values = kernel.BF16, b.BF16
	}
	q := kernel.NewHalfQuery(half, query.Data, query.Rows, d)
	return func(i, j int) (float32, error) {
		v := values[i*d : j*d]
		if !kernel.FiniteHalf(half, v) {
			wide := Matrix{Data: widened(half, v), Rows: j - i, Dim: d}
			return 0, wide.Validate()
		}
		return q.MaxSim(v, j-i), nil
	}
}

func widened(h kernel.Half, v []uint16) []float32 {
	out := make([]float32, len(v))
	if h == kernel.BF16 {
		kernel.BF16ToF32(out, v)
	} else {
		kernel.F16ToF32(out, v)
	}
	return out
}

// F16 returns the values in IEEE half precision, rounded to nearest even, for Batch.
func (m Matrix) F16() []uint16 {
	out := make([]uint16, len(m.Data))
	kernel.F32ToF16(out, m.Data)
	return out
}

// BF16 returns the values in bfloat16, rounded to nearest even, for Batch.
func (m Matrix) BF16() []uint16 {
	out := make([]uint16, len(m.Data))
	kernel.F32ToBF16(out, m.Data)
	return out
}
