package transformer

import (
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// linear is a dense layer y = W x + b with W packed for the matrix kernels in the model's precision. Architectures
// use apply and know nothing of precisions.
type linear struct {
	n, k int       // outputs and inputs
	bias []float32 // nil for a layer without
	w    packed
}

// packed is a weight matrix in one precision; the others are nil.
type packed struct {
	f32  *kernel.Packed
	bf16 *kernel.PackedBF16
	i8   *kernel.PackedInt8
}

// in and out are the numbers of inputs and outputs.
func (l *linear) in() int  { return l.k }
func (l *linear) out() int { return l.n }

// apply writes y = act(scale * (W x) + bias) + add for rows rows of x, at the strides ldy and ldx. ep is what it does
// beside the bias, which is the layer's own. y must not overlap x; ep.Add may be y.
func (l *linear) apply(s *scratch, y []float32, ldy int, x []float32, ldx, rows int, ep kernel.Epilogue) {
	ep.Bias = l.bias
	switch {
	case l.w.bf16 != nil:
		s.rows.BF16(x, ldx, rows, l.k)
	case l.w.i8 != nil:
		s.rows.Int8(x, ldx, rows, l.k)
	}
	if s.team == nil || rows*l.n*l.k < minShared {
		l.columns(s, y, ldy, x, ldx, rows, 0, l.n, &ep)
		return
	}
	// Columns are shared out, so that each processor reads its part of the weights only. Two pieces for each even out
	// what other work takes.
	panels := (l.n + packRows - 1) / packRows
	size := max(1, panels/(2*s.workers())) * packRows
	s.each((l.n+size-1)/size, func(i int) {
		from, to := i*size, min((i+1)*size, l.n)
		e := ep
		if e.Bias != nil {
			e.Bias = e.Bias[from:]
		}
		if e.Add != nil {
			e.Add = e.Add[from:]
		}
		l.columns(s, y[from:], ldy, x, ldx, rows, from, to, &e)
	})
}

// minShared is the least product, in multiplications, that is worth sharing: some 5 microseconds of one core.
const minShared = 1 << 20

// columns computes the columns from to to of y.
func (l *linear) columns(s *scratch, y []float32, ldy int, x []float32, ldx, rows, from, to int, ep *kernel.Epilogue) {
	switch {
	case l.w.f32 != nil:
		w := l.w.f32.Cols(from, to)
		w.Gemm(y, ldy, x, ldx, rows, ep)
	case l.w.bf16 != nil:
		w := l.w.bf16.Cols(from, to)
		w.Gemm(y, ldy, &s.rows, ep)
	default:
		w := l.w.i8.Cols(from, to)
		w.Gemm(y, ldy, &s.rows, ep)
	}
}

// part is a weight matrix of the checkpoint, or some rows of one, with a scale per row when it is int8.
type part struct {
	t     checkpoint.Tensor
	scale []float32
}

// rows returns the rows from to to of a matrix of k columns.
func (p part) rows(from, to, k int) part {
	size := p.t.DType.Size() * k
	p.t.Data = p.t.Data[from*size : to*size]
	if p.scale != nil {
		p.scale = p.scale[from:to]
	}
	return p
}

// float32s converts to float32 in dst.
func (p part) float32s(dst []float32) {
	p.t.Float32s(dst)
	for i, s := range p.scale {
		n := len(dst) / len(p.scale)
		for j := range dst[i*n : (i+1)*n] {
			dst[i*n+j] *= s
		}
	}
}

// packParts packs n rows of k values, the parts one below the other. It reads them in small blocks, so that beside the
// result next to no memory is in use. Int8 weights stay as they are when int8 is what is wanted.
func packParts(p Precision, parts []part, n, k int) packed {
	var w packed
	var set func(at int, rows []part, count int)
	switch buf := make([]float32, packRows*k); p {
	case Float32:
		w.f32 = kernel.NewPacked(n, k)
		set = func(at int, rows []part, count int) { w.f32.SetRows(at, stack(buf, rows, count, k)) }
	case BFloat16:
		w.bf16 = kernel.NewPackedBF16(n, k)
		set = func(at int, rows []part, count int) { w.bf16.SetRows(at, stack(buf, rows, count, k)) }
	case Int8:
		w.i8 = kernel.NewPackedInt8(n, k)
		ints := true
		for _, x := range parts {
			ints = ints && x.scale != nil
		}
		set = func(at int, rows []part, count int) { w.i8.SetRows(at, stack(buf, rows, count, k)) }
		if ints {
			i8 := make([]int8, 0, packRows*k)
			var scale []float32
			set = func(at int, rows []part, _ int) {
				i8, scale = i8[:0], scale[:0]
				for _, x := range rows {
					for _, b := range x.t.Data {
						i8 = append(i8, int8(b))
					}
					scale = append(scale, x.scale...)
				}
				w.i8.SetInt8(at, i8, scale)
			}
		}
	}
	// Blocks go across the borders of parts: the kernels' panels do.
	at, first, skip := 0, 0, 0
	for at < n {
		count := min(packRows, n-at)
		var rows []part
		for need := count; need > 0; {
			have := parts[first].t.Len()/k - skip
			take := min(need, have)
			rows = append(rows, parts[first].rows(skip, skip+take, k))
			need -= take
			if skip += take; take == have {
				first, skip = first+1, 0
			}
		}
		set(at, rows, count)
		at += count
	}
	return w
}

// packRows is how many rows packParts reads at a time, whole panels.
const packRows = 32

// stack writes the parts one below the other.
func stack(buf []float32, rows []part, count, k int) []float32 {
	at := 0
	for _, x := range rows {
		n := len(x.t.Data) / x.t.DType.Size()
		x.float32s(buf[at : at+n])
		at += n
	}
	return buf[:count*k]
}
