package plaid

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

const (
	// batchGroup is the number of queries that share a pass over the centroids, where these are sharedValues or more. Smaller
	// ones stay in the cache by themselves, and queries that share a pass push each other's scores out of it: 5 % slower
	// with the 16,384 centroids of 20,000 passages.
	batchGroup   = 8
	sharedValues = 8 << 20
	// groupTableBytes bounds the tables of the queries in one group.
	groupTableBytes = 64 << 20
)

// SearchBatch searches several queries. Result i belongs to query i and is the same, bit for bit, as
// Search's; one query's error is its own and leaves the others alone. Queries run on Options.Workers
// goroutines, and groups of them share stage 1. The error returned is one that concerns the whole call:
// ErrInvalidK, ErrInvalidOptions, ErrDevice, the filter's error, the context's; then there are no results.
func (s *Searcher) SearchBatch(ctx context.Context, qs []maxsim.Matrix, k int, o *Options) (res []Result, err error) {
	if err := s.hold(); err != nil {
		return nil, err
	}
	defer s.drop()
	err = index.Guard(func() (err error) {
		res, err = s.searchBatch(ctx, qs, k, o)
		return err
	})
	return res, err
}

func (s *Searcher) searchBatch(ctx context.Context, qs []maxsim.Matrix, k int, o *Options) ([]Result, error) {
	pl := new(plan)
	if err := s.plan(ctx, k, o, pl); err != nil {
		return nil, err
	}
	out := make([]Result, len(qs))
	var valid []int
	for i, q := range qs {
		if err := s.checkQuery(q); err != nil {
			out[i].Err = fmt.Errorf("query %d: %w", i, err)
			continue
		}
		valid = append(valid, i)
	}
	if s.device != nil {
		return s.batchDevice(ctx, qs, valid, pl, out, o)
	}
	b := &batch{s: s, ctx: ctx, pl: pl, qs: qs, out: out, groups: s.group(qs, valid, pl)}
	outer := max(min(pl.workers, len(b.groups)), 1)
	b.inner = max(pl.workers/outer, 1)
	if err := parallel(ctx, outer, len(b.groups), b); err != nil {
		return nil, err
	}
	if o != nil && o.Stats != nil {
		*o.Stats = b.stats
	}
	return out, nil
}

// batchDevice searches the valid queries on the device.
func (s *Searcher) batchDevice(ctx context.Context, qs []maxsim.Matrix, valid []int, pl *plan, out []Result, o *Options) ([]Result, error) {
	some := make([]maxsim.Matrix, len(valid))
	for i, v := range valid {
		some[i] = qs[v]
	}
	var stats Stats
	hits, err := s.searchDevice(ctx, some, pl, &stats)
	if err != nil {
		return nil, err
	}
	for i, v := range valid {
		out[v].Hits = hits[i]
	}
	if o != nil && o.Stats != nil {
		*o.Stats = stats
	}
	return out, nil
}

// group cuts the valid queries into groups that share stage 1: few enough for every worker to have one, and
// small enough for their tables.
func (s *Searcher) group(qs []maxsim.Matrix, valid []int, pl *plan) [][]int {
	size := min(batchGroup, (len(valid)+pl.workers-1)/max(pl.workers, 1))
	if pl.mode == modeExhaustive {
		size = 1
	}
	k, values := 0, 0
	for i := range s.spaces {
		k += s.spaces[i].cb.K()
		values += s.spaces[i].cb.K() * s.dim
	}
	if values < s.shared {
		size = 1
	}
	var groups [][]int
	var cur []int
	bytes := 0
	for _, i := range valid {
		b := 5 * k * ((qs[i].Rows + 15) / 16 * 16) // a byte and a float32 per score
		if len(cur) > 0 && (len(cur) >= size || bytes+b > groupTableBytes) {
			groups = append(groups, cur)
			cur, bytes = nil, 0
		}
		cur = append(cur, i)
		bytes += b
	}
	if len(cur) > 0 {
		groups = append(groups, cur)
	}
	return groups
}

// batch is a call of SearchBatch; its tasks are groups.
type batch struct {
	s      *Searcher
	ctx    context.Context
	pl     *plan
	qs     []maxsim.Matrix
	out    []Result
	groups [][]int
	inner  int // goroutines per group

	mu    sync.Mutex
	stats Stats
}

func (b *batch) run(_, task int) error {
	ids := b.groups[task]
	group := make(stateGroup, 0, len(ids))
	defer func() {
		for _, st := range group {
			b.s.release(st)
		}
	}()
	shared := make(stateGroup, 0, len(ids)) // those that need stage 1
	for _, i := range ids {
		st := b.s.state()
		group = append(group, st)
		st.begin(b.ctx, b.qs[i], b.pl, b.inner)
		if !st.exhaustive() {
			shared = append(shared, st)
		}
	}
	if err := shared.scoreCentroids(b.ctx, b.inner, b.pl.nprobe); err != nil {
		return err
	}
	for j, i := range ids {
		var hits []Hit
		err := index.Guard(func() (err error) {
			hits, err = group[j].finish(b.ctx, b.inner)
			return err
		})
		if err != nil {
			if cerr := b.ctx.Err(); cerr != nil && errors.Is(err, cerr) {
				return err
			}
			b.out[i].Err = fmt.Errorf("query %d: %w", i, err)
			continue
		}
		b.out[i].Hits = hits
		b.mu.Lock()
		b.stats.add(&group[j].stats)
		b.mu.Unlock()
	}
	return nil
}
