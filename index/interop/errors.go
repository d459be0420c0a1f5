package interop

import (
	"errors"
	"fmt"

	"github.com/golbert/golbert/internal/torchpt"
)

// Sentinel errors.
var (
	// ErrUnknown reports a directory without an index of a program that this package knows.
	ErrUnknown = errors.New("interop: no index of a known program")
	// ErrUnsupported reports an index of a known program in a form that is not read or written, and says
	// which.
	ErrUnsupported = errors.New("interop: not supported")
	// ErrCorrupt reports a file that is damaged, truncated, hostile or at odds with the others. The concrete
	// error is a *FileError.
	ErrCorrupt = errors.New("interop: damaged index")
	// ErrForbidden reports a pickle that names anything but plain values and tensors. It comes in a
	// *FileError and wraps ErrCorrupt as well.
	ErrForbidden = torchpt.ErrForbidden
	// ErrLists reports inverted lists that are not those of the codes, under ListsRefuse, or lists that know
	// no document at all. The concrete error is a *FileError.
	ErrLists = errors.New("interop: inverted lists and codes disagree")
	// ErrReencode reports an export that is possible only by coding the vectors anew, which loses a little
	// precision: see ExportOptions.Reencode.
	ErrReencode = errors.New("interop: the index must be coded anew for this program")
	// ErrLossy reports an export to a program whose centroids are float16 where the index's are not. The
	// concrete error is a *LossyError; ExportOptions.RoundCentroids allows it.
	ErrLossy = errors.New("interop: centroids would lose precision")
	// ErrExists reports a target directory that is not absent or empty.
	ErrExists = errors.New("interop: target directory is not empty")
)

// FileError names the file at fault. It wraps ErrCorrupt and the cause.
type FileError struct {
	File string // within the index directory
	Err  error
}

// Error names the file.
func (e *FileError) Error() string { return fmt.Sprintf("%v: %s: %v", ErrCorrupt, e.File, e.Err) }

// Unwrap gives ErrCorrupt and the cause.
func (e *FileError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }

func bad(file, format string, args ...any) error {
	return &FileError{File: file, Err: fmt.Errorf(format, args...)}
}

// LossyError says how much centroids would lose. It wraps ErrLossy.
type LossyError struct {
	MaxError float32 // largest change of a centroid's value
}

// Error gives the loss.
func (e *LossyError) Error() string {
	return fmt.Sprintf("%v: values change by up to %.3g when rounded to float16 (RoundCentroids allows it)", ErrLossy, e.MaxError)
}

// Unwrap gives ErrLossy.
func (e *LossyError) Unwrap() error { return ErrLossy }
