package transformer

import "github.com/golbert/golbert/internal/kernel"

// linear is a dense layer y = W x + b with W packed for the matrix kernel. bias may be nil.
type linear struct {
	w    *kernel.Packed
	bias []float32
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
