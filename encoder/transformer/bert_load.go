package transformer

import (
	"fmt"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// maxLayers keeps a hostile configuration from asking for memory; no known encoder has a tenth of it.
const maxLayers = 1024

// newBert loads BERT, ELECTRA (which is BERT where its embeddings have the full width), RoBERTa, XLM-R and XMOD under the
// tensor names of transformers' models.
func newBert(c *checkpoint.Checkpoint, l *loader) (Encoder, error) {
	g := c.Config
	kind := g.ModelType
	roberta := kind != "bert" && kind != "electra"
	switch {
	case kind == "electra" && g.EmbeddingSize != g.HiddenSize:
		return nil, fmt.Errorf("%s with embeddings of %d values, which are projected to %d: %w", kind, g.EmbeddingSize, g.HiddenSize, ErrUnsupported)
	case g.HiddenAct != "gelu":
		return nil, fmt.Errorf("%s with activation %q: %w", kind, g.HiddenAct, ErrUnsupported)
	case g.PositionEmbeddingType != "" && g.PositionEmbeddingType != "absolute":
		return nil, fmt.Errorf("%s with %q positions: %w", kind, g.PositionEmbeddingType, ErrUnsupported)
	case g.HiddenSize <= 0 || g.NumLayers <= 0 || g.NumHeads <= 0 || g.IntermediateSize <= 0 || g.VocabSize <= 0 || g.MaxPositions <= 0:
		return nil, fmt.Errorf("%s configuration without hidden size, layers, heads, intermediate size, vocabulary or positions: %w", kind, ErrUnsupported)
	case g.NumLayers > maxLayers:
		return nil, fmt.Errorf("%s with %d layers, the most is %d: %w", kind, g.NumLayers, maxLayers, ErrUnsupported)
	case g.HiddenSize%g.NumHeads != 0:
		return nil, fmt.Errorf("%s with hidden size %d and %d heads: %w", kind, g.HiddenSize, g.NumHeads, ErrUnsupported)
	case roberta && (g.PadTokenID < 0 || g.PadTokenID+1 >= g.MaxPositions):
		return nil, fmt.Errorf("%s with padding token %d and %d positions: %w", kind, g.PadTokenID, g.MaxPositions, ErrUnsupported)
	}
	m := &bert{padding: -1, shape: Shape{
		Architecture: kind,
		Layers:       g.NumLayers,
		Hidden:       g.HiddenSize,
		Heads:        g.NumHeads,
		FFN:          g.IntermediateSize,
		Vocab:        g.VocabSize,
		MaxTokens:    g.MaxPositions,
	}}
	if roberta {
		m.padding = g.PadTokenID
		m.shape.MaxTokens -= m.padding + 1
	}
	// What transformers takes when config.json does not say.
	types, eps := g.TypeVocabSize, g.LayerNormEps
	if types == 0 {
		types = 2
	}
	if eps == 0 {
		eps = 1e-12
	}
	h := m.shape.Hidden
	m.heads = plainHeads(g.NumHeads, h)
	m.words = l.table("embeddings.word_embeddings.weight", g.VocabSize, h)
	m.positions = l.floats("embeddings.position_embeddings.weight", g.MaxPositions, h)
	if _, ok := l.src.Tensor(l.prefix + "embeddings.token_type_embeddings.weight"); ok || !roberta {
		m.types = l.floats("embeddings.token_type_embeddings.weight", types, h)
	} else if l.count == 0 { // else the size may be anything
		m.types = make([]float32, h) // models with one type, whose row was dropped or added to the positions
	}
	m.embeddingNorm = l.norm("embeddings.LayerNorm", h, eps)
	m.layers = make([]bertLayer, g.NumLayers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("encoder.layer.%d.", i)
		l.linear(&b.qkv, h, h, p+"attention.self.query", p+"attention.self.key", p+"attention.self.value")
		l.linear(&b.out, h, h, p+"attention.output.dense")
		b.attnNorm = l.norm(p+"attention.output.LayerNorm", h, eps)
		l.linear(&b.up, h, g.IntermediateSize, p+"intermediate.dense")
		l.linear(&b.down, g.IntermediateSize, h, p+"output.dense")
		b.outNorm = l.norm(p+"output.LayerNorm", h, eps)
	}
	if kind == "xmod" {
		if err := m.loadXMOD(&g, l, eps); err != nil {
			return nil, err
		}
	}
	if err := l.done(); err != nil {
		return nil, err
	}
	m.shape.Parameters = l.params
	if m.adapters != nil {
		m.shape.Parameters += m.adapters.params
		return &xmod{m}, nil
	}
	return m, nil
}

// loadXMOD reads what XMOD has beyond XLM-R.
func (m *bert) loadXMOD(g *checkpoint.Config, l *loader, eps float64) error {
	c, err := readXMOD(g)
	if err != nil {
		return err
	}
	m.adapters = l.adapters(&c, m.shape.Hidden, m.shape.Layers)
	if c.OwnNorm {
		for i := range m.layers {
			m.layers[i].adapterNorm = l.norm(fmt.Sprintf("encoder.layer.%d.output.adapter_layer_norm", i), m.shape.Hidden, eps)
		}
	}
	if m.preNorm = c.PreNorm; m.preNorm {
		m.endNorm = l.norm("encoder.LayerNorm", m.shape.Hidden, eps)
	}
	return nil
}
