package train

import (
	"context"
	"fmt"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
)

// network and tensors are to come.
type network struct{ width int }

func (n *network) dim() int { return n.width }

type tensors struct{}

// OpenModel opens a checkpoint for training.
func OpenModel(dir string, o *ModelOptions) (*Model, error) {
	if o == nil {
		o = new(ModelOptions)
	}
	c, err := checkpoint.Open(dir)
	if err != nil {
		return nil, err
	}
	texts, err := encoder.New(c, o.Texts)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &Model{ckpt: c, texts: texts, part: o.Part, workers: o.workers(), net: &network{width: texts.Dim()}}, nil
}

// Backward scores all queries with all documents (queries x documents), asks loss for a scalar, multiplies it by weight
// and adds its gradient to the parameters' Grad. It returns the loss before the weight.
func (m *Model) Backward(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32) (float32, error) {
	return 0, fmt.Errorf("%w: gradients", ErrUnsupported)
}

// Scores returns the MaxSim scores of all queries with all documents, queries x documents, row-major.
func (m *Model) Scores(ctx context.Context, queries, documents *Sequences) ([]float32, error) {
	return nil, fmt.Errorf("%w: scores", ErrUnsupported)
}

// Save writes the model to dir, which must not exist, in the layout of the checkpoint that it was opened from. What
// learns is written as float32.
func (m *Model) Save(dir string) error { return checkpoint.Save(dir, m.ckpt) }
