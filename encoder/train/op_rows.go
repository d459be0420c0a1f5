package train

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/golbert/golbert/internal/kernel"
)

// lookup is one embedding table, and the row of it that each token takes.
type lookup struct {
	t    *table
	rows []int32
}

// embedColumns is how many columns of embeddings' gradients are one piece of work.
const embedColumns = 64

// embed sums the rows of several tables for every token: n x h.
func (s *step) embed(n, h int, tables ...lookup) (*gorgonia.Node, error) {
	sum := func(y []float32, _ [][]float32) {
		s.crew.eachBlock(n, normBlock, func(w *hand, a, b int) {
			row := w.memory(0, h)
			for i := a; i < b; i++ {
				out := y[i*h : (i+1)*h]
				for j, l := range tables {
					if j == 0 {
						l.t.row(out, int(l.rows[i]))
						continue
					}
					l.t.row(row, int(l.rows[i]))
					add(out, row)
				}
			}
		})
	}
	var inputs gorgonia.Nodes
	var learning []lookup
	var ps []*Param
	if s.backward {
		for _, l := range tables {
			if l.t.w != nil && l.t.w.param != nil {
				learning, ps = append(learning, l), append(ps, l.t.w.param)
				inputs = append(inputs, s.param(l.t.w.param))
			}
		}
	}
	if len(learning) == 0 {
		x := s.mem.get(n * h)
		sum(x, nil)
		return s.constant("embeddings", x, n, h), nil
	}
	f := &function{name: "embeddings", shape: tensor.Shape{n, h}, do: sum}
	f.grad = func(_, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		first, err := s.apply(&function{
			name:  "embeddings, gradient",
			shape: ps[0].Shape,
			view:  func() []float32 { return ps[0].Grad },
			do: func(_ []float32, v [][]float32) {
				// Tokens may share rows: each column is summed by one goroutine, in the order of the tokens.
				s.crew.eachBlock(h, embedColumns, func(_ *hand, a, b int) {
					for _, l := range learning {
						grad := l.t.w.param.Grad
						for i, r := range l.rows {
							add(grad[int(r)*h+a:int(r)*h+b], v[0][i*h+a:i*h+b])
						}
					}
				})
			},
		}, dy)
		if err != nil {
			return nil, err
		}
		rest, err := s.gradsOf(ps[1:], first)
		return append(gorgonia.Nodes{first}, rest...), err
	}
	return s.apply(f, inputs...)
}

// rows takes rows of x with the given numbers, each once at most.
func (s *step) rows(x *gorgonia.Node, numbers []int32) (*gorgonia.Node, error) {
	n, h := x.Shape()[0], x.Shape()[1]
	f := &function{name: "kept rows", shape: tensor.Shape{len(numbers), h}}
	f.do = func(y []float32, v [][]float32) {
		s.crew.eachBlock(len(numbers), normBlock, func(_ *hand, a, b int) {
			for i := a; i < b; i++ {
				copy(y[i*h:(i+1)*h], v[0][int(numbers[i])*h:])
			}
		})
	}
	f.grad = func(_, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, err := s.apply(&function{
			name:  "kept rows, gradient",
			shape: tensor.Shape{n, h},
			do: func(dx []float32, v [][]float32) {
				clear(dx)
				for i, r := range numbers {
					copy(dx[int(r)*h:(int(r)+1)*h], v[0][i*h:])
				}
			},
		}, dy)
		return gorgonia.Nodes{dx}, err
	}
	return s.apply(f, x)
}

// maxSim is the matrix of the scores of all queries with all documents: the sum over the query's rows of the largest
// inner product with a row of the document. Rows of x are those of the queries, then those of the documents; the offsets
// are into x, one more than there are queries and documents. The gradient comes multiplied by weight.
func (s *step) maxSim(x *gorgonia.Node, queries, documents []int, weight float32) (*gorgonia.Node, error) {
	dim := x.Shape()[1]
	nq, nd := len(queries)-1, len(documents)-1
	tokens := queries[nq]
	var best []uint32 // per document and query token, the row of the document
	f := &function{name: "MaxSim", shape: tensor.Shape{nq, nd}}
	f.do = func(scores []float32, v [][]float32) {
		best = make([]uint32, nd*tokens)
		s.crew.each(nd, func(w *hand, d int) {
			from, to := documents[d], documents[d+1]
			p, top := &w.packs[0], w.memory(0, tokens)
			p.Repack(v[0][from*dim:], to-from, dim, dim)
			p.ArgMax(best[d*tokens:(d+1)*tokens], top, v[0], dim, tokens)
			for q := range nq {
				var sum float32
				for _, t := range top[queries[q]:queries[q+1]] {
					sum += t
				}
				scores[q*nd+d] = sum
			}
		})
	}
	f.grad = func(_, ds *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, err := s.apply(&function{
			name:  "MaxSim, gradient",
			shape: x.Shape().Clone(),
			do: func(dx []float32, v [][]float32) {
				g, x := v[0], v[1]
				s.crew.each(nq+nd, func(_ *hand, i int) {
					if i < nq {
						clear(dx[queries[i]*dim : queries[i+1]*dim])
						for d := range nd {
							w := g[i*nd+d] * weight
							for t := queries[i]; w != 0 && t < queries[i+1]; t++ {
								r := documents[d] + int(best[d*tokens+t])
								kernel.AddScaled(dx[t*dim:(t+1)*dim], x[r*dim:(r+1)*dim], w)
							}
						}
						return
					}
					d := i - nq
					clear(dx[documents[d]*dim : documents[d+1]*dim])
					for q := range nq {
						w := g[q*nd+d] * weight
						for t := queries[q]; w != 0 && t < queries[q+1]; t++ {
							r := documents[d] + int(best[d*tokens+t])
							kernel.AddScaled(dx[r*dim:(r+1)*dim], x[t*dim:(t+1)*dim], w)
						}
					}
				})
			},
		}, ds, x)
		return gorgonia.Nodes{dx}, err
	}
	return s.apply(f, x)
}
