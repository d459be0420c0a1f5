//go:build (!amd64 && !arm64) || noasm

package kernel

func hasAVX2() bool   { return false }
func hasAVX512() bool { return false }
func hasVNNI() bool   { return false }
func hasBF16() bool   { return false }
func hasNEON() bool   { return false }
func hasDot() bool    { return false }
