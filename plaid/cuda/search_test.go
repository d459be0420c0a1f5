//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/plaid"
)

// scoreBound is how far a device's score may be from the CPU's, relative to the number of query tokens.
const scoreBound = 1e-5

// collection is an index on random clustered vectors.
type collection struct {
	dir     string
	snap    *index.Snapshot
	queries []maxsim.Matrix
}

func newCollection(t *testing.T, nbits, dim, docs, centroids int) *collection {
	t.Helper()
	r := rand.New(rand.NewPCG(uint64(nbits), uint64(dim)))
	centres := random(r, 40, dim)
	topical := func(rows int) maxsim.Matrix {
		m := random(r, rows, dim)
		topic := r.IntN(8) * 5
		for i := range rows {
			for j, v := range centres.Row(topic + r.IntN(5)) {
				m.Row(i)[j] = .6*m.Row(i)[j] + v
			}
			kernel.Normalize(m.Row(i))
		}
		return m
	}
	c := &collection{dir: t.TempDir()}
	ix, err := index.Create(bg, c.dir, &index.Options{Dim: dim, NBits: nbits, Centroids: centroids, SegmentTokens: 500, AllowEmpty: true})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, ix.Close()) })
	add := func(from, to int) {
		_, err = ix.Add(bg, func(yield func(index.Document, error) bool) {
			for i := from; i < to; i++ {
				d := index.Document{ID: fmt.Sprintf("doc-%03d", i), Vectors: topical(1 + r.IntN(18)), Meta: index.Metadata{"n": i}}
				if i == 5 {
					d.Vectors = maxsim.Matrix{Dim: dim}
				}
				if !yield(d, nil) {
					return
				}
			}
		}, &index.AddOptions{NoCompact: true})
		require.NoError(t, err)
	}
	add(0, docs*3/4)
	add(docs*3/4, docs)
	_, err = ix.Delete(bg, []string{"doc-000", "doc-031", "doc-077"}, nil)
	require.NoError(t, err)
	c.snap, err = ix.Snapshot()
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, c.snap.Close()) })
	require.Greater(t, len(c.snap.Segments()), 1)
	for _, n := range []int{4, 33, 12} {
		c.queries = append(c.queries, topical(n))
	}
	return c
}

// sameHits compares a device's hits with the CPU's: the same order up to ties within the bound.
func sameHits(t *testing.T, want, got []plaid.Hit, rows int, msg ...any) {
	t.Helper()
	bound := scoreBound * float64(rows)
	require.Len(t, got, len(want), msg...)
	for i := range want {
		require.InDelta(t, want[i].Score, got[i].Score, bound, msg...)
		if want[i].ID == got[i].ID {
			continue
		}
		// Then it ties with its neighbours: the CPU has it elsewhere with about the same score, or just behind the end.
		at := slices.IndexFunc(want, func(h plaid.Hit) bool { return h.ID == got[i].ID })
		if at >= 0 {
			require.InDelta(t, want[at].Score, want[i].Score, 2*bound, msg...)
		} else {
			require.InDelta(t, want[len(want)-1].Score, got[i].Score, 2*bound, msg...)
		}
	}
}

func TestSearch(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		for _, nbits := range []int{1, 2, 4, 8, 16} {
			for _, host := range []bool{false, true} {
				if host && nbits != 4 {
					continue
				}
				t.Run(fmt.Sprintf("bits=%d/host=%v", nbits, host), func(t *testing.T) {
					c := newCollection(t, nbits, map[int]int{1: 48, 2: 40, 4: 24, 8: 16, 16: 32}[nbits], 100, 20)
					loaded := 0
					dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, &plaid.DeviceOptions{HostResiduals: host, MaxBatch: 2,
						Progress: func(done, total int) { loaded = done; require.LessOrEqual(t, done, total) }})
					require.NoError(t, err)
					defer func() { require.NoError(t, dsr.Close()) }()
					info, ok := dsr.Device()
					require.True(t, ok)
					require.Equal(t, host, info.HostResiduals)
					require.Equal(t, c.snap.NumTokens(), info.Tokens)
					require.Positive(t, info.DeviceBytes)
					require.GreaterOrEqual(t, loaded, c.snap.NumDocs())
					compare(t, c, dsr)
				})
			}
		}
	})
}

// compare searches in every mode on the CPU and on the device.
func compare(t *testing.T, c *collection, dsr *plaid.Searcher) {
	cpu := plaid.NewSearcher(c.snap)
	few, err := index.ParseFilter("n >= 40 and n < 60")
	require.NoError(t, err)
	nothing, err := index.ParseFilter("n > 5000")
	require.NoError(t, err)
	for name, o := range map[string]plaid.Options{
		"default":    {},
		"exhaustive": {Exhaustive: true},
		"all probes": {NProbe: 20, NDocs: 60},
		"filter":     {Filter: few},
		"no match":   {Filter: nothing},
	} {
		for _, k := range []int{3, 500} {
			want, err := cpu.SearchBatch(bg, c.queries, k, &o)
			require.NoError(t, err)
			var stats plaid.Stats
			on := o
			on.Stats = &stats
			got, err := dsr.SearchBatch(bg, c.queries, k, &on)
			require.NoError(t, err)
			require.Equal(t, len(c.queries), stats.Queries)
			for i, q := range c.queries {
				require.NoError(t, got[i].Err)
				sameHits(t, want[i].Hits, got[i].Hits, q.Rows, "%s k=%d query %d", name, k, i)
			}
		}
		one, err := dsr.Search(bg, c.queries[2], 5, &o)
		require.NoError(t, err)
		all, err := dsr.SearchBatch(bg, c.queries, 5, &o)
		require.NoError(t, err)
		require.Equal(t, all[2].Hits, one, "alone and in a batch")
	}
}

// Narrow knobs: what is found has exact scores, and most of the CPU's hits are there.
func TestSearchProbes(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		c := newCollection(t, 4, 32, 160, 140)
		dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
		require.NoError(t, err)
		defer dsr.Close()
		cpu := plaid.NewSearcher(c.snap)
		found, all := 0, 0
		for i, q := range c.queries {
			exact, err := cpu.Search(bg, q, 300, &plaid.Options{Exhaustive: true})
			require.NoError(t, err)
			scores := map[string]float32{}
			for _, h := range exact {
				scores[h.ID] = h.Score
			}
			for _, o := range []plaid.Options{{NProbe: 1, NDocs: 12}, {NProbe: 4, NDocs: 50}} {
				want, err := cpu.Search(bg, q, 10, &o)
				require.NoError(t, err)
				got, err := dsr.Search(bg, q, 10, &o)
				require.NoError(t, err)
				require.Len(t, got, len(want))
				for _, h := range got {
					require.InDelta(t, scores[h.ID], h.Score, scoreBound*float64(q.Rows), "query %d", i)
					all++
					if slices.ContainsFunc(want, func(w plaid.Hit) bool { return w.ID == h.ID }) {
						found++
					}
				}
			}
		}
		require.Greater(t, float64(found), .9*float64(all))
	})
}

// More probes than a block has memory for: after a filter, say, that is one in many.
func TestSearchManyProbes(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		c := newCollection(t, 4, 16, 640, 8000)
		require.Greater(t, c.snap.Segments()[0].Codebook().K(), 4096)
		dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
		require.NoError(t, err)
		defer dsr.Close()
		o := &plaid.Options{NProbe: 4100, NDocs: 640}
		want, err := plaid.NewSearcher(c.snap).Search(bg, c.queries[0], 10, o)
		require.NoError(t, err)
		got, err := dsr.Search(bg, c.queries[0], 10, o)
		require.NoError(t, err)
		sameHits(t, want, got, c.queries[0].Rows)
	})
}

// A search that waits for its turn ends with its context.
func TestSearchQueued(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	dev := openDevice(t)
	dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.NoError(t, err)
	defer dsr.Close()
	busy, free := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = dev.do(bg, func() error {
			close(busy)
			<-free
			return nil
		})
	})
	<-busy
	ctx, cancel := context.WithTimeout(bg, 10*time.Millisecond)
	defer cancel()
	_, err = dsr.Search(ctx, c.queries[0], 3, nil)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	close(free)
	wg.Wait()
	_, err = dsr.Search(bg, c.queries[0], 3, nil)
	require.NoError(t, err)
}

// With one probe there are fewer candidates than wanted, and the search widens.
func TestSearchWidens(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		c := newCollection(t, 2, 24, 100, 70)
		dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
		require.NoError(t, err)
		defer dsr.Close()
		hits, err := dsr.Search(bg, c.queries[0], 60, &plaid.Options{NProbe: 1, NDocs: 60})
		require.NoError(t, err)
		require.Len(t, hits, 60)
	})
}

func TestSearchBadInput(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		c := newCollection(t, 4, 16, 100, 70)
		dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
		require.NoError(t, err)
		_, err = dsr.Search(bg, c.queries[0], 3, &plaid.Options{CentroidThreshold: .5, NProbe: 2})
		require.ErrorIs(t, err, plaid.ErrInvalidOptions)
		_, err = dsr.Search(bg, maxsim.Matrix{Dim: 16}, 3, nil)
		require.ErrorIs(t, err, plaid.ErrEmptyQuery)
		_, err = dsr.Search(bg, random(rand.New(rand.NewPCG(1, 1)), maxLanes+1, 16), 3, nil)
		require.ErrorIs(t, err, plaid.ErrTooManyTokens)
		res, err := dsr.SearchBatch(bg, []maxsim.Matrix{c.queries[0], {Dim: 16}, maxsim.New(maxLanes+1, 16)}, 3, nil)
		require.NoError(t, err)
		require.NoError(t, res[0].Err)
		require.ErrorIs(t, res[1].Err, plaid.ErrEmptyQuery)
		require.ErrorIs(t, res[2].Err, plaid.ErrTooManyTokens)
		done, cancel := context.WithCancel(bg)
		cancel()
		_, err = dsr.Search(done, c.queries[0], 3, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.NoError(t, dsr.Close())
		require.NoError(t, dsr.Close())
		_, err = dsr.Search(bg, c.queries[0], 3, nil)
		require.ErrorIs(t, err, ErrClosed)
	})
}

// Searches from many goroutines, with the device closed among them: each gives hits or ErrClosed.
func TestSearchConcurrent(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	dev, err := Open(0)
	require.NoError(t, err)
	dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 6 {
				if g == 0 && i == 3 {
					if err := dsr.Close(); err != nil {
						t.Error(err)
					}
				}
				hits, err := dsr.Search(bg, c.queries[i%len(c.queries)], 5, nil)
				if (err == nil && len(hits) != 5) || (err != nil && !errorsIsClosed(err)) {
					t.Errorf("%d hits, error %v", len(hits), err)
				}
			}
		})
	}
	wg.Wait()
	require.NoError(t, dev.Close())
	_, err = dsr.Search(bg, c.queries[0], 5, nil)
	require.ErrorIs(t, err, ErrClosed)
}

// Tune gives the same on a device as on the CPU.
func TestTune(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	dsr, err := plaid.NewSearcherOn(bg, c.snap, openDevice(t), nil)
	require.NoError(t, err)
	defer dsr.Close()
	o := &plaid.TuneOptions{K: 5, Recall: .9}
	want, err := plaid.NewSearcher(c.snap).Tune(bg, c.queries, o)
	require.NoError(t, err)
	got, err := dsr.Tune(bg, c.queries, o)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// TestSearchWide: the same of a search.
func TestSearchWide(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 1280, 80, 10)
	dev := openDevice(t)
	require.Less(t, dev.cached(1280, 4*queryPart), 1280)
	dsr, err := plaid.NewSearcherOn(bg, c.snap, dev, nil)
	require.NoError(t, err)
	defer dsr.Close()
	want, err := plaid.NewSearcher(c.snap).Search(bg, c.queries[1], 5, nil)
	require.NoError(t, err)
	got, err := dsr.Search(bg, c.queries[1], 5, nil)
	require.NoError(t, err)
	sameHits(t, want, got, c.queries[1].Rows)
}

// TestSearchOverlaps: while one search waits for the device, another one queues its work and both end with it; neither holds
// the device's goroutine. The emulation holds all events back until both are there.
func TestSearchOverlaps(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	dev := openDevice(t)
	loaded, err := dev.Load(bg, c.snap, nil)
	require.NoError(t, err)
	x := loaded.(*deviceIndex)
	defer x.Close()
	q := &plaid.DeviceSearch{Queries: c.queries[:1], K: 5, Keep: 8, NProbe: 4, NDocs: []int{40}, Allowed: make([][]uint64, len(c.snap.Segments()))}
	want, err := x.Search(bg, q)
	require.NoError(t, err)
	shimHold(true)
	var wg sync.WaitGroup
	for range searchStreams {
		wg.Go(func() {
			hits, err := x.Search(bg, q)
			if err != nil || !slices.Equal(hits[0], want[0]) {
				t.Errorf("%v, error %v", hits, err)
			}
		})
	}
	require.Eventually(t, func() bool { return len(x.streams.free) == 0 }, 10*time.Second, time.Millisecond, "they wait for one another")
	require.NoError(t, dev.do(bg, func() error { return nil }), "the device's goroutine takes jobs meanwhile")
	shimHold(false)
	wg.Wait()
}

// TestSearchLengths: queries of a batch are worked on with others of about their length; hits are those of each alone.
func TestSearchLengths(t *testing.T) {
	useShim(t, 1<<30)
	c := newCollection(t, 4, 16, 100, 70)
	dsr, err := plaid.NewSearcherOn(bg, c.snap, openDevice(t), &plaid.DeviceOptions{MaxBatch: 3})
	require.NoError(t, err)
	defer dsr.Close()
	r := rand.New(rand.NewPCG(3, 9))
	var queries []maxsim.Matrix
	for _, n := range []int{70, 1, 32, 33, 5, 2, 64, 9} {
		queries = append(queries, random(r, n, 16))
	}
	round := &round{x: &deviceIndex{scratch: 1 << 30, batch: 3}, sp: &space{dim: 16}, q: &plaid.DeviceSearch{Queries: queries, Exhaustive: true}}
	var lanes, sizes []int
	for _, f := range round.flights([]int{0, 1, 2, 3, 4, 5, 6, 7}) {
		lanes, sizes = append(lanes, f.lanes), append(sizes, len(f.queries))
	}
	require.Equal(t, []int{96, 32, 64, 32}, lanes)
	require.Equal(t, []int{1, 3, 2, 2}, sizes)
	all, err := dsr.SearchBatch(bg, queries, 5, nil)
	require.NoError(t, err)
	for i, q := range queries {
		one, err := dsr.Search(bg, q, 5, nil)
		require.NoError(t, err)
		require.Equal(t, one, all[i].Hits, "query %d", i)
	}
}
