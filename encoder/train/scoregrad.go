package train

import (
	"errors"
	"fmt"

	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

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

// linear is the loss sum_ij weight_ij scores_ij, whose gradient by the scores is weight.
func linear(weight []float32, queries, documents int) LossFunc {
	return func(g *gorgonia.ExprGraph, scores *gorgonia.Node) (*gorgonia.Node, error) {
		w := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(queries, documents), gorgonia.WithName("weight"),
			gorgonia.WithValue(tensor.New(tensor.WithShape(queries, documents), tensor.WithBacking(weight))))
		p, err := gorgonia.HadamardProd(scores, w)
		if err != nil {
			return nil, err
		}
		return gorgonia.Sum(p)
	}
}
