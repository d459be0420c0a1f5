package kernel

import (
	"fmt"
	"math"
)

// What the derivatives of a transformer's layers need beyond matrix products.

// SoftmaxLog is Softmax, and returns the logarithm of the sum of the exponentials of x.
func SoftmaxLog(x []float32) float32 {
	if len(x) == 0 {
		return float32(math.Inf(-1))
	}
	return softmaxLog(active, x)
}

// GELUGrad writes x * Phi(x) to y and its derivative Phi(x) + x * phi(x) to d, to the errors of GELUSlice; y and d may be x.
// It panics when y or d is shorter than x.
func GELUGrad(y, d, x []float32) { geluGradAt(active, y, d, x) }

func geluGradAt(l isa, y, d, x []float32) {
	if len(y) < len(x) || len(d) < len(x) {
		panic(fmt.Sprintf("kernel: GELUGrad of %d values into %d and %d", len(x), len(y), len(d)))
	}
	geluGrad(l, y, d, x)
}

// LayerNormGrad is the derivative of LayerNorm for one row x, of which dy is the gradient of the result: with
// z = (x - mean) / sqrt(variance + eps) and g = dy * gamma it writes (g - mean(g) - z * mean(g*z)) / sqrt(variance + eps)
// to dx, which may be dy, and adds dy*z to dgamma and dy to dbeta. It panics when a slice is shorter than x.
func LayerNormGrad(dx, dy, x, gamma, dgamma, dbeta []float32, eps float32) {
	layerNormGradAt(active, dx, dy, x, gamma, dgamma, dbeta, eps)
}

func layerNormGradAt(l isa, dx, dy, x, gamma, dgamma, dbeta []float32, eps float32) {
	if n := len(x); len(dx) < n || len(dy) < n || len(gamma) < n || len(dgamma) < n || len(dbeta) < n {
		panic(fmt.Sprintf("kernel: LayerNormGrad of %d values with %d, %d, %d, %d and %d", n, len(dx), len(dy), len(gamma), len(dgamma), len(dbeta)))
	}
	if len(x) > 0 {
		layerNormGrad(l, dx, dy, x, gamma, dgamma, dbeta, eps)
	}
}

// Mul writes the products of x and y, element by element, to dst, which may be one of them. It panics when dst or y is
// shorter than x.
func Mul(dst, x, y []float32) { mulAt(active, dst, x, y) }

func mulAt(l isa, dst, x, y []float32) {
	if len(dst) < len(x) || len(y) < len(x) {
		panic(fmt.Sprintf("kernel: Mul of %d and %d values into %d", len(x), len(y), len(dst)))
	}
	mul(l, dst, x, y)
}

// AddScaled adds f*x to dst. It panics when dst is shorter than x.
func AddScaled(dst, x []float32, f float32) { addScaledAt(active, dst, x, f) }

func addScaledAt(l isa, dst, x []float32, f float32) {
	if len(dst) < len(x) {
		panic(fmt.Sprintf("kernel: AddScaled of %d values to %d", len(x), len(dst)))
	}
	addScaled(l, dst, x, f)
}

// Transpose writes the rows x cols matrix src, at stride lds, as cols x rows to dst, at stride ldd. They must not overlap.
// It panics when a slice is too short.
func Transpose(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	transposeAt(active, dst, ldd, src, lds, rows, cols)
}

func transposeAt(l isa, dst []float32, ldd int, src []float32, lds, rows, cols int) {
	if rows <= 0 || cols <= 0 {
		return
	}
	if lds < cols || ldd < rows || len(src) < (rows-1)*lds+cols || len(dst) < (cols-1)*ldd+rows {
		panic(fmt.Sprintf("kernel: transpose %d x %d at strides %d and %d from %d to %d values", rows, cols, lds, ldd, len(src), len(dst)))
	}
	transpose(l, dst, ldd, src, lds, rows, cols)
}

func geluGradGeneric(y, d, x []float32) {
	for i, v := range x {
		e := math.Exp(-float64(v) * float64(v) / 2)
		phi := 0.5 * (1 + math.Erf(float64(v)*(1/math.Sqrt2)))
		y[i] = float32(float64(v) * phi)
		d[i] = float32(phi + float64(v)*e*0.3989422804014327) // 1 / sqrt(2 pi)
	}
}

func layerNormGradGeneric(dx, dy, x, gamma, dgamma, dbeta []float32, eps float32) {
	n := float32(len(x))
	var sum, sq float32
	for _, v := range x {
		sum += v
	}
	mean := sum / n
	for _, v := range x {
		sq += (v - mean) * (v - mean)
	}
	inv := float32(1 / math.Sqrt(float64(sq/n+eps)))
	var mg, mgz float32
	for i, v := range x {
		z, g := (v-mean)*inv, dy[i]*gamma[i]
		mg += g
		mgz += g * z
		dgamma[i] += dy[i] * z
		dbeta[i] += dy[i]
	}
	mg, mgz = mg/n, mgz/n
	for i, v := range x {
		z, g := (v-mean)*inv, dy[i]*gamma[i]
		dx[i] = (g - mg - z*mgz) * inv
	}
}

func mulGeneric(dst, x, y []float32) {
	for i, v := range x {
		dst[i] = v * y[i]
	}
}

func addScaledGeneric(dst, x []float32, f float32) {
	for i, v := range x {
		dst[i] += f * v
	}
}

// transposeGeneric works on 8 rows at a time, so that a cache line of dst is touched twice.
func transposeGeneric(dst []float32, ldd int, src []float32, lds, rows, cols int) {
	i := 0
	for ; i+8 <= rows; i += 8 {
		s0, s1, s2, s3 := src[i*lds:][:cols], src[(i+1)*lds:][:cols], src[(i+2)*lds:][:cols], src[(i+3)*lds:][:cols]
		s4, s5, s6, s7 := src[(i+4)*lds:][:cols], src[(i+5)*lds:][:cols], src[(i+6)*lds:][:cols], src[(i+7)*lds:][:cols]
		for j := range s0 {
			d := dst[j*ldd+i:][:8:8]
			d[0], d[1], d[2], d[3] = s0[j], s1[j], s2[j], s3[j]
			d[4], d[5], d[6], d[7] = s4[j], s5[j], s6[j], s7[j]
		}
	}
	for ; i < rows; i++ {
		for j, v := range src[i*lds:][:cols] {
			dst[j*ldd+i] = v
		}
	}
}

// softmaxLogGeneric serves where softmax does not tell what it summed.
func softmaxLogGeneric(x []float32, softmax func(x []float32)) float32 {
	top, at := x[0], 0
	for i, v := range x {
		if v > top {
			top, at = v, i
		}
	}
	softmax(x)
	return top - float32(math.Log(float64(x[at]))) // exp(0) over the sum
}

// pairBF16Generic rounds pairs of rows of a whole panel to bfloat16 and lays them side by side.
func pairBF16Generic(dst []uint32, src []float32, lds, pairs int) {
	for i := range pairs {
		for j := range panelCols {
			dst[i*panelCols+j] = bf16Bits(src[2*i*lds+j]) | bf16Bits(src[(2*i+1)*lds+j])<<16
		}
	}
}
