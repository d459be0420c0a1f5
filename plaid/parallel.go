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
	t, _ := teams.Get().(*team)
	if t == nil {
		t = new(team)
	}
	for w := len(t.work); w < workers; w++ {
		t.work = append(t.work, func() {
			defer t.wg.Done()
			t.run(w)
		})
	}
	t.ctx, t.stage, t.n, t.first = ctx, s, int64(n), nil
	t.next.Store(0)
	t.wg.Add(workers - 1)
	for _, f := range t.work[1:workers] {
		go f()
	}
	t.run(0)
	t.wg.Wait()
	err := t.first
	t.ctx, t.stage, t.first = nil, nil, nil
	teams.Put(t)
	return err
}

// team is a stage under way on several goroutines, one of which is the caller's. Teams are pooled with the functions of
// their goroutines, so that starting one allocates nothing.
type team struct {
	ctx   context.Context
	stage stage
	n     int64
	next  atomic.Int64
	wg    sync.WaitGroup
	mu    sync.Mutex
	first error
	work  []func()
}

var teams sync.Pool

func (t *team) run(worker int) {
	for {
		i := t.next.Add(1) - 1
		if i >= t.n {
			return
		}
		err := t.ctx.Err()
		if err == nil {
			err = guarded(t.stage, worker, int(i))
		}
		if err != nil {
			t.mu.Lock()
			if t.first == nil {
				t.first = err
			}
			t.mu.Unlock()
			t.next.Store(t.n)
			return
		}
	}
}

// guarded runs a task, and makes an error of a fault in mapped memory. The search that it belongs to names the
// index's file.
func guarded(s stage, worker, task int) (err error) {
	defer mmapfile.Catch(debug.SetPanicOnFault(true), &err)
	return s.run(worker, task)
}
