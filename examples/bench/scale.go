package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
	"github.com/golbert/golbert/quant"
)

// runScale builds collections of growing size out of nothing and compares the cheapest searches that reach the wanted
// recall. An index of this kind is made as large collections should be: a codebook from a sample in a first pass over
// the documents, then a second pass that codes them as they come, so that nothing is kept aside.
func runScale(ctx context.Context, b *bench) error {
	points, err := b.settings()
	if err != nil {
		return err
	}
	var sizes []int
	for s := range strings.SplitSeq(b.sizes, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<28 {
			return fmt.Errorf("-sizes %q: want numbers of documents", s)
		}
		sizes = append(sizes, n)
	}
	var before record
	for _, n := range sizes {
		r, err := b.scale(ctx, n, points)
		if err != nil {
			return fmt.Errorf("%d documents: %w", n, err)
		}
		if before != nil && before.get("docs").(int) != n {
			// Below 1: slower than linearly.
			more := math.Log(float64(n) / float64(before.get("docs").(int)))
			for _, name := range []string{"p50", "cpu_ms"} {
				if a, b := before.get(name).(float64), r.get(name).(float64); a > 0 && b > 0 {
					r = r.add("growth_exponent_"+name, round(math.Log(b/a)/more, 2))
				}
			}
		}
		if err := b.out.print(r); err != nil {
			return err
		}
		before = r
	}
	return nil
}

func (b *bench) scale(ctx context.Context, docs int, points []point) (record, error) {
	w := newSynthetic(docs, b.doclen, b.dim, min(b.queries, 100), b.seed).workload()
	tmp, err := os.MkdirTemp("", "golbert-bench-scale")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	dir := filepath.Join(tmp, "index")
	built, err := b.stream(ctx, w, dir)
	if err != nil {
		return nil, err
	}
	qs := spread(len(w.queries), b.queries)
	if err := b.exact(ctx, w, qs); err != nil {
		return nil, err
	}
	ix, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: true})
	if err != nil {
		return nil, err
	}
	defer ix.Close()
	snap, err := ix.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	s := plaid.NewSearcher(snap)
	bar := b.bar(fmt.Sprintf("searching %d documents", docs), len(points)*len(qs))
	defer bar.End()
	var best record
	for i, p := range points {
		r, err := b.sweep(ctx, w, s, qs, p, func(n int) { bar.Set(i*len(qs) + n) })
		if err != nil {
			return nil, err
		}
		if err := b.out.print(r.add("docs", docs)); err != nil {
			return nil, err
		}
		// The cheapest that is good enough, or the best there is.
		recall := func(r record) float64 { return r.get("recall10").(float64) }
		enough := recall(r) >= b.recall
		switch {
		case best == nil,
			enough && (recall(best) < b.recall || cost(r) < cost(best)),
			!enough && recall(r) > recall(best):
			best = r
		}
	}
	out := b.head("scale").add("docs", docs, "tokens", w.tokens, "tokens_per_doc", round(float64(w.tokens)/float64(docs), 1), "queries", len(qs))
	out = out.add(built.fields()...)
	for _, name := range []string{"point", "mode", "nprobe", "nfull", "p50", "p95", "cpu_ms", "recall10", "recall100", "success10"} {
		out = out.add(name, best.get(name))
	}
	return out.add("wanted_recall10", b.recall, "reached", best.get("recall10").(float64) >= b.recall), nil
}

// cost is the processor's time of a query, or the clock's where that is not measured.
func cost(r record) float64 {
	if cpu := r.get("cpu_ms").(float64); cpu > 0 {
		return cpu
	}
	return r.get("p50").(float64)
}

// stream makes an index in two passes over the documents.
func (b *bench) stream(ctx context.Context, w *workload, dir string) (res built, err error) {
	res.base = rss()
	resetPeak()
	watch := startWatch()
	k := quant.NumCentroids(w.tokens)
	most := min(int(w.tokens), k*quant.DefaultPointsPerCentroid, (384<<20)/(4*w.dim))
	sample := quant.NewReservoir(most, w.dim, b.seed)
	bar := b.bar(fmt.Sprintf("sampling %d documents", w.docs), w.docs)
	// Every document gives its vectors to the sample; when it is small beside the collection, only some documents do.
	step := max(1, int(w.tokens/uint64(most)/4))
	var buf []float32
	for i := 0; i < w.docs; i += step {
		m, err := w.doc(i, buf)
		if err != nil {
			return built{}, err
		}
		buf = m.Data
		sample.Add(m)
		bar.Set(i)
	}
	bar.End()
	bar = b.bar(fmt.Sprintf("training %d centroids", k), 1)
	cb, err := quant.Train(ctx, sample.Sample(), &quant.TrainOptions{
		NBits: b.bits, Tokens: w.tokens, Seed: b.seed, Workers: b.threads, Consume: true,
	})
	bar.End()
	if err != nil {
		return built{}, err
	}
	sample = nil
	res.trainWall, _ = watch.seconds()
	ix, err := index.Create(ctx, dir, &index.Options{Codebook: cb, Workers: b.threads})
	if err != nil {
		return built{}, err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	bar = b.bar(fmt.Sprintf("coding %d documents", w.docs), w.docs)
	defer bar.End()
	if _, err := ix.Add(ctx, w.documents(ctx, 0, w.docs, strconv.Itoa, bar.Set), nil); err != nil {
		return built{}, err
	}
	res.wall, res.cpu = watch.seconds()
	res.peak = procStatus("VmHWM")
	res.Info = ix.Info()
	return res, nil
}
