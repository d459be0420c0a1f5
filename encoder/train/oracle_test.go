package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The operations of this package beside the same formulas written with gorgonia's own.

// must ends a test with an error of graph building.
func must(t *testing.T) func(n *gorgonia.Node, err error) *gorgonia.Node {
	return func(n *gorgonia.Node, err error) *gorgonia.Node {
		t.Helper()
		require.NoError(t, err)
		return n
	}
}

// oracle runs a graph of gorgonia's operations: build makes y of the inputs. It returns the derivatives of sum(c * y) by
// the inputs.
func oracle(t *testing.T, c []float32, inputs []*weight, build func(in []*gorgonia.Node) *gorgonia.Node) (grads [][]float32) {
	g := gorgonia.NewGraph()
	var in gorgonia.Nodes
	for _, w := range inputs {
		in = append(in, gorgonia.NewTensor(g, tensor.Float32, len(w.shape), gorgonia.WithName(w.key), gorgonia.WithShape(w.shape...),
			gorgonia.WithValue(tensor.New(tensor.WithShape(w.shape...), tensor.WithBacking(append([]float32(nil), w.value...))))))
	}
	out := build(in)
	cn := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithName("c"), gorgonia.WithShape(out.Shape()...),
		gorgonia.WithValue(tensor.New(tensor.WithShape(out.Shape()...), tensor.WithBacking(c[:out.Shape().TotalSize()]))))
	cost := must(t)(gorgonia.Sum(must(t)(gorgonia.HadamardProd(out, cn))))
	ds, err := gorgonia.Grad(cost, in...)
	require.NoError(t, err)
	vm := gorgonia.NewTapeMachine(g)
	defer vm.Close()
	require.NoError(t, vm.RunAll())
	for _, d := range ds {
		v, err := floats(d.Value())
		require.NoError(t, err)
		grads = append(grads, v)
	}
	return grads
}

// own runs an operation of this package, and returns its input's derivative.
func own(t *testing.T, c []float32, x *weight, build func(s *step, x *gorgonia.Node) (*gorgonia.Node, error)) []float32 {
	o := &opCase{n: x.shape[0], h: x.shape[1], build: build}
	clear(x.param.Grad)
	o.runOp(t, x, c, true)
	return x.param.Grad
}

func TestLinearIsGorgonias(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 1))
	x, w, b := randomWeight(r, "x", 1, 0, 11, 9), randomWeight(r, "w", 1, 0, 6, 9), randomWeight(r, "b", 1, 0, 1, 6)
	c := normals(r, 66)
	want := oracle(t, c, []*weight{x, w, b}, func(in []*gorgonia.Node) *gorgonia.Node {
		y := must(t)(gorgonia.Mul(in[0], must(t)(gorgonia.Transpose(in[1], 1, 0))))
		return must(t)(gorgonia.BroadcastAdd(y, in[2], nil, []byte{0}))
	})
	flat := &weight{key: "b", shape: []int{6}, value: b.value, param: &Param{Name: "b", Shape: []int{6}, Value: b.value, Grad: make([]float32, 6)}}
	d := newDense(9, w, flat)
	d.pack(new(hand), 1, true, false)
	got := own(t, c, x, func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) {
		return s.linear("linear", x, []span{{0, 11, d}}, nil)
	})
	requireClose(t, want[0], got, 1e-5, "x")
	requireClose(t, want[1], w.param.Grad, 1e-5, "w")
	requireClose(t, want[2], flat.param.Grad, 1e-5, "b")
}

func TestLayerNormIsGorgonias(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 2))
	const n, h = 7, 12
	x, gamma, beta := randomWeight(r, "x", 1, 0.3, n, h), randomWeight(r, "gamma", 1, 0, 1, h), randomWeight(r, "beta", 1, 0, 1, h)
	c := normals(r, n*h)
	want := oracle(t, c, []*weight{x, gamma, beta}, func(in []*gorgonia.Node) *gorgonia.Node {
		column := func(v *gorgonia.Node) *gorgonia.Node {
			return must(t)(gorgonia.Reshape(v, tensor.Shape{n, 1}))
		}
		d := must(t)(gorgonia.BroadcastSub(in[0], column(must(t)(gorgonia.Mean(in[0], 1))), nil, []byte{1}))
		variance := must(t)(gorgonia.Mean(must(t)(gorgonia.Square(d)), 1))
		s := must(t)(gorgonia.Sqrt(must(t)(gorgonia.Add(variance, gorgonia.NewConstant(float32(1e-3))))))
		z := must(t)(gorgonia.BroadcastHadamardDiv(d, column(s), nil, []byte{1}))
		return must(t)(gorgonia.BroadcastAdd(must(t)(gorgonia.BroadcastHadamardProd(z, in[1], nil, []byte{0})), in[2], nil, []byte{0}))
	})
	flat := func(w *weight) *weight {
		return &weight{key: w.key, shape: []int{h}, value: w.value, param: &Param{Name: w.key, Shape: []int{h}, Value: w.value, Grad: make([]float32, h)}}
	}
	l := &norm{gamma: flat(gamma), beta: flat(beta), eps: 1e-3}
	got := own(t, c, x, func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) { return s.layerNorm("norm", x, l) })
	requireClose(t, want[0], got, 1e-4, "x")
	requireClose(t, want[1], l.gamma.param.Grad, 1e-5, "gamma")
	requireClose(t, want[2], l.beta.param.Grad, 1e-5, "beta")
}

func TestAttentionIsGorgonias(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 3))
	const heads, d, h = 2, 4, 8
	rg := &ragged{offsets: []int{0, 5, 12}, attended: []int{5, 7}}
	n := rg.rows()
	x := randomWeight(r, "x", 1, 0, n, 3*h)
	c := normals(r, n*h)
	got := own(t, c, x, func(s *step, x *gorgonia.Node) (*gorgonia.Node, error) { return s.attention("attention", x, rg, heads) })
	// Each head of each sequence on its own.
	for seq := range 2 {
		from, to := rg.offsets[seq], rg.offsets[seq+1]
		for head := range heads {
			part := func(what int) *weight {
				w := randomWeight(r, string(rune('q'+what)), 0, 0, to-from, d)
				for i := range to - from {
					copy(w.value[i*d:(i+1)*d], x.value[(from+i)*3*h+what*h+head*d:])
				}
				return w
			}
			own := make([]float32, (to-from)*d)
			for i := range to - from {
				copy(own[i*d:(i+1)*d], c[(from+i)*h+head*d:])
			}
			want := oracle(t, own, []*weight{part(0), part(1), part(2)}, func(in []*gorgonia.Node) *gorgonia.Node {
				s := must(t)(gorgonia.Mul(in[0], must(t)(gorgonia.Transpose(in[1], 1, 0))))
				s = must(t)(gorgonia.Mul(s, gorgonia.NewConstant(float32(1/math.Sqrt(d)))))
				return must(t)(gorgonia.Mul(must(t)(gorgonia.SoftMax(s, 1)), in[2]))
			})
			for what, w := range want {
				var g []float32
				for i := range to - from {
					g = append(g, got[(from+i)*3*h+what*h+head*d:][:d]...)
				}
				requireClose(t, w, g, 1e-4, []string{"queries", "keys", "values"}[what])
			}
		}
	}
}
