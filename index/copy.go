package index

import (
	"context"
	"fmt"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// stored is a document as a segment stores it, under some codebook. The slices are good until the next one.
type stored struct {
	ord       uint32
	id, text  string
	meta      Metadata
	codes     []uint32
	residuals []byte
	norms     []float32 // exact, not as stored in 8 bits; 0 for vectors of zeros
	residual  float64   // sum of the norms of what the centroids leave over
}

// copier streams documents out of segments. Where the codebook stays, or becomes one that extends it, codes
// and residuals are what they were, byte for byte, and inverse norms are computed anew, so that copies of
// copies do not drift; otherwise vectors are decoded and coded again.
type copier struct {
	ctx     context.Context
	to      *quant.Codebook
	force   bool // code again even where codes stay good
	workers int

	codes   []uint32
	norms   []float32
	rotated []float32
	vec     []float32
	batch   []stored // to be coded again
	recoded uint64   // tokens
}

// each gives the documents of a segment that are not in del, in order.
func (p *copier) each(seg *Segment, del *roaring.Bitmap, f func(*stored) error) error {
	same := !p.force && (seg.cb == p.to || seg.own == p.to || p.to.Extends(seg.own))
	text := textReader{f: seg.f}
	for ord := range uint32(seg.NumDocs()) {
		if del != nil && del.Contains(ord) {
			continue
		}
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		d := stored{ord: ord}
		if err := p.read(seg, &text, &d); err != nil {
			return err
		}
		if same {
			d.residual = seg.MeanResidual() * float64(len(d.codes))
			if err := f(&d); err != nil {
				return err
			}
			continue
		}
		p.decode(seg.cb, &d)
		p.batch = append(p.batch, d)
		if len(p.vec) >= batchTokens*p.to.Dim() || len(p.batch) >= batchTokens {
			if err := p.recode(f); err != nil {
				return err
			}
		}
	}
	return p.recode(f)
}

// read fills in everything of document d.ord.
func (p *copier) read(seg *Segment, text *textReader, d *stored) (err error) {
	if d.id, err = seg.ID(d.ord); err != nil {
		return err
	}
	if d.text, err = text.text(d.ord); err != nil {
		return err
	}
	if d.meta, err = seg.Metadata(d.ord); err != nil {
		return err
	}
	if p.codes, err = seg.Codes(p.codes, d.ord); err != nil {
		return err
	}
	if d.residuals, err = seg.Residuals(d.ord); err != nil {
		return err
	}
	if d.norms, err = seg.InvNorms(d.norms, d.ord); err != nil {
		return err
	}
	d.codes = p.codes
	p.norms = seg.cb.InvNorms(p.norms[:0], d.codes, d.residuals)
	for i, v := range d.norms {
		if v == 0 {
			p.norms[i] = 0
		}
	}
	d.norms = p.norms
	return nil
}

// decode puts a document's vectors, in input space, behind those of the batch.
func (p *copier) decode(cb *quant.Codebook, d *stored) {
	at, dim := len(p.vec), cb.Dim()
	p.vec = append(p.vec, make([]float32, len(d.codes)*dim)...)
	rows := p.vec[at:]
	decodeInput(rows, cb, d.codes, d.residuals, d.norms)
	d.codes = make([]uint32, len(d.codes)) // of the right length, until recode
	d.residuals, d.norms = nil, nil
}

// decodeInput writes the decoded vectors, in input space, to dst.
func decodeInput(dst []float32, cb *quant.Codebook, codes []uint32, residuals []byte, norms []float32) {
	dim := cb.Dim()
	cb.Decode(dst, codes, residuals)
	cb.Unrotate(dst, dst, len(codes))
	for i, v := range norms {
		if v == 0 {
			clear(dst[i*dim : (i+1)*dim])
		}
	}
}

// recode codes the batch and hands it on.
func (p *copier) recode(f func(*stored) error) error {
	if len(p.batch) == 0 {
		return nil
	}
	dim, rb := p.to.Dim(), p.to.RowBytes()
	m := maxsim.Matrix{Data: p.vec, Rows: len(p.vec) / dim, Dim: dim}
	enc, err := encode(p.ctx, p.to, m, p.workers)
	if err != nil {
		return err
	}
	if len(p.rotated) < dim {
		p.rotated = make([]float32, dim)
	}
	at := 0
	for i := range p.batch {
		d := &p.batch[i]
		to := at + len(d.codes)
		d.codes, d.residuals, d.norms = enc.Codes[at:to], enc.Residuals[at*rb:to*rb], enc.InvNorms[at:to]
		d.residual = residualSum(p.to, p.rotated, p.vec[at*dim:to*dim], d.codes)
		if err := f(d); err != nil {
			return err
		}
		at = to
	}
	p.recoded += uint64(m.Rows)
	p.batch, p.vec = p.batch[:0], p.vec[:0]
	return nil
}

// encode codes vectors and marks those of zeros.
func encode(ctx context.Context, cb *quant.Codebook, m maxsim.Matrix, workers int) (quant.Encoded, error) {
	enc, err := cb.Encode(ctx, m, workers)
	if err != nil || cb.NBits() == 16 {
		return enc, err
	}
	for i := range m.Rows {
		if enc.InvNorms[i] != 0 && isZero(m.Row(i)) {
			enc.InvNorms[i] = 0
		}
	}
	return enc, nil
}

// residualSample is the share of a document's tokens whose residuals are measured: one in so many.
const residualSample = 8

// residualSum gives the mean norm of what the centroids leave over of a document's rows, times their number.
// rotated is scratch for one row.
func residualSum(cb *quant.Codebook, rotated, rows []float32, codes []uint32) float64 {
	dim, cent, sum, n := cb.Dim(), cb.Centroids(), 0.0, 0
	for i := 0; i < len(codes); i += residualSample {
		cb.Rotate(rotated, rows[i*dim:(i+1)*dim], 1)
		sum += distance(rotated[:dim], cent[int(codes[i])*dim:(int(codes[i])+1)*dim])
		n++
	}
	return sum / float64(max(n, 1)) * float64(len(codes))
}

// textReader reads texts in order and opens each block of them once.
type textReader struct {
	f     *segFile
	buf   []byte // block number block, opened
	block uint64
}

func (r *textReader) text(ord uint32) (string, error) {
	t := r.f.toc
	if t.textBytes == 0 {
		return "", nil
	}
	from, to, err := r.f.span(secTextOffs, uint64(ord), t.textBytes)
	if err != nil || from == to {
		return "", err
	}
	if to-from > maxTextBytes {
		return "", r.f.corrupt(secTextOffs, 0, fmt.Sprintf("a text of at most %d bytes", maxTextBytes), to-from)
	}
	out := make([]byte, 0, to-from)
	for at := from; at < to; {
		b := at / textBlock
		if r.buf == nil || r.block != b {
			if r.buf, err = r.f.textBlock(r.buf[:0], b); err != nil {
				r.buf = nil
				return "", err
			}
			r.block = b
		}
		end := min(to, (b+1)*textBlock)
		out = append(out, r.buf[at-b*textBlock:end-b*textBlock]...)
		at = end
	}
	return string(out), nil
}
