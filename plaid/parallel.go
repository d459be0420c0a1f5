package plaid

import (
	"context"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/golbert/golbert/internal/mmapfile"
)

// stage is a piece of work cut into tasks. run is called once per task; worker numbers the goroutine, for
// its scratch. Stages are named pointer types of state, so that passing one allocates nothing.
type stage interface {
	run(worker, task int) error
}

// parallel runs tasks 0 to n-1 on at most workers goroutines. It looks at ctx before every task, so tasks
// should take well under a millisecond, and stops at the first error.
func parallel(ctx context.Context, workers, n int, s stage) error {
	workers = min(workers, n)
	if workers <= 1 {
		for i := range n {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := s.run(0, i); err != nil {
				return err
			}
		}
		return nil
	}
	var (
		next  atomic.Int64
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for w := range workers {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				err := ctx.Err()
				if err == nil {
					err = guarded(s, w, i)
				}
				if err != nil {
					once.Do(func() { first = err })
					next.Store(int64(n))
					return
				}
			}
		})
	}
	wg.Wait()
	return first
}

// guarded runs a task, and makes an error of a fault in mapped memory. The search that it belongs to names the
// index's file.
func guarded(s stage, worker, task int) (err error) {
	defer mmapfile.Catch(debug.SetPanicOnFault(true), &err)
	return s.run(worker, task)
}
