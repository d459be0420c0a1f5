package checkpoint

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/golbert/golbert/internal/mmapfile"
	"github.com/golbert/golbert/internal/torchpt"
)

// OpenTorch opens a state dict that torch.save wrote (pytorch_model.bin, colbert_linear.pt), or the files that an
// index (".index.json") lists. Tensors that are stored plainly, as torch does it, stay mapped memory. A file
// whose pickle mentions anything but tensors gives ErrUnsupported with the name, a malformed one ErrCorrupt.
func OpenTorch(path string) (Tensors, error) {
	s, err := openTorch(path)
	if err != nil {
		return nil, err // not a nil *set in an interface
	}
	return s, nil
}

// torchTypes gives the element types their names here.
var torchTypes = map[torchpt.DType]DType{
	torchpt.Float: F32, torchpt.Half: F16, torchpt.BFloat16: BF16, torchpt.Double: F64, torchpt.Byte: U8,
	torchpt.Char: I8, torchpt.Short: I16, torchpt.Int: I32, torchpt.Long: I64, torchpt.Bool: Bool,
}

func openTorch(path string) (*set, error) {
	if isIndex(path) {
		return openSharded(path, openTorch)
	}
	f, err := mmapfile.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	s := &set{tensors: make(map[string]Tensor), files: []*mmapfile.File{f}}
	var v any
	err = mmapfile.Guard(func() (err error) {
		v, err = torchpt.Parse(f.Bytes())
		return err
	})
	if err == nil {
		err = s.addState(path, v)
	}
	switch {
	case err == nil:
		return s, nil
	case errors.Is(err, torchpt.ErrForbidden):
		err = fmt.Errorf("%w: %s: %w", ErrUnsupported, path, err)
	case errors.Is(err, torchpt.ErrFormat):
		err = &CorruptError{File: path, Offset: -1, Msg: err.Error()}
	}
	return nil, errors.Join(err, s.Close())
}

// addState takes the tensors of a state dict.
func (s *set) addState(path string, v any) error {
	d, ok := v.(*torchpt.Dict)
	if !ok {
		return fmt.Errorf("%w: %s holds a %s, not a state dict", ErrUnsupported, path, kindOf(v))
	}
	if len(d.Keys) > maxTensors {
		return &CorruptError{File: path, Offset: -1, Msg: fmt.Sprintf("%d tensors, at most %d are allowed", len(d.Keys), maxTensors)}
	}
	for i, k := range d.Keys {
		name, ok := k.(string)
		if !ok {
			return fmt.Errorf("%w: %s: a key that is a number: not a state dict", ErrUnsupported, path)
		}
		t, ok := d.Values[i].(*torchpt.Tensor)
		if !ok {
			return fmt.Errorf("%w: %s: %q is a %s, not a tensor", ErrUnsupported, path, name, kindOf(d.Values[i]))
		}
		if _, again := s.tensors[name]; !again {
			s.names = append(s.names, name)
		}
		s.tensors[name] = Tensor{Name: name, DType: torchTypes[t.DType], Shape: t.Shape, Data: t.Data}
	}
	return nil
}

func kindOf(v any) string {
	switch v.(type) {
	case nil:
		return "None"
	case *torchpt.Dict:
		return "dict"
	case torchpt.List:
		return "list"
	case *torchpt.Tensor:
		return "tensor"
	}
	return fmt.Sprintf("%T", v)
}
