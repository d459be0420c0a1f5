package transformer

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// mambaConfig is the config.json of Mamba in transformers' form.
type mambaConfig struct {
	Vocab    int             `json:"vocab_size"`
	Hidden   int             `json:"hidden_size"`
	Inner    int             `json:"intermediate_size"` // 0: expand * hidden_size
	Expand   float64         `json:"expand"`
	State    int             `json:"state_size"`
	Layers   int             `json:"num_hidden_layers"`
	Kernel   int             `json:"conv_kernel"`
	Rank     json.RawMessage `json:"time_step_rank"` // a number, or "auto": hidden_size / 16
	Eps      float64         `json:"layer_norm_epsilon"`
	Bias     bool            `json:"use_bias"`
	ConvBias bool            `json:"use_conv_bias"`
	Act      string          `json:"hidden_act"`
}

// newMamba loads Mamba (Gu and Dao, "Mamba: Linear-Time Sequence Modeling with Selective State Spaces", 2023) under
// the tensor names of transformers' MambaModel. Its time is linear in the length, and a token sees only what is
// before it. Tokens that are not attended to leave the state alone but for its decay.
func newMamba(c *checkpoint.Checkpoint, l *loader) (*prenorm, error) {
	s := settings{arch: "mamba"}
	g := mambaConfig{Expand: 2, State: 16, Kernel: 4, Eps: 1e-5, ConvBias: true, Act: "silu"}
	s.read(&c.Config, &g)
	s.size("vocab_size", g.Vocab, 1<<24)
	s.size("hidden_size", g.Hidden, 0)
	s.size("state_size", g.State, 1<<12)
	s.size("num_hidden_layers", g.Layers, maxLayers)
	s.size("conv_kernel", g.Kernel, 1<<10)
	s.positive("layer_norm_epsilon", g.Eps)
	s.positive("expand", g.Expand)
	if g.Inner == 0 {
		g.Inner = int(min(g.Expand*float64(g.Hidden), maxSize+1))
	}
	s.size("intermediate_size", g.Inner, 0)
	rank := (g.Hidden + 15) / 16
	if r := string(g.Rank); r != "" && r != `"auto"` && r != "null" {
		if json.Unmarshal(g.Rank, &rank) != nil {
			s.fail("time_step_rank %s", r)
		}
	}
	s.size("time_step_rank", rank, 0)
	if g.Act != "silu" && g.Act != "swish" {
		s.fail("hidden_act %q", g.Act)
	}
	if s.err != nil {
		return nil, s.err
	}
	h := g.Hidden
	m := &prenorm{shape: Shape{Architecture: "mamba", Layers: g.Layers, Hidden: h, FFN: g.Inner, Vocab: g.Vocab}}
	m.words = l.table("embeddings.weight", g.Vocab, h)
	m.layers = make([]prenormLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("layers.%d.", i)
		b.mixNorm = l.rms(p+"norm", h, g.Eps)
		v, n := &stateSpace{inner: g.Inner, state: g.State, rank: rank}, p+"mixer."
		b.mixer = v
		l.stack(&v.in, h, g.Bias, stacked{n + "in_proj", 2 * g.Inner})
		v.conv = l.depthwise(n+"conv1d", g.Inner, g.Kernel, g.ConvBias)
		l.stack(&v.params, g.Inner, false, stacked{n + "x_proj", rank + 2*g.State})
		l.stack(&v.step, rank, true, stacked{n + "dt_proj", g.Inner})
		l.stack(&v.out, g.Inner, g.Bias, stacked{n + "out_proj", h})
		v.a = l.floats(n+"A_log", g.Inner, g.State)
		for i, x := range v.a {
			v.a[i] = -float32(math.Exp(float64(x)))
		}
		v.d = l.floats(n+"D", g.Inner)
	}
	m.finalNorm = *l.rms("norm_f", h, g.Eps)
	return m.finish(l, &s)
}

// stateSpace mixes tokens by a selective state space: per channel a state of a few numbers that decays and takes in
// the token's value, both at a pace that the token itself sets.
type stateSpace struct {
	inner, state, rank int
	in                 linear // value and gate
	conv               depthwise
	params             linear // step (rank values), B and C (state values each)
	step               linear
	out                linear
	a                  []float32 // inner x state, negative: the decay
	d                  []float32 // the value's way past the state
}

func (m *stateSpace) mix(s *scratch, x, in []float32, b *Batch) error {
	h, rows, w := m.in.in(), len(b.IDs), m.inner
	np := m.params.out()
	s.qkv = grow(s.qkv, rows*2*w)
	s.ctx = grow(s.ctx, rows*w)
	s.scores = grow(s.scores, rows*(np+w))
	params, steps := s.scores[:rows*np], s.scores[rows*np:]
	m.in.apply(s, s.qkv, 2*w, in, h, rows, kernel.Epilogue{})
	hide := func(rowsOf []float32, ld int) {
		for r, a := range b.Attend {
			if !a {
				clear(rowsOf[r*ld : r*ld+w])
			}
		}
	}
	hide(s.qkv, 2*w)
	m.conv.apply(s.ctx, s.qkv, 2*w, b.Lens)
	silu.apply(s.ctx)
	hide(s.ctx, w)
	m.params.apply(s, params, np, s.ctx, w, rows, kernel.Epilogue{})
	m.step.apply(s, steps, w, params, np, rows, kernel.Epilogue{})
	s.ffn = grow(s.ffn, 2*w*m.state)
	for r := range rows {
		softplus(steps[r*w:(r+1)*w], s.ffn[:w])
	}
	state, decay := s.ffn[:w*m.state], s.ffn[w*m.state:]
	at := 0
	for _, n := range b.Lens {
		clear(state)
		for r := at; r < at+n; r++ {
			bc := params[r*np+m.rank : (r+1)*np]
			m.advance(s.ctx[r*w:(r+1)*w], state, decay, steps[r*w:(r+1)*w], bc[:m.state], bc[m.state:])
		}
		at += n
	}
	for r := range rows {
		y, gate := s.ctx[r*w:(r+1)*w], s.qkv[r*2*w+w:(r+1)*2*w]
		silu.apply(gate)
		for i, v := range gate {
			y[i] *= v
		}
	}
	m.out.apply(s, x, h, s.ctx, w, rows, kernel.Epilogue{Add: x, LdAdd: h})
	return nil
}

// advance takes the state one token further: v holds the channels' values and gets their outputs, step their paces,
// decay is working memory as long as state.
func (m *stateSpace) advance(v, state, decay, step, b, c []float32) {
	n := m.state
	for i, dt := range step {
		d, a := decay[i*n:(i+1)*n], m.a[i*n:(i+1)*n]
		for j, x := range a {
			d[j] = dt * x
		}
	}
	kernel.ExpNeg(decay)
	b, c = b[:n], c[:n]
	for i, x := range v {
		h, d := state[i*n:(i+1)*n], decay[i*n:(i+1)*n]
		dx := step[i] * x
		var y0, y1 float32 // two sums: one would wait for itself
		j := 0
		for ; j+2 <= len(h); j += 2 {
			k0 := d[j]*h[j] + dx*b[j]
			k1 := d[j+1]*h[j+1] + dx*b[j+1]
			h[j], h[j+1] = k0, k1
			y0 += k0 * c[j]
			y1 += k1 * c[j+1]
		}
		if j < len(h) {
			k := d[j]*h[j] + dx*b[j]
			h[j] = k
			y0 += k * c[j]
		}
		v[i] = y0 + y1 + m.d[i]*x
	}
}

// softplus replaces x by log(1 + exp(x)) = max(x, 0) + log(1 + e) with e = exp(-|x|). The logarithm is
// 2 artanh(e/(2+e)), whose argument is at most 1/3: the series below is off by under 1e-8.
func softplus(x, e []float32) {
	for i, v := range x {
		e[i] = -max(v, -v)
	}
	kernel.ExpNeg(e)
	for i, v := range x {
		s := e[i] / (2 + e[i])
		q := s * s
		x[i] = max(v, 0) + 2*s*(1+q*(1./3+q*(1./5+q*(1./7+q*(1./9+q*(1./11+q*(1./13)))))))
	}
}
