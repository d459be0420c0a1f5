package kernel

import "unsafe"

// largePage is the size of the large pages of the usual processors.
const largePage = 2 << 20

// Large gives n zero values. Where they are megabytes, they start at a large page and the system is asked for such:
// tables that are read at random places then need fewer translations of addresses, and fewer faults to come into being.
func Large[T uint8 | uint16 | uint32 | float32](n int) []T {
	var zero T
	size := int(unsafe.Sizeof(zero))
	if n < largePage/size {
		return make([]T, n)
	}
	b := make([]T, n+largePage/size)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b)))%largePage) / size
	b = b[off : off+n : off+n]
	adviseLarge(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(b))), n*size/largePage*largePage))
	return b
}
