//go:build !amd64 || noasm

package kernel

func hasAVX2() bool   { return false }
func hasAVX512() bool { return false }
