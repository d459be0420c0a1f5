package train

import (
	"encoding/binary"
	"fmt"
	"hash"
	"hash/fnv"
	"math"

	"github.com/chewxy/hm"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// The operations of losses on a score matrix. gorgonia's SoftMax and Log overflow for scores far apart and do not know
// of left-out cells, so that these two come with their gradients; sums are in float64.

// matrixType is the type of a score matrix in gorgonia.
var matrixType = gorgonia.TensorType{Dims: 2, Of: tensor.Float32}

// baseOp has what is the same for the operations here.
type baseOp struct{}

func (baseOp) ReturnsPtr() bool     { return false }
func (baseOp) CallsExtern() bool    { return false }
func (baseOp) OverwritesInput() int { return -1 }

// sum32 is the Hashcode of an operation with a WriteHash.
func sum32(op interface{ WriteHash(hash.Hash) }) uint32 {
	h := fnv.New32a()
	op.WriteHash(h)
	return h.Sum32()
}

// shaped checks that a node is a score matrix of the expected shape.
func shaped(n *gorgonia.Node, rows, cols int) error {
	if s := n.Shape(); s.Dims() != 2 || s[0] != rows || s[1] != cols {
		return fmt.Errorf("%w: scores of shape %v, not (%d, %d)", ErrTargets, s, rows, cols)
	}
	return nil
}

// matrixOf returns the values of a rows x cols matrix.
func matrixOf(v gorgonia.Value, rows, cols int) ([]float32, error) {
	t, ok := v.(tensor.Tensor)
	if !ok || t.Dims() != 2 || t.Shape()[0] != rows || t.Shape()[1] != cols {
		return nil, fmt.Errorf("%w: scores of shape %v, not (%d, %d)", ErrTargets, v.Shape(), rows, cols)
	}
	f, ok := t.Data().([]float32)
	if !ok || len(f) != rows*cols {
		return nil, fmt.Errorf("%w: scores are %v", ErrTargets, t.Dtype())
	}
	return f, nil
}

func newMatrix(rows, cols int, v []float32) gorgonia.Value {
	return tensor.New(tensor.WithShape(rows, cols), tensor.WithBacking(v))
}

// logSumExp is log(sum(exp(x))), without overflow.
func logSumExp(x []float64) float64 {
	m := math.Inf(-1)
	for _, v := range x {
		m = max(m, v)
	}
	if math.IsInf(m, -1) || math.IsNaN(m) {
		return m
	}
	sum := 0.0
	for _, v := range x {
		sum += math.Exp(v - m)
	}
	return m + math.Log(sum)
}

// crossEntropy is the mean over rows of the cross-entropy of target distributions with the softmax of the kept
// cells of a row, plus constant: (constant - sum_ij target_ij logsoftmax(scale_i s_i)_j) / rows.
type crossEntropy struct {
	baseOp
	rows, cols int
	scale      []float64 // by row
	target     []float64 // a distribution in each row
	keep       []bool
	constant   float64
}

func newCrossEntropy(rows, cols int, scale []float64) *crossEntropy {
	return &crossEntropy{rows: rows, cols: cols, scale: scale, target: make([]float64, rows*cols), keep: make([]bool, rows*cols)}
}

func (x *crossEntropy) apply(_ *gorgonia.ExprGraph, scores *gorgonia.Node) (*gorgonia.Node, error) {
	if err := shaped(scores, x.rows, x.cols); err != nil {
		return nil, err
	}
	return gorgonia.ApplyOp(x, scores)
}

func (x *crossEntropy) Arity() int     { return 1 }
func (x *crossEntropy) Type() hm.Type  { return hm.NewFnType(matrixType, tensor.Float32) }
func (x *crossEntropy) String() string { return fmt.Sprintf("CrossEntropy(%d, %d)", x.rows, x.cols) }
func (x *crossEntropy) Hashcode() uint32 {
	return sum32(x)
}
func (x *crossEntropy) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return tensor.ScalarShape(), nil
}

// WriteHash tells losses of one graph apart, since gorgonia makes one node of operations with the same hash.
func (x *crossEntropy) WriteHash(h hash.Hash) {
	fmt.Fprint(h, x.String())
	var b [8]byte
	for _, part := range [][]float64{x.scale, x.target, {x.constant}} {
		for _, v := range part {
			binary.LittleEndian.PutUint64(b[:], math.Float64bits(v))
			h.Write(b[:])
		}
	}
	writeBools(h, x.keep)
}

func writeBools(h hash.Hash, keep []bool) {
	b := make([]byte, len(keep))
	for i, k := range keep {
		if k {
			b[i] = 1
		}
	}
	h.Write(b)
}

// softmax puts the softmax of the kept cells of row i into p, 0 elsewhere, and returns the logarithm of its sum.
func (x *crossEntropy) softmax(s []float32, i int, p []float64) float64 {
	m := math.Inf(-1)
	for j, v := range s[i*x.cols : (i+1)*x.cols] {
		p[j] = math.Inf(-1)
		if x.keep[i*x.cols+j] {
			p[j] = float64(v) * x.scale[i]
			m = max(m, p[j])
		}
	}
	sum := 0.0
	for j, v := range p {
		p[j] = math.Exp(v - m)
		sum += p[j]
	}
	for j := range p {
		p[j] /= sum
	}
	return m + math.Log(sum)
}

func (x *crossEntropy) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s, err := matrixOf(in[0], x.rows, x.cols)
	if err != nil {
		return nil, err
	}
	p := make([]float64, x.cols)
	sum := x.constant
	for i := range x.rows {
		z := x.softmax(s, i, p)
		for j, t := range x.target[i*x.cols : (i+1)*x.cols] {
			if t != 0 {
				sum += t * (z - float64(s[i*x.cols+j])*x.scale[i])
			}
		}
	}
	return gorgonia.NewF32(float32(sum / float64(x.rows))), nil
}

func (x *crossEntropy) DiffWRT(int) []bool { return []bool{true} }

func (x *crossEntropy) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	n, err := gorgonia.ApplyOp(crossEntropyGrad{x}, in[0], grad)
	return gorgonia.Nodes{n}, err
}

// crossEntropyGrad is the gradient of crossEntropy by the scores, times the gradient by the loss.
type crossEntropyGrad struct{ *crossEntropy }

func (x crossEntropyGrad) Arity() int { return 2 }
func (x crossEntropyGrad) Type() hm.Type {
	return hm.NewFnType(matrixType, tensor.Float32, matrixType)
}
func (x crossEntropyGrad) String() string        { return "Grad" + x.crossEntropy.String() }
func (x crossEntropyGrad) WriteHash(h hash.Hash) { fmt.Fprint(h, "Grad"); x.crossEntropy.WriteHash(h) }
func (x crossEntropyGrad) Hashcode() uint32      { return sum32(x) }
func (x crossEntropyGrad) DiffWRT(int) []bool    { return []bool{false, false} }
func (x crossEntropyGrad) InferShape(in ...gorgonia.DimSizer) (tensor.Shape, error) {
	return tensor.Shape{x.rows, x.cols}, nil
}
func (x crossEntropyGrad) SymDiff(gorgonia.Nodes, *gorgonia.Node, *gorgonia.Node) (gorgonia.Nodes, error) {
	return nil, fmt.Errorf("train: %s has no second derivative", x)
}

func (x crossEntropyGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s, err := matrixOf(in[0], x.rows, x.cols)
	if err != nil {
		return nil, err
	}
	up, err := scalarOf(in[1])
	if err != nil {
		return nil, err
	}
	out := make([]float32, x.rows*x.cols)
	p := make([]float64, x.cols)
	for i := range x.rows {
		x.softmax(s, i, p)
		target := x.target[i*x.cols : (i+1)*x.cols]
		whole := 0.0
		for _, t := range target {
			whole += t
		}
		f := up * x.scale[i] / float64(x.rows)
		for j := range p {
			if x.keep[i*x.cols+j] {
				out[i*x.cols+j] = float32((p[j]*whole - target[j]) * f)
			}
		}
	}
	return newMatrix(x.rows, x.cols, out), nil
}

func scalarOf(v gorgonia.Value) (float64, error) {
	switch d := v.Data().(type) {
	case float32:
		return float64(d), nil
	case []float32:
		if len(d) == 1 {
			return float64(d[0]), nil
		}
	}
	return 0, fmt.Errorf("train: %T of shape %v is no scalar", v, v.Shape())
}

// minMaxEpsilon keeps rows of equal scores from a division by zero; PyLate's value.
const minMaxEpsilon = 1e-8

// minMax scales the kept cells of each row to [0, 1]; the others become 0.
type minMax struct {
	baseOp
	rows, cols int
	keep       []bool
}

func (x *minMax) apply(scores *gorgonia.Node) (*gorgonia.Node, error) {
	return gorgonia.ApplyOp(x, scores)
}

func (x *minMax) Arity() int            { return 1 }
func (x *minMax) Type() hm.Type         { return hm.NewFnType(matrixType, matrixType) }
func (x *minMax) String() string        { return fmt.Sprintf("MinMax(%d, %d)", x.rows, x.cols) }
func (x *minMax) WriteHash(h hash.Hash) { fmt.Fprint(h, x.String()); writeBools(h, x.keep) }
func (x *minMax) Hashcode() uint32      { return sum32(x) }
func (x *minMax) InferShape(...gorgonia.DimSizer) (tensor.Shape, error) {
	return tensor.Shape{x.rows, x.cols}, nil
}

// bounds returns the places of the least and the greatest kept score of row i, the first ones of equal scores, or -1.
func (x *minMax) bounds(s []float32, i int) (lo, hi int) {
	lo, hi = -1, -1
	for j := i * x.cols; j < (i+1)*x.cols; j++ {
		if !x.keep[j] {
			continue
		}
		if lo < 0 || s[j] < s[lo] || s[j] != s[j] {
			lo = j
		}
		if hi < 0 || s[j] > s[hi] || s[j] != s[j] {
			hi = j
		}
	}
	return lo, hi
}

func (x *minMax) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s, err := matrixOf(in[0], x.rows, x.cols)
	if err != nil {
		return nil, err
	}
	out := make([]float32, x.rows*x.cols)
	for i := range x.rows {
		lo, hi := x.bounds(s, i)
		for j := i * x.cols; j < (i+1)*x.cols; j++ {
			if x.keep[j] {
				out[j] = float32((float64(s[j]) - float64(s[lo])) / (float64(s[hi]) - float64(s[lo]) + minMaxEpsilon))
			}
		}
	}
	return newMatrix(x.rows, x.cols, out), nil
}

func (x *minMax) DiffWRT(int) []bool { return []bool{true} }

func (x *minMax) SymDiff(in gorgonia.Nodes, _, grad *gorgonia.Node) (gorgonia.Nodes, error) {
	n, err := gorgonia.ApplyOp(minMaxGrad{x}, in[0], grad)
	return gorgonia.Nodes{n}, err
}

// minMaxGrad is the gradient of minMax by the scores. Like torch's, it gives the part of minimum and maximum to
// one cell each.
type minMaxGrad struct{ *minMax }

func (x minMaxGrad) Arity() int            { return 2 }
func (x minMaxGrad) Type() hm.Type         { return hm.NewFnType(matrixType, matrixType, matrixType) }
func (x minMaxGrad) String() string        { return "Grad" + x.minMax.String() }
func (x minMaxGrad) WriteHash(h hash.Hash) { fmt.Fprint(h, "Grad"); x.minMax.WriteHash(h) }
func (x minMaxGrad) Hashcode() uint32      { return sum32(x) }
func (x minMaxGrad) DiffWRT(int) []bool    { return []bool{false, false} }
func (x minMaxGrad) SymDiff(gorgonia.Nodes, *gorgonia.Node, *gorgonia.Node) (gorgonia.Nodes, error) {
	return nil, fmt.Errorf("train: %s has no second derivative", x)
}

func (x minMaxGrad) Do(in ...gorgonia.Value) (gorgonia.Value, error) {
	s, err := matrixOf(in[0], x.rows, x.cols)
	if err != nil {
		return nil, err
	}
	up, err := matrixOf(in[1], x.rows, x.cols)
	if err != nil {
		return nil, err
	}
	out := make([]float32, x.rows*x.cols)
	for i := range x.rows {
		lo, hi := x.bounds(s, i)
		if lo < 0 || s[lo] == s[hi] {
			continue
		}
		r := float64(s[hi]) - float64(s[lo]) + minMaxEpsilon
		var toLo, toHi float64
		for j := i * x.cols; j < (i+1)*x.cols; j++ {
			if !x.keep[j] {
				continue
			}
			g, y := float64(up[j]), (float64(s[j])-float64(s[lo]))/r
			if j != lo && j != hi {
				out[j] = float32(g / r)
			}
			toLo += g * (y - 1) / r
			toHi -= g * y / r
		}
		out[lo] = float32(float64(up[lo])/r + toLo)
		out[hi] = float32(float64(up[hi])/r + toHi)
	}
	return newMatrix(x.rows, x.cols, out), nil
}
