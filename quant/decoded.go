package quant

import (
	"fmt"
	"math"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// InvNorms appends to dst what Encode gives as InvNorms for codes and residuals that were coded before: 1/|v|
// per vector, where v is what it decodes to before it is scaled to unit length; 0 where v vanishes, and 1 with
// 16 bits. It panics as Decode does when a code is not below K or residuals are too short.
func (c *Codebook) InvNorms(dst []float32, codes []uint32, residuals []byte) []float32 {
	if c.nbits == 16 {
		for range codes {
			dst = append(dst, 1)
		}
		return dst
	}
	rb, row := c.RowBytes(), make([]float32, c.dim)
	for i, code := range codes {
		c.levels.Add(row, c.centroid(code), c.Scale(code), residuals[i*rb:(i+1)*rb])
		sum := 0.0
		for _, v := range row {
			sum += float64(v) * float64(v)
		}
		dst = append(dst, inverseNorm(sum))
	}
	return dst
}

// Levels returns the 2^nbits levels of least squared error for some residuals' values and the cutoffs between
// them, for NewCodebook: nbits is 1, 2, 4 or 8. values are sorted in place. Errors wrap ErrOption, ErrEmpty or
// maxsim.ErrNotFinite.
func Levels(values []float32, nbits int) (cutoffs, weights []float32, err error) {
	if err := checkBits(nbits); err != nil || nbits == 16 {
		return nil, nil, fmt.Errorf("quant: levels for %d bits: %w", nbits, ErrOption)
	}
	if len(values) == 0 {
		return nil, nil, fmt.Errorf("quant: levels: %w", ErrEmpty)
	}
	for i, v := range values {
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return nil, nil, fmt.Errorf("quant: levels: value %d is %v: %w", i, v, maxsim.ErrNotFinite)
		}
	}
	cutoffs, weights = lloydMax(values, nbits)
	return cutoffs, weights, nil
}

// RoundHalf returns values rounded to the nearest that float16 represents, and the largest absolute change.
// Values beyond float16's range become infinities.
func RoundHalf(values []float32) (rounded []float32, worst float32) {
	rounded = make([]float32, len(values))
	half := make([]uint16, len(values))
	kernel.F32ToF16(half, values)
	kernel.F16ToF32(rounded, half)
	for i, v := range rounded {
		worst = max(worst, float32(math.Abs(float64(v)-float64(values[i]))))
	}
	return rounded, worst
}

// EncodeAt is Encode with the centroids given; m is in input space, and the work is done on the calling
// goroutine. It is for coding anew what was coded before, where the search for the nearest
// centroid would take almost all of the time. Errors: maxsim.ErrDim, maxsim.ErrNotFinite, and ErrOption for
// codes that are not below K or not one per vector.
func (c *Codebook) EncodeAt(m maxsim.Matrix, codes []uint32) (Encoded, error) {
	if err := m.Validate(); err != nil {
		return Encoded{}, fmt.Errorf("quant: encode: %w", err)
	}
	if m.Rows > 0 && m.Dim != c.dim {
		return Encoded{}, fmt.Errorf("quant: encode: dimension %d, the codebook has %d: %w", m.Dim, c.dim, maxsim.ErrDim)
	}
	if len(codes) != m.Rows {
		return Encoded{}, fmt.Errorf("quant: encode: %d codes for %d vectors: %w", len(codes), m.Rows, ErrOption)
	}
	for i, code := range codes {
		if int64(code) >= int64(c.k) {
			return Encoded{}, fmt.Errorf("quant: encode: vector %d has code %d of %d: %w", i, code, c.k, ErrOption)
		}
	}
	d := c.dim
	enc := Encoded{
		Codes:     append([]uint32(nil), codes...),
		Residuals: make([]byte, m.Rows*c.RowBytes()),
		InvNorms:  make([]float32, m.Rows),
	}
	var s encodeScratch
	for i := 0; i < m.Rows; i += encodeBlock {
		n := min(encodeBlock, m.Rows-i)
		s.rows, s.scores = grown(s.rows, n*d), grown(s.scores, n)
		c.Rotate(s.rows, m.Data[i*d:(i+n)*d], n)
		for r, code := range codes[i : i+n] {
			s.scores[r] = kernel.Dot(s.rows[r*d:(r+1)*d], c.centroid(code))
		}
		c.encodeResiduals(&enc, i, i+n, &s)
	}
	return enc, nil
}
