//go:build !amd64 || noasm

package kernel

// Bfloat16 is widened by Go code here; the products are those of float32.

func hasMaxPanelBF16(isa) bool { return false }

func maxPanelBF16(*[panelCols]float32, []uint32, int, []uint16, int, int) {
	panic("kernel: no such level")
}

func bf16ToF32(_ isa, dst []float32, src []uint16) { bf16ToF32Generic(dst, src) }
func maxAbs16(_ isa, x []uint16) uint16            { return maxAbs16Generic(x) }
func prefetchHalf(isa, []uint16)                   {}
