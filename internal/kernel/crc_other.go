//go:build !amd64 || noasm

package kernel

// What the standard library has is as quick.

func foldsCRC(isa) bool { return false }

func foldCRC([]byte, uint32) uint32 { panic("kernel: no such instructions") }
