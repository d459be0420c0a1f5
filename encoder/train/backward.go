package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/encoder/transformer"
)

// Backward scores all queries with all documents (queries x documents), asks loss for a scalar of the scores, and adds its
// gradient, multiplied by weight, to the Grad of the parameters. It returns the loss, before weight.
//
// A score is MaxSim, the sum over the query's vectors of the largest inner product with a vector of the document
// (Khattab and Zaharia, SIGIR 2020, section 3.3), whatever the checkpoint's own Similarity, which orders documents alike.
// The result depends neither on Workers nor on how goroutines run, in any bit. The activations of all texts are kept; see
// Options.MicroTokens for a Trainer's way with less memory.
//
// Errors: ErrBatch, ErrNotFinite for a loss that is not a number, ErrClosed, the context's, loss's own. After an error the
// gradients hold anything.
func (m *Model) Backward(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32) (float32, error) {
	return m.backward(ctx, queries, documents, loss, weight, 0)
}

// backward is Backward with the activations of most tokens at a time, or of one text; 0 means no bound. A frozen backbone
// has no activations.
func (m *Model) backward(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32, most int) (float32, error) {
	if err := m.check(queries, documents); err != nil {
		return 0, err
	}
	if most > 0 && len(queries.IDs)+len(documents.IDs) > most && m.frozen == nil {
		return m.backwardInParts(ctx, queries, documents, loss, weight, most)
	}
	s := m.newStep(ctx, true)
	defer m.mem.end()
	x, err := m.vectors(s, queries, documents)
	if err != nil {
		return 0, err
	}
	return s.loss(x, queries, documents, loss, weight)
}

// loss builds the graph from the token vectors x on, runs it and gives the loss.
func (s *step) loss(x *gorgonia.Node, queries, documents *Sequences, loss LossFunc, weight float32) (float32, error) {
	q, d := keptOffsets(queries, documents)
	scores, err := s.maxSim(x, q, d, weight)
	if err != nil {
		return 0, err
	}
	cost, err := loss(s.graph, scores)
	if err != nil {
		return 0, err
	}
	if cost == nil || !cost.IsScalar() {
		return 0, errors.New("train: the loss is not a scalar")
	}
	if err := s.differentiate(cost); err != nil {
		return 0, err
	}
	v, err := floats(cost.Value())
	if err != nil {
		return 0, fmt.Errorf("train: loss: %w", err)
	}
	return v[0], finite("loss", v)
}

// differentiate lets gorgonia add the derivatives of cost to the graph and runs it.
func (s *step) differentiate(cost *gorgonia.Node) error {
	var err error
	if s.derivatives, err = gorgonia.Grad(cost, s.learners...); err != nil {
		return fmt.Errorf("train: gradient: %w", err)
	}
	return s.run()
}

// backwardInParts is backward for batches of more tokens than the activations of which are to be kept at a time: first the
// token vectors of all texts without activations, then their gradients, then for each part of the texts its vectors again,
// now with activations, and the gradients of the parameters (Gao et al., "Scaling Deep Contrastive Learning Batch Size
// under Memory Limited Setup", 2021). That takes a third more time.
func (m *Model) backwardInParts(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32, most int) (float32, error) {
	parts := append(queries.split(most), documents.split(most)...)
	all, err := m.encode(ctx, parts)
	if err != nil {
		return 0, err
	}
	dim := m.Dim()
	p := &Param{Name: "token vectors", Shape: []int{len(all) / dim, dim}, Value: all}
	var value float32
	var grads []float32
	err = func() error {
		s := m.newStep(ctx, true)
		defer m.mem.end()
		if value, err = s.loss(s.param(p), queries, documents, loss, weight); err != nil {
			return err
		}
		v, err := floats(s.derivatives[0].Value())
		grads = append(grads, v...)
		return err
	}()
	if err != nil {
		return value, err
	}
	for _, part := range parts {
		err := func() error {
			s := m.newStep(ctx, true)
			defer m.mem.end()
			x, err := m.vectors(s, part)
			if err != nil {
				return err
			}
			// The derivative of sum(x * g) by x is g.
			n := x.Shape().TotalSize()
			g := s.constant("gradient", grads[:n], x.Shape()...)
			grads = grads[n:]
			y, err := gorgonia.HadamardProd(x, g)
			if err == nil {
				y, err = gorgonia.Sum(y)
			}
			if err != nil {
				return fmt.Errorf("train: %w", err)
			}
			return s.differentiate(y)
		}()
		if err != nil {
			return value, err
		}
	}
	return value, nil
}

// forwardTokens is how many tokens go through a forward pass at a time where nothing asks for more.
const forwardTokens = 8192

// Scores returns the scores that Backward gives its loss: queries x documents, row-major. Errors are those of Backward.
func (m *Model) Scores(ctx context.Context, queries, documents *Sequences) ([]float32, error) {
	if err := m.check(queries, documents); err != nil {
		return nil, err
	}
	all, err := m.encode(ctx, append(queries.split(forwardTokens), documents.split(forwardTokens)...))
	if err != nil {
		return nil, err
	}
	s := m.newStep(ctx, false)
	defer m.mem.end()
	dim := m.Dim()
	q, d := keptOffsets(queries, documents)
	scores, err := s.maxSim(s.constant("token vectors", all, len(all)/dim, dim), q, d, 1)
	if err != nil {
		return nil, err
	}
	if err := s.run(); err != nil {
		return nil, err
	}
	v, err := floats(scores.Value())
	if err != nil {
		return nil, fmt.Errorf("train: scores: %w", err)
	}
	return append([]float32(nil), v...), finite("a score", v)
}

// encode gives the unit vectors of the kept tokens of all parts, one after the other.
func (m *Model) encode(ctx context.Context, parts []*Sequences) (all []float32, err error) {
	for _, part := range parts {
		err := func() error {
			s := m.newStep(ctx, false)
			defer m.mem.end()
			x, err := m.vectors(s, part)
			if err != nil {
				return err
			}
			if err := s.run(); err != nil {
				return err
			}
			v, err := floats(x.Value())
			all = append(all, v...)
			return err
		}()
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

func finite(what string, v []float32) error {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("%w: %s is %v", ErrNotFinite, what, x)
		}
	}
	return nil
}

// check begins a call: weights may have changed since the last one.
func (m *Model) check(parts ...*Sequences) error {
	if m.closed {
		return ErrClosed
	}
	for _, s := range parts {
		if err := m.net.check(s); err != nil {
			return err
		}
	}
	m.call++
	return nil
}

// keptOffsets gives, for the kept tokens of queries and documents laid end to end, where each text begins, and the ends.
func keptOffsets(queries, documents *Sequences) (q, d []int) {
	at := 0
	offsets := func(s *Sequences) []int {
		out := []int{at}
		for i := range s.Len() {
			for _, k := range s.Keep[s.Offsets[i]:s.Offsets[i+1]] {
				if k {
					at++
				}
			}
			out = append(out, at)
		}
		return out
	}
	q = offsets(queries)
	return q, offsets(documents)
}

// split cuts sequences into parts of at most so many tokens, or of one text.
func (s *Sequences) split(tokens int) (parts []*Sequences) {
	from := 0
	for i := range s.Len() {
		if i > from && s.Offsets[i+1]-s.Offsets[from] > tokens {
			parts = append(parts, s.Slice(from, i))
			from = i
		}
	}
	return append(parts, s.Slice(from, s.Len()))
}

func (m *Model) newStep(ctx context.Context, backward bool) *step {
	return &step{ctx: ctx, graph: gorgonia.NewGraph(), crew: m.crew, mem: &m.mem, backward: backward}
}

// vectors builds the graph up to the unit vectors of the kept tokens.
func (m *Model) vectors(s *step, parts ...*Sequences) (*gorgonia.Node, error) {
	b, err := m.net.newBatch(parts...)
	if err != nil {
		return nil, err
	}
	denses := m.net.denses(b)
	m.crew.each(len(denses), func(h *hand, i int) { denses[i].pack(h, m.call, s.backward, m.crew.low) })
	if m.frozen == nil {
		return m.net.vectors(s, b)
	}
	hidden, err := m.hidden(s.ctx, b, parts...)
	if err != nil {
		return nil, err
	}
	return m.net.project(s, s.constant("hidden states", hidden, len(b.keep), m.net.hidden))
}

// run compiles the graph and runs it.
func (s *step) run() error {
	s.countReaders()
	prog, locs, err := gorgonia.Compile(s.graph)
	if err != nil {
		return fmt.Errorf("train: compile: %w", err)
	}
	vm := gorgonia.NewTapeMachine(s.graph, gorgonia.WithPrecompiled(prog, locs))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		if s.ctx.Err() != nil {
			return s.ctx.Err()
		}
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// frozenTokens is how many tokens go through the frozen backbone at a time.
const frozenTokens = 512

// hidden runs the frozen backbone and gives the hidden states of the kept tokens.
func (m *Model) hidden(ctx context.Context, b *batch, parts ...*Sequences) ([]float32, error) {
	h, rows := m.net.hidden, len(b.ids)
	all := m.mem.get(rows * h)
	var languages []int
	for _, s := range parts {
		if m.net.languages > 0 {
			languages = append(languages, s.Parts...)
		}
	}
	type group struct{ from, to int } // texts
	var groups []group
	for i := range b.attended {
		k := len(groups) - 1
		if k < 0 || b.offsets[i+1]-b.offsets[groups[k].from] > frozenTokens {
			groups = append(groups, group{i, i + 1})
			continue
		}
		groups[k].to = i + 1
	}
	var mu sync.Mutex
	var first error
	m.crew.each(len(groups), func(_ *hand, i int) {
		g := groups[i]
		from, to := b.offsets[g.from], b.offsets[g.to]
		t := transformer.Batch{IDs: b.ids[from:to], Attend: make([]bool, 0, to-from)}
		for j := g.from; j < g.to; j++ {
			n := b.offsets[j+1] - b.offsets[j]
			t.Lens = append(t.Lens, n)
			for k := range n {
				t.Attend = append(t.Attend, k < b.attended[j])
			}
		}
		if languages != nil {
			t.Languages = languages[g.from:g.to]
		}
		if err := m.frozen.Forward(ctx, &t, all[from*h:to*h]); err != nil {
			mu.Lock()
			defer mu.Unlock()
			if first == nil {
				first = err
			}
		}
	})
	if first != nil {
		return nil, first
	}
	kept := m.mem.get(len(b.keep) * h)
	for i, r := range b.keep {
		copy(kept[i*h:(i+1)*h], all[int(r)*h:])
	}
	m.mem.put(all)
	return kept, nil
}
