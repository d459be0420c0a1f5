package encoder

import (
	"fmt"
	"math"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// head is the chain of projections between the transformer's output and the token vectors.
type head []projection

// projection is y = act(W x + b), plus x or R x.
type projection struct {
	in, out  int
	w, r     *kernel.Packed // r is nil without a residual matrix
	bias     []float32
	act      string
	residual bool
}

// newHead packs a checkpoint's projections and checks that each fits the one before.
func newHead(dense []checkpoint.Dense, width int) (head, error) {
	var h head
	for i, d := range dense {
		switch {
		case d.In != width || d.Out <= 0 || len(d.Weight) != d.In*d.Out:
			return nil, fmt.Errorf("encoder: projection %d is %d -> %d with %d weights, its input has %d values: %w", i, d.In, d.Out, len(d.Weight), width, checkpoint.ErrCorrupt)
		case len(d.Bias) != 0 && len(d.Bias) != d.Out:
			return nil, fmt.Errorf("encoder: projection %d has %d bias values for %d outputs: %w", i, len(d.Bias), d.Out, checkpoint.ErrCorrupt)
		case d.Residual && len(d.ResidualWeight) == 0 && d.In != d.Out,
			d.Residual && len(d.ResidualWeight) != 0 && len(d.ResidualWeight) != d.In*d.Out:
			return nil, fmt.Errorf("encoder: projection %d (%d -> %d) has %d residual weights: %w", i, d.In, d.Out, len(d.ResidualWeight), checkpoint.ErrCorrupt)
		}
		p := projection{in: d.In, out: d.Out, w: kernel.Pack(d.Weight, d.Out, d.In), act: d.Activation, residual: d.Residual}
		if len(d.Bias) > 0 {
			p.bias = d.Bias
		}
		if d.Residual && len(d.ResidualWeight) > 0 {
			p.r = kernel.Pack(d.ResidualWeight, d.Out, d.In)
		}
		if p.act == "" {
			p.act = "identity"
		}
		if _, ok := activations[p.act]; !ok && p.act != "gelu" {
			return nil, fmt.Errorf("projection %d with activation %q: %w", i, p.act, ErrUnsupported)
		}
		h = append(h, p)
		width = d.Out
	}
	return h, nil
}

// activations are those that the matrix kernel does not apply itself.
var activations = map[string]func(x []float32){
	"identity": func([]float32) {},
	"relu": func(x []float32) {
		for i, v := range x {
			x[i] = max(v, 0)
		}
	},
	"silu": func(x []float32) {
		for i, v := range x {
			x[i] = float32(float64(v) / (1 + math.Exp(-float64(v))))
		}
	},
	"tanh": func(x []float32) {
		for i, v := range x {
			x[i] = float32(math.Tanh(float64(v)))
		}
	},
}

// apply takes rows of x through the chain and returns the result: x itself without projections, else a slice
// of one of the two buffers.
func (h head) apply(x []float32, rows int, buf *[2][]float32) []float32 {
	for i := range h {
		b := &buf[i%2]
		if n := rows * h[i].out; cap(*b) < n {
			*b = make([]float32, n, n+n/4)
		}
		y := (*b)[:rows*h[i].out]
		h[i].apply(y, x, rows)
		x = y
	}
	return x
}

func (p *projection) apply(y, x []float32, rows int) {
	ep := kernel.Epilogue{Bias: p.bias}
	if p.act == "gelu" {
		ep.Act = kernel.GELU
	}
	act, later := activations[p.act]
	if p.residual && p.r == nil && !later {
		ep.Add, ep.LdAdd = x, p.in
	}
	p.w.Gemm(y, p.out, x, p.in, rows, &ep)
	if later {
		act(y)
	}
	switch {
	case !p.residual:
	case p.r != nil:
		p.r.Gemm(y, p.out, x, p.in, rows, &kernel.Epilogue{Add: y, LdAdd: p.out})
	case later:
		for i, v := range x {
			y[i] += v
		}
	}
}

// params counts the weights.
func (h head) params() int64 {
	n := 0
	for _, p := range h {
		n += p.in*p.out + len(p.bias)
		if p.r != nil {
			n += p.in * p.out
		}
	}
	return int64(n)
}
