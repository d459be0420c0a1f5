//go:build arm64 && !noasm

package kernel

import "golang.org/x/sys/cpu"

func hasAVX2() bool   { return false }
func hasAVX512() bool { return false }
func hasVNNI() bool   { return false }
func hasBF16() bool   { return false }

// hasNEON is true everywhere: the 64-bit architecture includes it.
func hasNEON() bool { return true }

// hasDot tells whether there are inner products of int8 (SDOT, an option of Armv8.2); without them products of int8 and
// compressed-domain scoring run the Go code.
func hasDot() bool { return cpu.ARM64.HasASIMDDP }
