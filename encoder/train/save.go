package train

import (
	"errors"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/delta"
)

// Save writes the model to dir, which must not exist, as a whole checkpoint in the layout of the one that it was opened
// from. What learns is float32, the rest as it was. Errors are those of checkpoint.Save.
func (m *Model) Save(dir string) error {
	if m.closed {
		return ErrClosed
	}
	return checkpoint.Save(dir, m.ckpt)
}

// SaveDelta writes the differences from the checkpoint that the model was opened from to dir, which must not exist, as a
// delta pack: new adapters and whatever else learned. Errors are those of delta.Diff.
func (m *Model) SaveDelta(dir string, o *delta.DiffOptions) (err error) {
	if m.closed {
		return ErrClosed
	}
	base, err := checkpoint.Open(m.ckpt.Dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	return delta.Diff(dir, base, m.ckpt, o)
}
