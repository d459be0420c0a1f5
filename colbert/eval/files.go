package eval

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"

	"github.com/golbert/golbert/internal/lines"
)

// ErrFormat reports a file with a malformed line; the *LineError in its chain names file and line.
var ErrFormat = errors.New("eval: malformed file")

// LineError is a malformed line. It wraps ErrFormat and the cause.
type LineError struct {
	File string
	Line int // from 1
	Err  error
}

// Error names file and line.
func (e *LineError) Error() string { return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err) }

// Unwrap returns ErrFormat and the cause.
func (e *LineError) Unwrap() []error { return []error{ErrFormat, e.Err} }

// resolve finds path as it is or with the suffix of a compressed file.
func resolve(path string) (string, error) {
	for _, suffix := range []string{"", ".zst", ".gz"} {
		_, err := os.Stat(path + suffix)
		if err == nil {
			return path + suffix, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("eval: %w", err)
		}
	}
	return "", fmt.Errorf("eval: %s, also .zst and .gz: %w", path, fs.ErrNotExist)
}

// open opens a file that may be compressed, which its name says.
func open(path string) (io.ReadCloser, error) {
	f, err := lines.Open(path)
	if err != nil {
		return nil, fmt.Errorf("eval: %w", err)
	}
	return f, nil
}

// read reads the lines of a file that may be compressed. An error ends them.
func read(path string) iter.Seq2[lines.Line, error] {
	return func(yield func(lines.Line, error) bool) {
		f, err := open(path)
		if err != nil {
			yield(lines.Line{}, err)
			return
		}
		defer f.Close()
		for l, err := range scan(path, f) {
			if !yield(l, err) {
				return
			}
		}
	}
}

func scan(name string, r io.Reader) iter.Seq2[lines.Line, error] {
	return func(yield func(lines.Line, error) bool) {
		for l, err := range lines.Scan(r) {
			if err != nil {
				err = &LineError{File: name, Line: l.N, Err: err}
			}
			if !yield(l, err) {
				return
			}
		}
	}
}
