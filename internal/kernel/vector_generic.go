package kernel

import "math"

func softmaxGeneric(x []float32) {
	top := x[0]
	for _, v := range x {
		// NaN must reach the result: a comparison would drop it.
		top = max(top, v)
	}
	var sum float64 // in one chain: float32 would lose digits on long rows
	for i, v := range x {
		e := expNeg(v - top)
		x[i] = e
		sum += float64(e)
	}
	inv := float32(1 / sum)
	for i := range x {
		x[i] *= inv
	}
}

// Constants of exp: x = n*ln2 + r with |r| <= ln2/2, exp(x) = 2^n * p(r), as in Cephes' expf.
const (
	expLog2E = 1.44269504088896341
	expLn2Hi = 0.693359375
	expLn2Lo = -2.12194440e-4
	expMin   = -87.3 // below this, exp is 0 here: the result would leave the normal numbers
	expC0    = 1.9875691500e-4
	expC1    = 1.3981999507e-3
	expC2    = 8.3334519073e-3
	expC3    = 4.1665795894e-2
	expC4    = 1.6666665459e-1
	expC5    = 5.0000001201e-1
)

// expNeg returns exp(x) for x <= 0; NaN gives NaN.
func expNeg(x float32) float32 {
	if x < expMin {
		return 0
	}
	if x != x {
		return x
	}
	n := float32(math.RoundToEven(float64(x * expLog2E)))
	r := x - n*expLn2Hi
	r -= n * expLn2Lo
	p := float32(expC0)
	p = p*r + expC1
	p = p*r + expC2
	p = p*r + expC3
	p = p*r + expC4
	p = p*r + expC5
	p = p*(r*r) + r + 1
	return p * math.Float32frombits(uint32(int32(n)+127)<<23)
}

func geluSliceGeneric(x []float32) {
	for i, v := range x {
		x[i] = gelu(v)
	}
}

// gelu is the reference: the error function in float64.
func gelu(x float32) float32 {
	return float32(0.5 * float64(x) * (1 + math.Erf(float64(x)*(1/math.Sqrt2))))
}

func swishGeneric(x []float32, a, b float32) {
	for i, v := range x {
		u := (float64(a) + float64(b)*min(float64(v)*float64(v), 1e30)) * float64(v)
		x[i] = float32(float64(v) / (1 + math.Exp(-u)))
	}
}

func expNegGeneric(x []float32) {
	for i, v := range x {
		x[i] = expNeg(v)
	}
}

func layerNormGeneric(dst, x, gamma, beta []float32, eps float32) {
	var sum float32
	for _, v := range x {
		sum += v
	}
	mean := sum / float32(len(x))
	var sq float32
	for _, v := range x {
		d := v - mean
		sq += d * d
	}
	inv := float32(1 / math.Sqrt(float64(sq/float32(len(x))+eps)))
	dst, gamma = dst[:len(x)], gamma[:len(x)]
	if beta == nil {
		for i, v := range x {
			dst[i] = (v - mean) * inv * gamma[i]
		}
		return
	}
	beta = beta[:len(x)]
	for i, v := range x {
		dst[i] = (v-mean)*inv*gamma[i] + beta[i]
	}
}

func dotGeneric(a, b []float32) float32 {
	var s0, s1, s2, s3 float32
	b = b[:len(a)]
	i := 0
	for ; i+4 <= len(a); i += 4 {
		x, y := a[i:i+4:i+4], b[i:i+4:i+4]
		s0 += x[0] * y[0]
		s1 += x[1] * y[1]
		s2 += x[2] * y[2]
		s3 += x[3] * y[3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

func scaleGeneric(x []float32, s float32) {
	for i := range x {
		x[i] *= s
	}
}

// normalizeAt is Normalize at a level.
func normalizeAt(l isa, x []float32) float32 {
	sq := dotAt(l, x, x)
	// Within these bounds neither the sum nor the factor can overflow or lose bits to subnormal numbers.
	if sq > 1e-30 && sq < 1e30 {
		norm := float32(math.Sqrt(float64(sq)))
		scale(l, x, float32(1/math.Sqrt(float64(sq))))
		return norm
	}
	var s float64
	for _, v := range x {
		s += float64(v) * float64(v)
	}
	if s == 0 {
		return 0
	}
	norm := math.Sqrt(s)
	for i, v := range x {
		x[i] = float32(float64(v) / norm)
	}
	return float32(norm)
}
