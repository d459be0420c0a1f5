package train

import (
	"fmt"
	"math"

	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/internal/kernel"
)

// elementBlock is how many values of element-wise functions are one piece of work.
const elementBlock = 1 << 14

// activation is a function of one number, over slices, and its derivative: y gets the function of x and, where d is not
// nil, d the derivative. The slices are of one length.
type activation func(y, d, x []float32)

var activations = map[string]activation{"gelu": gelu, "relu": relu, "silu": silu, "tanh": tanh}

// gelu is x Phi(x), whose derivative is Phi(x) + x phi(x).
func gelu(y, d, x []float32) {
	if d != nil {
		kernel.GELUGrad(y, d, x)
		return
	}
	copy(y, x)
	kernel.GELUSlice(y)
}

func relu(y, d, x []float32) {
	for i, v := range x {
		y[i] = max(v, 0)
		if d != nil {
			d[i] = 0
			if v > 0 {
				d[i] = 1
			}
		}
	}
}

func silu(y, d, x []float32) {
	for i, v := range x {
		s := 1 / (1 + math.Exp(-float64(v)))
		y[i] = float32(float64(v) * s)
		if d != nil {
			d[i] = float32(s * (1 + float64(v)*(1-s)))
		}
	}
}

func tanh(y, d, x []float32) {
	for i, v := range x {
		t := math.Tanh(float64(v))
		y[i] = float32(t)
		if d != nil {
			d[i] = float32(1 - t*t)
		}
	}
}

// activate applies an activation. For the derivative it keeps f'(x), so that nothing reads x any more.
func (s *step) activate(name string, x *gorgonia.Node, act activation) (*gorgonia.Node, error) {
	var slope []float32
	f := &function{name: name, shape: x.Shape().Clone()}
	keep := s.backward && s.learns(x)
	f.do = func(y []float32, v [][]float32) {
		if keep {
			slope = s.mem.get(len(y))
		}
		s.crew.eachBlock(len(y), elementBlock, func(_ *hand, a, b int) {
			var d []float32
			if keep {
				d = slope[a:b]
			}
			act(y[a:b], d, v[0][a:b])
		})
	}
	f.grad = func(_, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		dx, err := s.apply(&function{
			name:  name + ", gradient",
			shape: x.Shape().Clone(),
			do: func(dx []float32, v [][]float32) {
				s.crew.eachBlock(len(dx), elementBlock, func(_ *hand, a, b int) {
					kernel.Mul(dx[a:b], v[0][a:b], slope[a:b])
				})
				s.mem.put(slope)
			},
		}, dy)
		return gorgonia.Nodes{dx}, err
	}
	return s.apply(f, x)
}

// findActivation looks up the name in a configuration; "identity" and "" are nil.
func findActivation(name string) (activation, error) {
	if name == "" || name == "identity" {
		return nil, nil
	}
	act, ok := activations[name]
	if !ok {
		return nil, fmt.Errorf("%w: activation %q", ErrUnsupported, name)
	}
	return act, nil
}
