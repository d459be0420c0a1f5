//go:build darwin || linux || windows

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
	"github.com/golbert/golbert/plaid/cuda"
	"github.com/golbert/golbert/quant"
)

func init() { cases["cuda"] = runCUDA }

const (
	cudaChecked = 500  // documents whose exact scores are compared with the CPU's
	cudaBound   = 1e-5 // of a score per query token
)

// runCUDA is what a first run on a device is to show: that it computes what the CPU does, and how fast. It fails when a
// result is not the CPU's.
func runCUDA(ctx context.Context, b *bench) (err error) {
	points, err := b.settings()
	if err != nil {
		return err
	}
	batches, err := b.batchSizes()
	if err != nil {
		return err
	}
	dev, err := cuda.Open(0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.Close()) }()
	w, err := b.load()
	if err != nil {
		return err
	}
	defer w.close()
	if len(w.queries) == 0 {
		return errors.New("no queries")
	}
	c := &cudaBench{bench: b, ctx: ctx, dev: dev, w: w, qs: spread(len(w.queries), b.queries), batches: batches}
	for _, step := range []func() error{c.device, c.maxSim, func() error { return c.index(points) }} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

type cudaBench struct {
	*bench
	ctx     context.Context
	dev     *cuda.Device
	w       *workload
	qs      []int
	batches []int
	peaks   cuda.Peaks
}

// batchSizes reads the flag.
func (b *bench) batchSizes() (sizes []int, err error) {
	for s := range strings.SplitSeq(b.batch, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1<<16 {
			return nil, fmt.Errorf("-batches %q: want numbers of queries", b.batch)
		}
		sizes = append(sizes, n)
	}
	return sizes, nil
}

func (c *cudaBench) line(name string) record {
	return c.head("cuda-"+name).add("device", c.dev.Name())
}

// nominalMMA is the rate of float16 tensor-core products with float32 sums of data sheets, by compute capability, or 0.
func nominalMMA(in cuda.Info) float64 {
	perClock := map[int]float64{80: 2048, 86: 512, 89: 512, 90: 4096}[in.Major*10+in.Minor]
	return perClock * float64(in.Multiprocessors) * float64(in.Clock) * 1e3
}

// device tells what it is and can do.
func (c *cudaBench) device() (err error) {
	if c.peaks, err = c.dev.Peaks(c.ctx); err != nil {
		return err
	}
	in := c.dev.Info()
	return c.out.print(c.line("device").add("capability", fmt.Sprintf("%d.%d", in.Major, in.Minor), "multiprocessors", in.Multiprocessors,
		"memory_gib", round(float64(in.Memory)/(1<<30), 1), "driver", in.Driver, "copy_gb_s", round(c.peaks.Copy/1e9, 1),
		"mma_tflop_s", round(c.peaks.MMA/1e12, 2), "nominal_mma_tflop_s", round(nominalMMA(in)/1e12, 1), "processors", runtime.NumCPU()))
}

// repeat calls f until the time of a measurement is over and returns the seconds of one call.
func (c *cudaBench) repeat(f func() error) (float64, error) {
	if err := f(); err != nil { // grows buffers
		return 0, err
	}
	start := time.Now()
	for n := 1; ; n++ {
		if err := f(); err != nil {
			return 0, err
		}
		if took := time.Since(start); took >= c.time {
			return took.Seconds() / float64(n), nil
		}
	}
}

// maxSim scores all documents, or as many as take a fourth of the device's memory in float32.
func (c *cudaBench) maxSim() error {
	var docs []maxsim.Matrix
	tokens := 0
	most := int(c.dev.Info().Memory / 4 / uint64(4*c.w.dim))
	bar := c.bar("reading documents", c.w.docs)
	for i := range c.w.docs {
		m, err := c.w.doc(i, nil)
		if err != nil {
			return err
		}
		if m.Rows == 0 {
			continue
		}
		if tokens += m.Rows; tokens > most {
			tokens -= m.Rows
			break
		}
		docs = append(docs, m)
		bar.Set(i + 1)
	}
	bar.End()
	for _, f := range []cuda.Format{cuda.Float32, cuda.Float16, cuda.BFloat16} {
		if err := c.format(docs, tokens, f); err != nil {
			return fmt.Errorf("MaxSim in %v: %w", f, err)
		}
	}
	return nil
}

func (c *cudaBench) format(docs []maxsim.Matrix, tokens int, f cuda.Format) error {
	start := time.Now()
	d, err := c.dev.LoadDocuments(c.ctx, docs, f)
	if err != nil {
		return err
	}
	defer d.Close()
	load := time.Since(start).Seconds()
	size, bound := 2.0, map[cuda.Format]float64{cuda.Float32: cudaBound, cuda.Float16: 2e-3, cuda.BFloat16: 2e-2}[f]
	if f == cuda.Float32 {
		size = 4
	}
	got, err := d.Scores(c.ctx, []maxsim.Matrix{c.w.queries[c.qs[0]]})
	if err != nil {
		return err
	}
	want, err := maxsim.Scores(c.w.queries[c.qs[0]], docs[:min(cudaChecked, len(docs))])
	if err != nil {
		return err
	}
	worst := 0.
	for i, v := range want {
		worst = max(worst, math.Abs(float64(v)-float64(got[0][i])))
	}
	bound *= float64(c.w.queries[c.qs[0]].Rows)
	if err := c.out.print(c.line("check").add("what", "maxsim_"+f.String(), "documents", len(want), "worst", worst, "bound", bound, "ok", worst <= bound)); err != nil {
		return err
	}
	if !(worst <= bound) {
		return fmt.Errorf("a score is off by %g, at most %g is right", worst, bound)
	}
	for _, batch := range c.batches {
		qs := c.some(batch)
		rows := 0
		for _, q := range qs {
			rows += q.Rows
		}
		seconds, err := c.repeat(func() error {
			_, err := d.Scores(c.ctx, qs)
			return err
		})
		if err != nil {
			return err
		}
		// The least that a call takes: reading the documents once, or making the products.
		bytes, ops := float64(tokens)*float64(c.w.dim)*size, 2*float64(tokens)*float64(c.w.dim)*float64(rows)
		r := c.line("maxsim").add("format", f.String(), "batch", batch, "documents", len(docs), "tokens", tokens, "query_tokens", rows, "load_s", round(load, 2),
			"ms", round(seconds*1e3, 3), "documents_s", round(float64(len(docs)*batch)/seconds, 0), "gb_s", round(bytes/seconds/1e9, 1),
			"tflop_s", round(ops/seconds/1e12, 3), "of_copy_peak", round(bytes/c.peaks.Copy/seconds, 3))
		if f != cuda.Float32 {
			r = r.add("of_mma_peak", round(ops/c.peaks.MMA/seconds, 3), "of_binding_peak", round(max(bytes/c.peaks.Copy, ops/c.peaks.MMA)/seconds, 3))
		}
		if err := c.out.print(r); err != nil {
			return err
		}
	}
	return nil
}

// some is so many queries, some of them several times when there are fewer.
func (c *cudaBench) some(n int) []maxsim.Matrix {
	qs := make([]maxsim.Matrix, n)
	for i := range qs {
		qs[i] = c.w.queries[c.qs[i%len(c.qs)]]
	}
	return qs
}

// index builds on the device and searches there.
func (c *cudaBench) index(points []point) (err error) {
	dir, remove, err := c.folder()
	if err != nil {
		return err
	}
	defer remove()
	if err := c.build(dir); err != nil {
		return fmt.Errorf("build: %w", err)
	}
	if err := c.exact(c.ctx, c.w, c.qs); err != nil {
		return err
	}
	ix, err := index.Open(c.ctx, dir, &index.OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	snap, err := ix.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	start := time.Now()
	s, err := plaid.NewSearcherOn(c.ctx, snap, c.dev, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	in, _ := s.Device()
	if err := c.out.print(c.line("load").add("seconds", round(time.Since(start).Seconds(), 2), "device_mib", in.DeviceBytes>>20, "host_residuals", in.HostResiduals)); err != nil {
		return err
	}
	if err := c.compare(snap, s); err != nil {
		return err
	}
	for _, p := range points {
		if err := c.search(s, p); err != nil {
			return fmt.Errorf("search %s: %w", p.name, err)
		}
	}
	return nil
}

// build makes an index: a sample, k-means on the device, codes from the device.
func (c *cudaBench) build(dir string) error {
	watch := startWatch()
	k := quant.NumCentroids(c.w.tokens)
	sample, err := c.sample(min(int(c.w.tokens), k*quant.DefaultPointsPerCentroid))
	if err != nil {
		return err
	}
	sampled, _ := watch.seconds()
	kmeans := 0.
	cb, err := quant.Train(c.ctx, sample, &quant.TrainOptions{
		NBits: c.bits, Tokens: c.w.tokens, Seed: c.seed, Workers: c.threads, Consume: true, PointsPerCentroid: -1,
		Cluster: func(ctx context.Context, x maxsim.Matrix, k int, o *quant.KMeansOptions) (maxsim.Matrix, error) {
			start := time.Now()
			defer func() { kmeans = time.Since(start).Seconds() }()
			return c.dev.KMeans(ctx, x, k, o)
		},
	})
	if err != nil {
		return err
	}
	trained, _ := watch.seconds()
	coder, err := c.dev.NewCoder(c.ctx, cb)
	if err != nil {
		return err
	}
	defer coder.Close()
	if err := c.compareCodes(cb, coder); err != nil {
		return err
	}
	compared, _ := watch.seconds()
	ix, err := index.Create(c.ctx, dir, &index.Options{Codebook: cb, Workers: c.threads})
	if err != nil {
		return err
	}
	bar := c.bar("coding documents", c.w.docs)
	_, err = ix.AddEncoded(c.ctx, coder.Documents(c.ctx, c.w.documents(c.ctx, 0, c.w.docs, strconv.Itoa, bar.Set)), nil)
	bar.End()
	if err := errors.Join(err, ix.Close()); err != nil {
		return err
	}
	all, _ := watch.seconds()
	return c.out.print(c.line("build").add("docs", c.w.docs, "tokens", c.w.tokens, "centroids", cb.K(), "seconds", round(all-(compared-trained), 2),
		"sample_s", round(sampled, 2), "kmeans_s", round(kmeans, 2), "train_s", round(trained-sampled, 2), "code_and_write_s", round(all-compared, 2)))
}

func (c *cudaBench) sample(most int) (maxsim.Matrix, error) {
	r := quant.NewReservoir(most, c.w.dim, c.seed)
	bar := c.bar("sampling documents", c.w.docs)
	defer bar.End()
	var buf []float32
	for i := range c.w.docs {
		m, err := c.w.doc(i, buf)
		if err != nil {
			return maxsim.Matrix{}, err
		}
		buf = m.Data
		r.Add(m)
		bar.Set(i + 1)
	}
	return r.Sample(), nil
}

// compareCodes codes the first documents on both sides. Vectors with another centroid than the CPU's, which looks into some
// groups only, must have a nearer one.
func (c *cudaBench) compareCodes(cb *quant.Codebook, coder *cuda.Coder) error {
	vectors, other, differ := 0, 0, 0
	for i := range min(cudaChecked, c.w.docs) {
		m, err := c.w.doc(i, nil)
		if err != nil {
			return err
		}
		want, err := cb.Encode(c.ctx, m, c.threads)
		if err != nil {
			return err
		}
		got, err := coder.Encode(c.ctx, m)
		if err != nil {
			return err
		}
		rotated, rb := maxsim.New(m.Rows, m.Dim), cb.RowBytes()
		cb.Rotate(rotated.Data, m.Data, m.Rows)
		vectors += m.Rows
		for t := range m.Rows {
			product := func(code uint32) (sum float64) {
				for j, x := range rotated.Row(t) {
					sum += float64(x) * float64(cb.Centroids()[int(code)*m.Dim+j])
				}
				return sum
			}
			switch {
			case got.Codes[t] != want.Codes[t]:
				other++
				if product(got.Codes[t]) < product(want.Codes[t])-1e-6 {
					return fmt.Errorf("document %d, token %d: the device's centroid %d is farther than the CPU's, %d", i, t, got.Codes[t], want.Codes[t])
				}
			case !slices.Equal(got.Residuals[t*rb:(t+1)*rb], want.Residuals[t*rb:(t+1)*rb]):
				differ++
			}
		}
	}
	if err := c.out.print(c.line("check").add("what", "codes", "vectors", vectors, "other_centroids", other, "other_residuals", differ, "ok", differ == 0)); err != nil {
		return err
	}
	if differ > 0 && runtime.GOARCH == "amd64" {
		return fmt.Errorf("%d of %d residuals are not the CPU's", differ, vectors)
	}
	return nil
}

// compare searches exhaustively on both sides: the same scores, rank by rank.
func (c *cudaBench) compare(snap *index.Snapshot, s *plaid.Searcher) error {
	cpu := plaid.NewSearcher(snap)
	worst, wrong, n := 0., 0, min(20, len(c.qs))
	bound := 0.
	for _, q := range c.qs[:n] {
		o := &plaid.Options{Exhaustive: true, Workers: c.threads}
		want, err := cpu.Search(c.ctx, c.w.queries[q], 10, o)
		if err != nil {
			return err
		}
		got, err := s.Search(c.ctx, c.w.queries[q], 10, o)
		if err != nil {
			return err
		}
		if len(got) != len(want) {
			return fmt.Errorf("query %d: %d hits, the CPU has %d", q, len(got), len(want))
		}
		bound = cudaBound * float64(c.w.queries[q].Rows)
		for i := range want {
			off := math.Abs(float64(want[i].Score) - float64(got[i].Score))
			if worst = max(worst, off); off > bound {
				wrong++
			}
		}
	}
	if err := c.out.print(c.line("check").add("what", "search", "queries", n, "worst", worst, "bound", bound, "ok", wrong == 0)); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%d scores are off by up to %g, at most %g is right", wrong, worst, bound)
	}
	return nil
}

// search measures one setting at several sizes of batches, and single queries of several goroutines.
func (c *cudaBench) search(s *plaid.Searcher, p point) error {
	var found [][]int
	for at := 0; at < len(c.qs); at += 256 {
		var qs []maxsim.Matrix
		for _, q := range c.qs[at:min(at+256, len(c.qs))] {
			qs = append(qs, c.w.queries[q])
		}
		res, err := s.SearchBatch(c.ctx, qs, c.topk, &p.opts)
		if err != nil {
			return err
		}
		for _, r := range res {
			ids, err := numbers(r.Hits)
			if err := errors.Join(r.Err, err); err != nil {
				return err
			}
			found = append(found, ids)
		}
	}
	r := c.line("search").add("point", p.name, "topk", c.topk, "nq", len(c.qs))
	r = append(r, c.w.quality(found, c.qs)...)
	for _, batch := range c.batches {
		qs := c.some(max(batch, len(c.qs)))
		at := 0
		seconds, err := c.repeat(func() error {
			some := qs[at : at+batch]
			if at += batch; at+batch > len(qs) {
				at = 0
			}
			_, err := s.SearchBatch(c.ctx, some, c.topk, &p.opts)
			return err
		})
		if err != nil {
			return err
		}
		r = r.add(fmt.Sprintf("qps_batch%d", batch), round(float64(batch)/seconds, 1))
	}
	qps, err := c.concurrent(s, p, 8)
	if err != nil {
		return err
	}
	return c.out.print(r.add("qps_8_callers", round(qps, 1)))
}

// concurrent is single queries of n goroutines.
func (c *cudaBench) concurrent(s *plaid.Searcher, p point, n int) (qps float64, err error) {
	counts, errs := make([]int, n), make([]error, n)
	start := time.Now()
	var wg sync.WaitGroup
	for g := range n {
		wg.Go(func() {
			for i := g; time.Since(start) < c.time && errs[g] == nil; i++ {
				_, errs[g] = s.Search(c.ctx, c.w.queries[c.qs[i%len(c.qs)]], c.topk, &p.opts)
				counts[g]++
			}
		})
	}
	wg.Wait()
	sum := 0
	for _, v := range counts {
		sum += v
	}
	return float64(sum) / time.Since(start).Seconds(), errors.Join(errs...)
}
