package checkpoint

import (
	"fmt"
	"path/filepath"
	"strings"
)

// Dense is one projection of the head: y = act(W x + b), plus x or R x with Residual.
type Dense struct {
	In, Out    int
	Weight     []float32 // Out x In, row-major
	Bias       []float32 // Out values, or nil
	Activation string    // "identity", "gelu", "relu", "silu", "tanh"
	Residual   bool
	// ResidualWeight is R (Out x In); nil means the identity, which needs In == Out.
	ResidualWeight []float32
}

// denseConfig is the config.json of a Dense module.
type denseConfig struct {
	In         int    `json:"in_features"`
	Out        int    `json:"out_features"`
	Bias       *bool  `json:"bias"`
	Activation string `json:"activation_function"`
	Residual   bool   `json:"use_residual"`
}

// activations maps the last part of a Python path to the name in Dense.
var activations = map[string]string{
	"Identity": "identity", "GELU": "gelu", "ReLU": "relu", "SiLU": "silu", "Tanh": "tanh",
}

// maxDim bounds the size of projections.
const maxDim = 1 << 16

// readDense reads the module in dir (1_Dense ...), whose input has in values. The last argument is the activation
// of a file that names none.
func readDense(dir string, in int, activation string) (Dense, error) {
	path := filepath.Join(dir, "config.json")
	var j denseConfig
	if err := readJSON(path, &j); err != nil {
		return Dense{}, err
	}
	act, ok := activation, true
	if j.Activation != "" {
		if strings.Contains(j.Activation, ".") && !strings.HasPrefix(j.Activation, "torch.") { // somebody's own class
			return Dense{}, fmt.Errorf("%w: %s: activation_function %q", ErrUnsupported, path, j.Activation)
		}
		act, ok = activations[j.Activation[strings.LastIndexByte(j.Activation, '.')+1:]]
	}
	if !ok {
		return Dense{}, fmt.Errorf("%w: %s: activation_function %q", ErrUnsupported, path, j.Activation)
	}
	if j.In < 1 || j.In > maxDim || j.Out < 1 || j.Out > maxDim || in > 0 && in != j.In {
		return Dense{}, &CorruptError{File: path, Field: "in_features", Offset: -1, Msg: fmt.Sprintf("a projection from %d to %d values, whose input has %d", j.In, j.Out, in)}
	}
	ts, err := OpenWeights(dir)
	if err != nil {
		return Dense{}, err
	}
	defer ts.Close()
	d := Dense{In: j.In, Out: j.Out, Activation: act, Residual: j.Residual}
	if d.Weight, err = matrix(ts, dir, "linear.weight", d.Out, d.In); err != nil {
		return Dense{}, err
	}
	if _, has := ts.Tensor("linear.bias"); has || j.Bias == nil || *j.Bias {
		if d.Bias, err = matrix(ts, dir, "linear.bias", d.Out); err != nil {
			return Dense{}, err
		}
	}
	if d.Residual {
		if _, has := ts.Tensor("residual.weight"); has || d.In != d.Out {
			if d.ResidualWeight, err = matrix(ts, dir, "residual.weight", d.Out, d.In); err != nil {
				return Dense{}, err
			}
		}
	}
	return d, nil
}

// matrix reads a tensor of the given shape. Integers, whose scales are not known here, are refused.
func matrix(ts Tensors, file, name string, shape ...int) ([]float32, error) {
	t, ok := ts.Tensor(name)
	if !ok {
		return nil, &CorruptError{File: file, Field: name, Offset: -1, Msg: "the tensor is missing"}
	}
	same := len(t.Shape) == len(shape)
	for i := 0; same && i < len(shape); i++ {
		same = t.Shape[i] == shape[i]
	}
	if !same {
		return nil, &CorruptError{File: file, Field: name, Offset: -1, Msg: fmt.Sprintf("shape %v, want %v", t.Shape, shape)}
	}
	if !t.DType.IsFloat() {
		return nil, fmt.Errorf("%w: %s: %s is %v", ErrUnsupported, file, name, t.DType)
	}
	return t.Float32s(nil), nil
}

// stanfordHead reads linear.weight, which lies beside the backbone's weights and has no bias.
func stanfordHead(c *Checkpoint, s *stanfordConfig) error {
	file := c.Dir
	t, ok := c.Tensors.Tensor("linear.weight")
	if !ok || len(t.Shape) != 2 || t.Shape[0] < 1 || t.Shape[0] > maxDim {
		return &CorruptError{File: file, Field: "linear.weight", Offset: -1, Msg: "the projection is missing, or is not a matrix"}
	}
	d := Dense{Out: t.Shape[0], In: t.Shape[1], Activation: "identity"}
	if s.Dim != nil && *s.Dim != d.Out {
		return &CorruptError{File: s.file, Field: "dim", Offset: -1, Msg: fmt.Sprintf("%d, but linear.weight has %d rows", *s.Dim, d.Out)}
	}
	in := d.In
	if c.Config.HiddenSize > 0 {
		in = c.Config.HiddenSize
	}
	var err error
	if d.Weight, err = matrix(c.Tensors, file, "linear.weight", d.Out, in); err != nil {
		return err
	}
	if _, has := c.Tensors.Tensor("linear.bias"); has {
		if d.Bias, err = matrix(c.Tensors, file, "linear.bias", d.Out); err != nil {
			return err
		}
	}
	c.Head = []Dense{d}
	return nil
}
