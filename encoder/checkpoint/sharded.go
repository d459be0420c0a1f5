package checkpoint

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/internal/jsonscan"
)

// maxShards bounds the number of files of one model.
const maxShards = 4096

func isIndex(path string) bool { return strings.HasSuffix(path, ".index.json") }

// openSharded opens the files that model.safetensors.index.json or pytorch_model.bin.index.json lists:
// {"metadata": {...}, "weight_map": {"tensor": "model-00001-of-00002.safetensors", ...}}.
func openSharded(path string, open func(file string) (*set, error)) (*set, error) {
	b, err := readFile(path, maxHeader)
	if err != nil {
		return nil, err
	}
	where, err := readWeightMap(b)
	if err != nil {
		msg, at := err.Error(), int64(-1)
		var syntax *jsonscan.SyntaxError
		if errors.As(err, &syntax) {
			msg, at = syntax.Msg, syntax.Offset
		}
		return nil, &CorruptError{File: path, Field: "weight_map", Offset: at, Msg: msg}
	}
	var files []string
	for _, f := range where {
		files = append(files, f)
	}
	slices.Sort(files)
	files = slices.Compact(files)

	all := &set{tensors: make(map[string]Tensor, len(where))}
	fail := func(err error) (*set, error) { return nil, errors.Join(err, all.Close()) }
	for _, f := range files {
		s, err := open(filepath.Join(filepath.Dir(path), f))
		if err != nil {
			return fail(fmt.Errorf("%s: %w", path, err))
		}
		all.files = append(all.files, s.files...)
		for _, name := range s.names {
			// A tensor that the index places elsewhere, or nowhere, is not part of the model.
			if where[name] == f {
				all.names = append(all.names, name)
				all.tensors[name] = s.tensors[name]
			}
		}
	}
	if len(all.tensors) != len(where) {
		for name, f := range where {
			if _, ok := all.tensors[name]; !ok {
				return fail(&CorruptError{File: path, Field: name, Offset: -1, Msg: "the tensor is not in " + f})
			}
		}
	}
	return all, nil
}

// readWeightMap reads the file of each tensor.
func readWeightMap(b []byte) (map[string]string, error) {
	where := map[string]string{}
	shards := map[string]string{} // one string a file name
	s := jsonscan.New(b)
	err := s.Object(func(key []byte) error {
		if string(key) != "weight_map" {
			return s.Skip()
		}
		return s.Object(func(key []byte) error {
			name := string(key)
			if _, again := where[name]; again {
				return s.Errorf("tensor %q comes twice", name)
			}
			if len(where) == maxTensors {
				return s.Errorf("more than %d tensors", maxTensors)
			}
			f, err := s.Bytes()
			if err != nil {
				return err
			}
			file, ok := shards[string(f)]
			if !ok {
				file = string(f)
				// A name, not a path: an index must not reach files elsewhere.
				if !filepath.IsLocal(file) || file == "." || strings.ContainsAny(file, `/\:`) || isIndex(file) {
					return s.Errorf("tensor %q lies in %q, which is not the name of a file beside the index", name, file)
				}
				if len(shards) == maxShards {
					return s.Errorf("more than %d files", maxShards)
				}
				shards[file] = file
			}
			where[name] = file
			return nil
		})
	})
	if err == nil {
		err = s.End()
	}
	if err == nil && len(where) == 0 {
		err = errors.New("no tensors")
	}
	return where, err
}
