package kernel

import (
	"fmt"
	"math"
	"math/bits"
	"sync"
	"unsafe"
)

// Levels is a residual codec's table of bucket weights, rounded to int8 for compressed-domain scoring: weight i is about
// Scale * level i. It is immutable and safe for concurrent use.
type Levels struct {
	dim, nbits int
	scale      float32
	off        float64 // by which a weight differs from its level at most
	square     float64 // the mean of the weights' squares
	// level[v] is the level of a field that reads v in a packed row, most significant bit first: packed fields are
	// bit-reversed bucket numbers.
	level [256]int8
	// signed and biased are lookup tables for byte shuffles: for each field of a nibble, highest first, 16 bytes twice;
	// for 8 bits, all 256 bytes. biased holds level + 128.
	signed, biased [256]uint8
}

// NewLevels makes the table of a codec with nbits bits (1, 2, 4 or 8) per dimension from its 2^nbits weights, in bucket
// order. It panics when the shape is impossible or the rows of dim fields do not fill whole bytes.
func NewLevels(weights []float32, nbits, dim int) *Levels {
	if nbits != 1 && nbits != 2 && nbits != 4 && nbits != 8 || len(weights) != 1<<nbits || dim <= 0 || dim*nbits%8 != 0 {
		panic(fmt.Sprintf("kernel: %d weights for %d bits and dimension %d", len(weights), nbits, dim))
	}
	l := &Levels{dim: dim, nbits: nbits}
	var inv float32
	l.scale, inv = int8Scale(weights)
	for i, w := range weights {
		l.level[bits.Reverse8(uint8(i))>>(8-nbits)] = int8(math.RoundToEven(float64(w * inv)))
		l.square += float64(w) * float64(w) / float64(len(weights))
		l.off = max(l.off, math.Abs(float64(w)-math.RoundToEven(float64(w*inv))*float64(l.scale)))
	}
	if nbits == 8 {
		for v, w := range l.level {
			l.signed[v] = uint8(w)
		}
	} else {
		perNibble := 4 / nbits
		for f := range perNibble {
			for v := range 16 {
				w := uint8(l.level[v>>(4-(f+1)*nbits)&(1<<nbits-1)])
				l.signed[32*f+v], l.signed[32*f+16+v] = w, w
			}
		}
	}
	for i, w := range l.signed {
		l.biased[i] = w ^ 0x80
	}
	return l
}

// int8Scale returns the factor that maps -127..127 onto the range of v, and its inverse (0 when v is all zeros).
func int8Scale(v []float32) (scale, inv float32) {
	var top float32
	for _, x := range v {
		top = max(top, float32(math.Abs(float64(x))))
	}
	if top == 0 {
		return 0, 0
	}
	return top / 127, 127 / top
}

// RowBytes returns the length of a packed row.
func (l *Levels) RowBytes() int { return l.dim * l.nbits / 8 }

// Scale returns what a level is worth.
func (l *Levels) Scale() float32 { return l.scale }

// place returns the position of a dimension in a decoded row. Fields are decoded in planes, all first fields of the bytes
// of a row, then all second ones: that way decoding is nothing but shifts and shuffles, and only the query has
// to be permuted.
func (l *Levels) place(d int) int {
	perByte := 8 / l.nbits
	return d%perByte*l.RowBytes() + d/perByte
}

// decode writes the levels of packed rows to dst, which has stride bytes per row, in the order of place, each byte xored
// with flip.
func (l *Levels) decode(dst []uint8, stride int, src []byte, rows int, flip uint8) {
	rb, perByte := l.RowBytes(), 8/l.nbits
	for r := range rows {
		row, out := src[r*rb:(r+1)*rb], dst[r*stride:]
		for f := range perByte {
			plane := out[f*rb : (f+1)*rb]
			shift, mask := 8-(f+1)*l.nbits, uint8(1<<l.nbits-1)
			for i, b := range row {
				plane[i] = uint8(l.level[b>>shift&mask]) ^ flip
			}
		}
	}
}

// ResidualQuery is a query packed for scores against packed residual rows: int8 with one scale per row, in the lanes
// of vector registers. It is safe for concurrent use except for Reset.
//
// The score of query token i and document token j with centroid c_j, residual r_j and inverse norm n_j is
// (<q_i, c_j> + <q_i, r_j>) * n_j. The first product comes from a table, the second is computed here from int8 values in
// exact integer arithmetic; it equals sum_d q8_id * level_jd scaled once. The float32 steps after it are
// unfused, so that the result is the same in every bit on every machine, given the same table of base scores.
type ResidualQuery struct {
	levels *Levels
	rows   int
	groups int        // of 4 dimensions
	q8     []int8     // panels as in Query, each [groups][lanes][4]
	qf     []float32  // the same numbers for the generic code: panels of [4*groups][lanes]
	scale  []float32  // per lane: row scale * level scale
	errors []RowError // per row
	offset []int32    // per lane: -128 * sum of the row, what a bias of 128 on the levels adds
}

// NewResidualQuery packs a query of rows rows, row-major with the dimension of l. It panics when q is too short.
func NewResidualQuery(l *Levels, q []float32, rows int) *ResidualQuery {
	p := new(ResidualQuery)
	p.Reset(l, q, rows)
	return p
}

// Reset packs another query, reusing memory. It must not run concurrently with any other method.
func (q *ResidualQuery) Reset(l *Levels, v []float32, rows int) {
	if rows < 0 || len(v) < rows*l.dim {
		panic(fmt.Sprintf("kernel: query of %d rows of dimension %d in %d values", rows, l.dim, len(v)))
	}
	q.levels, q.rows, q.groups = l, rows, (l.dim+3)/4
	lanes := q.Lanes()
	// The int8 values are kept in a float32 slice's memory for its alignment.
	q.q8 = int8View(alignedSlice(float32View(q.q8), lanes*q.groups))
	q.qf = alignedSlice(q.qf, lanes*q.groups*4)
	q.scale = alignedSlice(q.scale, lanes)
	if cap(q.offset) < lanes {
		q.offset = make([]int32, lanes)
	}
	q.offset = q.offset[:lanes]
	if cap(q.errors) < rows {
		q.errors = make([]RowError, rows)
	}
	q.errors = q.errors[:rows]
	clear(q.q8)
	clear(q.qf)
	clear(q.scale)
	clear(q.offset)
	for i := range rows {
		row := v[i*l.dim : (i+1)*l.dim]
		scale, inv := int8Scale(row)
		q.scale[i] = scale * l.scale
		at := i / panelCols * panelCols
		w, lane, start := min(panelCols, lanes-at), i-at, at*q.groups*4
		var sum int32
		var square, off float64
		for d, x := range row {
			n := math.RoundToEven(float64(x * inv))
			by := float64(x) - n*float64(scale)
			square += float64(x) * float64(x)
			off += by * by
			p := l.place(d)
			q.q8[start+(p/4*w+lane)*4+p%4] = int8(n)
			q.qf[start+p*w+lane] = float32(n)
			sum += int32(n)
		}
		q.offset[i] = -128 * sum
		q.errors[i] = RowError{
			Norm: math.Sqrt(square), Rounding: math.Sqrt(off),
			Level: math.Sqrt(square*l.off*l.off + off*l.square),
		}
	}
}

// RowError tells how far a query row's scores are off.
type RowError struct {
	// Norm is the row's length, and Rounding that of what rounding the row to int8 has changed.
	Norm, Rounding float64
	// Level is the standard deviation by which the product with a row of levels, <q_i, r_j> above, is off for being one of
	// int8, if roundings are independent of what they are multiplied with: that of the query times levels, all as frequent as
	// any, and the query times the largest rounding of a level.
	Level float64
}

// Error returns the errors of query row i.
func (q *ResidualQuery) Error(i int) RowError { return q.errors[i] }

// Rows returns the number of query tokens, Lanes that number rounded up to a multiple of 16.
func (q *ResidualQuery) Rows() int { return q.rows }

// Lanes returns Rows rounded up to a multiple of 16: the width of the table of base scores.
func (q *ResidualQuery) Lanes() int { return (q.rows + lanesStep - 1) / lanesStep * lanesStep }

// Base is a table of centroid scores in 16 bits, half of the memory that float32 needs: one row of Lanes values per centroid, each
// worth the unit of its lane. ScanRows writes it.
type Base struct {
	Scores []int16
	Unit   []float32
}

// Max writes, for each query row i, the largest score with any of the document's tokens to out[i]. base is the table
// of centroid scores (what lies behind Rows does not matter); codes are the
// tokens' centroids, residuals their packed rows one after another, invNorms their inverse norms. No tokens give
// -Inf. A NaN score is ignored, as in Query.Max.
//
// It panics when a slice is too short or a code lies outside of base.
func (q *ResidualQuery) Max(out []float32, base *Base, codes []uint32, residuals []byte, invNorms []float32) {
	q.maxAt(active, out, base, codes, residuals, invNorms)
}

// MaxSim returns the sum of Max over the query's rows, added in ascending order. There must be at least one token.
// Meanwhile it asks the memory for the residuals of the next document, part by part, because that has to wait for all at once.
func (q *ResidualQuery) MaxSim(base *Base, codes []uint32, residuals []byte, invNorms []float32, next []byte) float32 {
	return q.maxSimAt(active, base, codes, residuals, invNorms, next)
}

func (q *ResidualQuery) check(l isa, base *Base, codes []uint32, residuals []byte, invNorms []float32) {
	if len(residuals) < len(codes)*q.levels.RowBytes() || len(invNorms) < len(codes) {
		panic(fmt.Sprintf("kernel: %d codes with %d residual bytes, %d to a row, and %d norms", len(codes), len(residuals), q.levels.RowBytes(), len(invNorms)))
	}
	lanes := q.Lanes()
	if len(base.Unit) < lanes {
		panic(fmt.Sprintf("kernel: %d units for %d lanes", len(base.Unit), lanes))
	}
	if lanes > 0 && len(codes) > 0 {
		if top := maxU32(l, codes); uint64(top) >= uint64(len(base.Scores)/lanes) {
			panic(fmt.Sprintf("kernel: code %d in a table of %d rows", top, len(base.Scores)/lanes))
		}
	}
}

func (q *ResidualQuery) maxAt(l isa, out []float32, base *Base, codes []uint32, residuals []byte, invNorms []float32) {
	q.check(l, base, codes, residuals, invNorms)
	if len(out) < q.rows {
		panic(fmt.Sprintf("kernel: %d maxima into %d values", q.rows, len(out)))
	}
	var acc [panelCols]float32
	for at := 0; at < q.rows; at += panelCols {
		q.panelMax(l, &acc, at, base, codes, residuals, invNorms, scoreRows{})
		copy(out[at:q.rows], acc[:])
	}
}

func (q *ResidualQuery) maxSimAt(l isa, base *Base, codes []uint32, residuals []byte, invNorms []float32, next []byte) float32 {
	q.check(l, base, codes, residuals, invNorms)
	if len(codes) == 0 {
		panic("kernel: MaxSim of a document without rows")
	}
	var acc [panelCols]float32
	var sum float32
	for at := 0; at < q.rows; at += panelCols {
		q.panelMax(l, &acc, at, base, codes, residuals, invNorms, scoreRows{next: next})
		next = nil
		for _, v := range acc[:min(panelCols, q.rows-at)] {
			sum += v
		}
	}
	return sum
}

// residualScratch is the number of bytes of decoded rows at a time: 48 rows of dimension 128.
const residualScratch = 6 << 10

// decodedRows is memory for them: on the stack it would be cleared for every document.
type decodedRows [residualScratch + 64]uint8

var decoded = sync.Pool{New: func() any { return new(decodedRows) }}

// scoreRows is where a panel's scores go: as many values per token as the panel has lanes, stride from one to the next.
type scoreRows struct {
	data   []float32
	stride int
	next   []byte // to ask the memory for, meanwhile
}

// askNext asks for one of so many parts of what is to be asked for, in whole cache lines.
func (o *scoreRows) askNext(parts int) {
	n := min((len(o.next)/parts+63)/64*64, len(o.next))
	Prefetch(o.next[:n])
	o.next = o.next[n:]
}

// row returns the scores of a token with w lanes.
func (s *scoreRows) row(token, w int) []float32 { return s.data[token*s.stride:][:w] }

// panelMax computes the maxima of the lanes from at on, at most 32 of them, and, if out has
// room for them, writes all scores there.
func (q *ResidualQuery) panelMax(l isa, acc *[panelCols]float32, at int, base *Base, codes []uint32, residuals []byte, invNorms []float32, out scoreRows) {
	for i := range acc {
		acc[i] = float32(math.Inf(-1))
	}
	var row [panelCols]float32
	if out.data == nil {
		out.data = row[:] // each over the last
	}
	buf := decoded.Get().(*decodedRows)
	defer decoded.Put(buf)
	off := int(-uintptr(unsafe.Pointer(buf)) % 64) // stores that cross cache lines cost twice
	scratch, stride := buf[off:off+residualScratch], 4*q.groups
	if stride > len(scratch) {
		scratch = make([]uint8, stride) // a dimension of more than 6144
	}
	block := len(scratch) / stride
	if block > 12 {
		block = block / 12 * 12
	}
	rb := q.levels.RowBytes()
	for len(codes) > 0 {
		n := min(block, len(codes))
		out.askNext((len(codes) + block - 1) / block)
		residualPanel(l, q, acc, at, base, codes[:n], residuals, invNorms, scratch, &out)
		out.data = out.data[n*out.stride:]
		codes, residuals, invNorms = codes[n:], residuals[n*rb:], invNorms[n:]
	}
}
