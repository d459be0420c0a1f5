package transformer

import (
	"fmt"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// maxLayers keeps a hostile configuration from asking for memory; no known encoder has a tenth of it.
const maxLayers = 1024

// newBert loads BERT under the tensor names of transformers' BertModel.
func newBert(c *checkpoint.Checkpoint, l *loader) (*bert, error) {
	g := c.Config
	switch {
	case g.HiddenAct != "gelu":
		return nil, fmt.Errorf("BERT with activation %q: %w", g.HiddenAct, ErrUnsupported)
	case g.PositionEmbeddingType != "" && g.PositionEmbeddingType != "absolute":
		return nil, fmt.Errorf("BERT with %q positions: %w", g.PositionEmbeddingType, ErrUnsupported)
	case g.HiddenSize <= 0 || g.NumLayers <= 0 || g.NumHeads <= 0 || g.IntermediateSize <= 0 || g.VocabSize <= 0 || g.MaxPositions <= 0:
		return nil, fmt.Errorf("BERT configuration without hidden size, layers, heads, intermediate size, vocabulary or positions: %w", ErrUnsupported)
	case g.NumLayers > maxLayers:
		return nil, fmt.Errorf("BERT with %d layers, the most is %d: %w", g.NumLayers, maxLayers, ErrUnsupported)
	case g.HiddenSize%g.NumHeads != 0:
		return nil, fmt.Errorf("BERT with hidden size %d and %d heads: %w", g.HiddenSize, g.NumHeads, ErrUnsupported)
	}
	m := &bert{shape: Shape{
		Architecture: "bert",
		Layers:       g.NumLayers,
		Hidden:       g.HiddenSize,
		Heads:        g.NumHeads,
		FFN:          g.IntermediateSize,
		Vocab:        g.VocabSize,
		MaxTokens:    g.MaxPositions,
	}}
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
	m.types = l.floats("embeddings.token_type_embeddings.weight", types, h)
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
	if err := l.done(); err != nil {
		return nil, err
	}
	m.shape.Parameters = l.params
	return m, nil
}
