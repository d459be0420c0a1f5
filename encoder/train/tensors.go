package train

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// tensors are a checkpoint's tensors, with those that learn as they are now and new ones. Tensors that learn are float32.
type tensors struct {
	base   checkpoint.Tensors
	prefix string
	names  []string
	own    map[string]*weight // by full name
}

func newTensors(base checkpoint.Tensors, prefix string) *tensors {
	return &tensors{base: base, prefix: prefix, names: slices.Clone(base.Names()), own: map[string]*weight{}}
}

// Names implements checkpoint.Tensors.
func (t *tensors) Names() []string { return t.names }

// Tensor implements checkpoint.Tensors.
func (t *tensors) Tensor(name string) (checkpoint.Tensor, bool) {
	w, ok := t.own[name]
	if !ok {
		return t.base.Tensor(name)
	}
	b := make([]byte, 0, 4*len(w.value))
	for _, v := range w.value {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: slices.Clone(w.shape), Data: b}, true
}

// Close implements checkpoint.Tensors.
func (t *tensors) Close() error { return t.base.Close() }

// add gives the set a tensor that the checkpoint lacks.
func (t *tensors) add(w *weight) {
	t.names = append(t.names, t.prefix+w.key)
	t.own[t.prefix+w.key] = w
}

// learn makes the set give w for its key from now on, and takes away the scales of int8 rows.
func (t *tensors) learn(w *weight) {
	name := t.prefix + w.key
	t.own[name] = w
	t.names = slices.DeleteFunc(t.names, func(n string) bool { return n == name+"_scale" })
}

// raw finds a tensor and the scales of its rows when it is int8.
func (t *tensors) raw(key string, shape ...int) (checkpoint.Tensor, []float32, error) {
	name := t.prefix + key
	x, ok := t.Tensor(name)
	switch {
	case !ok:
		return x, nil, fmt.Errorf("train: %s is missing: %w", name, checkpoint.ErrCorrupt)
	case !slices.Equal(x.Shape, shape):
		return x, nil, fmt.Errorf("train: %s has shape %v, want %v: %w", name, x.Shape, shape, checkpoint.ErrCorrupt)
	case x.DType.IsFloat():
		return x, nil, nil
	case x.DType == checkpoint.I8:
		if s, ok := t.Tensor(name + "_scale"); ok && s.DType == checkpoint.F32 && slices.Equal(s.Shape, shape[:1]) {
			return x, s.Float32s(nil), nil
		}
	}
	return x, nil, fmt.Errorf("%w: %s of type %v", ErrUnsupported, name, x.DType)
}

// floats reads a tensor as float32.
func floatsOf(x checkpoint.Tensor, scale []float32) []float32 {
	v := x.Float32s(nil)
	for i, s := range scale {
		row := v[i*len(v)/len(scale) : (i+1)*len(v)/len(scale)]
		for j := range row {
			row[j] *= s
		}
	}
	return v
}

// table is an embedding table. One that stays is read from the checkpoint a row at a time.
type table struct {
	dim   int
	w     *weight // nil when it is not in memory
	t     checkpoint.Tensor
	scale []float32
}

// row copies row i to dst.
func (t *table) row(dst []float32, i int) {
	if t.w != nil {
		copy(dst, t.w.value[i*t.dim:(i+1)*t.dim])
		return
	}
	size := t.t.DType.Size() * t.dim
	r := checkpoint.Tensor{DType: t.t.DType, Shape: []int{t.dim}, Data: t.t.Data[i*size : (i+1)*size]}
	r.Float32s(dst[:t.dim])
	if t.scale != nil {
		for j := range dst[:t.dim] {
			dst[j] *= t.scale[i]
		}
	}
}

// decays says whether weight decay is usual for a tensor: not for biases and norms.
func decays(key string, shape []int) bool {
	return len(shape) > 1 && !strings.HasSuffix(key, ".bias")
}
