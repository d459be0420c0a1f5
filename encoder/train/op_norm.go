package train

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/golbert/golbert/internal/kernel"
)

// norm is a layer normalisation.
type norm struct {
	gamma, beta *weight
	eps         float32
}

func (l *norm) params() (ps []*Param) {
	for _, w := range []*weight{l.gamma, l.beta} {
		if w.param != nil {
			ps = append(ps, w.param)
		}
	}
	return ps
}

// normBlock is how many rows of a norm are one piece of work, and whose parts of the parameters' gradients are summed
// together.
const normBlock = 128

// layerNorm normalises rows: (x - mean) / sqrt(variance + eps) * gamma + beta.
func (s *step) layerNorm(name string, x *gorgonia.Node, l *norm) (*gorgonia.Node, error) {
	n, h := x.Shape()[0], x.Shape()[1]
	inputs := gorgonia.Nodes{x}
	ps := s.learning(l.params())
	for _, p := range ps {
		inputs = append(inputs, s.param(p))
	}
	f := &function{name: name, shape: tensor.Shape{n, h}}
	f.do = func(y []float32, v [][]float32) {
		s.crew.eachBlock(n, normBlock, func(_ *hand, a, b int) {
			for i := a; i < b; i++ {
				kernel.LayerNorm(y[i*h:(i+1)*h], v[0][i*h:(i+1)*h], l.gamma.value, l.beta.value, l.eps)
			}
		})
	}
	f.grad = func(_, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, err := s.apply(&function{
			name:  name + ", gradient",
			shape: tensor.Shape{n, h},
			do:    func(dx []float32, v [][]float32) { s.normGrad(l, dx, v[0], v[1], n, h) },
		}, dy, x)
		if err != nil {
			return nil, err
		}
		rest, err := s.gradsOf(ps, dx)
		return append(gorgonia.Nodes{dx}, rest...), err
	}
	return s.apply(f, inputs...)
}

// normGrad is the derivative of a layer norm by its input; it adds to the gradients of gamma and beta.
func (s *step) normGrad(l *norm, dx, dy, x []float32, n, h int) {
	blocks := (n + normBlock - 1) / normBlock
	learns := len(l.params()) > 0
	var sums []float32 // per block, of gamma and beta
	if learns {
		sums = s.mem.get(blocks * 2 * h)
	}
	s.crew.eachBlock(n, normBlock, func(w *hand, a, b int) {
		sum := w.memory(0, 2*h) // of nothing that is asked for
		if learns {
			at := a / normBlock * 2 * h
			sum = sums[at : at+2*h]
		}
		clear(sum)
		for i := a; i < b; i++ {
			at, to := i*h, (i+1)*h
			kernel.LayerNormGrad(dx[at:to], dy[at:to], x[at:to], l.gamma.value, sum[:h], sum[h:], l.eps)
		}
	})
	if !learns {
		return
	}
	for at := 0; at < len(sums); at += 2 * h {
		if p := l.gamma.param; p != nil {
			add(p.Grad, sums[at:at+h])
		}
		if p := l.beta.param; p != nil {
			add(p.Grad, sums[at+h:at+2*h])
		}
	}
	s.mem.put(sums)
}

func add(x, y []float32) { kernel.AddScaled(x, y, 1) }

// normalize scales rows to unit length. A row of zeros stays one, and has no gradient.
func (s *step) normalize(x *gorgonia.Node) (*gorgonia.Node, error) {
	n, h := x.Shape()[0], x.Shape()[1]
	norms := make([]float32, n)
	f := &function{name: "unit vectors", shape: tensor.Shape{n, h}}
	f.do = func(y []float32, v [][]float32) {
		s.crew.eachBlock(n, normBlock, func(_ *hand, a, b int) {
			copy(y[a*h:b*h], v[0][a*h:b*h])
			for i := a; i < b; i++ {
				norms[i] = kernel.Normalize(y[i*h : (i+1)*h])
			}
		})
	}
	f.grad = func(y, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, err := s.apply(&function{
			name:  "unit vectors, gradient",
			shape: tensor.Shape{n, h},
			do: func(dx []float32, v [][]float32) {
				s.crew.eachBlock(n, normBlock, func(_ *hand, a, b int) {
					for i := a; i < b; i++ {
						d, u, out := v[0][i*h:(i+1)*h], v[1][i*h:(i+1)*h], dx[i*h:(i+1)*h]
						if norms[i] == 0 {
							clear(out)
							continue
						}
						p, inv := kernel.Dot(d, u), 1/norms[i]
						for j := range out {
							out[j] = (d[j] - p*u[j]) * inv
						}
					}
				})
			},
		}, dy, y)
		return gorgonia.Nodes{dx}, err
	}
	return s.apply(f, x)
}
