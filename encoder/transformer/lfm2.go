package transformer

import (
	"fmt"
	"slices"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// lfm2Config is LFM2's config.json.
type lfm2Config struct {
	Vocab        int           `json:"vocab_size"`
	Hidden       int           `json:"hidden_size"`
	Intermediate int           `json:"intermediate_size"`
	BlockFF      *int          `json:"block_ff_dim"` // takes the place of intermediate_size
	Layers       int           `json:"num_hidden_layers"`
	Heads        int           `json:"num_attention_heads"`
	KVHeads      *int          `json:"num_key_value_heads"`
	Positions    int           `json:"max_position_embeddings"`
	Eps          float64       `json:"norm_eps"`
	Theta        float64       `json:"rope_theta"`
	Rope         *ropeSettings `json:"rope_parameters"`
	ConvBias     bool          `json:"conv_bias"`
	ConvLength   int           `json:"conv_L_cache"`
	AdjustFF     bool          `json:"block_auto_adjust_ff_dim"`
	Multiplier   *float64      `json:"block_ffn_dim_multiplier"`
	MultipleOf   int           `json:"block_multiple_of"`
	LayerTypes   []string      `json:"layer_types"`
	Attention    []int         `json:"full_attn_idxs"` // the layers with attention where layer_types is missing

	directionConfig
}

// newLFM2 loads LFM2 (Liquid AI, 2025) under the tensor names of transformers' Lfm2Model: most layers mix tokens by a
// gated convolution over three of them, some by grouped-query attention with normalised queries and keys. In the
// retrievers of the LFM2.5 generation, whose architecture is called bidirectional, the convolution is centred and
// attention sees both ways; otherwise both look back only.
//
// The convolutions do not know which tokens are attended to: as in the original for one text at a time, the tokens of
// query expansion go through them like any others.
func newLFM2(c *checkpoint.Checkpoint, l *loader) (*prenorm, error) {
	s := settings{arch: c.Config.ModelType}
	one := 1.0
	g := lfm2Config{Positions: 128000, Eps: 1e-5, Theta: 1e6, ConvLength: 3, AdjustFF: true, Multiplier: &one, MultipleOf: 256}
	s.read(&c.Config, &g)
	heads := s.grouped(g.Hidden, g.Heads, g.KVHeads, nil, 0)
	heads.causal = g.causal(c.Config.ModelType != "lfm2_bidirectional")
	if g.BlockFF != nil {
		g.Intermediate = *g.BlockFF
	}
	s.size("vocab_size", g.Vocab, 1<<24)
	s.size("intermediate_size", g.Intermediate, 0)
	s.size("num_hidden_layers", g.Layers, maxLayers)
	s.size("max_position_embeddings", g.Positions, 1<<24)
	s.size("conv_L_cache", g.ConvLength, 1<<10)
	s.positive("norm_eps", g.Eps)
	if !heads.causal && g.ConvLength%2 == 0 {
		s.fail("conv_L_cache %d, which has no centre", g.ConvLength)
	}
	if g.AdjustFF {
		s.size("block_multiple_of", g.MultipleOf, 0)
		if g.Multiplier != nil {
			s.positive("block_ffn_dim_multiplier", *g.Multiplier)
		}
	}
	if g.LayerTypes != nil && len(g.LayerTypes) != g.Layers {
		s.fail("%d layer_types for %d layers", len(g.LayerTypes), g.Layers)
	}
	r := s.rope(g.Rope, g.Theta, heads.dim)
	if s.err != nil {
		return nil, s.err
	}
	ffn := g.ffn()
	s.size("intermediate_size (adjusted)", ffn, 0)
	if s.err != nil {
		return nil, s.err
	}

	h := g.Hidden
	m := &prenorm{shape: Shape{Architecture: c.Config.ModelType, Layers: g.Layers, Hidden: h, Heads: g.Heads, FFN: ffn, Vocab: g.Vocab, MaxTokens: g.Positions}}
	m.words = l.table("embed_tokens.weight", g.Vocab, h)
	m.layers = make([]prenormLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("layers.%d.", i)
		b.mixNorm = l.rms(p+"operator_norm", h, g.Eps)
		kind := fullAttention
		if g.LayerTypes != nil {
			kind = g.LayerTypes[i]
		} else if g.Attention != nil && !slices.Contains(g.Attention, i) {
			kind = "conv"
		}
		switch kind {
		case fullAttention:
			a, n := &attention{heads: heads, rope: r}, p+"self_attn."
			b.mixer = a
			l.stack(&a.qkv, h, false, stacked{n + "q_proj", a.q * a.dim}, stacked{n + "k_proj", a.kv * a.dim}, stacked{n + "v_proj", a.kv * a.dim})
			l.stack(&a.proj, a.q*a.dim, false, stacked{n + "out_proj", h})
			a.qNorm, a.kNorm = l.rms(n+"q_layernorm", a.dim, g.Eps), l.rms(n+"k_layernorm", a.dim, g.Eps)
		case "conv":
			v, n := &shortConv{}, p+"conv."
			b.mixer = v
			l.stack(&v.in, h, g.ConvBias, stacked{n + "in_proj", 3 * h})
			l.stack(&v.out, h, g.ConvBias, stacked{n + "out_proj", h})
			v.conv = l.depthwise(n+"conv", h, g.ConvLength, g.ConvBias)
			if v.conv.before = g.ConvLength - 1; !heads.causal {
				v.conv.before = g.ConvLength / 2
			}
		default:
			s.fail("layer type %q", kind)
		}
		b.ffnNorm = l.rms(p+"ffn_norm", h, g.Eps)
		b.ffn = &feedForward{act: silu, gated: true}
		n := p + "feed_forward."
		l.stack(&b.ffn.up, h, false, stacked{n + "w1", ffn}, stacked{n + "w3", ffn})
		l.stack(&b.ffn.down, ffn, false, stacked{n + "w2", h})
	}
	m.finalNorm = *l.rms("embedding_norm", h, g.Eps)
	return m.finish(l, &s)
}

// ffn is the width of the feed-forward layers: the configuration's, or two thirds of it, scaled and rounded up.
func (g *lfm2Config) ffn() int {
	n := g.Intermediate
	if !g.AdjustFF {
		return n
	}
	n = 2 * n / 3
	if g.Multiplier != nil {
		n = int(min(*g.Multiplier*float64(n), maxSize+1))
		n = (n + g.MultipleOf - 1) / g.MultipleOf * g.MultipleOf
	}
	return n
}

// shortConv mixes tokens by out(c * conv(b * v)), where b, c and v are the thirds of in x.
type shortConv struct {
	in, out linear
	conv    depthwise
}

func (m *shortConv) mix(s *scratch, x, in []float32, b *Batch) error {
	h, rows := m.in.in(), len(b.IDs)
	s.qkv = grow(s.qkv, rows*3*h)
	s.ctx = grow(s.ctx, rows*h)
	m.in.apply(s, s.qkv, 3*h, in, h, rows, kernel.Epilogue{})
	for r := range rows {
		row := s.qkv[r*3*h : (r+1)*3*h]
		u, v := row[:h], row[2*h:]
		for i := range u {
			u[i] *= v[i]
		}
	}
	m.conv.apply(s.ctx, s.qkv, 3*h, b.Lens)
	for r := range rows {
		y, gate := s.ctx[r*h:(r+1)*h], s.qkv[r*3*h+h:][:h]
		for i, v := range gate {
			y[i] *= v
		}
	}
	m.out.apply(s, x, h, s.ctx, h, rows, kernel.Epilogue{Add: x, LdAdd: h})
	return nil
}

// depthwise is a convolution along the tokens of a sequence, each channel by itself, with zeros around the sequence.
type depthwise struct {
	taps   [][]float32 // per tap a weight for each channel, the earliest token first
	bias   []float32   // nil without
	before int         // how many taps lie before the token itself
}

// depthwise reads name.weight, [channels, 1, length], and name.bias.
func (l *loader) depthwise(name string, channels, length int, bias bool) depthwise {
	w := l.floats(name+".weight", channels, 1, length)
	d := depthwise{before: length - 1}
	if bias {
		d.bias = l.floats(name+".bias", channels)
	}
	if w == nil {
		return d
	}
	for t := range length {
		tap := make([]float32, channels)
		for i := range tap {
			tap[i] = w[i*length+t]
		}
		d.taps = append(d.taps, tap)
	}
	return d
}

// apply writes the convolution of rows of x, at stride ld, to dst.
func (d *depthwise) apply(dst, x []float32, ld int, lens []int) {
	n := len(d.taps[0])
	at := 0
	for _, tokens := range lens {
		for p := range tokens {
			row := dst[(at+p)*n : (at+p+1)*n]
			if d.bias != nil {
				copy(row, d.bias)
			} else {
				clear(row)
			}
			for t, w := range d.taps {
				q := p - d.before + t
				if q < 0 || q >= tokens {
					continue
				}
				src := x[(at+q)*ld:][:n]
				w = w[:n]
				for i := range row {
					row[i] += w[i] * src[i]
				}
			}
		}
		at += tokens
	}
}
