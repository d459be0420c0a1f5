package kernel

import "fmt"

// Softmax replaces x by exp(x_i - max x) / sum_j exp(x_j - max x). -Inf becomes 0; a slice of nothing but -Inf, or one
// with NaN, becomes NaN; +Inf gives NaN at its place or everywhere. The relative error of a probability is under
// 1e-6 + 1.2e-7*(max x - x_i), and what lies more than 87.3 below the largest value becomes 0.
func Softmax(x []float32) {
	if len(x) > 0 {
		softmax(active, x)
	}
}

// GELUSlice replaces every x by x * Phi(x), the exact (error function) form. The absolute error is under 1e-6 for |x|
// below 10 and under 1e-6 |x| beyond.
func GELUSlice(x []float32) {
	if len(x) > 0 {
		geluSlice(active, x)
	}
}

// Swish replaces every x by x * sigmoid(a*x + b*x^3): SiLU with a = 1 and b = 0, the approximation of GELU by tanh with
// a = 2 sqrt(2/pi) and b = 0.044715 a. The error is under 1e-6 |x|; +Inf stays and -Inf gives NaN.
func Swish(x []float32, a, b float32) {
	if len(x) > 0 {
		swish(active, x, a, b)
	}
}

// ExpNeg replaces every x, none of which may be above 0, by exp(x). The relative error is under 2e-7 + 6e-8 |x|, and what
// lies below -87.3 becomes 0.
func ExpNeg(x []float32) {
	if len(x) > 0 {
		expNegSlice(active, x)
	}
}

// LayerNorm writes (x - mean) / sqrt(variance + eps) * gamma + beta to dst, the variance being the biased one. dst may
// be x. beta may be nil. It panics when dst, gamma or beta is shorter than x.
func LayerNorm(dst, x, gamma, beta []float32, eps float32) {
	layerNormAt(active, dst, x, gamma, beta, eps)
}

func layerNormAt(l isa, dst, x, gamma, beta []float32, eps float32) {
	if len(dst) < len(x) || len(gamma) < len(x) || (beta != nil && len(beta) < len(x)) {
		panic(fmt.Sprintf("kernel: LayerNorm of %d values into %d with %d gammas and %d betas", len(x), len(dst), len(gamma), len(beta)))
	}
	if len(x) > 0 {
		layerNorm(l, dst, x, gamma, beta, eps)
	}
}

// Dot returns the inner product of a and b. It panics when their lengths differ.
func Dot(a, b []float32) float32 { return dotAt(active, a, b) }

func dotAt(l isa, a, b []float32) float32 {
	if len(a) != len(b) {
		panic(fmt.Sprintf("kernel: Dot of %d and %d values", len(a), len(b)))
	}
	if len(a) == 0 {
		return 0
	}
	return dot(l, a, b)
}

// Normalize scales x to unit L2 norm in place and returns the norm it had. A zero vector stays as it is and returns
// 0. Vectors whose squared norm over- or underflows float32 are handled through float64.
func Normalize(x []float32) float32 { return normalizeAt(active, x) }
