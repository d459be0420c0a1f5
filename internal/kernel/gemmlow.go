package kernel

import "fmt"

// Gemm computes C = act(scale * X * W^T + bias) + add for converted rows X; C is m x N at stride ldc. Products of bfloat16
// are summed in float32. ep may be nil. It runs on the calling goroutine and is safe to run concurrently. C must not
// overlap X. It panics when x holds something else than bfloat16, has other columns, or C is too short.
func (p *PackedBF16) Gemm(c []float32, ldc int, x *Rows, ep *Epilogue) {
	p.gemmAt(active, c, ldc, x, ep)
}

func (p *PackedBF16) gemmAt(l isa, c []float32, ldc int, x *Rows, ep *Epilogue) {
	if x.kind != rowsBF16 {
		panic("kernel: bfloat16 product with other rows")
	}
	if x.m == 0 || p.n == 0 {
		return
	}
	e := p.check(c, ldc, x, ep)
	gemmBF16(l, p, c, ldc, x, &e)
}

// Gemm computes C = act(scale * X * W^T + bias) + add for converted rows X, as PackedBF16.Gemm does. The sum of products
// of bytes is an exact integer; the zero point is taken off it exactly, then it is scaled in float32.
func (p *PackedInt8) Gemm(c []float32, ldc int, x *Rows, ep *Epilogue) {
	p.gemmAt(active, c, ldc, x, ep)
}

func (p *PackedInt8) gemmAt(l isa, c []float32, ldc int, x *Rows, ep *Epilogue) {
	if x.kind != rowsInt8 {
		panic("kernel: int8 product with other rows")
	}
	if x.m == 0 || p.n == 0 {
		return
	}
	e := p.check(c, ldc, x, ep)
	gemmInt8(l, p, c, ldc, x, &e)
}

func (p *packedLow) check(c []float32, ldc int, x *Rows, ep *Epilogue) Epilogue {
	if x.k != p.k {
		panic(fmt.Sprintf("kernel: product of rows of %d values with a matrix of %d", x.k, p.k))
	}
	return checkProduct(c, ldc, x.m, p.n, ep)
}
