package transformer

import (
	"context"

	"github.com/golbert/golbert/internal/kernel"
)

// rowBlock is how many tokens go through a layer's feed-forward part at a time: enough rows to make the
// matrix products efficient, few enough that their activations stay in the second-level cache.
const rowBlock = 128

// bert is the encoder of Devlin et al., "BERT" (NAACL 2019), as transformers' BertModel computes it: token,
// position and type embeddings and their norm; per layer self-attention, residual, norm, a feed-forward layer
// with exact GELU, residual, norm. There is no norm at the end.
//
// RoBERTa and XLM-R (Conneau et al., ACL 2020) count positions differently. XMOD (Pfeiffer et al., NAACL 2022)
// adds a bottleneck adapter per language after each feed-forward layer, and in one variant moves the norms in
// front of attention and feed-forward layer, with one more at the end.
type bert struct {
	shape         Shape
	heads         heads
	words         table
	positions     []float32 // rows of Hidden; nil where rope stands for them
	rope          *rope
	padding       int       // RoBERTa's padding token; -1 in BERT
	types         []float32 // rows of Hidden
	embeddingNorm norm
	layers        []bertLayer
	preNorm       bool
	endNorm       norm // with preNorm
	adapters      *adapters
	// probe, in tests, sees the hidden states: layer 0 is the embeddings.
	probe func(layer int, x []float32)
}

type bertLayer struct {
	qkv      linear // query, key and value side by side: 3*Hidden rows
	out      linear
	attnNorm norm
	up, down linear
	outNorm  norm
	// adapterNorm is the norm before the adapter, with adapterOwnNorm.
	adapterNorm norm
}

// Shape describes the model.
func (m *bert) Shape() Shape { return m.shape }

// Forward writes the last hidden state to dst.
func (m *bert) Forward(ctx context.Context, b *Batch, dst []float32) error {
	if err := b.check(m.shape); err != nil {
		return err
	}
	runs, err := m.adapters.runs(b)
	if err != nil {
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
	defer s.release()
	s.qkv = grow(s.qkv, rows*3*h)
	s.ctx = grow(s.ctx, rows*h)
	s.ffn = grow(s.ffn, min(rows, rowBlock)*max(m.shape.FFN, m.adapters.width()))
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		l := &m.layers[i]
		in := x
		if m.preNorm {
			in = s.ctx
			l.attnNorm.to(in, x, rows)
		}
		l.qkv.apply(s, s.qkv, 3*h, in, h, rows, kernel.Epilogue{})
		if m.rope != nil {
			m.rope.apply(s.qkv, 3*h, m.heads.q+m.heads.kv, b.Lens)
		}
		if err := s.attention(s.ctx, s.qkv, b, &m.heads, nil); err != nil {
			return err
		}
		for at := 0; at < rows; at += rowBlock {
			n := min(rowBlock, rows-at)
			m.block(s, i, x[at*h:(at+n)*h], s.ctx[at*h:(at+n)*h], at, runs)
		}
		if m.preNorm && i == len(m.layers)-1 {
			m.endNorm.to(x, x, rows)
		}
		m.look(i+1, x)
	}
	return nil
}

// block takes rows of x, which start at row at of the batch, through everything of a layer that looks at one
// token at a time. x holds the layer's input and gets its output; attn, the heads' outputs, is overwritten.
func (m *bert) block(s *scratch, layer int, x, attn []float32, at int, runs []stretch) {
	l := &m.layers[layer]
	h, f := l.up.in(), l.up.out()
	n := len(x) / h
	// The residual is added from x while x is written: each element is read before it is replaced.
	l.out.apply(s, x, h, attn, h, n, kernel.Epilogue{Add: x, LdAdd: h})
	in := x
	if m.preNorm {
		in = attn
		l.outNorm.to(in, x, n)
	} else {
		l.attnNorm.to(x, x, n)
	}
	l.up.apply(s, s.ffn, f, in, h, n, kernel.Epilogue{Act: kernel.GELU})
	l.down.apply(s, x, h, s.ffn, f, n, kernel.Epilogue{Add: x, LdAdd: h})
	if m.adapters != nil {
		m.adapters.apply(s, layer, x, attn, at, runs, l)
	}
	if !m.preNorm {
		l.outNorm.to(x, x, n)
	}
}

// embed writes the normalised sum of token, position and type embeddings.
func (m *bert) embed(x []float32, b *Batch) error {
	h := m.shape.Hidden
	at := 0
	for _, n := range b.Lens {
		// RoBERTa's first token has the position after the padding token's number; padding has that number
		// itself and is not counted. BERT has no such rule: -1 + 1 is 0.
		next := m.padding + 1
		for range n {
			row := x[at*h : (at+1)*h]
			id := int(b.IDs[at])
			m.words.row(row, id)
			p := next
			if id == m.padding {
				p = m.padding
			} else {
				next++
			}
			t := 0
			if b.Types != nil {
				t = int(b.Types[at])
				if t < 0 || (t+1)*h > len(m.types) {
					return batchError("token %d has type %d, the model has %d types", at, t, len(m.types)/h)
				}
			}
			add(row, m.types[t*h:(t+1)*h])
			if m.positions != nil {
				add(row, m.positions[p*h:(p+1)*h])
			}
			at++
		}
	}
	m.embeddingNorm.to(x, x, at)
	return nil
}

func (m *bert) look(layer int, x []float32) {
	if m.probe != nil {
		m.probe(layer, x)
	}
}

func add(x, y []float32) {
	for i, v := range y {
		x[i] += v
	}
}
