//go:build !amd64 || noasm

package kernel

func unpackAscending(isa, []uint32, uint32, Bits) (n int, top uint32) { return 0, 0 }
func unpackChosen(isa, []uint32, []uint32, Bits) (n int, top uint32)  { return 0, 0 }

func scaleEach(_ isa, x, table []float32, at []uint32) { scaleEachGeneric(x, table, at) }

func varintGaps(isa, []uint32, []byte, uint32, uint32) (n int, last uint32) { return 0, 0 }
