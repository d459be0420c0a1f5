package quant

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// Limits of a codebook; files beyond them are refused.
const (
	MaxDim       = 1 << 16
	MaxCentroids = 1 << 26
)

// Codebook holds what coding and decoding need: centroids, levels and the rotation. It is immutable and
// safe for concurrent use.
type Codebook struct {
	dim, nbits, k int
	centroids     []float32 // k x dim, codec space
	cutoffs       []float32 // 2^nbits - 1, ascending; none for float16 rows
	weights       []float32 // 2^nbits, ascending
	scales        []float32 // k, or nil: all 1
	groups        []uint32  // sizes of the groups of centroids, or nil: none
	probes        int       // groups that assignment looks into
	focus         *focus    // nil: all directions weigh alike
	kind          rotationKind
	seed          uint64
	rot           *rotation // nil: none
	trainTokens   uint64
	meanResidual  float32

	levels   *kernel.FloatLevels // nil with 16 bits
	invScale []float32           // 1/scales
	grid     cutGrid

	assignOnce sync.Once
	assign     *assigner // only encoding needs it

	lowOnce sync.Once
	low     *kernel.Rows

	normOnce sync.Once
	maxNorm  float32

	idOnce sync.Once
	id     string
}

// NewCodebook makes a codebook without rotation from its parts, as importers of other programs' indexes
// need it: centroids (K x dim, row-major), 2^nbits-1 ascending cutoffs and 2^nbits ascending weights
// (levels). With nbits 16 there are neither cutoffs nor weights. The slices are copied. Errors wrap
// ErrOption or maxsim.ErrNotFinite and name the part.
func NewCodebook(dim, nbits int, centroids, cutoffs, weights []float32) (*Codebook, error) {
	c := &Codebook{
		dim:       dim,
		nbits:     nbits,
		centroids: append([]float32(nil), centroids...),
		cutoffs:   append([]float32(nil), cutoffs...),
		weights:   append([]float32(nil), weights...),
	}
	if err := c.init(); err != nil {
		return nil, err
	}
	return c, nil
}

// init checks the parts and derives the rest.
func (c *Codebook) init() error {
	if c.dim < 1 || c.dim > MaxDim {
		return fmt.Errorf("quant: dimension %d, must be 1 to %d: %w", c.dim, MaxDim, ErrOption)
	}
	if err := checkBits(c.nbits); err != nil {
		return err
	}
	c.k = len(c.centroids) / c.dim
	if c.k < 1 || c.k > MaxCentroids || len(c.centroids)%c.dim != 0 {
		return fmt.Errorf("quant: %d centroid values do not make 1 to %d rows of dimension %d: %w", len(c.centroids), MaxCentroids, c.dim, ErrOption)
	}
	levels := 0
	if c.nbits < 16 {
		levels = 1 << c.nbits
	}
	if len(c.weights) != levels || len(c.cutoffs) != max(levels-1, 0) {
		return fmt.Errorf("quant: %d weights and %d cutoffs for %d bits, must be %d and %d: %w", len(c.weights), len(c.cutoffs), c.nbits, levels, max(levels-1, 0), ErrOption)
	}
	for _, p := range c.parts() {
		if i, err := p.check(); err != nil {
			return fmt.Errorf("quant: %s: value %d is %v: %w", p.name, i, p.v[i], err)
		}
	}
	c.derive()
	return nil
}

// derive makes of parts that are as they must be what follows from them.
func (c *Codebook) derive() {
	if c.kind == rotationHadamard {
		c.rot = newRotation(c.dim, c.seed)
	}
	if c.nbits < 16 {
		c.levels = kernel.NewFloatLevels(c.weights, c.nbits)
		c.grid = newCutGrid(c.cutoffs)
	}
	if c.scales != nil {
		c.invScale = make([]float32, c.k)
		for i, s := range c.scales {
			c.invScale[i] = 1 / s
		}
	}
}

// part is one array of a codebook, with what its values must satisfy.
type part struct {
	name                string
	v                   []float32
	ascending, positive bool
}

func (c *Codebook) parts() []part {
	p := []part{
		{name: "cutoffs", v: c.cutoffs, ascending: true},
		{name: "weights", v: c.weights, ascending: true},
		{name: "scales", v: c.scales, positive: true},
	}
	if c.focus != nil {
		p = append(p, part{name: "directions", v: c.focus.dirs}, part{name: "strengths", v: c.focus.strength, positive: true})
	}
	return append(p, part{name: "centroids", v: c.centroids})
}

// check returns the first value at fault.
func (p part) check() (int, error) {
	if !p.ascending && !p.positive && kernel.Finite(p.v) {
		return 0, nil
	}
	for i, x := range p.v {
		switch {
		case math.Float32bits(x)&0x7f800000 == 0x7f800000:
			return i, maxsim.ErrNotFinite
		case p.ascending && i > 0 && x < p.v[i-1]:
			return i, fmt.Errorf("below the value before it, %v: %w", p.v[i-1], ErrOption)
		case p.positive && x <= 0:
			return i, fmt.Errorf("must be positive: %w", ErrOption)
		}
	}
	return 0, nil
}

func checkBits(nbits int) error {
	switch nbits {
	case 1, 2, 4, 8, 16:
		return nil
	}
	return fmt.Errorf("quant: %d bits per dimension, must be 1, 2, 4, 8 or 16: %w", nbits, ErrOption)
}

// Dim returns the dimension of the vectors.
func (c *Codebook) Dim() int { return c.dim }

// NBits returns the bits per dimension: 1, 2, 4 or 8, or 16 for float16 rows.
func (c *Codebook) NBits() int { return c.nbits }

// K returns the number of centroids; codes are below it.
func (c *Codebook) K() int { return c.k }

// RowBytes returns the bytes of residuals per vector: dim*nbits/8, rounded up.
func (c *Codebook) RowBytes() int { return (c.dim*c.nbits + 7) / 8 }

// Centroids returns the centroids, K x Dim, in codec space (rotated). Those of Train are unit rows rounded
// to values that float16 represents. Read-only.
func (c *Codebook) Centroids() []float32 { return c.centroids }

// Rows8 returns the centroids in bytes, made at first use, for products that need no more; nil where such products
// are not faster than those of float32. Read-only.
func (c *Codebook) Rows8() *kernel.Rows {
	if !kernel.FastInt8() {
		return nil
	}
	c.lowOnce.Do(func() {
		c.low = new(kernel.Rows)
		c.low.Int8(c.centroids, c.dim, c.k, c.dim)
	})
	return c.low
}

// MaxNorm returns the norm of the longest centroid, computed at first use where parsing has not done so.
func (c *Codebook) MaxNorm() float32 {
	c.normOnce.Do(func() { c.maxNorm = float32(math.Sqrt(float64(longest(c.centroids, c.dim)))) })
	return c.maxNorm
}

// longest gives the square of the norm of the longest row: NaN or infinite if a value is, or if it leaves float32.
func longest(rows []float32, dim int) (square float32) {
	for i := 0; i < len(rows); i += dim {
		square = max(square, kernel.Dot(rows[i:i+dim], rows[i:i+dim]))
	}
	return square
}

// Cutoffs returns the 2^nbits-1 ascending bucket boundaries: a residual's level is the number of cutoffs
// strictly below it (after division by its centroid's Scale). Read-only; nil for float16 rows.
func (c *Codebook) Cutoffs() []float32 { return c.cutoffs }

// Weights returns the 2^nbits ascending levels, to be multiplied by the centroid's Scale. Read-only; nil for
// float16 rows.
func (c *Codebook) Weights() []float32 { return c.weights }

// Scales returns the centroids' scales, K values above 0, or nil when all are 1: a vector decodes to the
// direction of centroid + scale * levels. Centroids whose residuals are long have large scales. Read-only.
func (c *Codebook) Scales() []float32 { return c.scales }

func (c *Codebook) centroid(code uint32) []float32 {
	return c.centroids[int(code)*c.dim : (int(code)+1)*c.dim]
}

// Scale returns the scale of one centroid.
func (c *Codebook) Scale(code uint32) float32 {
	if c.scales == nil {
		return 1
	}
	return c.scales[code]
}

// TrainTokens returns how many vectors Train was given; 0 for codebooks not made by Train.
func (c *Codebook) TrainTokens() uint64 { return c.trainTokens }

// MeanResidual returns the mean L2 norm of the held-out vectors' residuals in training, against which the
// residuals of new vectors tell whether the codebook still fits; 0 for codebooks not made by Train.
func (c *Codebook) MeanResidual() float32 { return c.meanResidual }

// Groups returns the sizes of the groups that the centroids form, neighbours in space: the first group has
// the first so many centroids, and so on. nil when they are not grouped. Read-only.
func (c *Codebook) Groups() []uint32 { return c.groups }

// Directions returns the number of directions in which codes err least, those of the queries that Train was
// given; 0 when there were none.
func (c *Codebook) Directions() int { return c.focus.rank() }

// Rotated says whether codec space differs from the input space.
func (c *Codebook) Rotated() bool { return c.rot != nil }

// ID identifies the codebook: the first 16 bytes of the SHA-256 of its file, in hex.
func (c *Codebook) ID() string {
	c.idOnce.Do(func() {
		b, _ := c.MarshalBinary() // it has no way to fail
		c.id = idOf(b)
	})
	return c.id
}

func idOf(file []byte) string {
	h := sha256.Sum256(file)
	return hex.EncodeToString(h[:16])
}

// Rotate moves rows vectors of src into codec space and writes them to dst, which may be src. Without a
// rotation it copies. It panics when dst or src hold fewer than rows*Dim values.
func (c *Codebook) Rotate(dst, src []float32, rows int) {
	c.rotate(dst, src, rows, false)
}

// Unrotate is the inverse of Rotate, up to rounding.
func (c *Codebook) Unrotate(dst, src []float32, rows int) {
	c.rotate(dst, src, rows, true)
}

func (c *Codebook) rotate(dst, src []float32, rows int, back bool) {
	d := c.dim
	dst, src = dst[:rows*d], src[:rows*d]
	if c.rot == nil {
		copy(dst, src)
		return
	}
	var buf [512]float32
	tmp := buf[:min(d, len(buf))]
	if d > len(buf) {
		tmp = make([]float32, d)
	}
	for i := 0; i < len(src); i += d {
		// Called directly, so that buf stays on the stack.
		if back {
			c.rot.invert(dst[i:i+d], src[i:i+d], tmp)
		} else {
			c.rot.apply(dst[i:i+d], src[i:i+d], tmp)
		}
	}
}

// assigner returns the search for nearest centroids, made at first use.
func (c *Codebook) assigner() *assigner {
	c.assignOnce.Do(func() { c.assign = newAssigner(c.centroids, c.dim, c.groups, c.probes) })
	return c.assign
}
