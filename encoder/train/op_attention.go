package train

import (
	"math"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/golbert/golbert/internal/kernel"
)

// attentionBlock is how many queries, and in the derivative keys, are worked on at a time.
const attentionBlock = 128

// ragged is the form of a batch: sequences of any lengths end to end.
type ragged struct {
	offsets  []int
	attended []int
}

func (r *ragged) rows() int { return r.offsets[len(r.offsets)-1] }

// attention is multi-head self-attention within each sequence: rows of queries, keys and values side by side to rows of
// the heads' outputs. The probabilities are not kept: the derivative makes them again from the scores and the logarithms
// of the softmax's sums (Dao et al., "FlashAttention", 2022, section 3.1).
func (s *step) attention(name string, qkv *gorgonia.Node, r *ragged, heads int) (*gorgonia.Node, error) {
	n, h := qkv.Shape()[0], qkv.Shape()[1]/3
	a := &attention{ragged: r, heads: heads, h: h, d: h / heads}
	a.scale = float32(1 / math.Sqrt(float64(a.d)))
	f := &function{name: name, shape: tensor.Shape{n, h}}
	keep := s.backward && s.learns(qkv)
	f.do = func(out []float32, v [][]float32) {
		if keep {
			a.lse = s.mem.get(n * heads)
		}
		s.crew.each((len(r.offsets)-1)*heads, func(w *hand, i int) { a.head(w, out, v[0], i/heads, i%heads) })
	}
	f.grad = func(out, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, err := s.apply(&function{
			name:  name + ", gradient",
			shape: tensor.Shape{n, 3 * h},
			do: func(dqkv []float32, v [][]float32) {
				s.crew.each((len(r.offsets)-1)*heads, func(w *hand, i int) {
					a.headGrad(w, dqkv, v[0], v[1], v[2], i/heads, i%heads)
				})
				s.mem.put(a.lse)
			},
		}, dy, out, qkv)
		return gorgonia.Nodes{dx}, err
	}
	return s.apply(f, qkv)
}

type attention struct {
	*ragged
	heads, h, d int
	scale       float32
	lse         []float32 // of each query and head, the logarithm of the sum of exponentials; heads x rows
}

// head is one head of one sequence.
func (a *attention) head(w *hand, out, qkv []float32, seq, head int) {
	from, ld := a.offsets[seq], 3*a.h
	n, keys := a.offsets[seq+1]-from, a.attended[seq]
	q := qkv[from*ld+head*a.d:]
	pk, pv := &w.packs[0], &w.packs[1]
	pk.Repack(q[a.h:], keys, a.d, ld)
	pv.RepackT(q[2*a.h:], a.d, keys, ld)
	ep := kernel.Epilogue{Scale: a.scale}
	for r0 := 0; r0 < n; r0 += attentionBlock {
		rows := min(attentionBlock, n-r0)
		scores := w.memory(0, rows*keys)
		pk.Gemm(scores, keys, q[r0*ld:], ld, rows, &ep)
		for r := range rows {
			row := scores[r*keys : (r+1)*keys]
			if a.lse == nil {
				kernel.Softmax(row)
				continue
			}
			a.lse[head*a.rows()+from+r0+r] = kernel.SoftmaxLog(row)
		}
		pv.Gemm(out[(from+r0)*a.h+head*a.d:], a.h, scores, keys, rows, nil)
	}
}

// headGrad is the derivative of head. Scores are made transposed, keys x queries: then the sum that turns them into
// probabilities, and the sum that the softmax's derivative takes off, are biases of products.
func (a *attention) headGrad(w *hand, dqkv, dy, out, qkv []float32, seq, head int) {
	from, ld, d := a.offsets[seq], 3*a.h, a.d
	n, keys := a.offsets[seq+1]-from, a.attended[seq]
	q := qkv[from*ld+head*d:]
	dq := dqkv[from*ld+head*d:]
	dy, out = dy[from*a.h+head*d:], out[from*a.h+head*d:]

	pq, pqT, pd, pdT, ps := &w.packs[0], &w.packs[1], &w.packs[2], &w.packs[3], &w.packs[4]
	pq.Repack(q, n, d, ld)
	pqT.RepackT(q, d, n, ld)
	pd.Repack(dy, n, d, a.h)
	pdT.RepackT(dy, d, n, a.h)
	lse, own := w.memory(0, n), w.memory(1, n)
	for i, v := range a.lse[head*a.rows()+from:][:n] {
		lse[i] = -v
		own[i] = -kernel.Dot(dy[i*a.h:i*a.h+d], out[i*a.h:i*a.h+d])
	}
	most := min(attentionBlock, keys)
	probs, ds := w.memory(2, most*n), w.memory(3, most*n)
	keyT := w.memory(4, d*most)
	dqT := w.memory(5, d*n)
	for k0 := 0; k0 < keys; k0 += attentionBlock {
		rows := min(attentionBlock, keys-k0)
		k, v := q[k0*ld+a.h:], q[k0*ld+2*a.h:]
		pq.Gemm(probs, n, k, ld, rows, &kernel.Epilogue{Scale: a.scale, Bias: lse})
		p := probs[:rows*n]
		kernel.ExpNeg(p)
		pd.Gemm(ds, n, v, ld, rows, &kernel.Epilogue{Bias: own})
		kernel.Mul(ds, p, ds)
		pdT.Gemm(dq[k0*ld+2*a.h:], ld, probs, n, rows, nil)
		pqT.Gemm(dq[k0*ld+a.h:], ld, ds, n, rows, &kernel.Epilogue{Scale: a.scale})
		ps.RepackT(ds, n, rows, n)
		kernel.Transpose(keyT, rows, k, ld, rows, d)
		ep := kernel.Epilogue{Scale: a.scale}
		if k0 > 0 {
			ep.Add, ep.LdAdd = dqT, n
		}
		ps.Gemm(dqT, n, keyT, rows, d, &ep)
	}
	kernel.Transpose(dq, ld, dqT, n, d, n)
	for i := keys; i < n; i++ { // tokens that nobody attends to
		clear(dq[i*ld+a.h : i*ld+a.h+d])
		clear(dq[i*ld+2*a.h : i*ld+2*a.h+d])
	}
}
