package transformer

import (
	"context"

	"github.com/golbert/golbert/internal/kernel"
)

// rowBlock is how many tokens go through a layer's feed-forward part at a time: enough rows to make the
// matrix products efficient, few enough that their activations stay in the second-level cache.
const rowBlock = 128

// bert is the post-norm encoder of Devlin et al., "BERT" (NAACL 2019), as transformers' BertModel computes it:
// token, position and type embeddings and their norm; per layer self-attention, residual, norm, a
// feed-forward layer with exact GELU, residual, norm. There is no norm at the end.
type bert struct {
	shape         Shape
	heads         heads
	words         table
	positions     []float32 // MaxTokens x Hidden
	types         []float32 // rows of Hidden
	embeddingNorm norm
	layers        []bertLayer
	// probe, in tests, sees the hidden states: layer 0 is the embeddings.
	probe func(layer int, x []float32)
}

type bertLayer struct {
	qkv      linear // query, key and value side by side: 3*Hidden rows
	out      linear
	attnNorm norm
	up, down linear
	outNorm  norm
}

// Shape describes the model.
func (m *bert) Shape() Shape { return m.shape }

// Forward writes the last hidden state to dst.
func (m *bert) Forward(ctx context.Context, b *Batch, dst []float32) error {
	if err := b.check(m.shape); err != nil {
		return err
	}
	h := m.shape.Hidden
	rows := len(b.IDs)
	x := dst[:rows*h]
	if err := m.embed(x, b); err != nil {
		return err
	}
	m.look(0, x)

	s := getScratch(b)
	defer scratchPool.Put(s)
	s.qkv = grow(s.qkv, rows*3*h)
	s.ctx = grow(s.ctx, rows*h)
	s.ffn = grow(s.ffn, min(rows, rowBlock)*m.shape.FFN)
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &m.layers[i]
		l.qkv.apply(s, s.qkv, 3*h, x, h, rows, kernel.Epilogue{})
		if err := s.attention(s.ctx, s.qkv, b, &m.heads, nil); err != nil {
			return err
		}
		for at := 0; at < rows; at += rowBlock {
			n := min(rowBlock, rows-at)
			l.block(s, x[at*h:(at+n)*h], s.ctx[at*h:(at+n)*h], s.ffn, n)
		}
		m.look(i+1, x)
	}
	return nil
}

// block takes n rows through everything of a layer that looks at one token at a time. x holds the layer's
// input and gets its output; attn, the heads' outputs, is overwritten.
func (l *bertLayer) block(s *scratch, x, attn, ffn []float32, n int) {
	h, f := l.out.out(), l.up.out()
	// The residual is added from x while x is written: each element is read before it is replaced.
	l.out.apply(s, x, h, attn, h, n, kernel.Epilogue{Add: x, LdAdd: h})
	l.attnNorm.apply(x, n)
	l.up.apply(s, ffn, f, x, h, n, kernel.Epilogue{Act: kernel.GELU})
	l.down.apply(s, x, h, ffn, f, n, kernel.Epilogue{Add: x, LdAdd: h})
	l.outNorm.apply(x, n)
}

// embed writes the normalised sum of token, position and type embeddings.
func (m *bert) embed(x []float32, b *Batch) error {
	h := m.shape.Hidden
	at := 0
	for _, n := range b.Lens {
		for p := range n {
			row := x[at*h : (at+1)*h]
			m.words.row(row, int(b.IDs[at]))
			t := 0
			if b.Types != nil {
				t = int(b.Types[at])
				if t < 0 || (t+1)*h > len(m.types) {
					return batchError("token %d has type %d, the model has %d types", at, t, len(m.types)/h)
				}
			}
			pos, typ := m.positions[p*h:(p+1)*h], m.types[t*h:(t+1)*h]
			for i := range row {
				row[i] += pos[i] + typ[i]
			}
			at++
		}
	}
	m.embeddingNorm.apply(x, at)
	return nil
}

func (m *bert) look(layer int, x []float32) {
	if m.probe != nil {
		m.probe(layer, x)
	}
}
