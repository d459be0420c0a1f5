// Package lines reads and writes files of lines that may be compressed.
package lines

import (
	"bufio"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"

	"github.com/klauspost/compress/zstd"
)

// maxLine bounds one line of a file, and so what a hostile one can make a reader allocate.
const maxLine = 256 << 20

// Line is one line of a file.
type Line struct {
	N    int    // from 1
	Text []byte // without its end; valid until the next line
}

// Open opens a file, decompressed when its name ends in .zst or .gz.
func Open(path string) (io.ReadCloser, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	switch {
	case strings.HasSuffix(path, ".zst"):
		z, err := zstd.NewReader(f, zstd.WithDecoderConcurrency(1))
		if err != nil {
			return nil, errors.Join(&fs.PathError{Op: "decompress", Path: path, Err: err}, f.Close())
		}
		return &file{z, func() error { z.Close(); return f.Close() }}, nil
	case strings.HasSuffix(path, ".gz"):
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, errors.Join(&fs.PathError{Op: "decompress", Path: path, Err: err}, f.Close())
		}
		return &file{z, f.Close}, nil
	}
	return f, nil
}

type file struct {
	io.Reader
	close func() error
}

// Close closes the file.
func (f *file) Close() error { return f.close() }

// Write makes a file of what fill writes, compressed when its name ends in .zst, under its name only when all of it is
// there.
func Write(path string, fill func(w io.Writer) error) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	err = func() error {
		if !strings.HasSuffix(path, ".zst") {
			return fill(f)
		}
		z, err := zstd.NewWriter(f)
		if err != nil {
			return err
		}
		return errors.Join(fill(z), z.Close())
	}()
	if err := errors.Join(err, f.Chmod(0o644), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// Scan reads lines. An error ends them; it comes with the number of the line that could not be read.
func Scan(r io.Reader) iter.Seq2[Line, error] {
	return func(yield func(Line, error) bool) {
		s := bufio.NewScanner(r)
		s.Buffer(make([]byte, 0, 64<<10), maxLine)
		n := 0
		for s.Scan() {
			n++
			if !yield(Line{n, s.Bytes()}, nil) {
				return
			}
		}
		if err := s.Err(); err != nil {
			yield(Line{N: n + 1}, err)
		}
	}
}
