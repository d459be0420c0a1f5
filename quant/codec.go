package quant

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// The codec. A vector x with the nearest centroid c decodes to
//
//	(c + s w) / |c + s w|
//
// where s is the scale of the centroid and w has one of the codebook's levels in every dimension.

//
// As the length is lost, any multiple of x has the same code to look for. With r = gx - c and g = 1/(x.c)
// the residual is orthogonal to c and so as short as it gets beside c + r: for unit vectors the angle that
// an error of r makes is smaller by 4 to 10 per cent than with g = 1, at no cost. Codebooks of Train have
// levels and scales for such residuals; imported ones (without scales) keep to g = 1.

// stretch returns g for the inner product of a vector with its centroid. Far vectors are not stretched all
// the way, since their residuals would grow out of the levels.
func stretch(p float32) float32 { return 1 / max(p, 0.5) }

// Encoded holds the codes of some vectors, in their order.
type Encoded struct {
	// Codes are the nearest centroids' numbers.
	Codes []uint32
	// Residuals holds RowBytes bytes per vector. See PackBits; float16 little-endian with 16 bits.
	Residuals []byte
	// InvNorms holds 1/|c+sw| per vector, the factor that makes the decoded vector unit length; 0 where
	// c+sw vanishes, and 1 with 16 bits, where nothing is normalised.
	InvNorms []float32
}

// encodeBlock is how many vectors one step of Encode handles; it bounds scratch and the latency of
// cancellation.
const encodeBlock = assignBlock

// Encode codes the vectors of m, which are in input space (not rotated), on at most workers goroutines (0:
// GOMAXPROCS). The result does not depend on workers. A matrix without rows gives an empty result. Errors:
// maxsim.ErrDim and maxsim.ErrNotFinite, naming the token, and the context's.
func (c *Codebook) Encode(ctx context.Context, m maxsim.Matrix, workers int) (Encoded, error) {
	if err := m.Validate(); err != nil {
		return Encoded{}, fmt.Errorf("quant: encode: %w", err)
	}
	if m.Rows > 0 && m.Dim != c.dim {
		return Encoded{}, fmt.Errorf("quant: encode: dimension %d, the codebook has %d: %w", m.Dim, c.dim, maxsim.ErrDim)
	}
	enc := Encoded{
		Codes:     make([]uint32, m.Rows),
		Residuals: make([]byte, m.Rows*c.RowBytes()),
		InvNorms:  make([]float32, m.Rows),
	}
	if m.Rows == 0 {
		return enc, ctx.Err()
	}
	c.assigner()
	err := parallel(ctx, m.Rows, encodeBlock, workers, func() func(i, j int) {
		var s encodeScratch
		return func(i, j int) { c.encodeRows(&enc, m.Data, i, j, &s) }
	})
	if err != nil {
		return Encoded{}, err
	}
	return enc, nil
}

// encodeScratch is one goroutine's memory for encoding; the zero value is ready.
type encodeScratch struct {
	assign assignScratch
	rows   []float32
	scores []float32
	idx    []uint8
	norms  []float32 // of the focus
	err    []float32
	grad   []float32
}

func (c *Codebook) encodeRows(enc *Encoded, data []float32, i, j int, s *encodeScratch) {
	n, d := j-i, c.dim
	s.rows, s.scores = grown(s.rows, n*d), grown(s.scores, n)
	c.Rotate(s.rows, data[i*d:j*d], n)
	c.assigner().assign(enc.Codes[i:j], s.scores, s.rows, &s.assign)
	c.encodeResiduals(enc, i, j, s)
}

// encodeResiduals codes the vectors s.rows, whose codes are enc's from i to j and whose inner products with
// their centroids are s.scores.
func (c *Codebook) encodeResiduals(enc *Encoded, i, j int, s *encodeScratch) {
	n, d, rb := j-i, c.dim, c.RowBytes()
	codes, out := enc.Codes[i:j], enc.Residuals[i*rb:j*rb]
	if c.nbits == 16 {
		encodeHalf(out, s.rows)
		for r := range n {
			enc.InvNorms[i+r] = 1
		}
		return
	}
	s.idx = grown(s.idx, n*d)
	c.quantize(s.idx, s.rows, codes, s)
	for r, code := range codes {
		idx, cent, scale := s.idx[r*d:(r+1)*d], c.centroid(code), c.Scale(code)
		var sum float64
		for t, b := range idx {
			v := float64(cent[t] + scale*c.weights[b])
			sum += v * v
		}
		PackBits(out[r*rb:(r+1)*rb], idx, c.nbits)
		enc.InvNorms[i+r] = inverseNorm(sum)
	}
}

// quantize sets idx to the levels of the vectors x, whose inner products with their centroids are s.scores.
func (c *Codebook) quantize(idx []uint8, x []float32, codes []uint32, s *encodeScratch) {
	d := c.dim
	for r, code := range codes {
		cent, row, to := c.centroid(code), x[r*d:(r+1)*d], idx[r*d:(r+1)*d]
		if c.scales == nil {
			for t, v := range row {
				to[t] = c.grid.bucket(v - cent[t])
			}
			continue
		}
		g, inv := stretch(s.scores[r]), c.invScale[code]
		for t, v := range row {
			to[t] = c.grid.bucket((g*v - cent[t]) * inv)
		}
	}
	if c.focus != nil {
		c.focus.refine(c, idx, x, codes, s)
	}
}

// minNorm is the norm from which on vectors are normalised, as in colbert-ai; shorter ones become zero.
const minNorm = 1e-12

// inverseNorm returns 1/sqrt(sum), and 0 for vectors of practically nothing.
func inverseNorm(sum float64) float32 {
	if sum <= minNorm*minNorm {
		return 0
	}
	return float32(1 / math.Sqrt(sum))
}

// decodeRows is how many vectors Decode works on at a time, and how long before its use a centroid is asked for.
const decodeRows = 8

// Decode writes the vectors of codes and residuals to dst, len(codes) x Dim, in codec space: c+sw scaled to
// unit length (a vanishing one gives zeros), or with 16 bits the float16 rows as they are. Apply Unrotate to
// come back to the input space. It panics when dst or residuals are too short or a code is not below K: the
// caller has checked what it read from a file.
func (c *Codebook) Decode(dst []float32, codes []uint32, residuals []byte) {
	d, rb := c.dim, c.RowBytes()
	dst, residuals = dst[:len(codes)*d], residuals[:len(codes)*rb]
	if c.nbits == 16 {
		kernel.LoadF16(dst, residuals)
		return
	}
	// A few rows at a time are put together, then normalised: rows wait for the memory, and norms for sums, side by side.
	for at := 0; at < len(codes); at += decodeRows {
		some := codes[at:min(at+decodeRows, len(codes))]
		for i, code := range some {
			i += at
			if i+decodeRows < len(codes) { // centroids lie scattered in a table that no near cache holds
				kernel.PrefetchF32(c.centroid(codes[i+decodeRows]))
			}
			c.levels.Add(dst[i*d:(i+1)*d], c.centroid(code), c.Scale(code), residuals[i*rb:(i+1)*rb])
		}
		for i := at; i < at+len(some); i++ {
			if row := dst[i*d : (i+1)*d]; kernel.Normalize(row) <= minNorm {
				clear(row)
			}
		}
	}
}

// encodeHalf writes float16 little-endian, rounding to nearest even.
func encodeHalf(dst []byte, src []float32) {
	var buf [256]uint16
	for len(src) > 0 {
		n := min(len(buf), len(src))
		kernel.F32ToF16(buf[:n], src[:n])
		for i, h := range buf[:n] {
			binary.LittleEndian.PutUint16(dst[2*i:], h)
		}
		dst, src = dst[2*n:], src[n:]
	}
}

// cutGrid finds a residual's bucket in about one step: a uniform grid over the cutoffs' range gives a lower
// bound that a short walk corrects. The result is exactly the number of cutoffs strictly below the value.
type cutGrid struct {
	cuts      []float32
	lo, scale float32
	start     []uint8
}

const gridCells = 1024

func newCutGrid(cuts []float32) cutGrid {
	g := cutGrid{cuts: cuts, lo: cuts[0], start: make([]uint8, gridCells)}
	span := cuts[len(cuts)-1] - cuts[0]
	// Ranges too narrow or too wide for float32 degrade to a walk from bucket 0.
	if s := gridCells / span; span > 0 && s > 0 && !math.IsInf(float64(s), 0) {
		g.scale = s
	}
	// cell is monotone in its argument, so a cutoff of a lower cell is a lower value.
	n := 0
	for i := range g.start {
		for n < len(cuts) && g.cell(cuts[n]) < i {
			n++
		}
		g.start[i] = uint8(n)
	}
	return g
}

func (g *cutGrid) cell(v float32) int {
	switch f := (v - g.lo) * g.scale; {
	case f >= gridCells:
		return gridCells - 1
	case f > 0:
		return int(f)
	}
	return 0
}

func (g *cutGrid) bucket(v float32) uint8 {
	n := int(g.start[g.cell(v)])
	for n < len(g.cuts) && g.cuts[n] < v {
		n++
	}
	return uint8(n)
}
