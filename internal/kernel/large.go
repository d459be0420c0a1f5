package kernel

import (
	"strings"
	"unsafe"
)

// largePage is the size of the large pages of the usual processors.
const largePage = 2 << 20

// Large gives n zero values. Where they are megabytes, they start at a large page and the system is asked for such:
// tables that are read at random places then need fewer translations of addresses, and fewer faults to come into being.
func Large[T uint8 | uint16 | int16 | uint32 | float32](n int) []T {
	b := LargeUnset[T](n)
	if len(b) >= largePage/int(unsafe.Sizeof(*new(T))) {
		clear(b)
	}
	return b
}

// LargeUnset is Large for values that the caller is going to set, all of them: they may be anything. (Below the size of a
// large page they are zeros.)
func LargeUnset[T uint8 | uint16 | int16 | uint32 | float32](n int) []T {
	size := int(unsafe.Sizeof(*new(T)))
	if n < largePage/size {
		return make([]T, n)
	}
	b := inLargePages(unset(n*size + largePage))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}

// inLargePages gives all but largePage bytes of b, from the start of a large page on, and asks for such.
func inLargePages(b []byte) []byte {
	off := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) % largePage
	b = b[off:][:len(b)-largePage]
	adviseLarge(b[:len(b)/largePage*largePage])
	return b
}

// unset gives n bytes, some pages at least, that hold anything: make clears them, page by page and so before anybody can ask
// for large pages, if any of them was in use before.
func unset(n int) []byte {
	var b strings.Builder // the only one whose memory is not cleared
	b.Grow(n)
	_ = b.WriteByte(0) // so that its string, which nobody else sees, has a place
	return unsafe.Slice(unsafe.StringData(b.String()), n)
}
