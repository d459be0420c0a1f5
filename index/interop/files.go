package interop

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/golbert/golbert/internal/mmapfile"
	"github.com/golbert/golbert/internal/npy"
	"github.com/golbert/golbert/internal/torchpt"
)

// mapped maps a file of the index; only regular files are opened, since a pipe would block. A missing file
// gives an error that wraps fs.ErrNotExist.
func mapped(dir, name string) (*mmapfile.File, error) {
	path := filepath.Join(dir, name)
	st, err := os.Stat(path)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, &FileError{File: name, Err: err}
	}
	f, err := mmapfile.Open(path)
	if err != nil {
		return nil, &FileError{File: name, Err: err}
	}
	return f, nil
}

// exists says whether a file is there; other errors than absence come up when it is opened.
func exists(dir, name string) bool {
	_, err := os.Stat(filepath.Join(dir, name))
	return !errors.Is(err, fs.ErrNotExist)
}

// withFile calls f with a file's bytes, which are good until it returns.
func withFile(dir, name string, f func(b []byte) error) error {
	m, err := mapped(dir, name)
	if err != nil {
		return err
	}
	defer m.Close()
	if err := f(m.Bytes()); err != nil {
		var fe *FileError
		if errors.As(err, &fe) {
			return err
		}
		return &FileError{File: name, Err: err}
	}
	return nil
}

// readJSON reads a JSON file.
func readJSON(dir, name string, v any) error {
	return withFile(dir, name, func(b []byte) error { return json.Unmarshal(b, v) })
}

// object is a JSON object of which any key may be missing: updates drop some.
type object map[string]json.RawMessage

// count gives a number that counts something; ok is false when the key is missing.
func (o object) count(file, key string) (n int64, ok bool, err error) {
	raw, ok := o[key]
	if !ok || string(raw) == "null" {
		return 0, false, nil
	}
	n, err = strconv.ParseInt(string(raw), 10, 64)
	if err != nil || n < 0 {
		return 0, false, bad(file, "%s is %.40q, a count was expected", key, raw)
	}
	return n, true, nil
}

// ints is an array of integers as it lies in a file.
type ints struct {
	b     []byte
	width int
}

func (v ints) len() int {
	if v.width == 0 {
		return 0
	}
	return len(v.b) / v.width
}

func (v ints) at(i int) int64 {
	switch v.width {
	case 4:
		return int64(int32(binary.LittleEndian.Uint32(v.b[4*i:])))
	case 8:
		return int64(binary.LittleEndian.Uint64(v.b[8*i:]))
	case 2:
		return int64(int16(binary.LittleEndian.Uint16(v.b[2*i:])))
	}
	return int64(v.b[i])
}

// npyInts views an array of signed integers. Peers write int64 and int32, and change between the two.
func npyInts(a *npy.Array) (ints, error) {
	switch a.DType {
	case npy.Int32, npy.Int64, npy.Int16, npy.Uint8:
		return ints{a.Data, a.DType.Size()}, nil
	}
	return ints{}, fmt.Errorf("elements are %v, integers were expected", a.DType)
}

// ptInts is npyInts for a tensor.
func ptInts(t *torchpt.Tensor) (ints, error) {
	switch t.DType {
	case torchpt.Int, torchpt.Long, torchpt.Short, torchpt.Byte:
		return ints{t.Data, t.DType.Size()}, nil
	}
	return ints{}, fmt.Errorf("tensor of %s, integers were expected", t.DType)
}

// wantShape compares a shape; -1 fits any length.
func wantShape(what string, shape []int, want ...int) error {
	ok := len(shape) == len(want)
	for i := 0; ok && i < len(want); i++ {
		ok = want[i] < 0 || shape[i] == want[i]
	}
	if !ok {
		return fmt.Errorf("%s of shape %v, %v was expected (-1: any)", what, shape, want)
	}
	return nil
}
