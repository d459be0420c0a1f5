package kernel

import (
	"fmt"
	"unsafe"
)

// Packed is a matrix W of n rows and k columns, stored for products A * W^T: W's rows are grouped in panels of 32 and
// each panel is laid out as [k][32], so that the inner loop reads it as one stream. Rows that fill up the last panel
// are zero. A Packed is safe for concurrent use except for Repack and RepackT. The zero value is empty and may be
// repacked.
type Packed struct {
	data []float32
	n, k int
}

// Pack packs a copy of w, n x k row-major (the layout of a Linear layer's weight, [out][in]). It panics when the shape
// is impossible or w is too short.
func Pack(w []float32, n, k int) *Packed {
	p := new(Packed)
	p.Repack(w, n, k, k)
	return p
}

// Repack packs another matrix, n rows of k values at stride ldw, reusing memory: for the keys of attention.
func (p *Packed) Repack(w []float32, n, k, ldw int) {
	if n < 0 || k <= 0 || ldw < k || (n > 0 && len(w) < (n-1)*ldw+k) {
		panic(fmt.Sprintf("kernel: pack %d x %d at stride %d from %d values", n, k, ldw, len(w)))
	}
	p.resize(n, k)
	for at := 0; at < n; at += panelCols {
		packPanel(p.panel(at), w[at*ldw:], min(panelCols, n-at), k, ldw, panelCols)
	}
}

// RepackT packs a matrix that is given transposed, k rows of n values at stride ldw, reusing memory: for the values of
// attention, whose product with the probabilities has no transposition.
func (p *Packed) RepackT(w []float32, n, k, ldw int) {
	if n < 0 || k <= 0 || ldw < n || len(w) < (k-1)*ldw+n {
		panic(fmt.Sprintf("kernel: pack transposed %d x %d at stride %d from %d values", k, n, ldw, len(w)))
	}
	p.resize(n, k)
	for at := 0; at < n; at += panelCols {
		panel, cols := p.panel(at), min(panelCols, n-at)
		for i := range k {
			dst := panel[i*panelCols : (i+1)*panelCols]
			copy(dst, w[i*ldw+at:i*ldw+at+cols])
			clear(dst[cols:])
		}
	}
}

// NewPacked returns an n x k matrix whose rows are to be set by SetRows, for weights that are read piece by piece. It
// panics when the shape is impossible.
func NewPacked(n, k int) *Packed {
	checkShape(n, k)
	p := new(Packed)
	p.resize(n, k)
	return p
}

// SetRows sets rows at and following, as many as w holds, row-major. at must be a multiple of 32, and the number of rows
// too unless they are the last. Several goroutines may set different rows.
func (p *Packed) SetRows(at int, w []float32) {
	rows := checkRows(at, len(w), p.n, p.k)
	for i := 0; i < rows; i += panelCols {
		packPanel(p.panel(at+i), w[i*p.k:], min(panelCols, rows-i), p.k, p.k, panelCols)
	}
}

func checkShape(n, k int) {
	if n < 0 || k <= 0 {
		panic(fmt.Sprintf("kernel: matrix of %d x %d", n, k))
	}
}

// checkRows returns the number of rows that values values are and panics when they cannot be set at row at.
func checkRows(at, values, n, k int) int {
	rows := values / k
	if at < 0 || at%panelCols != 0 || values%k != 0 || rows > n-at || (rows%panelCols != 0 && at+rows != n) {
		panic(fmt.Sprintf("kernel: %d values for rows from %d of a matrix of %d x %d", values, at, n, k))
	}
	return rows
}

// N returns the number of rows of W, the columns of a product.
func (p *Packed) N() int { return p.n }

// K returns the number of columns of W, the inner dimension of a product.
func (p *Packed) K() int { return p.k }

// resize makes room for an n x k matrix. The filling of the last panel is not cleared unless memory is new.
func (p *Packed) resize(n, k int) {
	p.n, p.k = n, k
	p.data = alignedSlice(p.data, panels(n)*k)
}

// panel returns the panel that starts with row at, [k][32].
func (p *Packed) panel(at int) []float32 {
	return p.data[at*p.k : (at+panelCols)*p.k]
}

// packPanel transposes rows of src (k values at stride lds) into dst, [k][w], and zeroes the lanes that are left.
func packPanel(dst, src []float32, rows, k, lds, w int) {
	transpose(active, dst, w, src, lds, rows, k)
	if rows < w {
		for i := range k {
			clear(dst[i*w+rows : (i+1)*w])
		}
	}
}

// alignedSlice returns n values that start on a 64-byte line, in buf's memory if it is large enough. Values that were
// there before may still be.
func alignedSlice[T float32 | uint32](buf []T, n int) []T {
	if cap(buf) >= n {
		return buf[:n]
	}
	const line = 16
	b := Large[T](n + line - 1)
	off := int(-uintptr(unsafe.Pointer(unsafe.SliceData(b))) % (4 * line) / 4)
	return b[off : off+n : off+n]
}

// int8View and float32View look at the same memory as numbers of the other kind.
func int8View(v []float32) []int8 {
	return unsafe.Slice((*int8)(unsafe.Pointer(unsafe.SliceData(v))), 4*cap(v))[:4*len(v)]
}

func float32View(v []int8) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(v))), cap(v)/4)
}
