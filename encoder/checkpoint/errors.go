package checkpoint

import (
	"errors"
	"fmt"
)

var (
	// ErrCorrupt marks files that are malformed or contradict each other. The error is a *CorruptError.
	ErrCorrupt = errors.New("checkpoint: corrupt")
	// ErrUnsupported marks well-formed checkpoints that need something this package lacks.
	ErrUnsupported = errors.New("checkpoint: unsupported")
	// ErrNotFound marks a directory without a checkpoint, or a checkpoint without a file that it needs.
	ErrNotFound = errors.New("checkpoint: not found")
)

// CorruptError tells what is wrong where. It unwraps to ErrCorrupt.
type CorruptError struct {
	File   string // the file, "" when the content came from memory
	Field  string // the tensor, the JSON field or the part of the header
	Offset int64  // the byte offset in the file, -1 when it makes no sense
	Msg    string
}

// Error implements error.
func (e *CorruptError) Error() string {
	s := "checkpoint: corrupt"
	if e.File != "" {
		s += " " + e.File
	}
	if e.Field != "" {
		s += fmt.Sprintf(": %s", e.Field)
	}
	if e.Offset >= 0 {
		s += fmt.Sprintf(" (at byte %d)", e.Offset)
	}
	return s + ": " + e.Msg
}

// Unwrap returns ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
