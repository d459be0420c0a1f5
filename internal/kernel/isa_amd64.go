//go:build amd64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

// The checks of x/sys/cpu include that the operating system saves the registers.

func hasAVX2() bool {
	return cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasF16C
}

func hasAVX512() bool {
	return hasAVX2() && cpu.X86.HasBMI2 &&
		cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL
}

func hasVNNI() bool { return hasAVX512() && cpu.X86.HasAVX512VNNI }

func hasBF16() bool { return hasVNNI() && cpu.X86.HasAVX512BF16 }

func hasNEON() bool { return false }
func hasDot() bool  { return false }
