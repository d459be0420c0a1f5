package transformer

import (
	"fmt"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// jinaConfig is the config.json of XLM-R with rotary positions.
type jinaConfig struct {
	Vocab        int     `json:"vocab_size"`
	Hidden       int     `json:"hidden_size"`
	Intermediate int     `json:"intermediate_size"`
	Layers       int     `json:"num_hidden_layers"`
	Heads        int     `json:"num_attention_heads"`
	Positions    int     `json:"max_position_embeddings"`
	Types        int     `json:"type_vocab_size"`
	Activation   string  `json:"hidden_act"`
	Eps          float64 `json:"layer_norm_eps"`
	Theta        float64 `json:"rotary_emb_base"`
}

// newJina loads the XLM-R of jina-colbert-v2 (Jha et al., "Jina-ColBERT-v2", MRL 2024): rotary positions instead of
// learned ones, which start at 0 whatever the padding token, under the tensor names of flash-attention's BERT.
func newJina(c *checkpoint.Checkpoint, l *loader) (*bert, error) {
	s := settings{arch: "XLM-R with rotary positions"}
	g := jinaConfig{Vocab: 250002, Hidden: 1024, Intermediate: 4096, Layers: 24, Heads: 16, Positions: 8194, Types: 1, Activation: "gelu", Eps: 1e-5, Theta: 10000}
	s.read(&c.Config, &g)
	s.size("vocab_size", g.Vocab, 1<<24)
	s.size("hidden_size", g.Hidden, 0)
	s.size("intermediate_size", g.Intermediate, 0)
	s.size("num_hidden_layers", g.Layers, maxLayers)
	s.size("num_attention_heads", g.Heads, g.Hidden)
	s.size("max_position_embeddings", g.Positions, 1<<24)
	s.size("type_vocab_size", g.Types, 0)
	s.positive("layer_norm_eps", g.Eps)
	if g.Activation != "gelu" {
		s.fail("hidden_act %q", g.Activation)
	}
	if s.err == nil && g.Hidden%g.Heads != 0 {
		s.fail("hidden_size %d and num_attention_heads %d", g.Hidden, g.Heads)
	}
	if s.err != nil {
		return nil, s.err
	}
	h := g.Hidden
	m := &bert{padding: -1, heads: plainHeads(g.Heads, h), shape: Shape{
		Architecture: "xlm-roberta-rotary", Layers: g.Layers, Hidden: h, Heads: g.Heads, FFN: g.Intermediate, Vocab: g.Vocab, MaxTokens: g.Positions,
	}}
	if m.rope = s.rope(nil, g.Theta, m.heads.dim); s.err != nil {
		return nil, s.err
	}
	m.words = l.table("embeddings.word_embeddings.weight", g.Vocab, h)
	m.types = l.floats("embeddings.token_type_embeddings.weight", g.Types, h)
	m.embeddingNorm = l.norm("emb_ln", h, g.Eps)
	m.layers = make([]bertLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("encoder.layers.%d.", i)
		l.linear(&b.qkv, h, 3*h, p+"mixer.Wqkv")
		l.linear(&b.out, h, h, p+"mixer.out_proj")
		b.attnNorm = l.norm(p+"norm1", h, g.Eps)
		l.linear(&b.up, h, g.Intermediate, p+"mlp.fc1")
		l.linear(&b.down, g.Intermediate, h, p+"mlp.fc2")
		b.outNorm = l.norm(p+"norm2", h, g.Eps)
	}
	if err := l.done(); err != nil {
		return nil, err
	}
	m.shape.Parameters = l.params
	return m, nil
}
