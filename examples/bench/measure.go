package main

import (
	"math"
	"runtime"
	"slices"
	"time"
)

// A stopwatch measures wall and processor time.
type stopwatch struct {
	wall time.Time
	cpu  time.Duration
}

func startWatch() stopwatch { return stopwatch{time.Now(), cpuTime()} }

func (s stopwatch) seconds() (wall, cpu float64) {
	return time.Since(s.wall).Seconds(), (cpuTime() - s.cpu).Seconds()
}

func ms(d time.Duration) float64 { return round(float64(d.Nanoseconds())/1e6, 3) }

// rss is the resident set now, in MiB, after a collection.
func rss() float64 {
	runtime.GC()
	return procStatus("VmRSS")
}

// percentiles of latencies, with the peers' names. Values between two ranks are interpolated, as numpy does.
func percentiles(took []time.Duration) record {
	v := slices.Sorted(slices.Values(took))
	at := func(p float64) float64 {
		x := p * float64(len(v)-1)
		i := int(x)
		j := min(i+1, len(v)-1)
		return round((float64(v[i])+(x-math.Floor(x))*float64(v[j]-v[i]))/1e6, 3)
	}
	var sum time.Duration
	for _, d := range v {
		sum += d
	}
	return record{}.add("p50", at(.5), "p95", at(.95), "p99", at(.99), "mean", ms(sum/time.Duration(len(v))))
}

// quality compares ranked lists with the exact order and the judgements. found[i] belongs to query qs[i].
func (w *workload) quality(found [][]int, qs []int) record {
	var r10, r100, success, mrr float64
	judged := 0
	for i, ids := range found {
		q := qs[i]
		r10 += overlap(ids, w.truth[q], 10)
		r100 += overlap(ids, w.truth[q], 100)
		rel := w.rels[q]
		if rel == nil {
			continue
		}
		judged++
		for rank, id := range ids[:min(10, len(ids))] {
			if rel[id] {
				success++
				mrr += 1 / float64(rank+1)
				break
			}
		}
	}
	n, j := float64(len(found)), float64(max(judged, 1))
	return record{}.add("recall10", round(r10/n, 4), "recall100", round(r100/n, 4), "success10", round(success/j, 4), "mrr10", round(mrr/j, 4))
}

// overlap is the share of the first n of want that is among the first n of got.
func overlap(got, want []int, n int) float64 {
	want = want[:min(n, len(want))]
	hits := 0
	for _, id := range got[:min(n, len(got))] {
		if slices.Contains(want, id) {
			hits++
		}
	}
	return float64(hits) / float64(max(len(want), 1))
}

// spread gives m of n numbers, evenly, the first and the last among them, as the peers' scripts choose queries.
func spread(n, m int) []int {
	m = min(n, m)
	out := make([]int, m)
	for i := range out {
		out[i] = i * (n - 1) / max(m-1, 1)
	}
	return out
}
