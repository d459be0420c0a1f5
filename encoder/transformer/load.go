package transformer

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// New loads the backbone of a checkpoint: it checks every tensor's shape and packs the weights, on all cores.
// The tensors may be float32, float16, bfloat16 or int8; an int8 tensor "x" needs a float32 tensor "x_scale"
// with one value per row.
//
// o may be nil. Errors wrap ErrUnsupported, naming the architecture or setting, or ErrWeights, naming every tensor at
// fault.
func New(c *checkpoint.Checkpoint, o *Options) (Encoder, error) {
	if o == nil {
		o = new(Options)
	}
	if o.Precision > Int8 {
		return nil, fmt.Errorf("precision %v: %w", o.Precision, ErrUnsupported)
	}
	l := &loader{src: c.Tensors, prefix: c.Prefix, precision: o.Precision, shapeOnly: o.ShapeOnly}
	enc, err := newEncoder(c, l)
	if err != nil || !o.ShapeOnly {
		return enc, err
	}
	if m, ok := enc.(Multilingual); ok {
		return shapeOnlyMultilingual{m}, nil
	}
	return shapeOnly{enc}, nil
}

func newEncoder(c *checkpoint.Checkpoint, l *loader) (Encoder, error) {
	switch c.Config.ModelType {
	case "bert", "electra", "roberta", "xlm-roberta", "camembert", "xmod":
		if c.Config.PositionEmbeddingType == "rotary" && c.Config.ModelType == "xlm-roberta" {
			return newJina(c, l)
		}
		return newBert(c, l)
	case "modernbert":
		return newModernBert(c, l)
	case "t5", "mt5", "umt5", "mrt5":
		return newT5(c, l)
	case "lfm2", "lfm2_bidirectional":
		return newLFM2(c, l)
	case "mamba":
		return newMamba(c, l)
	}
	if _, ok := decoderTypes[c.Config.ModelType]; ok {
		return newDecoder(c, l)
	}
	return nil, fmt.Errorf("architecture %q: %w", c.Config.ModelType, ErrUnsupported)
}

// shapeOnly is an encoder without its weights.
type shapeOnly struct{ Encoder }

var errShapeOnly = fmt.Errorf("the transformer was opened without its weights: %w", ErrUnsupported)

// Forward fails.
func (shapeOnly) Forward(context.Context, *Batch, []float32) error { return errShapeOnly }

// shapeOnlyMultilingual is shapeOnly with languages.
type shapeOnlyMultilingual struct{ Multilingual }

// Forward fails.
func (shapeOnlyMultilingual) Forward(context.Context, *Batch, []float32) error { return errShapeOnly }

// LoadLanguage does nothing.
func (shapeOnlyMultilingual) LoadLanguage(int) error { return nil }

// loader collects the tensors of a model. Faults gather in missing and are reported together; the packing
// runs on goroutines that wait for the end of load.
type loader struct {
	src       checkpoint.Tensors
	prefix    string
	precision Precision
	shapeOnly bool
	params    int64
	faults    []string // the first maxFaults
	count     int      // of all
	tasks     []func()
}

// maxFaults bounds what is reported of a checkpoint, which may lack any number of tensors.
const maxFaults = 8

// done packs the weights and reports the faults, if any.
func (l *loader) done() error {
	if l.count > 0 {
		more := ""
		if n := l.count - len(l.faults); n > 0 {
			more = fmt.Sprintf("; and %d more", n)
		}
		f := l.faults
		return fmt.Errorf("%w: %s%s", ErrWeights, strings.Join(f, "; "), more)
	}
	if l.shapeOnly {
		return nil
	}
	var next sync.Mutex
	var wg sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), len(l.tasks)) {
		wg.Go(func() {
			for {
				next.Lock()
				if len(l.tasks) == 0 {
					next.Unlock()
					return
				}
				t := l.tasks[0]
				l.tasks = l.tasks[1:]
				next.Unlock()
				t()
			}
		})
	}
	wg.Wait()
	return nil
}

func (l *loader) fault(format string, args ...any) {
	if l.count++; l.count <= maxFaults {
		l.faults = append(l.faults, fmt.Sprintf(format, args...))
	}
}

// tensor finds a tensor of the given shape, and the scales of its rows when it is int8.
func (l *loader) tensor(name string, shape ...int) (checkpoint.Tensor, []float32, bool) {
	name = l.prefix + name
	t, ok := l.src.Tensor(name)
	if !ok {
		l.fault("%s is missing", name)
		return t, nil, false
	}
	if !slices.Equal(t.Shape, shape) {
		l.fault("%s has shape %v, want %v", name, t.Shape, shape)
		return t, nil, false
	}
	switch t.DType {
	case checkpoint.F32, checkpoint.F16, checkpoint.BF16, checkpoint.F64:
	case checkpoint.I8:
		s, ok := l.src.Tensor(name + "_scale")
		if !ok || s.DType != checkpoint.F32 || !slices.Equal(s.Shape, shape[:1]) {
			l.fault("%s is int8 and %s_scale is not a float32 tensor of shape %v", name, name, shape[:1])
			return t, nil, false
		}
		l.params += int64(t.Len())
		return t, s.Float32s(nil), true
	default:
		l.fault("%s has an element type that is not a weight's", name)
		return t, nil, false
	}
	l.params += int64(t.Len())
	return t, nil, true
}

// floats reads a tensor as float32.
func (l *loader) floats(name string, shape ...int) []float32 {
	t, scale, ok := l.tensor(name, shape...)
	if !ok {
		return nil
	}
	v := make([]float32, t.Len())
	part{t, scale}.float32s(v)
	return v
}

// norm reads name.weight and name.bias.
func (l *loader) norm(name string, dim int, eps float64) norm {
	return norm{gamma: l.floats(name+".weight", dim), beta: l.floats(name+".bias", dim), eps: float32(eps)}
}

// normOf reads name.weight, and name.bias if there is to be one.
func (l *loader) normOf(name string, dim int, eps float64, bias bool) *norm {
	n := &norm{gamma: l.floats(name+".weight", dim), eps: float32(eps)}
	if bias {
		n.beta = l.floats(name+".bias", dim)
	}
	return n
}

// rms reads the weight of a root-mean-square norm.
func (l *loader) rms(name string, dim int, eps float64) *norm {
	return &norm{gamma: l.floats(name+".weight", dim), eps: float32(eps), rms: true}
}

// linear reads one or more Linear layers of in inputs and out outputs each and stacks their outputs, so that
// one matrix product computes them all. dst is filled when done runs.
func (l *loader) linear(dst *linear, in, out int, names ...string) {
	parts := make([]stacked, len(names))
	for i, n := range names {
		parts[i] = stacked{n, out}
	}
	l.stack(dst, in, true, parts...)
}

// stacked is one of several Linear layers that become one, and the number of its outputs.
type stacked struct {
	name string
	out  int
}

// stack is linear for layers of different sizes, with or without biases.
func (l *loader) stack(dst *linear, in int, bias bool, layers ...stacked) {
	var parts []part
	rows := 0
	for _, y := range layers {
		t, scale, ok := l.tensor(y.name+".weight", y.out, in)
		if bias {
			dst.bias = append(dst.bias, l.floats(y.name+".bias", y.out)...)
		}
		if !ok {
			return
		}
		parts = append(parts, part{t, scale})
		rows += y.out
	}
	if l.precision == Int8 && in > kernel.MaxInt8K {
		l.fault("%s%s.weight has rows of %d values, int8 takes at most %d", l.prefix, layers[0].name, in, kernel.MaxInt8K)
		return
	}
	dst.n, dst.k = rows, in
	l.tasks = append(l.tasks, func() {
		dst.w = packParts(l.precision, parts, rows, in)
		if r, ok := l.src.(interface{ Release(checkpoint.Tensor) }); ok {
			for _, p := range parts {
				r.Release(p.t)
			}
		}
	})
}

// table opens an embedding table in place.
func (l *loader) table(name string, rows, dim int) table {
	t, scale, ok := l.tensor(name, rows, dim)
	if !ok {
		return table{}
	}
	if t.DType == checkpoint.F64 {
		l.fault("%s%s is a table in float64", l.prefix, name)
	}
	return table{data: t.Data, dtype: t.DType, dim: dim, scale: scale}
}
