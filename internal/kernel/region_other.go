//go:build !unix

package kernel

func mapAnonymous(int) []byte { return nil }

func unmapAnonymous([]byte) {}
