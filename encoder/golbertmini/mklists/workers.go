package main

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
)

// onWorkers runs a function for 0 to n-1 on all processors, until it fails or the context ends. start makes one goroutine's
// function, with its working memory.
func onWorkers(ctx context.Context, n int, start func() func(i int) error) error {
	errs := make([]error, runtime.GOMAXPROCS(0))
	var next atomic.Int64
	var wg sync.WaitGroup
	for w := range errs {
		wg.Go(func() {
			f := start()
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[w] = ctx.Err(); errs[w] == nil {
					errs[w] = f(i)
				}
				if errs[w] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
