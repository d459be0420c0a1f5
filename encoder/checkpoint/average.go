package checkpoint

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/mmapfile"
)

// ErrMismatch marks checkpoints that do not fit each other.
var ErrMismatch = errors.New("checkpoint: checkpoints do not fit each other")

// averageBlock is the number of elements that are averaged at a time.
const averageBlock = 1 << 16

// Average writes the weighted mean of several checkpoints' tensors as a safetensors file (Clavié, "JaColBERTv2.5",
// 2024, section 4; Wortsman et al., "Model soups", ICML 2022). All must have the same tensors in the same shapes;
// element types are those of the first, sums are float64. Integer tensors must be equal, except int8 weights,
// which cannot be averaged. Weights are positive and are divided by their sum; nil means equal ones. Memory is a
// few blocks, however large the checkpoints. Errors wrap ErrMismatch or ErrUnsupported and name the tensor.
func Average(w io.Writer, parts []Tensors, weights []float64) error {
	share, err := shares(len(parts), weights)
	if err != nil {
		return err
	}
	names := slices.Clone(parts[0].Names())
	tensors := make([]Tensor, len(names))
	for i, p := range parts {
		if n := len(p.Names()); n != len(names) {
			return fmt.Errorf("%w: checkpoint %d has %d tensors, the first %d%s", ErrMismatch, i, n, len(names), firstMissing(p, parts[0]))
		}
		for j, name := range names {
			t, ok := p.Tensor(name)
			if !ok {
				return fmt.Errorf("%w: tensor %q is missing in checkpoint %d", ErrMismatch, name, i)
			}
			if i == 0 {
				tensors[j] = t
				if t.DType == I8 {
					return fmt.Errorf("%w: tensor %q is int8", ErrUnsupported, name)
				}
			} else if !slices.Equal(t.Shape, tensors[j].Shape) || t.DType.IsFloat() != tensors[j].DType.IsFloat() {
				return fmt.Errorf("%w: tensor %q is %v of shape %v in checkpoint %d, %v of %v in the first", ErrMismatch, name, t.DType, t.Shape, i, tensors[j].DType, tensors[j].Shape)
			}
		}
	}
	sum := make([]float64, averageBlock)
	values := make([]float32, averageBlock)
	var out []byte
	return StreamSafeTensors(w, tensors, map[string]string{"format": "pt"}, func(i int, w io.Writer) error {
		first := tensors[i]
		for at := 0; at < first.Len(); at += averageBlock {
			n := min(averageBlock, first.Len()-at)
			err := mmapfile.Guard(func() error {
				clear(sum[:n])
				for k, p := range parts {
					t, _ := p.Tensor(first.Name)
					if !t.DType.IsFloat() {
						if t.DType != first.DType || !bytes.Equal(t.slice(at, n).Data, first.slice(at, n).Data) {
							return fmt.Errorf("%w: tensor %q holds other integers in checkpoint %d", ErrMismatch, first.Name, k)
						}
						continue
					}
					for j, v := range t.slice(at, n).Float32s(values) {
						sum[j] += share[k] * float64(v)
					}
				}
				if first.DType.IsFloat() {
					for j := range n {
						values[j] = float32(sum[j])
					}
					out = appendFloats(out[:0], first.DType, values[:n])
				} else {
					out = append(out[:0], first.slice(at, n).Data...)
				}
				return nil
			})
			if err != nil {
				return err
			}
			if _, err := w.Write(out); err != nil {
				return err
			}
		}
		return nil
	})
}

// shares checks the weights and divides them by their sum.
func shares(n int, weights []float64) ([]float64, error) {
	if n == 0 {
		return nil, errors.New("checkpoint: no checkpoints to average")
	}
	if weights == nil {
		weights = slices.Repeat([]float64{1}, n)
	}
	if len(weights) != n {
		return nil, fmt.Errorf("checkpoint: %d weights for %d checkpoints", len(weights), n)
	}
	total := 0.0
	for _, v := range weights {
		if !(v > 0) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("checkpoint: weight %g is not a positive number", v)
		}
		total += v
	}
	out := make([]float64, n)
	for i, v := range weights {
		out[i] = v / total
	}
	return out, nil
}

// firstMissing names a tensor that only one of two checkpoints has.
func firstMissing(a, b Tensors) string {
	for _, p := range [2][2]Tensors{{a, b}, {b, a}} {
		for _, n := range p[0].Names() {
			if _, ok := p[1].Tensor(n); !ok {
				return fmt.Sprintf("; only one has %q", n)
			}
		}
	}
	return ""
}

// slice is n elements of a tensor, as a vector.
func (t Tensor) slice(at, n int) Tensor {
	s := t.DType.Size()
	return Tensor{Name: t.Name, DType: t.DType, Shape: []int{n}, Data: t.Data[at*s : (at+n)*s]}
}

// appendFloats appends values in a floating-point type, rounded to nearest, ties to even.
func appendFloats(b []byte, d DType, values []float32) []byte {
	le := binary.LittleEndian
	switch d {
	case F64:
		for _, v := range values {
			b = le.AppendUint64(b, math.Float64bits(float64(v)))
		}
	case F16:
		half := make([]uint16, len(values))
		kernel.F32ToF16(half, values)
		for _, h := range half {
			b = le.AppendUint16(b, h)
		}
	case BF16:
		for _, v := range values {
			u := math.Float32bits(v)
			if v == v { // not NaN, which rounding could turn into infinity
				u += 0x7fff + u>>16&1
			}
			b = le.AppendUint16(b, uint16(u>>16))
		}
	default:
		for _, v := range values {
			b = le.AppendUint32(b, math.Float32bits(v))
		}
	}
	return b
}
