package train

import (
	"fmt"

	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// network is BERT, RoBERTa, XLM-R or XMOD and the projections after it, as package transformer computes them.
type network struct {
	hidden, heads int
	vocab, most   int // tokens, and the longest sequence
	languages     int // with parts of their own
	padding       int // RoBERTa's padding token; -1 in BERT
	words         *table
	positions     *table
	types         *table // nil where there are none
	embeddingNorm *norm
	layers        []*layer
	preNorm       bool
	endNorm       *norm
	adapters      *adapters // nil but in XMOD
	head          []*projection
}

type layer struct {
	qkv, out, up, down *dense
	attnNorm, outNorm  *norm
	adapterNorm        *norm // before adapters, where they have one of their own
}

// projection is y = act(W x + b), plus x or R x.
type projection struct {
	d        *dense
	act      activation
	residual bool
	r        *dense
}

func (n *network) dim() int {
	if k := len(n.head); k > 0 {
		return n.head[k-1].d.out
	}
	return n.hidden
}

// denses lists the dense layers that a batch uses.
func (n *network) denses(b *batch) (ds []*dense) {
	for i, l := range n.layers {
		ds = append(ds, l.qkv, l.out, l.up, l.down)
		for _, r := range b.languages {
			a := n.adapters.of(r.part)
			ds = append(ds, a[i].down, a[i].up)
		}
	}
	for _, p := range n.head {
		ds = append(ds, p.d)
		if p.r != nil {
			ds = append(ds, p.r)
		}
	}
	return ds
}

// vectors builds the way from a batch to the unit vectors of its kept tokens.
func (n *network) vectors(s *step, b *batch) (*gorgonia.Node, error) {
	x, err := n.backbone(s, b)
	if err != nil {
		return nil, err
	}
	if x, err = s.rows(x, b.keep); err != nil {
		return nil, err
	}
	return n.project(s, x)
}

func (n *network) project(s *step, x *gorgonia.Node) (y *gorgonia.Node, err error) {
	for i, p := range n.head {
		name := fmt.Sprintf("projection %d", i)
		rows := x.Shape()[0]
		all := func(d *dense) []span { return []span{{0, rows, d}} }
		add := x
		if !p.residual || p.act != nil || p.r != nil {
			add = nil
		}
		if y, err = s.linear(name, x, all(p.d), add); err != nil {
			return nil, err
		}
		if p.act != nil {
			if y, err = s.activate(name+", activation", y, p.act); err != nil {
				return nil, err
			}
		}
		switch {
		case p.r != nil:
			if y, err = s.linear(name+", residual", x, all(p.r), y); err != nil {
				return nil, err
			}
		case p.residual && p.act != nil:
			if y, err = gorgonia.Add(y, x); err != nil {
				return nil, err
			}
		}
		x = y
	}
	return s.normalize(x)
}

// backbone builds the forward pass up to the last hidden state. It is transformer's, operation by operation.
func (n *network) backbone(s *step, b *batch) (*gorgonia.Node, error) {
	rows := len(b.ids)
	all := func(d *dense) []span { return []span{{0, rows, d}} }
	tables := []lookup{{n.words, b.ids}, {n.positions, b.positions}}
	if n.types != nil {
		tables = append(tables, lookup{n.types, make([]int32, rows)})
	}
	x, err := s.embed(rows, n.hidden, tables...)
	if err != nil {
		return nil, err
	}
	// Operations follow each other; after the first error the others do nothing.
	linear := func(name string, x *gorgonia.Node, spans []span, add *gorgonia.Node) (y *gorgonia.Node) {
		if err == nil {
			y, err = s.linear(name, x, spans, add)
		}
		return y
	}
	normed := func(name string, x *gorgonia.Node, l *norm) (y *gorgonia.Node) {
		if err == nil {
			y, err = s.layerNorm(name, x, l)
		}
		return y
	}
	gelus := func(name string, x *gorgonia.Node) (y *gorgonia.Node) {
		if err == nil {
			y, err = s.activate(name, x, gelu)
		}
		return y
	}
	x = normed("embeddings, norm", x, n.embeddingNorm)
	for i, l := range n.layers {
		at := fmt.Sprintf("layer %d, ", i)
		in := x
		if n.preNorm {
			in = normed(at+"attention norm", x, l.attnNorm)
		}
		y := linear(at+"queries, keys and values", in, all(l.qkv), nil)
		if err == nil {
			y, err = s.attention(at+"attention", y, &b.ragged, n.heads)
		}
		x = linear(at+"attention output", y, all(l.out), x)
		if !n.preNorm {
			x = normed(at+"attention norm", x, l.attnNorm)
			in = x
		} else {
			in = normed(at+"output norm", x, l.outNorm)
		}
		y = linear(at+"feed-forward up", in, all(l.up), nil)
		y = gelus(at+"GELU", y)
		x = linear(at+"feed-forward down", y, all(l.down), x)
		if n.adapters != nil {
			before := l.outNorm
			if n.adapters.norm == adapterOwnNorm {
				before = l.adapterNorm
			}
			in = x
			if n.adapters.norm != adapterNoNorm {
				in = normed(at+"adapter norm", x, before)
				if n.adapters.residualAfterNorm {
					x = in
				}
			}
			down, up := b.spans(n.adapters, i)
			y = linear(at+"adapter down", in, down, nil)
			y = gelus(at+"adapter GELU", y)
			x = linear(at+"adapter up", y, up, x)
		}
		if !n.preNorm {
			x = normed(at+"output norm", x, l.outNorm)
		}
	}
	if n.preNorm {
		x = normed("end norm", x, n.endNorm)
	}
	return x, err
}

// loader reads the tensors of a network and says which learn.
type loader struct {
	*tensors
	cfg    *checkpoint.Config
	learns func(key string) bool
	params []*Param
	err    error
}

// weight reads a tensor.
func (l *loader) weight(key string, shape ...int) *weight {
	w := &weight{key: key, shape: shape}
	if own := l.own[l.prefix+key]; own != nil { // a new one
		w = own
	} else {
		x, scale, err := l.raw(key, shape...)
		if err != nil {
			l.fail(err)
			return w
		}
		if len(shape) > 1 && !l.learns(key) {
			w.read = func() []float32 { return floatsOf(x, scale) }
			return w
		}
		w.value = floatsOf(x, scale)
	}
	if l.learn(w) {
		l.tensors.learn(w)
	}
	return w
}

// learn makes a parameter of a tensor that is to learn.
func (l *loader) learn(w *weight) bool {
	if !l.learns(w.key) {
		return false
	}
	w.param = &Param{Name: w.key, Shape: w.shape, Value: w.value, Grad: make([]float32, len(w.value)), Decay: decays(w.key, w.shape)}
	l.params = append(l.params, w.param)
	return true
}

func (l *loader) fail(err error) {
	if l.err == nil {
		l.err = err
	}
}

func (l *loader) table(key string, rows, dim int) *table {
	t := &table{dim: dim}
	if l.learns(key) {
		t.w = l.weight(key, rows, dim)
		return t
	}
	var err error
	if t.t, t.scale, err = l.raw(key, rows, dim); err != nil {
		l.fail(err)
	}
	return t
}

func (l *loader) norm(key string, dim int) *norm {
	return &norm{gamma: l.weight(key+".weight", dim), beta: l.weight(key+".bias", dim), eps: float32(l.cfg.LayerNormEps)}
}

func (l *loader) dense(in, out int, keys ...string) *dense {
	var ws []*weight
	for _, k := range keys {
		ws = append(ws, l.weight(k+".weight", out, in), l.weight(k+".bias", out))
	}
	return newDense(in, ws...)
}

// backbone reads the tensors that transformer's bert reads, which has checked the configuration.
func (l *loader) backbone() (*network, error) {
	g := l.cfg
	h, roberta := g.HiddenSize, g.ModelType != "bert" && g.ModelType != "electra"
	n := &network{hidden: h, heads: g.NumHeads, vocab: g.VocabSize, most: g.MaxPositions, padding: -1}
	if roberta {
		n.padding = g.PadTokenID
		n.most -= n.padding + 1
	}
	if g.LayerNormEps == 0 {
		g.LayerNormEps = 1e-12
	}
	n.words = l.table("embeddings.word_embeddings.weight", g.VocabSize, h)
	n.positions = l.table("embeddings.position_embeddings.weight", g.MaxPositions, h)
	const types = "embeddings.token_type_embeddings.weight"
	if t, ok := l.Tensor(l.prefix + types); ok && len(t.Shape) == 2 || !roberta {
		rows := g.TypeVocabSize
		if rows == 0 {
			rows = 2
		}
		n.types = l.table(types, rows, h)
	}
	n.embeddingNorm = l.norm("embeddings.LayerNorm", h)
	if g.ModelType == "xmod" {
		if err := l.xmod(n); err != nil {
			return nil, err
		}
	}
	for i := range g.NumLayers {
		p := fmt.Sprintf("encoder.layer.%d.", i)
		y := &layer{
			qkv:      l.dense(h, h, p+"attention.self.query", p+"attention.self.key", p+"attention.self.value"),
			out:      l.dense(h, h, p+"attention.output.dense"),
			attnNorm: l.norm(p+"attention.output.LayerNorm", h),
			up:       l.dense(h, g.IntermediateSize, p+"intermediate.dense"),
			down:     l.dense(g.IntermediateSize, h, p+"output.dense"),
			outNorm:  l.norm(p+"output.LayerNorm", h),
		}
		if n.adapters != nil && n.adapters.norm == adapterOwnNorm {
			y.adapterNorm = l.norm(p+"output.adapter_layer_norm", h)
		}
		n.layers = append(n.layers, y)
	}
	if n.preNorm {
		n.endNorm = l.norm("encoder.LayerNorm", h)
	}
	return n, l.err
}

// projections takes the checkpoint's head, whose arrays are what learns.
func (l *loader) projections(head []checkpoint.Dense) (out []*projection, err error) {
	for i := range head {
		d := &head[i]
		part := func(name string, v []float32, shape ...int) *weight {
			w := &weight{key: headKey(i, name), shape: shape, value: v}
			l.learn(w)
			return w
		}
		p := &projection{residual: d.Residual}
		var bias *weight
		w := part("weight", d.Weight, d.Out, d.In)
		if len(d.Bias) > 0 {
			bias = part("bias", d.Bias, d.Out)
		}
		p.d = newDense(d.In, w, bias)
		if d.Residual && len(d.ResidualWeight) > 0 {
			p.r = newDense(d.In, part("residual", d.ResidualWeight, d.Out, d.In), nil)
		}
		if p.act, err = findActivation(d.Activation); err != nil {
			return nil, fmt.Errorf("projection %d: %w", i, err)
		}
		out = append(out, p)
	}
	return out, nil
}
