package train

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// opCase builds an operation of one input x, n x h, and parameters, for checks of its derivatives.
type opCase struct {
	n, h   int
	params []*weight
	build  func(s *step, x *gorgonia.Node) (*gorgonia.Node, error)
	scale  float64 // of x
}

func randomWeight(r *rand.Rand, key string, scale, offset float64, shape ...int) *weight {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(scale*r.NormFloat64() + offset)
	}
	w := &weight{key: key, shape: shape, value: v}
	w.param = &Param{Name: key, Shape: shape, Value: v, Grad: make([]float32, n)}
	return w
}

// runOp gives the value of sum(c * op(x)), and its derivatives by x and the parameters where grad is set. x is a parameter,
// too, so that the graph has a way to it: a table of embeddings of which token i takes row i.
func (o *opCase) runOp(t *testing.T, x *weight, c []float32, grad bool) float64 {
	s := &step{ctx: context.Background(), graph: gorgonia.NewGraph(), crew: newCrew(2, false), mem: new(arena), backward: grad}
	rows := make([]int32, o.n)
	for i := range rows {
		rows[i] = int32(i)
	}
	in, err := s.embed(o.n, o.h, lookup{&table{dim: o.h, w: x}, rows})
	require.NoError(t, err)
	y, err := o.build(s, in)
	require.NoError(t, err)
	if !grad {
		s.countReaders()
		vm := gorgonia.NewTapeMachine(s.graph)
		defer vm.Close()
		require.NoError(t, vm.RunAll())
		v, err := floats(y.Value())
		require.NoError(t, err)
		var sum float64 // in float64: a difference of two such is to be exact
		for i, a := range v {
			sum += float64(a) * float64(c[i])
		}
		return sum
	}
	w := gorgonia.NewTensor(s.graph, tensor.Float32, 2, gorgonia.WithShape(y.Shape()...), gorgonia.WithName("c"), gorgonia.WithValue(tensor.New(tensor.WithShape(y.Shape()...), tensor.WithBacking(slices.Clone(c[:y.Shape().TotalSize()])))))
	p, err := gorgonia.HadamardProd(y, w)
	require.NoError(t, err)
	cost, err := gorgonia.Sum(p)
	require.NoError(t, err)
	_, err = gorgonia.Grad(cost, s.learners...)
	require.NoError(t, err)
	s.countReaders()
	vm := gorgonia.NewTapeMachine(s.graph)
	defer vm.Close()
	require.NoError(t, vm.RunAll())
	v, err := floats(cost.Value())
	require.NoError(t, err)
	return float64(v[0])
}

// TestDerivatives compares each operation's derivatives with central differences.
func TestDerivatives(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	lin := func(in, out int, bias bool) *dense {
		w := randomWeight(r, fmt.Sprintf("w%d", r.IntN(1000)), 1/math.Sqrt(float64(in)), 0, out, in)
		if !bias {
			return newDense(in, w, nil)
		}
		return newDense(in, w, randomWeight(r, fmt.Sprintf("b%d", r.IntN(1000)), 0.5, 0, out))
	}
	weights := func(ds ...*dense) (ws []*weight) {
		for _, d := range ds {
			for _, p := range d.parts {
				ws = append(ws, p.w)
				if p.b != nil {
					ws = append(ws, p.b)
				}
			}
		}
		return ws
	}
	cases := map[string]*opCase{}
	{
		d := lin(7, 5, true)
		cases["linear"] = &opCase{n: 9, h: 7, params: weights(d), build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			d.pack(new(hand), nextCall(), s.backward, false)
			return s.linear("linear", x, []span{{0, 9, d}}, nil)
		}}
		long := lin(3, 40, true)
		cases["linear of many tokens"] = &opCase{n: tokenChunk + 70, h: 3, params: weights(long), build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			long.pack(new(hand), nextCall(), s.backward, false)
			return s.linear("linear", x, []span{{0, tokenChunk + 70, long}}, nil)
		}}
		stack := newDense(6, append(append(weights(lin(6, 6, true)), weights(lin(6, 6, true))...), weights(lin(6, 6, true))...)...)
		cases["stacked"] = &opCase{n: 4, h: 6, params: weights(stack), build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			stack.pack(new(hand), nextCall(), s.backward, false)
			return s.linear("stacked", x, []span{{0, 4, stack}}, nil)
		}}
		a, b := lin(6, 6, true), lin(6, 6, false)
		cases["spans and a residual"] = &opCase{n: 10, h: 6, params: weights(a, b), build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			a.pack(new(hand), nextCall(), s.backward, false)
			b.pack(new(hand), nextCall(), s.backward, false)
			return s.linear("spans", x, []span{{0, 3, a}, {5, 10, b}}, x) // rows 3 and 4 are the residual's alone
		}}
	}
	for name, rg := range map[string]ragged{
		"attention":                    {offsets: []int{0, 3, 4, 9}, attended: []int{3, 1, 5}},
		"attention, some not attended": {offsets: []int{0, 6, 9}, attended: []int{4, 2}},
		"attention, long":              {offsets: []int{0, attentionBlock + 9}, attended: []int{attentionBlock + 4}},
	} {
		n := rg.rows()
		cases[name] = &opCase{n: n, h: 12, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			return s.attention("attention", x, &rg, 2)
		}}
	}
	for name, act := range activations {
		cases[name] = &opCase{n: 5, h: 6, scale: 2, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) { return s.activate(name, x, act) }}
	}
	{
		l := &norm{gamma: randomWeight(r, "gamma", 0.3, 1, 8), beta: randomWeight(r, "beta", 0.5, 0, 8), eps: 1e-5}
		cases["layer norm"] = &opCase{n: normBlock + 3, h: 8, params: []*weight{l.gamma, l.beta}, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			return s.layerNorm("norm", x, l)
		}}
		cases["norm twice"] = &opCase{n: 5, h: 8, params: []*weight{l.gamma, l.beta}, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
			y, err := s.layerNorm("norm", x, l)
			if err != nil {
				return nil, err
			}
			return s.layerNorm("again", y, l)
		}}
	}
	cases["unit vectors"] = &opCase{n: 5, h: 6, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) { return s.normalize(x) }}
	cases["rows"] = &opCase{n: 6, h: 3, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) { return s.rows(x, []int32{4, 0, 5}) }}
	cases["MaxSim"] = &opCase{n: 12, h: 8, build: func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
		return s.maxSim(x, []int{0, 2, 3, 5}, []int{5, 6, 12}, 1)
	}}
	cases["embeddings"] = &opCase{n: 7, h: 70, params: []*weight{randomWeight(r, "words", 1, 0, 4, 70)}}
	words := &table{dim: 70, w: cases["embeddings"].params[0]}
	cases["embeddings"].build = func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
		y, err := s.embed(7, 70, lookup{words, []int32{0, 3, 3, 1, 3, 0, 0}})
		if err != nil {
			return nil, err
		}
		return gorgonia.Add(x, y)
	}

	for name, o := range cases {
		t.Run(name, func(t *testing.T) {
			scale := o.scale
			if scale == 0 {
				scale = 1
			}
			x := randomWeight(r, "x", scale, 0, o.n, o.h)
			c := normals(r, o.n*max(o.h, 64))
			for _, w := range o.params {
				clear(w.param.Grad)
			}
			value := o.runOp(t, x, c, true)
			require.InDelta(t, o.runOp(t, x, c, false), value, 1e-3*max(1, math.Abs(value)), "with and without gradients")
			for _, w := range append([]*weight{x}, o.params...) {
				for range 12 {
					i := r.IntN(len(w.value))
					was := w.value[i]
					const h = 1.0 / 128
					w.value[i] = was + h
					up := o.runOp(t, x, c, false)
					w.value[i] = was - h
					down := o.runOp(t, x, c, false)
					w.value[i] = was
					want := (up - down) / (2 * h)
					require.InDelta(t, want, w.param.Grad[i], 1e-3+3e-3*math.Abs(want), "%s[%d]", w.key, i)
				}
			}
		})
	}
}

func normals(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

var calls int

// nextCall counts calls, so that dense layers are packed anew.
func nextCall() int {
	calls++
	return calls
}
