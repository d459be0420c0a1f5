package kernel

import (
	"fmt"
	"math"
)

// Rows is a block of activations converted for products with PackedBF16 or PackedInt8. The zero value is empty; the
// methods reuse memory. It may be read concurrently.
type Rows struct {
	kind  rowsKind
	data  []uint32 // m rows of stride words, zero after a row's last value where a unit is not full
	m, k  int
	scale []float32 // of bytes, one per row
	zero  []int32
	step  float32 // the largest scale
}

type rowsKind uint8

const (
	rowsNone rowsKind = iota
	rowsBF16
	rowsInt8
)

// M and K return the shape.
func (x *Rows) M() int { return x.m }
func (x *Rows) K() int { return x.k }

// stride is the number of words of a row, whole cache lines. A row of a power of two of lines gets one more: rows that
// lie 4 KiB apart would share the same few places of the first-level cache.
func (x *Rows) stride(per int) int {
	lines := (x.k + 16*per - 1) / (16 * per)
	if lines%16 == 0 {
		lines++
	}
	return 16 * lines
}

// Slice returns rows from to to, which share memory with x.
func (x *Rows) Slice(from, to int) Rows {
	if from < 0 || to < from || to > x.m {
		panic(fmt.Sprintf("kernel: rows %d to %d of %d", from, to, x.m))
	}
	s := *x
	s.m = to - from
	if x.kind != rowsNone {
		n := x.rowStride()
		s.data = x.data[from*n : to*n]
	}
	if x.kind == rowsInt8 {
		s.scale, s.zero = x.scale[from:to], x.zero[from:to]
	}
	return s
}

// Step returns the largest step from one byte to the next that a row has, or one of those that these rows were cut from:
// bytes are off by half of it at most. It is 0 for other rows than bytes, and NaN when there is a row with NaN or infinity.
func (x *Rows) Step() float32 { return x.step }

func (x *Rows) units() int {
	if x.kind == rowsInt8 {
		return (x.k + 3) / 4
	}
	return (x.k + 1) / 2
}

func (x *Rows) rowStride() int {
	if x.kind == rowsInt8 {
		return x.stride(4)
	}
	return x.stride(2)
}

func (x *Rows) reset(kind rowsKind, a []float32, lda, m, k int) {
	if m < 0 || k <= 0 || lda < k || (m > 0 && len(a) < (m-1)*lda+k) {
		panic(fmt.Sprintf("kernel: rows %d x %d at stride %d from %d values", m, k, lda, len(a)))
	}
	x.kind, x.m, x.k, x.step = kind, m, k, 0
	x.data = alignedSlice(x.data, m*x.rowStride())
}

// BF16 converts m rows of k values at stride lda to bfloat16, rounding to nearest even.
func (x *Rows) BF16(a []float32, lda, m, k int) { x.bf16At(active, a, lda, m, k) }

func (x *Rows) bf16At(l isa, a []float32, lda, m, k int) {
	x.reset(rowsBF16, a, lda, m, k)
	s := x.rowStride()
	for i := range m {
		row := x.data[i*s : (i+1)*s]
		toBF16(l, row, a[i*lda:i*lda+k])
		if k%2 == 1 {
			row[k/2] &= 0xffff
		}
	}
}

// Int8 converts m rows of k values at stride lda to bytes: each row gets the scale and the zero point that take its own
// range, zero included, to 0..255. The bytes are the same on every machine. A row with NaN or infinity makes NaN of all
// its products.
func (x *Rows) Int8(a []float32, lda, m, k int) { x.int8At(active, a, lda, m, k) }

// Largest returns the largest of zero and the values of v, NaN left out.
func Largest(v []float32) float32 {
	_, high, _ := rowRange(active, v)
	return high
}

func (x *Rows) int8At(l isa, a []float32, lda, m, k int) {
	x.reset(rowsInt8, a, lda, m, k)
	if cap(x.scale) < m {
		x.scale, x.zero = make([]float32, m), make([]int32, m)
	}
	x.scale, x.zero, x.step = x.scale[:m], x.zero[:m], 0
	s := x.rowStride()
	for i := range m {
		v, row := a[i*lda:i*lda+k], x.data[i*s:(i+1)*s]
		low, high, abs := rowRange(l, v)
		scale, inv := (high-low)/255, 255/(high-low)
		switch {
		case abs >= 0x7f800000:
			x.scale[i], x.zero[i] = float32(math.NaN()), 0
			x.step = x.scale[i]
			clear(row[:(k+3)/4])
			continue
		case high-low > math.MaxFloat32 || inv > math.MaxFloat32 || scale < 0x1p-126:
			// The range leaves float32: too wide (halve it first, in float64) or nothing but zeros and what is as good.
			wide := (float64(high) - float64(low)) / 255
			scale, inv = float32(wide), 0
			if wide > 1 {
				inv = float32(1 / wide)
			}
		}
		zero := uint32(math.RoundToEven(float64(-low * inv)))
		x.scale[i], x.zero[i] = scale, int32(zero)
		x.step = max(x.step, scale) // of NaN, NaN
		quantize(l, row, v, inv, zero)
		if r := k % 4; r > 0 {
			row[k/4] &= 1<<(8*r) - 1
		}
	}
}
