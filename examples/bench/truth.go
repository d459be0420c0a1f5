package main

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/internal/kernel"
)

// truthDepth is how many documents the exact order of a query has.
const truthDepth = 100

// exact fills in the exact order of the queries qs by MaxSim over the vectors as they are: one pass over the documents.
func (b *bench) exact(ctx context.Context, w *workload, qs []int) error {
	if w.truth != nil {
		return nil
	}
	bar := b.bar("exact order", w.docs)
	defer bar.End()
	packed := make([]*kernel.Query, len(qs))
	for i, q := range qs {
		packed[i] = kernel.NewQuery(w.queries[q].Data, w.queries[q].Rows, w.dim)
	}
	best := make([][]scored, len(qs))
	var mu sync.Mutex
	var next, done atomic.Int64
	errs := make([]error, b.threads)
	var wg sync.WaitGroup
	for t := range b.threads {
		wg.Go(func() {
			own := make([][]scored, len(qs))
			var buf []float32
			for ctx.Err() == nil {
				i := int(next.Add(1)) - 1
				if i >= w.docs {
					break
				}
				m, err := w.doc(i, buf)
				if err != nil {
					errs[t] = err
					return
				}
				buf = m.Data
				if m.Rows > 0 {
					for j, q := range packed {
						own[j] = insert(own[j], scored{i, q.MaxSim(m.Data, m.Rows)})
					}
				}
				if n := done.Add(1); n%64 == 0 {
					mu.Lock()
					bar.Set(int(n))
					mu.Unlock()
				}
			}
			mu.Lock()
			defer mu.Unlock()
			for j := range own {
				for _, s := range own[j] {
					best[j] = insert(best[j], s)
				}
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	w.truth = make([][]int, len(w.queries))
	for i, q := range qs {
		for _, s := range best[i] {
			w.truth[q] = append(w.truth[q], s.id)
		}
	}
	return nil
}

type scored struct {
	id    int
	score float32
}

// insert keeps the best of a list in order, ties by number.
func insert(top []scored, s scored) []scored {
	less := func(a, b scored) int {
		return cmp.Or(cmp.Compare(b.score, a.score), cmp.Compare(a.id, b.id))
	}
	if len(top) == truthDepth && less(s, top[len(top)-1]) > 0 {
		return top
	}
	i, _ := slices.BinarySearchFunc(top, s, less)
	top = slices.Insert(top, i, s)
	return top[:min(len(top), truthDepth)]
}
