package kernel

import "golang.org/x/sys/unix"

// adviseLarge asks for large pages. That it fails where the system has none is no fault.
func adviseLarge(b []byte) { _ = unix.Madvise(b, unix.MADV_HUGEPAGE) }
