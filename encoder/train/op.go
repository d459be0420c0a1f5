package train

import (
	"context"
	"fmt"
	"hash"
	"hash/fnv"
	"slices"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// step is one pass over a batch: a graph, and what its operations share while it runs.
type step struct {
	ctx   context.Context
	graph *gorgonia.ExprGraph
	crew  *crew
	mem   *arena
	// backward says that gradients will be asked for, so that operations keep what these need.
	backward bool
	ops      []*function
	// learners are the nodes of parameters, and their nodes' gradients add to params of the same number.
	learners    gorgonia.Nodes
	derivatives gorgonia.Nodes // by learners
}

// function is an operation of gorgonia's on float32 arrays: its value, and how it is differentiated.
//
// Gorgonia's operations have one value each. The derivative of a layer has several, which share most of the work, so
// where an operation has parameters its derivative by the input adds the parameters' gradients to Param.Grad as well, and
// the derivatives by the parameters are views of these (see gradOf).
//
// Values lie in the step's arena and go back to it when their last reader has run, so that a backward pass frees the
// activations on its way. Readers are counted when the graph is whole. What an operation of gorgonia's own reads stays to
// the end.
type function struct {
	name   string
	id     int
	s      *step
	inputs gorgonia.Nodes
	shape  tensor.Shape
	diff   []bool
	// do computes out, which holds anything, from the inputs' values.
	do func(out []float32, in [][]float32)
	// view gives memory for out that is not the arena's.
	view func() []float32
	// grad gives the derivatives by the inputs for which diff is true; others are nil.
	grad func(output, grad *gorgonia.Node) (gorgonia.Nodes, error)

	out     []float32
	readers int // that have not run; negative for a value that stays
}

// apply adds an operation to the graph. Its shape is that of the result. Which of the inputs it can be differentiated by
// is said by grad being set and an input depending on a parameter.
func (s *step) apply(f *function, inputs ...*gorgonia.Node) (*gorgonia.Node, error) {
	f.s, f.id, f.inputs = s, len(s.ops), inputs
	f.diff = make([]bool, len(inputs))
	if f.grad != nil && s.backward {
		for i, n := range inputs {
			f.diff[i] = s.learns(n)
		}
	}
	s.ops = append(s.ops, f)
	n, err := gorgonia.ApplyOp(f, inputs...)
	if err != nil {
		return nil, fmt.Errorf("train: %s: %w", f.name, err)
	}
	return n, nil
}

// learns says whether a node depends on a parameter.
func (s *step) learns(n *gorgonia.Node) bool {
	if n.Op() == nil {
		return n.Name() != "" && n.Name()[0] == paramMark
	}
	if f, ok := n.Op().(*function); ok {
		return slices.Contains(f.diff, true)
	}
	for it := s.graph.From(n.ID()); it.Next(); {
		if s.learns(it.Node().(*gorgonia.Node)) {
			return true
		}
	}
	return false
}

// paramMark begins the names of parameters' nodes.
const paramMark = '$'

// learning is ps in a step that asks for gradients.
func (s *step) learning(ps []*Param) []*Param {
	if !s.backward {
		return nil
	}
	return ps
}

// param gives the node of a parameter.
func (s *step) param(p *Param) *gorgonia.Node {
	v := tensor.New(tensor.WithShape(p.Shape...), tensor.WithBacking(p.Value))
	// A parameter that is used twice gets two nodes: gorgonia would sum the gradients, which the operations add themselves.
	name := fmt.Sprintf("%c%s %d", paramMark, p.Name, len(s.learners))
	n := gorgonia.NewTensor(s.graph, tensor.Float32, len(p.Shape), gorgonia.WithShape(p.Shape...), gorgonia.WithName(name), gorgonia.WithValue(v))
	s.learners = append(s.learners, n)
	return n
}

// constant gives a node for values that nothing is differentiated by.
func (s *step) constant(name string, v []float32, shape ...int) *gorgonia.Node {
	t := tensor.New(tensor.WithShape(shape...), tensor.WithBacking(v))
	name = fmt.Sprintf("%s %d", name, len(s.graph.AllNodes())) // equal names would be one node
	return gorgonia.NewTensor(s.graph, tensor.Float32, len(shape), gorgonia.WithShape(shape...), gorgonia.WithName(name), gorgonia.WithValue(t))
}

// gradOf is a parameter's gradient, which the operation that made node after has added to.
func (s *step) gradOf(p *Param, after *gorgonia.Node) (*gorgonia.Node, error) {
	return s.apply(&function{
		name:  "grad of " + p.Name,
		shape: p.Shape,
		view:  func() []float32 { return p.Grad },
	}, after)
}

// gradsOf are the gradients of all of ps.
func (s *step) gradsOf(ps []*Param, after *gorgonia.Node) (out gorgonia.Nodes, err error) {
	for _, p := range ps {
		n, err := s.gradOf(p, after)
		if err != nil {
			return nil, err
		}
		out = append(out, n)
	}
	return out, nil
}

// countReaders makes ready for the run: values go back to the arena after their last reader.
func (s *step) countReaders() {
	for _, f := range s.ops {
		f.readers = 0
	}
	for _, n := range s.graph.AllNodes() {
		if n.Op() == nil {
			continue
		}
		_, own := n.Op().(*function)
		it := s.graph.From(n.ID())
		for it.Next() {
			if f, ok := it.Node().(*gorgonia.Node).Op().(*function); ok && !own {
				f.readers = -1 << 30
			}
		}
	}
	for _, f := range s.ops {
		for _, n := range f.inputs {
			if p, ok := n.Op().(*function); ok {
				p.readers++
			}
		}
	}
	for _, f := range s.ops {
		if f.readers == 0 {
			f.readers = -1 << 30 // a result
		}
	}
}

// Do implements gorgonia.Op.
func (f *function) Do(values ...gorgonia.Value) (gorgonia.Value, error) {
	if err := f.s.ctx.Err(); err != nil {
		return nil, err
	}
	if f.view == nil {
		f.out = f.s.mem.get(f.shape.TotalSize())
	} else {
		f.out = f.view()
	}
	if f.do != nil {
		in := make([][]float32, len(values))
		for i, v := range values {
			var err error
			if in[i], err = floats(v); err != nil {
				return nil, fmt.Errorf("%s: input %d: %w", f.name, i, err)
			}
		}
		f.do(f.out, in)
	}
	for _, n := range f.inputs {
		if p, ok := n.Op().(*function); ok {
			if p.readers--; p.readers == 0 && p.view == nil {
				f.s.mem.put(p.out)
				p.out = nil
			}
		}
	}
	return tensor.New(tensor.WithShape(f.shape...), tensor.WithBacking(f.out)), nil
}

// floats gives a value's numbers in row-major order.
func floats(v gorgonia.Value) ([]float32, error) {
	switch v := v.(type) {
	case *gorgonia.F32:
		return []float32{float32(*v)}, nil
	case *tensor.Dense:
		if v.Dtype() != tensor.Float32 {
			return nil, fmt.Errorf("a tensor of %v", v.Dtype())
		}
		if v.RequiresIterator() || !v.DataOrder().IsContiguous() || v.DataOrder().IsColMajor() {
			c, ok := v.Materialize().(*tensor.Dense)
			if !ok {
				return nil, fmt.Errorf("a view that is not a dense tensor")
			}
			v = c
		}
		if v.IsScalar() {
			x, ok := v.Data().(float32)
			if !ok {
				return nil, fmt.Errorf("a scalar of %T", v.Data())
			}
			return []float32{x}, nil
		}
		return v.Float32s(), nil
	}
	return nil, fmt.Errorf("a value of type %T", v)
}

// DiffWRT implements gorgonia.SDOp.
func (f *function) DiffWRT(int) []bool { return f.diff }

// SymDiff implements gorgonia.SDOp.
func (f *function) SymDiff(_ gorgonia.Nodes, output, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	if f.grad == nil {
		return nil, fmt.Errorf("train: %s has no derivative", f.name)
	}
	return f.grad(output, grad)
}

// Arity implements gorgonia.Op.
func (f *function) Arity() int { return len(f.inputs) }

// Type implements gorgonia.Op.
func (f *function) Type() hm.Type {
	var ts []hm.Type
	for _, n := range f.inputs {
		ts = append(ts, n.Type())
	}
	return hm.NewFnType(append(ts, gorgonia.TensorType{Dims: f.shape.Dims(), Of: tensor.Float32})...)
}

// InferShape implements gorgonia.Op.
func (f *function) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return f.shape.Clone(), nil
}

// ReturnsPtr implements gorgonia.Op.
func (f *function) ReturnsPtr() bool { return false }

// CallsExtern implements gorgonia.Op.
func (f *function) CallsExtern() bool { return false }

// OverwritesInput implements gorgonia.Op.
func (f *function) OverwritesInput() int { return -1 }

// WriteHash implements gorgonia.Op. Gorgonia takes operations with one hash for one: each of these is its own.
func (f *function) WriteHash(h hash.Hash) { fmt.Fprintf(h, "golbert %s %d", f.name, f.id) }

// Hashcode implements gorgonia.Op.
func (f *function) Hashcode() uint32 {
	h := fnv.New32a()
	f.WriteHash(h)
	return h.Sum32()
}

// String implements gorgonia.Op.
func (f *function) String() string { return f.name }
