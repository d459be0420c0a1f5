package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/internal/kernel"
)

// The training of the projection. The values ranked best on held-out pairs.
const (
	batchPairs = 64   // each passage of a batch is a negative for the other queries
	sharpness  = 1.0  // factor of the scores before the softmax
	rate       = 1e-3 // peak learning rate of Adam, after a warm-up and then falling to 0
	warmup     = 20   // steps
)

// pair is a query and a passage that answers it.
type pair struct{ query, passage string }

// vectors holds token vectors of width d, the backbone's output at unit length, as float16: texts one after
// the other, text i in rows off[i] to off[i+1].
type vectors struct {
	d    int
	data []uint16
	off  []int
}

func (v *vectors) add(e encoder.Encoded) {
	if len(v.off) == 0 {
		v.off = []int{0}
	}
	h := make([]uint16, len(e.Vectors.Data))
	kernel.F32ToF16(h, e.Vectors.Data)
	v.data = append(v.data, h...)
	v.off = append(v.off, v.off[len(v.off)-1]+e.Vectors.Rows)
}

// appendText widens text i to the end of x.
func (v *vectors) appendText(x []float32, i int) []float32 {
	src := v.data[v.off[i]*v.d : v.off[i+1]*v.d]
	n := len(x)
	x = append(x, make([]float32, len(src))...)
	kernel.F16ToF32(x[n:], src)
	return x
}

// corpus is the pairs as vectors; groups lists the pairs of each file, which batches do not mix: passages of
// one kind are harder negatives for each other.
type corpus struct {
	queries, passages vectors
	groups            [][]int
}

// encodePairs encodes up to limit pairs, taken evenly from the files, and adds their tokens to fit.
func encodePairs(ctx context.Context, model *encoder.Model, files [][]pair, limit int, fit *moments) (*corpus, error) {
	c := &corpus{queries: vectors{d: model.Dim()}, passages: vectors{d: model.Dim()}, groups: make([][]int, len(files))}
	r := rand.New(rand.NewPCG(1, 2))
	var queries, passages []string
	for _, f := range files {
		r.Shuffle(len(f), func(a, b int) { f[a], f[b] = f[b], f[a] })
	}
	for i, more := 0, true; more; i++ {
		more = false
		for g, f := range files {
			if i < len(f) && len(queries) < limit {
				c.groups[g] = append(c.groups[g], len(queries))
				queries, passages = append(queries, f[i].query), append(passages, f[i].passage)
				more = true
			}
		}
	}
	const step = 256
	for at := 0; at < len(queries); at += step {
		end := min(at+step, len(queries))
		q, err := model.EncodeQueries(ctx, queries[at:end], nil)
		if err != nil {
			return nil, err
		}
		p, err := model.EncodeDocuments(ctx, passages[at:end], nil)
		if err != nil {
			return nil, err
		}
		for i := range q {
			c.queries.add(q[i])
			c.passages.add(p[i])
			fit.add(q[i].Vectors.Data, q[i].Vectors.Rows)
			fit.add(p[i].Vectors.Data, p[i].Vectors.Rows)
		}
		fmt.Printf("\r%d of %d pairs, %d tokens", end, len(queries), fit.n)
	}
	fmt.Println()
	return c, nil
}

// train moves the projection w (k x d) so that each query's own passage gets the highest MaxSim of its batch:
// cross-entropy over the batch's passages, Adam. The backbone stays as it is.
func (c *corpus) train(w []float32, k, epochs int) {
	r := rand.New(rand.NewPCG(1, 1))
	steps := 0
	for _, g := range c.groups {
		steps += len(g) / batchPairs
	}
	steps *= epochs
	opt := newAdam(len(w))
	b := batch{c: c, w: w, k: k, d: c.queries.d}
	for e := range epochs {
		var batches [][]int
		for _, g := range c.groups {
			r.Shuffle(len(g), func(i, j int) { g[i], g[j] = g[j], g[i] })
			for at := 0; at+batchPairs <= len(g); at += batchPairs {
				batches = append(batches, append([]int(nil), g[at:at+batchPairs]...))
			}
		}
		r.Shuffle(len(batches), func(i, j int) { batches[i], batches[j] = batches[j], batches[i] })
		loss := 0.0
		for _, pairs := range batches {
			l, grad := b.gradient(pairs)
			loss += l
			n := float64(opt.step + 1)
			opt.update(w, grad, rate*min(1, n/warmup)*(1-n/float64(steps+1)))
		}
		fmt.Printf("epoch %d: loss %.4f\n", e+1, loss/float64(len(batches)))
	}
}

// batch computes loss and gradient; its buffers are reused.
type batch struct {
	c    *corpus
	w    []float32
	k, d int

	proj, docs, rows kernel.Packed
	x                []float32
}

// gradient returns the mean loss of the pairs and its gradient in w.
func (b *batch) gradient(pairs []int) (float64, []float32) {
	n := len(pairs)
	x, start := b.x[:0], []int{0} // rows of queries, then of passages; text t starts at row start[t]
	for _, p := range pairs {
		x = b.c.queries.appendText(x, p)
		start = append(start, len(x)/b.d)
	}
	for _, p := range pairs {
		x = b.c.passages.appendText(x, p)
		start = append(start, len(x)/b.d)
	}
	b.x = x
	rows, nq := start[2*n], start[n]
	u, norm := make([]float32, rows*b.k), make([]float32, rows)
	b.proj.Repack(b.w, b.k, b.d, b.d)
	b.proj.Gemm(u, b.k, x, b.d, rows, nil)
	for i := range norm {
		norm[i] = kernel.Normalize(u[i*b.k : (i+1)*b.k])
	}

	// best[p][i] is the row of passage p that query row i matches.
	best, score := make([][]uint32, n), make([][]float64, n)
	sim := make([]float32, nq)
	for q := range score {
		score[q] = make([]float64, n)
	}
	for p := range n {
		from, to := start[n+p], start[n+p+1]
		best[p] = make([]uint32, nq)
		b.docs.Repack(u[from*b.k:to*b.k], to-from, b.k, b.k)
		b.docs.ArgMax(best[p], sim, u, b.k, nq)
		for q := range n {
			for i := start[q]; i < start[q+1]; i++ {
				score[q][p] += float64(sim[i])
			}
		}
	}

	// The gradient in the unit vectors goes to the matched rows only.
	loss := 0.0
	g := make([]float32, rows*b.k)
	for q := range n {
		prob, l := softmax(score[q], q)
		loss += l / float64(n)
		for p := range n {
			c := prob[p]
			if p == q {
				c--
			}
			f := float32(sharpness * c / float64(n))
			for i := start[q]; i < start[q+1]; i++ {
				j := start[n+p] + int(best[p][i])
				addScaled(g[i*b.k:(i+1)*b.k], f, u[j*b.k:(j+1)*b.k])
				addScaled(g[j*b.k:(j+1)*b.k], f, u[i*b.k:(i+1)*b.k])
			}
		}
	}
	return loss, b.through(g, u, norm, x)
}

// softmax returns the probabilities of the scores and the negative log-likelihood of the right one.
func softmax(score []float64, right int) ([]float64, float64) {
	top := math.Inf(-1)
	for _, s := range score {
		top = max(top, s)
	}
	out, sum := make([]float64, len(score)), 0.0
	for i, s := range score {
		out[i] = math.Exp(sharpness * (s - top))
		sum += out[i]
	}
	for i := range out {
		out[i] /= sum
	}
	return out, -math.Log(out[right])
}

// through takes the gradient g in the unit vectors u back through normalisation and projection:
// dW = sum over rows of ((g - (g.u) u) / |y|) x^T.
func (b *batch) through(g, u, norm, x []float32) []float32 {
	var hit []int
	for i := range norm {
		gi, ui := g[i*b.k:(i+1)*b.k], u[i*b.k:(i+1)*b.k]
		if norm[i] == 0 || kernel.Dot(gi, gi) == 0 {
			continue
		}
		addScaled(gi, -kernel.Dot(gi, ui), ui)
		hit = append(hit, i)
	}
	gt := make([]float32, b.k*len(hit)) // the gradients as columns
	xs := make([]float32, 0, len(hit)*b.d)
	for c, i := range hit {
		for j, v := range g[i*b.k : (i+1)*b.k] {
			gt[j*len(hit)+c] = v / norm[i]
		}
		xs = append(xs, x[i*b.d:(i+1)*b.d]...)
	}
	dw := make([]float32, b.k*b.d)
	if len(hit) > 0 {
		b.rows.RepackT(xs, b.d, len(hit), b.d)
		b.rows.Gemm(dw, b.d, gt, len(hit), b.k, nil)
	}
	return dw
}

func addScaled(dst []float32, f float32, src []float32) {
	for i, v := range src {
		dst[i] += f * v
	}
}

// adam is the optimiser of Kingma and Ba (2015) with its usual constants.
type adam struct {
	step int
	m, v []float64
}

func newAdam(n int) *adam { return &adam{m: make([]float64, n), v: make([]float64, n)} }

func (a *adam) update(w, grad []float32, rate float64) {
	a.step++
	c1, c2 := 1-math.Pow(.9, float64(a.step)), 1-math.Pow(.999, float64(a.step))
	for i, g := range grad {
		a.m[i] += .1 * (float64(g) - a.m[i])
		a.v[i] += .001 * (float64(g)*float64(g) - a.v[i])
		w[i] -= float32(rate * (a.m[i] / c1) / (math.Sqrt(a.v[i]/c2) + 1e-10))
	}
}
