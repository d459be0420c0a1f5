package quant

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/stretchr/testify/require"
)

// workload is a collection in the layout of the peers' benchmarks: d128/docs.f16.npy, doclens.i32.npy and
// d128/queries.f16.npy (queries x 32 x 128). TestMeasure reads it from GOLBERT_WORKLOAD.
type workload struct {
	docs    maxsim.Matrix
	off     []int
	queries []maxsim.Matrix // judged
	others  maxsim.Matrix   // the other queries' vectors, to learn from
	pseudo  maxsim.Matrix   // pieces of passages encoded as queries, d128/pseudo.f16.npy, when there
}

func readWorkload(t *testing.T, dir string, judged int) workload {
	read := func(name string) (shape []int, b []byte) {
		b, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		n := 10 + int(binary.LittleEndian.Uint16(b[8:]))
		_, s, _ := strings.Cut(string(b[10:n]), "'shape': (")
		s, _, _ = strings.Cut(s, ")")
		for v := range strings.SplitSeq(s, ",") {
			if v = strings.TrimSpace(v); v != "" {
				d, err := strconv.Atoi(v)
				require.NoError(t, err)
				shape = append(shape, d)
			}
		}
		return shape, b[n:]
	}
	unit := func(b []byte, rows, dim int) maxsim.Matrix {
		m := maxsim.New(rows, dim)
		kernel.LoadF16(m.Data, b)
		m.Normalize()
		return m
	}
	shape, b := read("d128/docs.f16.npy")
	w := workload{docs: unit(b, shape[0], shape[1]), off: []int{0}}
	_, b = read("doclens.i32.npy")
	for ; len(b) > 0; b = b[4:] {
		w.off = append(w.off, w.off[len(w.off)-1]+int(binary.LittleEndian.Uint32(b)))
	}
	shape, b = read("d128/queries.f16.npy")
	all := unit(b, shape[0]*shape[1], shape[2])
	next := 0
	w.others.Dim = all.Dim
	for i := range shape[0] {
		q := all.Slice(i*shape[1], (i+1)*shape[1])
		if i == next*(shape[0]-1)/(judged-1) {
			w.queries = append(w.queries, q)
			next++
		} else {
			w.others.Data = append(w.others.Data, q.Data...)
			w.others.Rows += q.Rows
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "d128/pseudo.f16.npy")); err == nil {
		shape, b = read("d128/pseudo.f16.npy")
		w.pseudo = unit(b, shape[0]*shape[1], shape[2])
	}
	return w
}

// scores are exact MaxSim scores, queries x documents, of vectors that decode supplies.
func (w workload) scores(t *testing.T, rotate func(dst, src []float32, rows int), decode func(dst []float32, from, to int)) [][]float32 {
	qs := make([]*kernel.Query, len(w.queries))
	out := make([][]float32, len(qs))
	for i, q := range w.queries {
		v := q.Clone()
		rotate(v.Data, v.Data, v.Rows)
		qs[i] = kernel.NewQuery(v.Data, v.Rows, v.Dim)
		out[i] = make([]float32, len(w.off)-1)
	}
	require.NoError(t, parallel(context.Background(), len(w.off)-1, 16, 0, func() func(i, j int) {
		var buf []float32
		return func(i, j int) {
			for d := i; d < j; d++ {
				n := w.off[d+1] - w.off[d]
				buf = slices.Grow(buf[:0], n*w.docs.Dim)[:n*w.docs.Dim]
				decode(buf, w.off[d], w.off[d+1])
				for k, q := range qs {
					out[k][d] = q.MaxSim(buf, n)
				}
			}
		}
	}))
	return out
}

func (w workload) exact(t *testing.T) [][]float32 {
	return w.scores(t, func(dst, src []float32, rows int) {}, func(dst []float32, from, to int) {
		copy(dst, w.docs.Slice(from, to).Data)
	})
}

func ranked(s []float32, n int) []int {
	ids := make([]int, len(s))
	for i := range ids {
		ids[i] = i
	}
	slices.SortStableFunc(ids, func(a, b int) int {
		switch {
		case s[a] > s[b]:
			return -1
		case s[a] < s[b]:
			return 1
		}
		return 0
	})
	return ids[:n]
}

func recallAt(got, want [][]float32, n int) float64 {
	found := 0
	for i := range got {
		in := map[int]bool{}
		for _, d := range ranked(want[i], n) {
			in[d] = true
		}
		for _, d := range ranked(got[i], n) {
			if in[d] {
				found++
			}
		}
	}
	return float64(found) / float64(n*len(got))
}

// report encodes all of w with c and prints a row of the table.
func (w workload) report(t *testing.T, name string, c *Codebook, truth [][]float32) {
	start := time.Now()
	enc, err := c.Encode(context.Background(), w.docs, 0)
	require.NoError(t, err)
	took := time.Since(start)
	got := w.scores(t, c.Rotate, func(dst []float32, from, to int) {
		rb := c.RowBytes()
		c.Decode(dst, enc.Codes[from:to], enc.Residuals[from*rb:to*rb])
	})
	var cos, std float64
	n := 0
	v := make([]float32, c.dim)
	for i := 0; i < w.docs.Rows; i += 37 {
		rb := c.RowBytes()
		c.Decode(v, enc.Codes[i:i+1], enc.Residuals[i*rb:(i+1)*rb])
		c.Unrotate(v, v, 1)
		cos += dot(v, w.docs.Row(i))
		n++
	}
	for i := range got {
		var sum, sq float64
		for d := range got[i] {
			e := float64(got[i][d] - truth[i][d])
			sum += e
			sq += e * e
		}
		m := sum / float64(len(got[i]))
		std += math.Sqrt(sq/float64(len(got[i]))-m*m) / float64(len(got))
	}
	fmt.Printf("%-44s cosine %.5f  score error %.4f  recall@10 %.4f  recall@100 %.4f  (%.0f s)\n",
		name, cos/float64(n), std, recallAt(got, truth, 10), recallAt(got, truth, 100), took.Seconds())
}

// TestMeasure prints the table of ARCHITECTURE.md: what each part of the codec brings, over an exhaustive
// search of the decoded vectors. It runs for minutes and only when GOLBERT_WORKLOAD names a workload; -run
// TestMeasure/bits=2 picks rows.
func TestMeasure(t *testing.T) {
	dir := os.Getenv("GOLBERT_WORKLOAD")
	if dir == "" {
		t.Skip("set GOLBERT_WORKLOAD to a workload of the peers' benchmarks")
	}
	ctx := context.Background()
	w := readWorkload(t, dir, 150)
	truth := w.exact(t)
	k := NumCentroids(uint64(w.docs.Rows))
	start := time.Now()
	km, err := cluster(ctx, w.docs.Data, w.docs.Rows, w.docs.Dim, k, &KMeansOptions{})
	require.NoError(t, err)
	fmt.Printf("%d documents, %d vectors, %d centroids in %.0f s\n", len(w.off)-1, w.docs.Rows, k, time.Since(start).Seconds())
	rot := newRotation(w.docs.Dim, 1)
	for _, nbits := range []int{1, 2, 4} {
		for _, v := range []struct {
			name                       string
			quantiles, rotated, scaled bool
			queries                    maxsim.Matrix
		}{
			{name: "quantiles (the peers' levels)", quantiles: true},
			{name: "quantiles, rotation", quantiles: true, rotated: true},
			{name: "Lloyd-Max"},
			{name: "Lloyd-Max, rotation", rotated: true},
			{name: "Lloyd-Max, rotation, scales", rotated: true, scaled: true},
			{name: "Lloyd-Max, directions", queries: w.others},
			{name: "all, 128 passages as queries", rotated: true, scaled: true, queries: w.pseudo},
			{name: "all, the other queries", rotated: true, scaled: true, queries: w.others},
		} {
			if v.name == "all, 128 passages as queries" && w.pseudo.Rows == 0 {
				continue
			}
			t.Run(fmt.Sprintf("bits=%d/%s", nbits, v.name), func(t *testing.T) {
				c := &Codebook{dim: w.docs.Dim, nbits: nbits, centroids: slices.Clone(km.cent), groups: km.sizes, probes: min(groupProbes, len(km.sizes))}
				if v.rotated {
					c.kind, c.seed, c.rot = rotationHadamard, 1, rot
					c.Rotate(c.centroids, c.centroids, k)
				}
				c.centroids = roundHalf(c.centroids)
				if v.scaled {
					c.scales = km.scales()
				}
				r := rng{3}
				if v.queries.Rows > 0 {
					c.focus = newFocus(c, &r, v.queries)
				}
				_, held, _ := split(&r, w.docs, nil, 20000, false)
				require.NoError(t, rotateAll(ctx, c, held, 0))
				require.NoError(t, c.fitLevels(ctx, held, 0))
				if v.quantiles {
					c.cutoffs, c.weights = quantileLevels(c, held)
				}
				require.NoError(t, c.init())
				w.report(t, fmt.Sprintf("%d bits, %s", nbits, v.name), c, truth)
			})
		}
	}
}

// quantileLevels are the peers': cutoffs and levels at the quantiles of the residuals.
func quantileLevels(c *Codebook, held maxsim.Matrix) (cutoffs, weights []float32) {
	k := len(c.centroids) / c.dim
	code := make([]uint32, held.Rows)
	kernel.Pack(c.centroids, k, c.dim).ArgMax(code, nil, held.Data, c.dim, held.Rows)
	for i := range held.Rows {
		for j := range held.Row(i) {
			held.Row(i)[j] -= c.centroids[int(code[i])*c.dim+j]
		}
	}
	slices.Sort(held.Data)
	n := 1 << c.nbits
	for i := range n {
		weights = append(weights, float32(quantile(held.Data, (float64(i)+0.5)/float64(n))))
		if i > 0 {
			cutoffs = append(cutoffs, float32(quantile(held.Data, float64(i)/float64(n))))
		}
	}
	return cutoffs, weights
}

// TestMeasureKMeans prints what k-means costs and how well its centroids fit, for plain and grouped k-means.
func TestMeasureKMeans(t *testing.T) {
	dir := os.Getenv("GOLBERT_WORKLOAD")
	if dir == "" {
		t.Skip("set GOLBERT_WORKLOAD to a workload of the peers' benchmarks")
	}
	ctx := context.Background()
	w := readWorkload(t, dir, 2)
	n, dim := w.docs.Rows, w.docs.Dim
	k := NumCentroids(uint64(n))
	fmt.Printf("%d vectors, %d centroids\n", n, k)
	fit := func(name string, m *kmeans, cpu float64) {
		m.cent = roundHalf(m.cent)
		for _, probes := range []int{0, 4, 8, 16, 32} {
			sizes := m.sizes
			if probes == 0 {
				sizes = nil
			} else if sizes == nil {
				continue
			}
			code, score := make([]uint32, n), make([]float32, n)
			start := cpuSeconds()
			require.NoError(t, newAssigner(m.cent, dim, sizes, probes).run(ctx, code, score, w.docs.Data, 0))
			took := cpuSeconds() - start
			var sum, dist float64
			for i, s := range score {
				sum += float64(s)
				dist += 2 - 2*float64(s)
				_ = i
			}
			fmt.Printf("%-40s %6.1f CPU s; assignment, %2d probes: %6.1f CPU s, cosine %.5f, residual energy %.5f\n", name, cpu, probes, took, sum/float64(n), dist/float64(n))
		}
	}
	for _, c := range []struct{ per, iters int }{{64, 4}, {16, 4}, {32, 4}} {
		start := cpuSeconds()
		r := rng{1}
		data, rows := subsample(&r, w.docs.Data, n, dim, k*c.per)
		m := newKMeans(data, rows, dim, k, 0)
		m.seed(&r)
		require.NoError(t, m.iterate(ctx, c.iters, func(int, int) {}))
		fit(fmt.Sprintf("plain, %d points, %d iterations", c.per, c.iters), m, cpuSeconds()-start)
	}
	for _, c := range []struct{ per, iters int }{{64, 6}, {32, 6}, {16, 6}, {64, 12}, {64, 3}} {
		start := cpuSeconds()
		m, err := cluster(ctx, w.docs.Data, n, dim, k, &KMeansOptions{PointsPerCentroid: c.per, Iterations: c.iters})
		require.NoError(t, err)
		fit(fmt.Sprintf("groups, %d points, %d iterations", c.per, c.iters), m, cpuSeconds()-start)
	}
}

// cpuSeconds returns the processor time of this process.
func cpuSeconds() float64 {
	b, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		return float64(time.Now().UnixNano()) / 1e9
	}
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	u, _ := strconv.ParseFloat(f[11], 64)
	s, _ := strconv.ParseFloat(f[12], 64)
	return (u + s) / 100
}
