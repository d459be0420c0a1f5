package tokenizer

import (
	"errors"
	"fmt"
)

var (
	// ErrUnsupported marks a tokenizer whose file is well-formed but asks for a component that is not
	// implemented. The error is an *UnsupportedError, which names it.
	ErrUnsupported = errors.New("tokenizer: unsupported")
	// ErrCorrupt marks a file that is not a tokenizer, or one that contradicts itself.
	ErrCorrupt = errors.New("tokenizer: malformed file")
)

// UnsupportedError names what a tokenizer file asks for and this package lacks. It unwraps to ErrUnsupported.
type UnsupportedError struct {
	Component string // the part of the pipeline: "normalizer", "pre_tokenizer", "model", "post_processor" ...
	Name      string // its type or option: "BPE", "Precompiled" ...
}

// Error implements error.
func (e *UnsupportedError) Error() string {
	return fmt.Sprintf("tokenizer: unsupported %s %q", e.Component, e.Name)
}

// Unwrap returns ErrUnsupported.
func (e *UnsupportedError) Unwrap() error { return ErrUnsupported }
