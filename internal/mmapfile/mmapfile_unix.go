//go:build unix

package mmapfile

import (
	"os"

	"golang.org/x/sys/unix"
)

func mapFile(f *os.File, size int) ([]byte, bool, error) {
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	return b, true, err
}

func unmapFile(b []byte) error { return unix.Munmap(b) }

func release(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
