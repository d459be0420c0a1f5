package transformer

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// team is the goroutines that share the work of one Forward call, beside the one that called it. A layer of one short
// text takes some tens of microseconds, less than it takes to wake a thread up: helpers spin between two pieces of work,
// giving way to other goroutines, and end with the call.
type team struct {
	job  atomic.Pointer[job]
	over atomic.Bool
	wg   sync.WaitGroup
	size int
}

// job is n independent pieces of work. Whoever is free takes the next one.
type job struct {
	f          func(i int)
	n          int32
	next, done atomic.Int32
}

func (j *job) run() {
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		j.f(int(i))
		j.done.Add(1)
	}
}

// busy counts the goroutines of all Forward calls: helpers are for processors that would idle.
var busy atomic.Int32

// newTeam finds up to workers-1 helpers. It returns nil when there is no processor left for one.
func newTeam(workers int) *team {
	most := int32(runtime.GOMAXPROCS(0))
	helpers := 0
	for ; helpers < workers-1; helpers++ {
		if busy.Add(1) > most {
			busy.Add(-1)
			break
		}
	}
	if helpers == 0 {
		return nil
	}
	t := &team{size: helpers + 1}
	for range helpers {
		t.wg.Go(t.help)
	}
	return t
}

func (t *team) help() {
	var last *job
	for spins := 0; !t.over.Load(); spins++ {
		if j := t.job.Load(); j != last {
			j.run()
			last, spins = j, 0
			continue
		}
		if spins > 1000 {
			runtime.Gosched()
		}
	}
}

// end ends the helpers.
func (t *team) end() {
	t.over.Store(true)
	t.wg.Wait()
	busy.Add(int32(1 - t.size))
}

// each runs f(0) to f(n-1), on the team where there is one, and returns when all are done. The pieces must not depend on
// each other.
func (s *scratch) each(n int, f func(i int)) {
	if s.team == nil || n < 2 {
		for i := range n {
			f(i)
		}
		return
	}
	j := &job{f: f, n: int32(n)}
	s.team.job.Store(j)
	j.run()
	for spins := 0; j.done.Load() < j.n; spins++ {
		if spins > 1000 {
			runtime.Gosched()
		}
	}
}

// workers is the number of goroutines that each uses.
func (s *scratch) workers() int {
	if s.team == nil {
		return 1
	}
	return s.team.size
}
