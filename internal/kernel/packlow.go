package kernel

import (
	"fmt"
	"math"
)

// PackedBF16 is a matrix W of n rows and k columns in bfloat16, for products with Rows in bfloat16. Its panels are those
// of Packed with pairs of columns of W for values: [k/2][32][2]. It is safe for concurrent use.
type PackedBF16 struct{ packedLow }

// PackedInt8 is a matrix W of n rows and k columns of int8, each row with a scale, for products with Rows of bytes. Its
// panels are those of Packed with four columns of W for one value: [k/4][32][4]. It is safe for concurrent use.
type PackedInt8 struct {
	packedLow
	scale []float32 // whole panels
	sum   []int32   // sum of each row, whole panels
}

// packedLow is what packed matrices of less than 32 bits share.
type packedLow struct {
	data []uint32
	n, k int
	per  int // columns of W in a word
}

// N returns the number of rows of W, the columns of a product.
func (p *packedLow) N() int { return p.n }

// K returns the number of columns of W, the inner dimension of a product.
func (p *packedLow) K() int { return p.k }

func (p *packedLow) units() int { return (p.k + p.per - 1) / p.per }

// newLow makes room for an n x k matrix, all zero.
func newLow(n, k, per int) packedLow {
	p := packedLow{n: n, k: k, per: per}
	p.data = alignedSlice[uint32](nil, panels(n)*p.units())
	return p
}

// panels rounds a number of columns up to whole panels.
func panels(n int) int { return (n + panelCols - 1) / panelCols * panelCols }

// panel returns the panel that starts with row at.
func (p *packedLow) panel(at int) []uint32 {
	u := p.units()
	return p.data[at*u : (at+panelCols)*u]
}

// cols is the part of a matrix with the rows from to to of W; from is a multiple of 32.
func (p *packedLow) cols(from, to int) packedLow {
	u := p.units()
	return packedLow{data: p.data[from*u : panels(to)*u], n: to - from, k: p.k, per: p.per}
}

// NewPackedBF16 is NewPacked in bfloat16.
func NewPackedBF16(n, k int) *PackedBF16 {
	checkShape(n, k)
	return &PackedBF16{newLow(n, k, 2)}
}

// PackBF16 packs w, n x k row-major, rounding to nearest even. It panics when the shape is impossible or w is too short.
func PackBF16(w []float32, n, k int) *PackedBF16 {
	p := NewPackedBF16(n, k)
	p.SetRows(0, w[:n*k])
	return p
}

// Repack packs another matrix, n x k row-major, reusing memory. It must not run concurrently with any other method.
func (p *PackedBF16) Repack(w []float32, n, k int) {
	checkShape(n, k)
	p.n, p.k, p.per = n, k, 2
	p.data = alignedSlice(p.data, panels(n)*p.units())
	if n%panelCols != 0 {
		clear(p.panel(n &^ (panelCols - 1)))
	}
	p.SetRows(0, w[:n*k])
}

// RepackT packs a matrix that is given transposed, k rows of n values at stride ldw, reusing memory and rounding to nearest
// even. It must not run concurrently with any other method.
func (p *PackedBF16) RepackT(w []float32, n, k, ldw int) { p.repackTAt(active, w, n, k, ldw) }

func (p *PackedBF16) repackTAt(l isa, w []float32, n, k, ldw int) {
	if n < 0 || k <= 0 || ldw < n || len(w) < (k-1)*ldw+n {
		panic(fmt.Sprintf("kernel: pack transposed %d x %d at stride %d from %d values", k, n, ldw, len(w)))
	}
	p.n, p.k, p.per = n, k, 2
	p.data = alignedSlice(p.data, panels(n)*p.units())
	for at := 0; at < n; at += panelCols {
		panel, cols, i := p.panel(at), min(panelCols, n-at), 0
		if cols == panelCols && k > 1 {
			i = k / 2
			pairBF16(l, panel, w[at:], ldw, i)
		}
		for ; i < p.units(); i++ {
			dst := panel[i*panelCols : (i+1)*panelCols]
			clear(dst)
			for j, v := range w[2*i*ldw+at:][:cols] {
				dst[j] = bf16Bits(v)
			}
			if 2*i+1 < k {
				for j, v := range w[(2*i+1)*ldw+at:][:cols] {
					dst[j] |= bf16Bits(v) << 16
				}
			}
		}
	}
}

// SetRows is Packed.SetRows, rounding to nearest even.
func (p *PackedBF16) SetRows(at int, w []float32) {
	rows, k := checkRows(at, len(w), p.n, p.k), p.k
	var buf [512 + 16]uint32
	row := buf[:]
	if p.units() > 512 {
		row = make([]uint32, p.units()+16)
	}
	for j := range rows {
		toBF16(active, row, w[j*k:(j+1)*k])
		if k%2 == 1 {
			row[k/2] &= 0xffff
		}
		p.setRow(at+j, row)
	}
}

// setRow stores row j of W, in words. Rows that follow each other share cache lines, so that memory is written once.
func (p *packedLow) setRow(j int, row []uint32) {
	dst := p.panel(j &^ (panelCols - 1))[j&(panelCols-1):]
	for i, v := range row[:p.units()] {
		dst[i*panelCols] = v
	}
}

// NewPackedInt8 is NewPacked in int8. It panics when k is above MaxInt8K, too.
func NewPackedInt8(n, k int) *PackedInt8 {
	checkShape(n, k)
	if k > MaxInt8K {
		panic(fmt.Sprintf("kernel: int8 rows of %d values, the most is %d", k, MaxInt8K))
	}
	return &PackedInt8{packedLow: newLow(n, k, 4), scale: make([]float32, panels(n)), sum: make([]int32, panels(n))}
}

// Repack packs another matrix, n x k row-major, reusing memory. It must not run concurrently with any other method.
func (p *PackedInt8) Repack(w []float32, n, k int) {
	checkShape(n, k)
	if k > MaxInt8K {
		panic(fmt.Sprintf("kernel: int8 rows of %d values, the most is %d", k, MaxInt8K))
	}
	p.n, p.k, p.per = n, k, 4
	p.data = alignedSlice(p.data, panels(n)*p.units())
	if cap(p.scale) < panels(n) {
		p.scale, p.sum = make([]float32, panels(n)), make([]int32, panels(n))
	}
	p.scale, p.sum = p.scale[:panels(n)], p.sum[:panels(n)]
	if n%panelCols != 0 {
		clear(p.panel(n &^ (panelCols - 1)))
		clear(p.scale[n:])
		clear(p.sum[n:])
	}
	p.SetRows(0, w[:n*k])
}

// QuantizeInt8 rounds w, n x k row-major, to int8 as SetRows does. It panics when the shape is impossible or w is too
// short.
func QuantizeInt8(w []float32, n, k int) *PackedInt8 {
	p := NewPackedInt8(n, k)
	p.SetRows(0, w[:n*k])
	return p
}

// SetRows is Packed.SetRows, rounding to int8 in -127..127 with one scale per row, the least that holds the row's largest
// value. A row with NaN or infinity gets the scale NaN.
func (p *PackedInt8) SetRows(at int, w []float32) {
	rows, k := checkRows(at, len(w), p.n, p.k), p.k
	var buf [256 + 16]uint32
	row := buf[:]
	if p.units() > 256 {
		row = make([]uint32, p.units()+16)
	}
	for j := range rows {
		v := w[j*k : (j+1)*k]
		_, _, abs := rowRange(active, v)
		scale, inv := float32(math.NaN()), float32(0)
		clear(row[:p.units()+16])
		if abs < 0x7f800000 {
			if scale = math.Float32frombits(abs) / 127; scale > 0 {
				inv = 1 / scale
			}
			if inv > math.MaxFloat32 {
				scale, inv = 0, 0
			}
			// Bytes around 128, as of activations, are int8 with the top bit turned.
			quantize(active, row, v, inv, 128)
			for i := range row[:p.units()] {
				row[i] ^= 0x80808080
			}
			if r := k % 4; r > 0 {
				row[k/4] &= 1<<(8*r) - 1
			}
		}
		p.setRow(at+j, row)
		p.finish(at+j, row, scale)
	}
}

// PackInt8Rows packs w, n x k row-major, as it is, row i scaled by scale[i].
func PackInt8Rows(w []int8, scale []float32, n, k int) *PackedInt8 {
	p := NewPackedInt8(n, k)
	p.SetInt8(0, w[:n*k], scale)
	return p
}

// SetInt8 is SetRows for rows that are int8 already, with their scales.
func (p *PackedInt8) SetInt8(at int, w []int8, scale []float32) {
	rows, k := checkRows(at, len(w), p.n, p.k), p.k
	row := make([]uint32, p.units())
	for j := range rows {
		clear(row)
		for i, v := range w[j*k : (j+1)*k] {
			row[i/4] |= uint32(uint8(v)) << (8 * (i % 4))
		}
		p.setRow(at+j, row)
		p.finish(at+j, row, scale[j])
	}
}

// MaxInt8K is the longest row whose products of bytes cannot leave int32: 255*128*65,536 is under 2^31.
const MaxInt8K = 1 << 16

func (p *PackedInt8) finish(j int, row []uint32, scale float32) {
	p.scale[j] = scale
	var sum int32
	for _, v := range row[:p.units()] {
		sum += int32(int8(v)) + int32(int8(v>>8)) + int32(int8(v>>16)) + int32(int8(v>>24))
	}
	p.sum[j] = sum
}

// Cols returns rows from to to of W as a matrix of its own that shares memory; from must be a multiple of 32. It is for
// computing parts of a product on several goroutines.
func (p *PackedBF16) Cols(from, to int) PackedBF16 {
	checkCols(from, to, p.n)
	return PackedBF16{p.cols(from, to)}
}

// Cols is PackedBF16.Cols.
func (p *PackedInt8) Cols(from, to int) PackedInt8 {
	checkCols(from, to, p.n)
	return PackedInt8{p.cols(from, to), p.scale[from:panels(to)], p.sum[from:panels(to)]}
}

// Cols is PackedBF16.Cols.
func (p *Packed) Cols(from, to int) Packed {
	checkCols(from, to, p.n)
	return Packed{p.data[from*p.k : panels(to)*p.k], to - from, p.k}
}

func checkCols(from, to, n int) {
	if from < 0 || from%panelCols != 0 || to < from || to > n {
		panic(fmt.Sprintf("kernel: columns %d to %d of %d, the first must be a multiple of %d", from, to, n, panelCols))
	}
}
