package kernel

import "fmt"

// Activation is a function that Gemm applies to its result.
type Activation uint8

const (
	// NoActivation leaves the result as it is.
	NoActivation Activation = iota
	// GELU is x * Phi(x) with the normal distribution function Phi, by the error function (not by tanh).
	GELU
)

// Epilogue is what Gemm does to a product before it stores it. The zero value does nothing.
type Epilogue struct {
	// Bias is added to each row; N values, or nil.
	Bias []float32
	// Act is applied after scale and bias.
	Act Activation
	// Scale multiplies the product, before the bias; 0 stands for 1.
	Scale float32
	// Add is added at the very end: m rows of N values at stride LdAdd, or nil. It may be the same memory as C with
	// the same stride (a residual connection in place); any other overlap with C is a mistake.
	Add   []float32
	LdAdd int
}

// Gemm computes C = act(scale * A * W^T + bias) + add: A is m x K at stride lda, C is m x N at stride ldc. It runs on the
// calling goroutine and is safe to run concurrently on one Packed. ep may be nil. C must not overlap A. It panics when a
// slice is too short for its shape.
func (p *Packed) Gemm(c []float32, ldc int, a []float32, lda, m int, ep *Epilogue) {
	p.gemmAt(active, c, ldc, a, lda, m, ep)
}

func (p *Packed) gemmAt(l isa, c []float32, ldc int, a []float32, lda, m int, ep *Epilogue) {
	if m == 0 || p.n == 0 {
		return
	}
	p.checkA(a, lda, m)
	e := checkProduct(c, ldc, m, p.n, ep)
	gemm(l, p, c, ldc, a, lda, m, &e)
}

// checkProduct checks the result and the epilogue of an m x n product and completes the epilogue.
func checkProduct(c []float32, ldc, m, n int, ep *Epilogue) Epilogue {
	if ldc < n || len(c) < (m-1)*ldc+n {
		panic(fmt.Sprintf("kernel: product %d x %d at stride %d into %d values", m, n, ldc, len(c)))
	}
	var e Epilogue
	if ep != nil {
		e = *ep
		if e.Bias != nil && len(e.Bias) < n {
			panic(fmt.Sprintf("kernel: bias of %d values for %d columns", len(e.Bias), n))
		}
		if e.Add != nil && (e.LdAdd < n || len(e.Add) < (m-1)*e.LdAdd+n) {
			panic(fmt.Sprintf("kernel: addend %d x %d at stride %d from %d values", m, n, e.LdAdd, len(e.Add)))
		}
	}
	if e.Scale == 0 {
		e.Scale = 1
	}
	return e
}

// ArgMax finds, for each of the m rows of A (K values at stride lda), the row of W with the largest inner product: its
// number goes to idx and the product to score (which may be nil). The lowest number wins a tie. It panics when N is 0
// or a slice is too short.
func (p *Packed) ArgMax(idx []uint32, score []float32, a []float32, lda, m int) {
	p.argMaxAt(active, idx, score, a, lda, m)
}

func (p *Packed) argMaxAt(l isa, idx []uint32, score []float32, a []float32, lda, m int) {
	if m == 0 {
		return
	}
	p.checkA(a, lda, m)
	if p.n == 0 {
		panic("kernel: ArgMax over no rows")
	}
	if len(idx) < m || (score != nil && len(score) < m) {
		panic(fmt.Sprintf("kernel: ArgMax of %d rows into %d indices and %d scores", m, len(idx), len(score)))
	}
	argMax(l, p, idx, score, a, lda, m)
}

func (p *Packed) checkA(a []float32, lda, m int) {
	if m < 0 || lda < p.k || len(a) < (m-1)*lda+p.k {
		panic(fmt.Sprintf("kernel: operand %d x %d at stride %d from %d values", m, p.k, lda, len(a)))
	}
}
