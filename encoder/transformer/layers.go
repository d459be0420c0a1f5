package transformer

import (
	"math"

	"github.com/golbert/golbert/internal/kernel"
)

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
