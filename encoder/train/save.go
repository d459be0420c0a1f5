package train

import (
	"errors"
	"slices"

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

// SaveDelta writes what learned, as the differences from the checkpoint that the model was opened from, to dir, which must
// not exist, as a delta pack; new adapters are new tensors in it. o.Keep is asked about what learned alone. Errors are
// those of delta.Diff.
func (m *Model) SaveDelta(dir string, o *delta.DiffOptions) (err error) {
	if m.closed {
		return ErrClosed
	}
	var own delta.DiffOptions
	if o != nil {
		own = *o
	}
	keep := own.Keep
	own.Keep = func(key string) bool {
		// Nothing else can differ, and large checkpoints take long to compare.
		return slices.ContainsFunc(m.params, func(p *Param) bool { return p.Name == key }) && (keep == nil || keep(key))
	}
	base, err := checkpoint.OpenWith(m.ckpt.Dir, &m.opened)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, base.Close()) }()
	return delta.Diff(dir, base, m.ckpt, &own)
}
