package checkpoint

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

const (
	maxJSON      = 8 << 20   // configuration files; they have a few kilobytes
	maxTokenizer = 256 << 20 // tokenizer.json and vocab.txt
)

// readFile reads a file of limited size. A missing one gives ErrNotFound.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", ErrNotFound, path)
	}
	if st.Size() > limit {
		return nil, &CorruptError{File: path, Offset: -1, Msg: fmt.Sprintf("%d bytes, at most %d are allowed", st.Size(), limit)}
	}
	b, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("checkpoint: read %s: %w", path, err)
	}
	return b, nil
}

// readJSON reads a configuration file into v.
func readJSON(path string, v any) error {
	b, err := readFile(path, maxJSON)
	if err != nil {
		return err
	}
	return decodeJSON(path, b, v)
}

// decodeJSON decodes a file's content, with the field and the offset in the error.
func decodeJSON(path string, b []byte, v any) error {
	err := json.Unmarshal(b, v)
	if err == nil {
		return nil
	}
	c := &CorruptError{File: path, Offset: -1, Msg: err.Error()}
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		c.Offset = syntax.Offset
	case errors.As(err, &kind):
		c.Field, c.Offset, c.Msg = kind.Field, kind.Offset, fmt.Sprintf("%s where %v is wanted", kind.Value, kind.Type)
	}
	return c
}

// optional makes a missing file no error.
func optional(err error) (found bool, _ error) {
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// within joins a path of a configuration file to the directory. It must not lead out of it.
func within(dir, file, field, path string) (string, error) {
	if path == "" || path == "." {
		return dir, nil
	}
	if !filepath.IsLocal(filepath.FromSlash(path)) || strings.Contains(path, `\`) {
		return "", &CorruptError{File: filepath.Join(dir, file), Field: field, Offset: -1, Msg: fmt.Sprintf("path %q leads out of the directory", path)}
	}
	return filepath.Join(dir, filepath.FromSlash(path)), nil
}

// exists reports whether there is a regular file.
func exists(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

// OpenWeights opens the weights of the model in dir: the first there is of model.safetensors,
// model.safetensors.index.json, pytorch_model.bin and pytorch_model.bin.index.json.
func OpenWeights(dir string) (Tensors, error) {
	for _, name := range []string{"model.safetensors", "model.safetensors.index.json"} {
		if path := filepath.Join(dir, name); exists(path) {
			s, err := OpenSafeTensors(path)
			if err != nil {
				return nil, err
			}
			s.modernNames()
			return s, nil
		}
	}
	for _, name := range []string{"pytorch_model.bin", "pytorch_model.bin.index.json"} {
		if path := filepath.Join(dir, name); exists(path) {
			s, err := openTorch(path)
			if err != nil {
				return nil, err
			}
			s.modernNames()
			return s, nil
		}
	}
	return nil, fmt.Errorf("%w: neither model.safetensors nor pytorch_model.bin in %s", ErrNotFound, dir)
}
