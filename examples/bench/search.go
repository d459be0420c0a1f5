package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// defaultPoints are the knob settings of a sweep.
const defaultPoints = "1:128,1:256,2:256,2:512,4:512,4:1024,8:1024,8:2048,16:2048,16:4096,32:8192,auto,exhaustive"

// A point is one setting of the knobs.
type point struct {
	name string
	opts plaid.Options
}

func (b *bench) settings() ([]point, error) {
	var out []point
	for s := range strings.SplitSeq(b.points, ",") {
		p := point{name: s}
		switch s {
		case "auto":
		case "exhaustive":
			p.opts.Exhaustive = true
		default:
			f := strings.Split(s, ":")
			var err1, err2, err3 error
			p.opts.NProbe, err1 = strconv.Atoi(f[0])
			if len(f) > 1 {
				p.opts.NDocs, err2 = strconv.Atoi(f[1])
			}
			if len(f) > 2 {
				var v float64
				v, err3 = strconv.ParseFloat(f[2], 32)
				p.opts.Patience = float32(v)
			}
			if len(f) < 2 || len(f) > 3 || err1 != nil || err2 != nil || err3 != nil {
				return nil, fmt.Errorf("-points %q: want nprobe:ndocs, nprobe:ndocs:patience, auto or exhaustive", s)
			}
		}
		p.opts.Workers, p.opts.Exact = b.threads, b.exactHits
		out = append(out, p)
	}
	return out, nil
}

// searching opens the index and hands out a searcher with the numbers of the queries.
func (b *bench) searching(ctx context.Context, f func(w *workload, s *plaid.Searcher, qs []int, points []point) error) (err error) {
	points, err := b.settings()
	if err != nil {
		return err
	}
	w, err := b.load()
	if err != nil {
		return err
	}
	defer w.close()
	if len(w.queries) == 0 {
		return errors.New("no queries")
	}
	qs := spread(len(w.queries), b.queries)
	if err := b.exact(ctx, w, qs); err != nil {
		return err
	}
	dir, _, remove, err := b.opened(ctx, w)
	if err != nil {
		return err
	}
	defer remove()
	ix, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: true, ReadResiduals: b.reads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	if err := b.fits(ix.Info(), w); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	snap, err := ix.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	return f(w, plaid.NewSearcher(snap), qs, points)
}

func runSearch(ctx context.Context, b *bench) error {
	return b.searching(ctx, func(w *workload, s *plaid.Searcher, qs []int, points []point) error {
		bar := b.bar("searching", len(points)*len(qs))
		defer bar.End()
		for i, p := range points {
			r, err := b.sweep(ctx, w, s, qs, p, func(n int) { bar.Set(i*len(qs) + n) })
			if err != nil {
				return err
			}
			if err := b.out.print(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// sweep searches with one setting, one query after the other.
func (b *bench) sweep(ctx context.Context, w *workload, s *plaid.Searcher, qs []int, p point, done func(int)) (record, error) {
	for _, q := range qs[:min(10, len(qs))] {
		if _, err := s.Search(ctx, w.queries[q], b.topk, &p.opts); err != nil {
			return nil, err
		}
	}
	took := make([]time.Duration, len(qs))
	found := make([][]int, len(qs))
	var st, sum plaid.Stats
	p.opts.Stats = &st
	start := cpuTime()
	var cpu time.Duration
	for i, q := range qs {
		t := time.Now()
		hits, err := s.Search(ctx, w.queries[q], b.topk, &p.opts)
		took[i] = time.Since(t)
		if err != nil {
			return nil, err
		}
		cpu += cpuTime() - start
		if found[i], err = numbers(hits); err != nil {
			return nil, err
		}
		addStats(&sum, &st)
		done(i + 1)
		start = cpuTime()
	}
	n := float64(len(qs))
	r := b.head("search").add("point", p.name, "mode", st.Mode, "nprobe", st.NProbe, "nfull", st.NDocs, "topk", b.topk, "exact", p.opts.Exact, "nq", len(qs))
	r = append(r, percentiles(took)...)
	r = append(r.add("cpu_ms", round(float64(cpu.Nanoseconds())/1e6/n, 3)), w.quality(found, qs)...)
	return r.add("rss_mb", procStatus("VmRSS"), "stages_ms", record{}.add(
		"centroids", ms(sum.CentroidTime/time.Duration(len(qs))), "candidates", ms(sum.CandidateTime/time.Duration(len(qs))),
		"interaction", ms(sum.InteractionTime/time.Duration(len(qs))), "scoring", ms(sum.ScoringTime/time.Duration(len(qs))),
		"decoding", ms(sum.DecodingTime/time.Duration(len(qs)))),
		"candidates", round(float64(sum.Candidates)/n, 0), "scored", round(float64(sum.Scored)/n, 0), "decoded", round(float64(sum.Decoded)/n, 1)), nil
}

func addStats(sum, st *plaid.Stats) {
	sum.CentroidTime += st.CentroidTime
	sum.CandidateTime += st.CandidateTime
	sum.InteractionTime += st.InteractionTime
	sum.ScoringTime += st.ScoringTime
	sum.DecodingTime += st.DecodingTime
	sum.Candidates += st.Candidates
	sum.Scored += st.Scored
	sum.Decoded += st.Decoded
}

func numbers(hits []plaid.Hit) ([]int, error) {
	ids := make([]int, len(hits))
	for i, h := range hits {
		var err error
		if ids[i], err = strconv.Atoi(h.ID); err != nil {
			return nil, fmt.Errorf("the index has a document %q that is not of the workload", h.ID)
		}
	}
	return ids, nil
}

// runBatch measures throughput: all queries in one call.
func runBatch(ctx context.Context, b *bench) error {
	return b.searching(ctx, func(w *workload, s *plaid.Searcher, qs []int, points []point) error {
		batch := make([]maxsim.Matrix, len(qs))
		for i, q := range qs {
			batch[i] = w.queries[q]
		}
		bar := b.bar("searching", len(points))
		defer bar.End()
		for i, p := range points {
			if _, err := s.SearchBatch(ctx, batch[:min(32, len(batch))], b.topk, &p.opts); err != nil {
				return err
			}
			watch := startWatch()
			res, err := s.SearchBatch(ctx, batch, b.topk, &p.opts)
			if err != nil {
				return err
			}
			wall, cpu := watch.seconds()
			found := make([][]int, len(res))
			for j, r := range res {
				if r.Err != nil {
					return r.Err
				}
				if found[j], err = numbers(r.Hits); err != nil {
					return err
				}
			}
			bar.Set(i + 1)
			n := float64(len(qs))
			r := b.head("batch").add("point", p.name, "topk", b.topk, "exact", p.opts.Exact, "nq", len(qs), "qps", round(n/wall, 1),
				"seconds", round(wall, 3), "cpu_s", round(cpu, 3), "cpu_ms", round(cpu*1000/n, 3), "peak_mb", procStatus("VmHWM"))
			if err := b.out.print(append(r, w.quality(found, qs)...)); err != nil {
				return err
			}
		}
		return nil
	})
}
