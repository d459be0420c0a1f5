//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// foldsCRC tells whether there are carry-less products of whole registers.
func foldsCRC(l isa) bool { return l >= isaAVX512 && cpu.X86.HasAVX512VPCLMULQDQ }

func foldCRC(b []byte, state uint32) uint32 { return crc32cAVX512(&b[0], len(b), state) }
