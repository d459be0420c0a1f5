package transformer

import "github.com/golbert/golbert/internal/kernel"

// activation is an element-wise function of a feed-forward layer.
type activation uint8

const (
	gelu     activation = iota + 1 // x * Phi(x), exact
	geluTanh                       // the approximation of GELU by tanh
	relu
	silu // x / (1 + exp(-x))
)

// activations are the names in configurations.
var activations = map[string]activation{
	"gelu": gelu, "gelu_new": geluTanh, "gelu_pytorch_tanh": geluTanh, "relu": relu, "silu": silu, "swish": silu,
}

func (a activation) apply(x []float32) {
	switch a {
	case gelu:
		kernel.GELUSlice(x)
	case geluTanh:
		// tanh(y) = 2 sigmoid(2y) - 1, so that x/2 * (1 + tanh(y)) = x sigmoid(2y).
		const c = 2 * 0.7978845608028654 // 2 sqrt(2/pi)
		kernel.Swish(x, c, c*0.044715)
	case relu:
		for i, v := range x {
			x[i] = max(v, 0)
		}
	case silu:
		kernel.Swish(x, 1, 0)
	}
}
