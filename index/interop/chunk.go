package interop

import (
	"fmt"

	"github.com/golbert/golbert/internal/mmapfile"
)

// chunk is one of the pieces in which all these programs store an index: some documents' lengths, codes and
// residuals. It holds mapped files.
type chunk struct {
	lens      []uint32
	codes     ints
	residuals []byte
	files     []*mmapfile.File
}

func (c *chunk) close() {
	for _, f := range c.files {
		_ = f.Close()
	}
	c.files, c.codes.b, c.residuals = nil, nil, nil
}

// open maps a file and keeps it until close.
func (c *chunk) open(dir, name string, use func(b []byte) error) error {
	f, err := mapped(dir, name)
	if err != nil {
		return err
	}
	c.files = append(c.files, f)
	if err := use(f.Bytes()); err != nil {
		return &FileError{File: name, Err: err}
	}
	return nil
}

// check compares the parts with each other: they are the authority, whatever the metadata declares.
func (c *chunk) check(i int, p *params) error {
	var sum uint64
	for _, n := range c.lens {
		sum += uint64(n) // at most 2^32 * 2^63/4 documents in memory: no overflow
	}
	file := fmt.Sprintf("chunk %d", i)
	rb := p.dim * p.nbits / 8
	switch {
	case uint64(c.codes.len()) != sum:
		return bad(file, "doclens add up to %d tokens, there are %d codes", sum, c.codes.len())
	case len(c.residuals)%rb != 0 || uint64(len(c.residuals)/rb) != sum:
		return bad(file, "doclens add up to %d tokens, there are %d bytes of residuals (%d a token)", sum, len(c.residuals), rb)
	}
	return nil
}

// code reads a token's code and checks it.
func (c *chunk) code(i int, k int) (uint32, error) {
	v := c.codes.at(i)
	if v < 0 || v >= int64(k) {
		return 0, fmt.Errorf("token %d has code %d, there are %d centroids", i, v, k)
	}
	return uint32(v), nil
}
