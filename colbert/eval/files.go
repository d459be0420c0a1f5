package eval

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"strings"

	"github.com/klauspost/compress/zstd"
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

// maxLine bounds one line of a file, and so what a hostile one can make a reader allocate.
const maxLine = 256 << 20

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
func open(path string) (io.Reader, func() error, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, fmt.Errorf("eval: %w", err)
	}
	switch {
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("eval: %s: %w", path, err)
		}
		return z, func() error { z.Close(); return f.Close() }, nil
	case strings.HasSuffix(path, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			f.Close()
			return nil, nil, fmt.Errorf("eval: %s: %w", path, err)
		}
		return z, f.Close, nil
	}
	return f, f.Close, nil
}

// line is one line of a file.
type line struct {
	n    int
	text []byte // without its end; valid until the next line
}

// lines reads the lines of a file that may be compressed. An error ends them.
func lines(path string) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		r, closeFile, err := open(path)
		if err != nil {
			yield(line{}, err)
			return
		}
		defer closeFile()
		for l, err := range scan(path, r) {
			if !yield(l, err) {
				return
			}
		}
	}
}

func scan(name string, r io.Reader) iter.Seq2[line, error] {
	return func(yield func(line, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(make([]byte, 0, 64<<10), maxLine)
		n := 0
		for s.Scan() {
			n++
			if !yield(line{n, s.Bytes()}, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(line{}, &LineError{File: name, Line: n + 1, Err: err})
		}
	}
}
