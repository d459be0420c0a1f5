package train

import (
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"

	"github.com/golbert/golbert/internal/kernel"
)

// weight is a tensor of the model.
type weight struct {
	key   string
	shape []int
	value []float32
	param *Param // nil for a tensor that stays
	// read gives the values of a matrix that stays, which is packed once and not kept beside that.
	read func() []float32
}

func (w *weight) values() []float32 {
	if w.value == nil && w.read != nil {
		return w.read()
	}
	return w.value
}

// dense is one or more Linear layers with the same input, whose outputs lie side by side.
type dense struct {
	parts   []densePart
	in, out int

	bias          []float32
	forward, back matrix
	packed        int // the call for which forward is packed, and back
	packedBack    int
}

// matrix is packed for products in one precision.
type matrix struct {
	low bool
	f32 kernel.Packed
	b16 kernel.PackedBF16
}

// repack packs n rows of k values; repackT packs k rows of n values at stride ld, which are the transposed matrix.
func (m *matrix) repack(w []float32, n, k int) {
	if m.low {
		m.b16.Repack(w, n, k)
	} else {
		m.f32.Repack(w, n, k, k)
	}
}

func (m *matrix) repackT(w []float32, n, k, ld int) {
	if m.low {
		m.b16.RepackT(w, n, k, ld)
	} else {
		m.f32.RepackT(w, n, k, ld)
	}
}

// gemm is the product of rows rows of a with the matrix, of which bfloat16 ones round a.
func (m *matrix) gemm(h *hand, c []float32, ldc int, a []float32, lda, rows int, ep *kernel.Epilogue) {
	if m.low {
		h.rows.BF16(a, lda, rows, m.b16.K())
		m.b16.Gemm(c, ldc, &h.rows, ep)
	} else {
		m.f32.Gemm(c, ldc, a, lda, rows, ep)
	}
}

type densePart struct {
	w, b *weight // b may be nil
	at   int     // the first of its outputs
}

// newDense puts layers side by side: pairs of weight and bias.
func newDense(in int, layers ...*weight) *dense {
	d := &dense{in: in}
	for i := 0; i < len(layers); i += 2 {
		p := densePart{w: layers[i], b: layers[i+1], at: d.out}
		d.parts = append(d.parts, p)
		d.out += p.w.shape[0]
	}
	return d
}

// params lists those that learn.
func (d *dense) params() (ps []*Param) {
	for _, p := range d.parts {
		for _, w := range []*weight{p.w, p.b} {
			if w != nil && w.param != nil {
				ps = append(ps, w.param)
			}
		}
	}
	return ps
}

// pack brings the weights into the kernels' form, in every call again where they may have changed.
func (d *dense) pack(h *hand, call int, backward, low bool) {
	if len(d.params()) == 0 {
		call = -1 // for ever
	}
	if d.packed == call && (d.packedBack == call || !backward) {
		return
	}
	d.forward.low, d.back.low = low, low
	w := d.parts[0].w.values()
	if len(d.parts) > 1 {
		w = h.memory(0, d.out*d.in)[:0]
		for _, p := range d.parts {
			w = append(w, p.w.values()...)
		}
	}
	d.forward.repack(w, d.out, d.in)
	if backward {
		d.back.repackT(w, d.in, d.out, d.in)
	}
	d.bias = d.bias[:0]
	for _, p := range d.parts {
		if p.b != nil {
			d.bias = append(append(d.bias, make([]float32, p.at-len(d.bias))...), p.b.value...)
		}
	}
	if n := len(d.bias); n > 0 {
		d.bias = append(d.bias, make([]float32, d.out-n)...)
	}
	d.packed = call
	if backward {
		d.packedBack = call
	}
}

// span is a range of rows that go through one dense layer.
type span struct {
	from, to int
	d        *dense
}

const (
	// productRows is how many rows of a product are one piece of work, a multiple of the kernels' tiles.
	productRows = 192
	// tokenChunk is how many tokens a weight's gradient sums at a time: a panel of them stays in the second-level cache.
	tokenChunk = 512
	// gradRows is how many rows of a weight's gradient are one piece of work.
	gradRows = 96
)

// linear is y = W x + b, plus add where that is given: n x in to n x out. Rows outside of all spans are zero, or add's.
func (s *step) linear(name string, x *gorgonia.Node, spans []span, add *gorgonia.Node) (*gorgonia.Node, error) {
	n, in, out := x.Shape()[0], spans[0].d.in, spans[0].d.out
	inputs := gorgonia.Nodes{x}
	if add != nil {
		inputs = append(inputs, add)
	}
	first := len(inputs)
	var ps []*Param
	for _, sp := range spans {
		for _, p := range s.learning(sp.d.params()) {
			ps = append(ps, p)
			inputs = append(inputs, s.param(p))
		}
	}
	f := &function{name: name, shape: tensor.Shape{n, out}}
	f.do = func(y []float32, v [][]float32) {
		var r []float32
		if add != nil {
			r = v[1]
		}
		if !covered(spans, n) {
			if r != nil {
				copy(y, r)
			} else {
				clear(y)
			}
		}
		for _, sp := range spans {
			s.crew.eachBlock(sp.to-sp.from, productRows, func(h *hand, a, b int) {
				a, b = sp.from+a, sp.from+b
				ep := kernel.Epilogue{Bias: sp.d.bias}
				if len(ep.Bias) == 0 {
					ep.Bias = nil
				}
				if r != nil {
					ep.Add, ep.LdAdd = r[a*out:], out
				}
				sp.d.forward.gemm(h, y[a*out:], out, v[0][a*in:], in, b-a, &ep)
			})
		}
	}
	f.grad = func(_, dy *gorgonia.Node) (gorgonia.Nodes, error) {
		grads := make(gorgonia.Nodes, first, len(inputs))
		var err error
		if f.diff[0] {
			if grads[0], err = s.linearInput(name, dy, spans, n); err != nil {
				return nil, err
			}
		}
		if add != nil && f.diff[1] {
			grads[1] = dy
		}
		if len(ps) == 0 {
			return grads, nil
		}
		sum, err := s.apply(&function{
			name:  name + ", weights' gradient",
			shape: ps[0].Shape,
			view:  func() []float32 { return ps[0].Grad },
			do: func(_ []float32, v [][]float32) {
				for _, sp := range spans {
					s.addDense(sp, v[0], v[1])
				}
			},
		}, dy, x)
		if err != nil {
			return nil, err
		}
		rest, err := s.gradsOf(ps[1:], sum)
		return append(append(grads, sum), rest...), err
	}
	return s.apply(f, inputs...)
}

func covered(spans []span, n int) bool {
	at := 0
	for _, sp := range spans {
		if sp.from != at {
			return false
		}
		at = sp.to
	}
	return at == n
}

// linearInput is the gradient of a linear operation's input: dy W.
func (s *step) linearInput(name string, dy *gorgonia.Node, spans []span, n int) (*gorgonia.Node, error) {
	in, out := spans[0].d.in, spans[0].d.out
	return s.apply(&function{
		name:  name + ", input's gradient",
		shape: tensor.Shape{n, in},
		do: func(dx []float32, v [][]float32) {
			if !covered(spans, n) {
				clear(dx)
			}
			for _, sp := range spans {
				s.crew.eachBlock(sp.to-sp.from, productRows, func(h *hand, a, b int) {
					a, b = sp.from+a, sp.from+b
					sp.d.back.gemm(h, dx[a*in:], in, v[0][a*out:], out, b-a, nil)
				})
			}
		},
	}, dy)
}

// addDense adds the gradients dy^T x of a dense layer's weights, and of its biases. Each element is summed in the order of
// the tokens by one goroutine.
func (s *step) addDense(sp span, dy, x []float32) {
	d, n := sp.d, sp.to-sp.from
	dy, x = dy[sp.from*d.out:sp.to*d.out], x[sp.from*d.in:sp.to*d.in]
	chunks := (n + tokenChunk - 1) / tokenChunk
	for len(s.crew.packs) < chunks {
		s.crew.packs = append(s.crew.packs, &matrix{low: s.crew.low})
	}
	s.crew.eachBlock(n, tokenChunk, func(_ *hand, a, b int) {
		s.crew.packs[a/tokenChunk].repackT(x[a*d.in:], d.in, b-a, d.in)
	})
	type piece struct {
		p        densePart
		from, to int
	}
	var pieces []piece
	for _, p := range d.parts {
		if p.w.param == nil && (p.b == nil || p.b.param == nil) {
			continue
		}
		for at := 0; at < p.w.shape[0]; at += gradRows {
			pieces = append(pieces, piece{p, at, min(at+gradRows, p.w.shape[0])})
		}
	}
	const ld = tokenChunk + 16 // rows a power of two apart would share few places of the first-level cache
	s.crew.each(len(pieces), func(h *hand, i int) {
		p, from, to := pieces[i].p, pieces[i].from, pieces[i].to
		buf := h.memory(0, gradRows*ld)
		for c := range chunks {
			a, b := c*tokenChunk, min(n, (c+1)*tokenChunk)
			kernel.Transpose(buf, ld, dy[a*d.out+p.at+from:], d.out, b-a, to-from)
			if p.b != nil && p.b.param != nil {
				for r := range to - from {
					p.b.param.Grad[from+r] += kernel.Dot(buf[r*ld:r*ld+b-a], ones[:b-a])
				}
			}
			if p.w.param != nil {
				g := p.w.param.Grad[from*d.in : to*d.in]
				s.crew.packs[c].gemm(h, g, d.in, buf, ld, to-from, &kernel.Epilogue{Add: g, LdAdd: d.in})
			}
		}
	})
}

var ones = func() (v [tokenChunk]float32) {
	for i := range v {
		v[i] = 1
	}
	return v
}()
