package train

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// toy is a model small enough to differentiate by hand: a vector per word and one that is added to all, and MaxSim.
type toy struct {
	words, bias *Param
	width       int
	calls       int                                  // of backward
	fault       func(call int, m *toy) (bool, error) // before a backward
}

const toyWords = 211

func newToy(seed uint64) *toy {
	const width = 6
	rng := rand.New(rand.NewPCG(seed, 9))
	m := &toy{width: width}
	param := func(name string, decay bool, shape ...int) *Param {
		n := 1
		for _, s := range shape {
			n *= s
		}
		p := &Param{Name: name, Shape: shape, Value: make([]float32, n), Grad: make([]float32, n), Decay: decay}
		for i := range p.Value {
			p.Value[i] = float32(rng.NormFloat64()) * 0.3
		}
		return p
	}
	m.words, m.bias = param("words", true, toyWords, width), param("bias", false, width)
	return m
}

func (m *toy) Params() []*Param { return []*Param{m.words, m.bias} }

func (m *toy) Sequences(_ context.Context, texts []string, _ bool, _ []string) (*Sequences, error) {
	s := &Sequences{Offsets: []int{0}}
	for i, t := range texts {
		words := strings.Fields(t)
		if len(words) == 0 {
			return nil, fmt.Errorf("text %d is empty", i)
		}
		for _, w := range words {
			h := fnv.New32a()
			h.Write([]byte(w))
			s.IDs, s.Keep = append(s.IDs, int32(h.Sum32()%toyWords)), append(s.Keep, true)
		}
		s.Offsets, s.Attended = append(s.Offsets, len(s.IDs)), append(s.Attended, len(words))
	}
	return s, nil
}

// vector is a word's.
func (m *toy) vector(id int32) []float32 {
	v := make([]float32, m.width)
	for k := range v {
		v[k] = m.words.Value[int(id)*m.width+k] + m.bias.Value[k]
	}
	return v
}

// pairs calls f for every query token with its best document token.
func (m *toy) pairs(queries, documents *Sequences, f func(i, j int, q, d int32, sim float32)) {
	for i := range queries.Len() {
		for j := range documents.Len() {
			for _, q := range queries.IDs[queries.Offsets[i]:queries.Offsets[i+1]] {
				v := m.vector(q)
				best, sim := int32(-1), float32(0)
				for _, d := range documents.IDs[documents.Offsets[j]:documents.Offsets[j+1]] {
					s := float32(0)
					for k, x := range m.vector(d) {
						s += v[k] * x
					}
					if best < 0 || s > sim {
						best, sim = d, s
					}
				}
				f(i, j, q, best, sim)
			}
		}
	}
}

func (m *toy) Scores(ctx context.Context, queries, documents *Sequences) ([]float32, error) {
	out := make([]float32, queries.Len()*documents.Len())
	m.pairs(queries, documents, func(i, j int, _, _ int32, sim float32) { out[i*documents.Len()+j] += sim })
	return out, ctx.Err()
}

func (m *toy) backward(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32, _ int) (float32, error) {
	m.calls++
	if m.fault != nil {
		if stop, err := m.fault(m.calls, m); stop || err != nil {
			return 0, err
		}
	}
	scores, err := m.Scores(ctx, queries, documents)
	if err != nil {
		return 0, err
	}
	value, grad, err := scoreGradient(loss, scores, queries.Len(), documents.Len())
	if err != nil {
		return 0, err
	}
	m.pairs(queries, documents, func(i, j int, q, d int32, _ float32) {
		g := weight * grad[i*documents.Len()+j]
		vq, vd := m.vector(q), m.vector(d)
		for k := range m.width {
			m.words.Grad[int(q)*m.width+k] += g * vd[k]
			m.words.Grad[int(d)*m.width+k] += g * vq[k]
			m.bias.Grad[k] += g * (vd[k] + vq[k])
		}
	})
	return value, nil
}

func (m *toy) Save(dir string) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	b, err := json.Marshal(m.Params())
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "toy.json"), b, 0o644)
}

// toyExamples are queries of two words of a topic and documents of more of its words.
func toyExamples(seed uint64, n int) []Example {
	rng := rand.New(rand.NewPCG(seed, 5))
	out := make([]Example, n)
	text := func(topic, words int) string {
		var b strings.Builder
		for range words {
			fmt.Fprintf(&b, "w%d-%d ", topic, rng.IntN(5))
		}
		return b.String()
	}
	for i := range out {
		topic := rng.IntN(20)
		e := Example{Query: text(topic, 2), Positive: text(topic, 3+rng.IntN(6)), Group: fmt.Sprint("topic ", topic), Source: fmt.Sprint("toy:", i+1)}
		for range 3 {
			e.Negatives = append(e.Negatives, text((topic+1+rng.IntN(19))%20, 4))
		}
		e.Scores = []float32{3, rng.Float32(), rng.Float32(), rng.Float32()}
		out[i] = e
	}
	return out
}

// scoreGradient computes a loss of a score matrix and its gradient by the scores.
func scoreGradient(loss LossFunc, scores []float32, queries, documents int) (value float32, grad []float32, err error) {
	g := gorgonia.NewGraph()
	s := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(queries, documents), gorgonia.WithName("scores"),
		gorgonia.WithValue(tensor.New(tensor.WithShape(queries, documents), tensor.WithBacking(scores))))
	cost, err := loss(g, s)
	if err != nil {
		return 0, nil, err
	}
	by, err := gorgonia.Grad(cost, s)
	if err != nil {
		return 0, nil, fmt.Errorf("train: gradient of the loss: %w", err)
	}
	m := gorgonia.NewTapeMachine(g)
	defer func() { err = errors.Join(err, m.Close()) }()
	if err := m.RunAll(); err != nil {
		return 0, nil, fmt.Errorf("train: loss: %w", err)
	}
	v, err := scalarOf(cost.Value())
	if err != nil {
		return 0, nil, err
	}
	grad, err = matrixOf(by[0].Value(), queries, documents)
	return float32(v), grad, err
}
