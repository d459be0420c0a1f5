package transformer

import (
	"fmt"
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
}

// newT5 loads the encoder of T5 1.0 and 1.1, mT5, umT5 and ByT5 (Raffel et al., JMLR 2020; Xue et al., NAACL 2021
// and TACL 2022) under the tensor names of transformers' T5EncoderModel: root-mean-square norms, scores that are
// not scaled, and learned biases by distance instead of positions, which the first layer has for all (in umT5
// every layer has its own). A decoder in the checkpoint is left alone.
func newT5(c *checkpoint.Checkpoint, l *loader) (*prenorm, error) {
	arch := c.Config.ModelType
	s := settings{arch: arch}
	g := t5Config{Vocab: 32128, Hidden: 512, HeadDim: 64, FFN: 2048, Layers: 6, Heads: 8, Buckets: 32, MaxDistance: 128, Eps: 1e-6, FeedForward: "relu"}
	if arch != "t5" {
		g.Vocab, g.FFN, g.Layers, g.Heads, g.FeedForward = 250112, 1024, 8, 6, "gated-gelu"
	}
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
	words := "shared.weight"
	if _, ok := l.src.Tensor(l.prefix + words); !ok {
		words = "encoder.embed_tokens.weight"
	}
	m.words = l.table(words, g.Vocab, h)
	m.biases = &biases{buckets: buckets{g.Buckets, g.MaxDistance}, heads: g.Heads}
	m.layers = make([]prenormLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("encoder.block.%d.layer.", i)
		a := &attention{heads: heads{q: g.Heads, kv: g.Heads, dim: g.HeadDim, scale: 1}, bias: 1}
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
	m.finalNorm = *l.rms("encoder.final_layer_norm", h, g.Eps)
	return m.finish(l, &s)
}
