package transformer

import (
	"fmt"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// modernBertConfig is ModernBERT's config.json: layer_types and rope_parameters since transformers 5, the three
// fields after them before.
type modernBertConfig struct {
	Vocab        int      `json:"vocab_size"`
	Hidden       int      `json:"hidden_size"`
	Intermediate int      `json:"intermediate_size"`
	Layers       int      `json:"num_hidden_layers"`
	Heads        int      `json:"num_attention_heads"`
	Positions    int      `json:"max_position_embeddings"`
	Activation   string   `json:"hidden_activation"`
	Eps          float64  `json:"norm_eps"`
	Local        int      `json:"local_attention"`
	LayerTypes   []string `json:"layer_types"`
	Rope         struct {
		Full    *ropeSettings `json:"full_attention"`
		Sliding *ropeSettings `json:"sliding_attention"`
	} `json:"rope_parameters"`
	GlobalEvery int      `json:"global_attn_every_n_layers"`
	GlobalTheta float64  `json:"global_rope_theta"`
	LocalTheta  *float64 `json:"local_rope_theta"` // null: as the global one
	NormBias    bool     `json:"norm_bias"`
	AttnBias    bool     `json:"attention_bias"`
	MLPBias     bool     `json:"mlp_bias"`
}

const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// newModernBert loads ModernBERT (Warner et al., "Smarter, Better, Faster, Longer", 2024), Ettin and mmBERT under
// the tensor names of transformers' ModernBertModel: rotary positions, layers that see everything and layers that
// see a window, gated feed-forward layers, norms without biases; the first layer has no attention norm, because
// the embeddings come normalised.
func newModernBert(c *checkpoint.Checkpoint, l *loader) (*prenorm, error) {
	s := settings{arch: "ModernBERT"}
	local := 10000.0
	g := modernBertConfig{Vocab: 50368, Hidden: 768, Intermediate: 1152, Layers: 22, Heads: 12, Positions: 8192, Activation: "gelu",
		Eps: 1e-5, Local: 128, GlobalEvery: 3, GlobalTheta: 160000, LocalTheta: &local}
	s.read(&c.Config, &g)
	s.size("vocab_size", g.Vocab, 1<<24)
	s.size("hidden_size", g.Hidden, 0)
	s.size("intermediate_size", g.Intermediate, 0)
	s.size("num_hidden_layers", g.Layers, maxLayers)
	s.size("num_attention_heads", g.Heads, g.Hidden)
	s.size("max_position_embeddings", g.Positions, 1<<24)
	s.size("local_attention", g.Local, 1<<24)
	s.size("global_attn_every_n_layers", g.GlobalEvery, 0)
	s.positive("norm_eps", g.Eps)
	act := s.activation("hidden_activation", g.Activation)
	if g.Heads > 0 && g.Hidden%g.Heads != 0 {
		s.fail("hidden_size %d and num_attention_heads %d", g.Hidden, g.Heads)
	}
	if g.LayerTypes != nil && len(g.LayerTypes) != g.Layers {
		s.fail("%d layer_types for %d layers", len(g.LayerTypes), g.Layers)
	}
	if s.err != nil {
		return nil, s.err
	}
	if g.LocalTheta == nil {
		g.LocalTheta = &g.GlobalTheta
	}
	h, d := g.Hidden, g.Hidden/g.Heads
	ropes := map[string]*rope{
		fullAttention:    s.rope(g.Rope.Full, g.GlobalTheta, d),
		slidingAttention: s.rope(g.Rope.Sliding, *g.LocalTheta, d),
	}
	m := &prenorm{shape: Shape{Architecture: "modernbert", Layers: g.Layers, Hidden: h, Heads: g.Heads, FFN: g.Intermediate, Vocab: g.Vocab, MaxTokens: g.Positions}}
	m.words = l.table("embeddings.tok_embeddings.weight", g.Vocab, h)
	m.embeddingNorm = l.normOf("embeddings.norm", h, g.Eps, g.NormBias)
	m.layers = make([]prenormLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("layers.%d.", i)
		kind := slidingAttention
		if i%g.GlobalEvery == 0 {
			kind = fullAttention
		}
		if g.LayerTypes != nil {
			kind = g.LayerTypes[i]
		}
		a := &attention{heads: plainHeads(g.Heads, h)}
		b.mixer = a
		switch a.rope = ropes[kind]; kind {
		case fullAttention:
		case slidingAttention:
			a.window = g.Local/2 + 1
		default:
			s.fail("layer type %q", kind)
		}
		if i > 0 {
			b.mixNorm = l.normOf(p+"attn_norm", h, g.Eps, g.NormBias)
		}
		l.stack(&a.qkv, h, g.AttnBias, stacked{p + "attn.Wqkv", 3 * h})
		l.stack(&a.proj, h, g.AttnBias, stacked{p + "attn.Wo", h})
		b.ffnNorm = l.normOf(p+"mlp_norm", h, g.Eps, g.NormBias)
		b.ffn = &feedForward{act: act, gated: true}
		l.stack(&b.ffn.up, h, g.MLPBias, stacked{p + "mlp.Wi", 2 * g.Intermediate})
		l.stack(&b.ffn.down, g.Intermediate, g.MLPBias, stacked{p + "mlp.Wo", h})
	}
	m.finalNorm = *l.normOf("final_norm", h, g.Eps, g.NormBias)
	return m.finish(l, &s)
}

// finish packs the weights of a loaded model.
func (m *prenorm) finish(l *loader, s *settings) (*prenorm, error) {
	if s.err != nil {
		return nil, s.err
	}
	if err := l.done(); err != nil {
		return nil, err
	}
	m.shape.Parameters = l.params
	return m, nil
}
