package quant

import (
	"errors"
	"fmt"
)

// Sentinel errors. Vectors of the wrong dimension or with NaN give errors that wrap maxsim.ErrDim and
// maxsim.ErrNotFinite.
var (
	// ErrCorrupt reports a codebook file that is damaged, truncated or hostile. The concrete error is a
	// *FormatError.
	ErrCorrupt = errors.New("quant: corrupt codebook")
	// ErrVersion reports a codebook file of a version that this package does not read. The concrete error
	// is a *FormatError.
	ErrVersion = errors.New("quant: unknown codebook version")
	// ErrOption reports an option or argument out of its range.
	ErrOption = errors.New("quant: invalid option")
	// ErrEmpty reports training without a single vector.
	ErrEmpty = errors.New("quant: no vectors to train on")
)

// FormatError says what is wrong with a codebook file and where. It unwraps to ErrCorrupt or ErrVersion.
type FormatError struct {
	Field  string // name of the field, as in FORMAT.md
	Offset int64  // byte offset of the field in the file
	Want   any    // what the field should hold
	Got    any    // what it holds
	Err    error  // ErrCorrupt or ErrVersion
}

func (e *FormatError) Error() string {
	return fmt.Sprintf("%v: %s at offset %d: want %v, got %v", e.Err, e.Field, e.Offset, e.Want, e.Got)
}

// Unwrap returns ErrCorrupt or ErrVersion.
func (e *FormatError) Unwrap() error { return e.Err }

func corrupt(field string, off int, want, got any) error {
	return &FormatError{Field: field, Offset: int64(off), Want: want, Got: got, Err: ErrCorrupt}
}
