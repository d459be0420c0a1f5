package transformer

import (
	"math"
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

// norm is a layer normalisation over the hidden width, or with rms a root-mean-square normalisation, which
// subtracts no mean and has no beta (Zhang and Sennrich, NeurIPS 2019).
type norm struct {
	gamma, beta []float32
	eps         float32
	rms         bool
}

// apply normalises rows of x in place.
func (n *norm) apply(x []float32, rows int) { n.to(x, x, rows) }

// to writes the normalised rows of x to dst, which may be x.
func (n *norm) to(dst, x []float32, rows int) {
	h := len(n.gamma)
	for i := range rows {
		d, row := dst[i*h:(i+1)*h], x[i*h:(i+1)*h]
		if !n.rms {
			kernel.LayerNorm(d, row, n.gamma, n.beta, n.eps)
			continue
		}
		inv := float32(1 / math.Sqrt(float64(kernel.Dot(row, row)/float32(h)+n.eps)))
		for j, g := range n.gamma {
			d[j] = row[j] * inv * g
		}
	}
}

// feedForward is down(act(up x)), or with gated down(act(u) * v) where u and v are the halves of up x: one matrix
// product makes both (Shazeer, "GLU Variants Improve Transformer", 2020).
type feedForward struct {
	up, down linear
	act      activation
	gated    bool
}

// width is the number of values of up x.
func (f *feedForward) width() int { return f.up.out() }

// add adds the layer's output for n rows of x to y. buf has room for n*width values.
func (f *feedForward) add(s *scratch, y, x, buf []float32, n int) {
	w, h, k := f.width(), f.up.in(), f.down.in()
	f.up.apply(s, buf, w, x, h, n, kernel.Epilogue{})
	if !f.gated {
		f.act.apply(buf[:n*w])
	} else {
		for i := range n {
			row := buf[i*w : (i+1)*w]
			u, v := row[:k], row[k:][:k]
			f.act.apply(u)
			for j := range u {
				u[j] *= v[j]
			}
		}
	}
	f.down.apply(s, y, h, buf, w, n, kernel.Epilogue{Add: y, LdAdd: h})
}
