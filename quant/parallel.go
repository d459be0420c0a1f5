package quant

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel cuts n items into blocks of the given size and runs them on at most workers goroutines (0 or
// less: GOMAXPROCS). start makes one goroutine's work function, with its scratch. Blocks are taken in order
// but finish in any, so results must not depend on it. It stops early with the context's error.
func parallel(ctx context.Context, n, block, workers int, start func() func(i, j int)) error {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	var next atomic.Int64
	run := func() {
		f := start()
		for ctx.Err() == nil {
			i := int(next.Add(1)-1) * block
			if i >= n {
				return
			}
			f(i, min(i+block, n))
		}
	}
	if workers = min(workers, (n+block-1)/block); workers <= 1 {
		run()
		return ctx.Err()
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(run)
	}
	wg.Wait()
	return ctx.Err()
}
