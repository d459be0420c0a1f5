package maxsim

import (
	"errors"
	"fmt"
	"math"

	"github.com/golbert/golbert/internal/kernel"
)

// Sentinel errors. The concrete errors wrap them and name row, column and sizes.
var (
	// ErrDim reports vectors of unlike or impossible dimension, ragged rows included.
	ErrDim = errors.New("maxsim: dimension mismatch")
	// ErrNotFinite reports NaN or an infinity among the values.
	ErrNotFinite = errors.New("maxsim: value is not finite")
	// ErrEmpty reports a matrix without rows where at least one is needed.
	ErrEmpty = errors.New("maxsim: no token vectors")
)

// Matrix holds the token vectors of one text: Rows vectors of Dim float32 values, row-major and without
// gaps, so len(Data) = Rows*Dim. The zero value is an empty matrix. Matrix is a view: copying the struct
// shares Data.
type Matrix struct {
	Data []float32
	Rows int
	Dim  int
}

// New returns a matrix of zeros with the given shape.
func New(rows, dim int) Matrix {
	return Matrix{Data: make([]float32, rows*dim), Rows: rows, Dim: dim}
}

// FromRows copies rows into a matrix. Ragged rows give ErrDim naming the row. No rows give the zero Matrix.
func FromRows(rows [][]float32) (Matrix, error) {
	if len(rows) == 0 {
		return Matrix{}, nil
	}
	m := New(len(rows), len(rows[0]))
	for i, r := range rows {
		if len(r) != m.Dim {
			return Matrix{}, fmt.Errorf("row %d has %d values, row 0 has %d: %w", i, len(r), m.Dim, ErrDim)
		}
		copy(m.Row(i), r)
	}
	return m, nil
}

// Row returns row i as a view.
func (m Matrix) Row(i int) []float32 { return m.Data[i*m.Dim : (i+1)*m.Dim : (i+1)*m.Dim] }

// Slice returns rows i to j (exclusive) as a view.
func (m Matrix) Slice(i, j int) Matrix {
	return Matrix{Data: m.Data[i*m.Dim : j*m.Dim : j*m.Dim], Rows: j - i, Dim: m.Dim}
}

// Clone returns a deep copy.
func (m Matrix) Clone() Matrix {
	m.Data = append([]float32(nil), m.Data...)
	return m
}

// Validate checks the shape and that every value is finite. The error names the first offending row and
// column and wraps ErrDim or ErrNotFinite. An empty matrix is valid.
func (m Matrix) Validate() error {
	if m.Rows < 0 || m.Dim < 0 || (m.Rows > 0 && m.Dim == 0) || len(m.Data)%max(m.Dim, 1) != 0 || len(m.Data)/max(m.Dim, 1) != m.Rows {
		return fmt.Errorf("%d values do not make %d rows of dimension %d: %w", len(m.Data), m.Rows, m.Dim, ErrDim)
	}
	if kernel.Finite(m.Data) {
		return nil
	}
	for i, v := range m.Data {
		// The exponent bits are all ones for NaN and both infinities.
		if math.Float32bits(v)&0x7f800000 == 0x7f800000 {
			return fmt.Errorf("token %d, dimension %d is %v: %w", i/m.Dim, i%m.Dim, v, ErrNotFinite)
		}
	}
	return nil
}

// Normalize scales every row to unit L2 norm in place. Zero rows stay zero.
func (m Matrix) Normalize() {
	for i := range m.Rows {
		kernel.Normalize(m.Row(i))
	}
}
