package torchpt

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
)

// ErrFormat reports bytes that are not a file this package reads. Errors that wrap it say what is wrong.
var ErrFormat = errors.New("torchpt: bad torch file")

// ErrForbidden reports a pickle that names a global or an instruction outside the few allowed. It wraps
// ErrFormat.
var ErrForbidden = fmt.Errorf("not allowed in a tensor file: %w", ErrFormat)

const (
	maxPickle  = 256 << 20 // a state dict of 100,000 tensors takes some 20 MiB
	maxEntries = 200_000

	// maxExpansion bounds what a compressed entry may unpack to, in lengths of the whole file.
	maxExpansion = 16
)

// archive gives the entries of one torch ZIP by their name below the root folder, whose own name varies.
type archive struct {
	raw     []byte
	entries map[string]*zip.File
}

func openArchive(b []byte) (*archive, error) {
	if !bytes.HasPrefix(b, []byte("PK")) {
		return nil, fmt.Errorf("neither a ZIP archive nor a file of torch before 1.6: %w", ErrFormat)
	}
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, fmt.Errorf("ZIP directory: %w: %w", err, ErrFormat)
	}
	if len(z.File) > maxEntries {
		return nil, fmt.Errorf("%d entries, at most %d are read: %w", len(z.File), maxEntries, ErrFormat)
	}
	a := &archive{raw: b, entries: make(map[string]*zip.File, len(z.File))}
	root := ""
	for _, f := range z.File {
		dir, name, ok := strings.Cut(f.Name, "/")
		if !ok || (root != "" && dir != root) {
			return nil, fmt.Errorf("entry %q is not below the root folder: %w", f.Name, ErrFormat)
		}
		root = dir
		if a.entries[name] != nil {
			return nil, fmt.Errorf("entry %q appears twice: %w", f.Name, ErrFormat)
		}
		a.entries[name] = f
	}
	if order := a.entries["byteorder"]; order != nil {
		v, err := a.read("byteorder", 16)
		if err != nil {
			return nil, err
		}
		if string(v) != "little" {
			return nil, fmt.Errorf("byte order %q, only little is read: %w", v, ErrFormat)
		}
	}
	return a, nil
}

// read returns an entry's content, without a copy where it is stored plain. limit bounds its size.
func (a *archive) read(name string, limit uint64) ([]byte, error) {
	f := a.entries[name]
	if f == nil {
		return nil, fmt.Errorf("entry %q is missing: %w", name, ErrFormat)
	}
	if f.UncompressedSize64 > limit {
		return nil, fmt.Errorf("entry %q declares %d bytes, at most %d belong there: %w", name, f.UncompressedSize64, limit, ErrFormat)
	}
	if f.Method == zip.Store {
		off, err := f.DataOffset()
		if err != nil || off < 0 || uint64(off) > uint64(len(a.raw)) || f.UncompressedSize64 > uint64(len(a.raw))-uint64(off) {
			return nil, fmt.Errorf("entry %q lies outside the file (%w): %w", name, err, ErrFormat)
		}
		return a.raw[off : uint64(off)+f.UncompressedSize64 : uint64(off)+f.UncompressedSize64], nil
	}
	// torch stores plainly; tools that compress are tolerated, bombs are not.
	limit = min(limit, maxExpansion*uint64(len(a.raw)))
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("entry %q: %w: %w", name, err, ErrFormat)
	}
	defer r.Close()
	// The declared size is not trusted with an allocation: the buffer grows with what really comes out.
	var buf bytes.Buffer
	n, err := io.Copy(&buf, io.LimitReader(r, int64(limit)+1))
	if err != nil || uint64(n) > limit {
		return nil, fmt.Errorf("entry %q: %d bytes read (%w): %w", name, n, err, ErrFormat)
	}
	return buf.Bytes(), nil
}
