package index

import (
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/golbert/golbert/colbert/maxsim"
)

// normTolerance is how far a row's length may be from 1 under RequireNormalized: models that compute in
// half precision miss by about 0.001.
const normTolerance = 2e-3

// maxHalf is the largest value of float16.
const maxHalf = 65504

// incoming is a document that has passed validation, with its rows as they are to be coded.
type incoming struct {
	pos  int
	id   string
	text string
	meta Metadata
	rows int
	vec  []float32 // rows x dim
	ids  []uint32  // of the rows' tokens, or nil
}

func checkID(id string) error {
	if len(id) < 1 || len(id) > MaxIDBytes || !utf8.ValidString(id) {
		return fmt.Errorf("id of %d bytes, want 1 to %d bytes of valid UTF-8: %w", len(id), MaxIDBytes, ErrInvalidID)
	}
	return nil
}

// accept validates one document and copies its rows behind buf[:0], normalised as the policy says. The
// error is a *DocumentError.
func (o *Options) accept(d *Document, pos int, buf []float32) (incoming, error) {
	fail := func(err error) (incoming, error) {
		return incoming{}, &DocumentError{ID: d.ID, Position: pos, Err: err}
	}
	if err := checkID(d.ID); err != nil {
		return fail(err)
	}
	if !utf8.ValidString(d.Text) {
		return fail(ErrInvalidText)
	}
	if len(d.Text) > maxTextBytes {
		return fail(fmt.Errorf("%d bytes, at most %d: %w", len(d.Text), maxTextBytes, ErrInvalidText))
	}
	for name, v := range d.Meta {
		if _, err := toValue(name, v); err != nil {
			return fail(err)
		}
	}
	m := d.Vectors
	if err := m.Validate(); err != nil {
		return fail(err)
	}
	switch {
	case m.Rows == 0 && !o.AllowEmpty:
		return fail(ErrEmptyDocument)
	case m.Rows > o.MaxDocTokens:
		return fail(fmt.Errorf("%d tokens, at most %d: %w", m.Rows, o.MaxDocTokens, ErrTooManyTokens))
	case m.Rows > 0 && m.Dim != o.Dim:
		return fail(fmt.Errorf("token 0 has dimension %d, the index has %d: %w", m.Dim, o.Dim, maxsim.ErrDim))
	}
	if d.TokenIDs != nil && len(d.TokenIDs) != m.Rows {
		return fail(fmt.Errorf("%d token ids for %d vectors: %w", len(d.TokenIDs), m.Rows, maxsim.ErrDim))
	}
	vec := append(buf[:0], m.Data...)
	for i := range m.Rows {
		if err := o.acceptRow(vec[i*m.Dim : (i+1)*m.Dim]); err != nil {
			return fail(fmt.Errorf("token %d: %w", i, err))
		}
	}
	return incoming{pos: pos, id: d.ID, text: d.Text, meta: d.Meta, rows: m.Rows, vec: vec, ids: d.TokenIDs}, nil
}

// acceptRow checks or changes one row's length. It computes in float64, in which squares of float32 values
// are exact, so that results do not depend on the machine.
func (o *Options) acceptRow(row []float32) error {
	if o.Normalize == AsIs && o.NBits == 16 {
		for i, v := range row {
			if v > maxHalf || v < -maxHalf {
				return fmt.Errorf("dimension %d is %v, which float16 cannot hold: %w", i, v, maxsim.ErrNotFinite)
			}
		}
		return nil
	}
	var sum float64
	for _, v := range row {
		sum += float64(v) * float64(v)
	}
	if sum == 0 {
		return nil
	}
	norm := math.Sqrt(sum)
	if o.Normalize == RequireNormalized {
		if math.Abs(norm-1) > normTolerance {
			return fmt.Errorf("length %v: %w", norm, ErrNotNormalized)
		}
		return nil
	}
	inv := 1 / norm
	for i, v := range row {
		row[i] = float32(float64(v) * inv)
	}
	return nil
}

func isZero(row []float32) bool {
	for _, v := range row {
		if v != 0 {
			return false
		}
	}
	return true
}

// distance is the Euclidean distance of two vectors.
func distance(x, y []float32) float64 {
	var sum float64
	for i, v := range x {
		d := float64(v - y[i])
		sum += d * d
	}
	return math.Sqrt(sum)
}
