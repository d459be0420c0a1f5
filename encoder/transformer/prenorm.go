package transformer

import (
	"context"

	"github.com/golbert/golbert/internal/kernel"
)

// prenorm is the encoder that most architectures after BERT share: token embeddings; per layer
// x += mix(norm(x)) and x += ffn(norm(x)); a norm at the end. What mixes the tokens (attention with or without
// rotary positions or biases, a short convolution, a state space) and which norms there are is up to the layer.
type prenorm struct {
	shape         Shape
	words         table
	scale         float32 // of the embeddings; 0 means 1
	embeddingNorm *norm   // nil without
	layers        []prenormLayer
	finalNorm     norm
	biases        *biases // nil without
	gate          *DeleteGate
	gateLayer     int   // the layer before which the gate stands
	pad           int32 // the gate deletes this token
	// probe, in tests, sees the input of every layer and the output after the last norm.
	probe func(layer int, x []float32)
}

type prenormLayer struct {
	mixNorm *norm // nil: the mixer reads x itself
	mixer   mixer
	ffnNorm *norm
	ffn     *feedForward // nil without
}

// mixer is the part of a layer that looks at more than one token.
type mixer interface {
	// mix adds the layer's output for the normalised input in to x, rows of the hidden width. in may be x's own
	// memory only when the layer has no norm.
	mix(s *scratch, x, in []float32, b *Batch) error
}

// biases are the tables of relative positions that attention layers refer to by number.
type biases struct {
	buckets buckets
	heads   int
	tables  [][]float32 // buckets.n rows of heads values each
}

// Shape describes the model.
func (m *prenorm) Shape() Shape { return m.shape }

// Forward writes the last hidden state to dst.
func (m *prenorm) Forward(ctx context.Context, b *Batch, dst []float32) error {
	if err := b.check(m.shape); err != nil {
		return err
	}
	if err := b.noTypes(); err != nil {
		return err
	}
	h := m.shape.Hidden
	rows := len(b.IDs)
	x := dst[:rows*h]
	for i, id := range b.IDs {
		row := x[i*h : (i+1)*h]
		m.words.row(row, int(id))
		if m.scale != 0 {
			for j := range row {
				row[j] *= m.scale
			}
		}
	}
	if m.embeddingNorm != nil {
		m.embeddingNorm.apply(x, rows)
	}

	s := getScratch(b)
	defer s.release()
	if m.biases != nil {
		s.setBiases(m.biases, b.Lens)
	}
	s.normed = grow(s.normed, rows*h)
	cur := *b
	for i := range m.layers {
		if err := ctx.Err(); err != nil {
			return err
		}
		if m.gate != nil && i == m.gateLayer {
			b.Kept = s.delete(m.gate, m.pad, x, &cur, make([]int32, 0, rows))
			rows = len(cur.IDs)
			x = x[:rows*h]
		}
		m.look(i, x)
		if err := m.layers[i].forward(s, x, &cur, rows, h); err != nil {
			return err
		}
	}
	m.finalNorm.apply(x, rows)
	m.look(len(m.layers), x)
	return nil
}

// forward takes all rows through the layer.
func (l *prenormLayer) forward(s *scratch, x []float32, b *Batch, rows, h int) error {
	in := x
	if l.mixNorm != nil {
		in = s.normed[:rows*h]
		l.mixNorm.to(in, x, rows)
	}
	if err := l.mixer.mix(s, x, in, b); err != nil {
		return err
	}
	if l.ffn == nil {
		return nil
	}
	s.ffn = grow(s.ffn, min(rows, rowBlock)*l.ffn.width())
	for at := 0; at < rows; at += rowBlock {
		n := min(rowBlock, rows-at)
		y, z := x[at*h:(at+n)*h], s.normed[:n*h]
		l.ffnNorm.to(z, y, n)
		l.ffn.add(s, y, z, s.ffn, n)
	}
	return nil
}

func (m *prenorm) look(layer int, x []float32) {
	if m.probe != nil {
		m.probe(layer, x)
	}
}

// attention mixes tokens by self-attention.
type attention struct {
	heads
	qkv, proj    linear
	rope         *rope // nil without
	qNorm, kNorm *norm // of each head, nil without
	bias         int   // the number of the table of relative positions, counted from 1; 0 means none
}

func (a *attention) mix(s *scratch, x, in []float32, b *Batch) error {
	h, w := a.qkv.in(), a.width()
	rows := len(b.IDs)
	s.qkv = grow(s.qkv, rows*w)
	s.ctx = grow(s.ctx, rows*a.q*a.dim)
	a.qkv.apply(s, s.qkv, w, in, h, rows, kernel.Epilogue{})
	if a.qNorm != nil {
		for r := range rows {
			row := s.qkv[r*w : (r+1)*w]
			a.qNorm.apply(row, a.q)
			a.kNorm.apply(row[a.q*a.dim:], a.kv)
		}
	}
	if a.rope != nil {
		// Keys lie behind the queries: both are turned in one go.
		a.rope.apply(s.qkv, w, a.q+a.kv, b.Lens)
	}
	var rel *relative
	if a.bias > 0 {
		rel = &s.relative[a.bias-1]
	}
	if err := s.attention(s.ctx, s.qkv, b, &a.heads, rel); err != nil {
		return err
	}
	a.proj.apply(s, x, h, s.ctx, a.q*a.dim, rows, kernel.Epilogue{Add: x, LdAdd: h})
	return nil
}

// setBiases spreads the tables of relative positions over the distances of a batch.
func (s *scratch) setBiases(t *biases, lens []int) {
	longest := 1
	for _, n := range lens {
		longest = max(longest, n)
	}
	for len(s.relative) < len(t.tables) {
		s.relative = append(s.relative, relative{})
	}
	for i, table := range t.tables {
		s.relative[i].all = nil
		s.relative[i].fill(table, t.buckets, t.heads, longest)
	}
}
