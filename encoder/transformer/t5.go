package transformer

import (
	"fmt"
	"math"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// t5Config is the config.json of T5 and its relatives.
type t5Config struct {
	Vocab       int     `json:"vocab_size"`
	Hidden      int     `json:"d_model"`
	HeadDim     int     `json:"d_kv"`
	FFN         int     `json:"d_ff"`
	Layers      int     `json:"num_layers"`
	Heads       int     `json:"num_heads"`
	Buckets     int     `json:"relative_attention_num_buckets"`
	MaxDistance int     `json:"relative_attention_max_distance"`
	Eps         float64 `json:"layer_norm_epsilon"`
	FeedForward string  `json:"feed_forward_proj"` // "relu", "gated-gelu" ...

	// Of MrT5.
	GateLayer    int      `json:"delete_gate_layer"`
	GateNorm     bool     `json:"gate_layer_norm"`
	GateScale    float64  `json:"sigmoid_mask_scale"`
	Threshold    *float64 `json:"deletion_threshold"` // missing: half the scale
	DeletionType *string  `json:"deletion_type"`
	Softmax1     bool     `json:"use_softmax1"`
	Pad          int32    `json:"pad_token_id"`
}

// newT5 loads the encoder of T5 1.0 and 1.1, mT5, umT5 and ByT5 (Raffel et al., JMLR 2020; Xue et al., NAACL 2021
// and TACL 2022) under the tensor names of transformers' T5EncoderModel: root-mean-square norms, scores that are
// not scaled, and learned biases by distance instead of positions, which the first layer has for all (in umT5
// every layer has its own). A decoder in the checkpoint is left alone.
//
// MrT5 (Kallini et al., ICLR 2025) is ByT5 with a gate before one of the layers that deletes tokens for good: the
// layers after it run on what is left, with the biases of the original distances, and there are fewer vectors than
// tokens.
func newT5(c *checkpoint.Checkpoint, l *loader) (*prenorm, error) {
	arch := c.Config.ModelType
	s := settings{arch: arch}
	g := t5Config{Vocab: 32128, Hidden: 512, HeadDim: 64, FFN: 2048, Layers: 6, Heads: 8, Buckets: 32, MaxDistance: 128, Eps: 1e-6, FeedForward: "relu"}
	if arch != "t5" {
		g.Vocab, g.FFN, g.Layers, g.Heads, g.FeedForward = 250112, 1024, 8, 6, "gated-gelu"
	}
	g.GateLayer, g.GateNorm, g.GateScale = 2, true, -10
	s.read(&c.Config, &g)
	s.size("vocab_size", g.Vocab, 1<<24)
	s.size("d_model", g.Hidden, 0)
	s.size("d_kv", g.HeadDim, 0)
	s.size("d_ff", g.FFN, 0)
	s.size("num_layers", g.Layers, maxLayers)
	s.size("num_heads", g.Heads, 1<<16)
	s.size("relative_attention_num_buckets", g.Buckets, 1<<16)
	s.size("relative_attention_max_distance", g.MaxDistance, 1<<24)
	s.positive("layer_norm_epsilon", g.Eps)
	if g.Buckets%4 != 0 || g.MaxDistance <= g.Buckets/4 {
		s.fail("relative_attention_num_buckets %d and relative_attention_max_distance %d", g.Buckets, g.MaxDistance)
	}
	if arch == "mrt5" {
		s.gate(&g)
	}
	name, gated := strings.CutPrefix(g.FeedForward, "gated-")
	if gated && name == "gelu" {
		name = "gelu_new" // as transformers reads it
	}
	act := s.activation("feed_forward_proj", name)
	if s.err != nil {
		return nil, s.err
	}

	h, inner := g.Hidden, g.Heads*g.HeadDim
	m := &prenorm{shape: Shape{Architecture: arch, Layers: g.Layers, Hidden: h, Heads: g.Heads, FFN: g.FFN, Vocab: g.Vocab}}
	l.prefix = strings.TrimSuffix(l.prefix, "encoder.")
	// Files keep one of the two names of the shared table.
	words := "encoder.embed_tokens.weight"
	if _, ok := l.src.Tensor(l.prefix + words); !ok {
		words = "shared.weight"
	}
	m.words = l.table(words, g.Vocab, h)
	m.biases = &biases{buckets: buckets{g.Buckets, g.MaxDistance}, heads: g.Heads}
	m.layers = make([]prenormLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("encoder.block.%d.layer.", i)
		a := &attention{heads: heads{q: g.Heads, kv: g.Heads, dim: g.HeadDim, scale: 1, sink: arch == "mrt5" && g.Softmax1}, bias: 1}
		b.mixer = a
		q := p + "0.SelfAttention."
		if i == 0 || arch == "umt5" {
			m.biases.tables = append(m.biases.tables, l.floats(q+"relative_attention_bias.weight", g.Buckets, g.Heads))
			a.bias = len(m.biases.tables)
		}
		b.mixNorm = l.rms(p+"0.layer_norm", h, g.Eps)
		l.stack(&a.qkv, h, false, stacked{q + "q", inner}, stacked{q + "k", inner}, stacked{q + "v", inner})
		l.stack(&a.proj, inner, false, stacked{q + "o", h})
		b.ffnNorm = l.rms(p+"1.layer_norm", h, g.Eps)
		b.ffn = &feedForward{act: act, gated: gated}
		d := p + "1.DenseReluDense."
		if gated {
			l.stack(&b.ffn.up, h, false, stacked{d + "wi_0", g.FFN}, stacked{d + "wi_1", g.FFN})
		} else {
			l.stack(&b.ffn.up, h, false, stacked{d + "wi", g.FFN})
		}
		l.stack(&b.ffn.down, g.FFN, false, stacked{d + "wo", h})
	}
	if arch == "mrt5" {
		m.gate, m.gateLayer, m.pad = l.gate(fmt.Sprintf("encoder.block.%d.delete_gate.", g.GateLayer), &g), g.GateLayer, g.Pad
	}
	m.finalNorm = *l.rms("encoder.final_layer_norm", h, g.Eps)
	return m.finish(l, &s)
}

// gate checks MrT5's settings.
func (s *settings) gate(g *t5Config) {
	if g.GateLayer < 0 || g.GateLayer >= g.Layers {
		s.fail("delete_gate_layer %d of %d layers", g.GateLayer, g.Layers)
	}
	if !(g.GateScale < 0 && g.GateScale > -math.MaxFloat32) {
		s.fail("sigmoid_mask_scale %v", g.GateScale)
	}
	if g.Threshold == nil {
		half := g.GateScale / 2
		g.Threshold = &half
	}
	if t := g.DeletionType; t != nil && *t != "scaled_sigmoid" {
		s.fail("deletion_type %q", *t)
	}
}

// gate reads MrT5's gate.
func (l *loader) gate(name string, g *t5Config) *DeleteGate {
	d := &DeleteGate{Scale: float32(g.GateScale), Threshold: float32(*g.Threshold), Eps: 1e-6}
	if g.GateNorm {
		d.Norm = l.floats(name+"layer_norm.weight", g.Hidden)
	}
	d.Weight = l.floats(name+"feed_forward.weight", 1, g.Hidden)
	if b := l.floats(name+"feed_forward.bias", 1); b != nil {
		d.Bias = b[0]
	}
	return d
}
