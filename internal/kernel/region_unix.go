//go:build unix

package kernel

import "golang.org/x/sys/unix"

// mapAnonymous gives zeroed memory of the system, or nil.
func mapAnonymous(size int) []byte {
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// unmapAnonymous cannot fail for what mapAnonymous gave.
func unmapAnonymous(b []byte) { _ = unix.Munmap(b) }
