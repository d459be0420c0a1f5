//go:build !unix && !windows

package mmapfile

import (
	"io"
	"os"
)

// mapFile reads the file: targets such as wasm have no mapping.
func mapFile(f *os.File, size int) ([]byte, bool, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return b, false, err
}

func unmapFile([]byte) error { return nil }

func release([]byte) {}
