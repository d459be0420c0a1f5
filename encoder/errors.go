package encoder

import (
	"errors"
	"fmt"
)

// Sentinel errors. Faults of one text come wrapped in a *TextError that says which.
var (
	// ErrEmptyText reports a text with nothing but white space.
	ErrEmptyText = errors.New("encoder: text is empty")
	// ErrInvalidUTF8 reports a text that is not valid UTF-8; the message names the byte offset.
	ErrInvalidUTF8 = errors.New("encoder: text is not valid UTF-8")
	// ErrUnsupported reports a checkpoint with an architecture, activation or component that this package
	// does not run; the message names it.
	ErrUnsupported = errors.New("encoder: unsupported")
	// ErrLanguage reports a language that is no language code, or that the model has no part for; the message
	// lists what there is.
	ErrLanguage = errors.New("encoder: unknown language")
	// ErrOptions reports options that contradict each other or the checkpoint; the message lists all faults.
	ErrOptions = errors.New("encoder: bad options")
	// ErrClosed reports the use of a model after Close.
	ErrClosed = errors.New("encoder: model is closed")
	// ErrNotFinite reports token vectors with NaN or infinite values, the sign of damaged weights.
	ErrNotFinite = errors.New("encoder: token vectors are not finite")
)

// TextError is a fault of one text of a batch. Index is its position in the slice that was given.
type TextError struct {
	Index int
	Err   error
}

// Error names the text's position and the fault.
func (e *TextError) Error() string { return fmt.Sprintf("text %d: %v", e.Index, e.Err) }

// Unwrap returns the fault.
func (e *TextError) Unwrap() error { return e.Err }
