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
// The result depends neither on Workers nor on how goroutines run, in any bit.
//
// Errors: ErrBatch, ErrNotFinite for a loss that is not a number, ErrClosed, the context's, loss's own. After an error the
// gradients hold anything.
func (m *Model) Backward(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32) (float32, error) {
	var value float32
	err := m.run(ctx, true, queries, documents, weight, func(s *step, scores *gorgonia.Node) (func() error, error) {
		cost, err := loss(s.graph, scores)
		if err != nil {
			return nil, err
		}
		if cost == nil || !cost.IsScalar() {
			return nil, errors.New("train: the loss is not a scalar")
		}
		if _, err := gorgonia.Grad(cost, s.learners...); err != nil {
			return nil, fmt.Errorf("train: gradient: %w", err)
		}
		return func() error {
			v, err := floats(cost.Value())
			if err != nil {
				return fmt.Errorf("train: loss: %w", err)
			}
			value = v[0]
			return finite("loss", v)
		}, nil
	})
	return value, err
}

// Scores returns the scores that Backward gives its loss: queries x documents, row-major. Errors are those of Backward.
func (m *Model) Scores(ctx context.Context, queries, documents *Sequences) ([]float32, error) {
	var out []float32
	err := m.run(ctx, false, queries, documents, 1, func(s *step, scores *gorgonia.Node) (func() error, error) {
		return func() error {
			v, err := floats(scores.Value())
			if err != nil {
				return fmt.Errorf("train: scores: %w", err)
			}
			out = append(out, v...)
			return finite("a score", v)
		}, nil
	})
	return out, err
}

func finite(what string, v []float32) error {
	for _, x := range v {
		if math.IsNaN(float64(x)) || math.IsInf(float64(x), 0) {
			return fmt.Errorf("%w: %s is %v", ErrNotFinite, what, x)
		}
	}
	return nil
}

// run builds the graph up to the scores, lets build go on, runs it, and calls what build returned.
func (m *Model) run(ctx context.Context, backward bool, queries, documents *Sequences, weight float32, build func(s *step, scores *gorgonia.Node) (func() error, error)) error {
	if m.closed {
		return ErrClosed
	}
	b, err := m.net.newBatch(queries, documents)
	if err != nil {
		return err
	}
	s := &step{ctx: ctx, graph: gorgonia.NewGraph(), crew: m.crew, mem: &m.mem, backward: backward}
	defer m.mem.end()
	denses := m.net.denses(b)
	m.crew.each(len(denses), func(_ *hand, i int) { denses[i].pack(backward, m.crew.low) })

	var x *gorgonia.Node
	if m.frozen != nil {
		hidden, err := m.hidden(ctx, b, queries, documents)
		if err != nil {
			return err
		}
		if x, err = m.net.project(s, s.constant("hidden states", hidden, len(b.keep), m.net.hidden)); err != nil {
			return err
		}
	} else if x, err = m.net.vectors(s, b); err != nil {
		return err
	}
	q := queries.Len()
	kept := append([]int{0}, b.kept...)
	scores, err := s.maxSim(x, kept[:q+1], kept[q:], weight)
	if err != nil {
		return err
	}
	done, err := build(s, scores)
	if err != nil {
		return err
	}
	s.countReaders()
	prog, locs, err := gorgonia.Compile(s.graph)
	if err != nil {
		return fmt.Errorf("train: compile: %w", err)
	}
	vm := gorgonia.NewTapeMachine(s.graph, gorgonia.WithPrecompiled(prog, locs))
	defer vm.Close()
	if err := vm.RunAll(); err != nil {
		if ctx.Err() != nil {
			return ctx.Err()
		}
		return fmt.Errorf("train: %w", err)
	}
	return done()
}

// frozenTokens is how many tokens go through the frozen backbone at a time.
const frozenTokens = 512

// hidden runs the frozen backbone and gives the hidden states of the kept tokens.
func (m *Model) hidden(ctx context.Context, b *batch, parts ...*Sequences) ([]float32, error) {
	h, rows := m.net.hidden, len(b.ids)
	all := m.mem.get(rows * h)
	var languages []int
	for _, s := range parts {
		languages = append(languages, s.Parts...)
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
