package transformer

import (
	"sync"

	"github.com/golbert/golbert/internal/kernel"
)

// linear is a dense layer y = W x + b with W packed for the matrix kernels in the model's precision. Architectures
// use apply and know nothing of precisions.
type linear struct {
	n, k int       // outputs and inputs
	bias []float32 // nil for a layer without

	once sync.Once
	pack func() *kernel.Packed // reads the weights from the checkpoint; nil afterwards
	w    *kernel.Packed
}

// in and out are the numbers of inputs and outputs.
func (l *linear) in() int  { return l.k }
func (l *linear) out() int { return l.n }

// ready packs the weights unless they are. The loader calls it for every layer but lazy ones, which it leaves to their
// first use.
func (l *linear) ready() {
	l.once.Do(func() { l.w, l.pack = l.pack(), nil })
}

// apply writes y = act(scale * (W x) + bias) + add for rows rows of x, at the strides ldy and ldx. ep is what it does
// beside the bias, which is the layer's own. y must not overlap x; ep.Add may be y.
func (l *linear) apply(s *scratch, y []float32, ldy int, x []float32, ldx, rows int, ep kernel.Epilogue) {
	l.ready()
	ep.Bias = l.bias
	l.w.Gemm(y, ldy, x, ldx, rows, &ep)
}

// norm is a layer normalisation over the hidden width.
type norm struct {
	gamma, beta []float32
	eps         float32
}

// apply normalises rows of x in place.
func (n *norm) apply(x []float32, rows int) {
	h := len(n.gamma)
	for i := range rows {
		row := x[i*h : (i+1)*h]
		kernel.LayerNorm(row, row, n.gamma, n.beta, n.eps)
	}
}
