package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"unicode/utf8"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// ErrNoCodebook reports an AddEncoded to an index that was not created with Options.Codebook.
var ErrNoCodebook = errors.New("index: it has no codebook of its own choice")

// ErrInvalidCodes reports codes or residuals that do not fit the codebook. The concrete error is a
// *DocumentError and names the token.
var ErrInvalidCodes = errors.New("index: codes do not fit the codebook")

// EncodedDocument is what AddEncoded stores: a document whose vectors are coded already.
type EncodedDocument struct {
	// ID, Text and Meta are as in Document.
	ID   string
	Text string
	Meta Metadata
	// Codes has one entry per token, each below the codebook's K.
	Codes []uint32
	// Residuals holds RowBytes bytes per token, laid out as quant.PackBits says.
	Residuals []byte
}

// AddEncoded stores documents that were coded elsewhere with the codebook that the index was created with
// (Options.Codebook, else ErrNoCodebook), byte for byte and without coding them again. In all else it is Add:
// one atomic, durable commit, and an index as it was after any error. Slices of a document are read until the
// iterator is asked for the next one.
func (ix *Index) AddEncoded(ctx context.Context, docs iter.Seq2[EncodedDocument, error], o *AddOptions) (res AddResult, err error) {
	ctx, end, err := ix.beginWrite(ctx)
	if err != nil {
		return AddResult{}, err
	}
	defer end()
	defer func() { err = cause(ctx, err) }()
	base, err := ix.current()
	if err != nil {
		return AddResult{}, err
	}
	defer base.release()
	if !base.man.FixedCodebook {
		return AddResult{}, ErrNoCodebook
	}
	a := ix.newAdder(ctx, base, nil)
	if o != nil {
		a.o = UpdateOptions{NoReplace: !o.Upsert, NoCompact: o.NoCompact, Progress: o.Progress}
	} else {
		a.o.NoReplace = true
	}
	defer a.close()
	a.cb, _ = base.newestBook()
	e := encodedAdder{adder: a}
	for d, err := range docs {
		if err != nil {
			return AddResult{}, fmt.Errorf("index: add: document number %d could not be had: %w", a.docs, err)
		}
		if ctx.Err() != nil {
			return AddResult{}, context.Cause(ctx)
		}
		if err := e.add(&d); err != nil {
			return AddResult{}, err
		}
	}
	if a.docs == 0 {
		return AddResult{}, nil
	}
	if err := a.finish(); err != nil {
		return AddResult{}, err
	}
	if err := a.commit(); err != nil {
		return AddResult{}, err
	}
	return a.res.AddResult, nil
}

// encodedAdder is one AddEncoded under way.
type encodedAdder struct {
	*adder
	norms []float32
	vec   []float32
	idx   []uint8
}

func (e *encodedAdder) add(d *EncodedDocument) error {
	fail := func(err error) error { return &DocumentError{ID: d.ID, Position: e.docs, Err: err} }
	if err := e.check(d); err != nil {
		return fail(err)
	}
	if e.o.NoReplace {
		// append looks at this Add's own segments only.
		if _, _, ok, err := findLive(e.base.segs, d.ID, e.dels); err != nil {
			return err
		} else if ok {
			return fail(fmt.Errorf("it is in the index: %w", ErrDuplicateID))
		}
	}
	if e.base.man.Docs+uint64(e.docs) >= e.ix.opts.maxDocs {
		return fail(fmt.Errorf("at most %d, build several indexes (shards): %w", e.ix.opts.maxDocs, ErrTooManyDocuments))
	}
	in := incoming{pos: e.docs, id: d.ID, text: d.Text, meta: d.Meta, rows: len(d.Codes)}
	e.docs++
	e.tokens += uint64(in.rows)
	e.norms = e.cb.InvNorms(e.norms[:0], d.Codes, d.Residuals)
	sum := e.residual(d)
	if err := e.append(&in, d.Codes, d.Residuals, e.norms, sum); err != nil {
		return err
	}
	e.report("write", 0, false)
	return nil
}

// check validates a document.
func (e *encodedAdder) check(d *EncodedDocument) error {
	if err := checkID(d.ID); err != nil {
		return err
	}
	if !utf8.ValidString(d.Text) {
		return ErrInvalidText
	}
	if len(d.Text) > maxTextBytes {
		return fmt.Errorf("%d bytes, at most %d: %w", len(d.Text), maxTextBytes, ErrInvalidText)
	}
	for name, v := range d.Meta {
		if _, err := toValue(name, v); err != nil {
			return err
		}
	}
	n, rb := len(d.Codes), e.cb.RowBytes()
	switch {
	case n == 0 && !e.ix.opts.AllowEmpty:
		return ErrEmptyDocument
	case n > e.ix.opts.MaxDocTokens:
		return fmt.Errorf("%d tokens, at most %d: %w", n, e.ix.opts.MaxDocTokens, ErrTooManyTokens)
	case len(d.Residuals)%rb != 0 || len(d.Residuals)/rb != n:
		return fmt.Errorf("%d bytes of residuals for %d tokens of %d: %w", len(d.Residuals), n, rb, ErrInvalidCodes)
	}
	k := uint32(e.cb.K())
	for i, c := range d.Codes {
		if c >= k {
			return fmt.Errorf("token %d has code %d, the codebook has %d centroids: %w", i, c, k, ErrInvalidCodes)
		}
	}
	if e.cb.NBits() == 16 {
		return e.checkHalf(d)
	}
	if spare := rb*8 - e.cb.Dim()*e.cb.NBits(); spare > 0 {
		for i := range n {
			if d.Residuals[(i+1)*rb-1]&(1<<spare-1) != 0 {
				return fmt.Errorf("token %d: the last byte's %d spare bits are not 0: %w", i, spare, ErrInvalidCodes)
			}
		}
	}
	return nil
}

// checkHalf refuses float16 rows that are not finite.
func (e *encodedAdder) checkHalf(d *EncodedDocument) error {
	for i := 0; i < len(d.Residuals); i += 2 {
		if d.Residuals[i+1]&0x7c == 0x7c {
			at := i / 2
			return fmt.Errorf("token %d, dimension %d: %w", at/e.cb.Dim(), at%e.cb.Dim(), maxsim.ErrNotFinite)
		}
	}
	return nil
}

// residual estimates the sum of the norms of what the centroids leave over, from one token in so many: the
// norm of the levels, or with 16 bits of the difference.
func (e *encodedAdder) residual(d *EncodedDocument) float64 {
	dim, rb, sum, n := e.cb.Dim(), e.cb.RowBytes(), 0.0, 0
	if e.vec == nil {
		e.vec, e.idx = make([]float32, dim), make([]uint8, dim)
	}
	for i := 0; i < len(d.Codes); i += residualSample {
		row := d.Residuals[i*rb : (i+1)*rb]
		if e.cb.NBits() == 16 {
			e.cb.Decode(e.vec, d.Codes[i:i+1], row)
			at := int(d.Codes[i]) * dim
			sum += distance(e.vec, e.cb.Centroids()[at:at+dim])
		} else {
			quant.UnpackBits(e.idx, row, e.cb.NBits())
			s, w := 0.0, e.cb.Weights()
			for _, v := range e.idx {
				s += float64(w[v]) * float64(w[v])
			}
			sum += math.Sqrt(s) * float64(e.cb.Scale(d.Codes[i]))
		}
		n++
	}
	return sum / float64(max(n, 1)) * float64(len(d.Codes))
}
