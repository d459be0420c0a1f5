package colbert

import (
	"errors"
	"fmt"
	"strings"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// Errors of this package.
var (
	// ErrModelMismatch reports that an index was built with another model than the encoder it is opened
	// with. The concrete error is a *ModelMismatchError.
	ErrModelMismatch = errors.New("colbert: index and encoder do not belong together")
	// ErrEncoder reports an encoder that breaks its contract: a wrong number of results, or tokens that do
	// not go with the vectors.
	ErrEncoder = errors.New("colbert: encoder broke its contract")
)

// Errors of the packages below, under the names by which users of this package meet them. They are the same
// values, so errors.Is works with either name.
var (
	// ErrEmptyText reports a query or document of nothing but white space.
	ErrEmptyText = encoder.ErrEmptyText
	// ErrInvalidUTF8 reports a text that is not valid UTF-8 and names the byte offset.
	ErrInvalidUTF8 = encoder.ErrInvalidUTF8
	// ErrLanguage reports a language that is no language code, or that the encoder has no part for.
	ErrLanguage = encoder.ErrLanguage
	// ErrDim reports vectors of another dimension than the index.
	ErrDim = maxsim.ErrDim
	// ErrNotFinite reports NaN or an infinity in a vector.
	ErrNotFinite = maxsim.ErrNotFinite
	// ErrInvalidK reports a k below 1.
	ErrInvalidK = plaid.ErrInvalidK
	// ErrEmptyQuery reports query vectors without a row.
	ErrEmptyQuery = plaid.ErrEmptyQuery
	// ErrUnknownID reports ids that the index does not hold, and names them.
	ErrUnknownID = index.ErrUnknownID
	// ErrInvalidID reports an id that is not 1 to 512 bytes of valid UTF-8.
	ErrInvalidID = index.ErrInvalidID
	// ErrEmptyDocument reports a document whose text left no token vector.
	ErrEmptyDocument = index.ErrEmptyDocument
	// ErrInvalidMetadata reports a metadata value of a type that cannot be stored.
	ErrInvalidMetadata = index.ErrInvalidMetadata
	// ErrTooManyTokens reports a document of more tokens than the index allows.
	ErrTooManyTokens = index.ErrTooManyTokens
	// ErrExists reports Create in a directory that has something in it.
	ErrExists = index.ErrExists
	// ErrNotFound reports Open of a directory without an index.
	ErrNotFound = index.ErrNotFound
	// ErrLocked reports that the index is already open for writing.
	ErrLocked = index.ErrLocked
	// ErrReadOnly reports a write to an index opened for reading.
	ErrReadOnly = index.ErrReadOnly
	// ErrClosed reports use after Close.
	ErrClosed = index.ErrClosed
	// ErrCorrupt reports a file that is not as it was written; the *CorruptError in its chain says where.
	ErrCorrupt = index.ErrCorrupt
)

// DocumentError is a failure that is one document's own.
type DocumentError struct {
	ID  string // the document's id
	Err error
}

// Error names the document.
func (e *DocumentError) Error() string {
	id := e.ID
	if len(id) > 80 {
		id = strings.ToValidUTF8(id[:80], "") + "..."
	}
	return fmt.Sprintf("document %q: %v", id, e.Err)
}

// Unwrap returns the cause.
func (e *DocumentError) Unwrap() error { return e.Err }

// CorruptError names the file, section and offset of damage.
type CorruptError = index.CorruptError

// ModelMismatchError says which model an index was built with and which one was offered. It wraps
// ErrModelMismatch.
type ModelMismatchError struct {
	IndexModel, EncoderModel     string
	IndexDim, EncoderDim         int
	IndexNetwork, EncoderNetwork string // shape of the network, where known
}

// Error names both models.
func (e *ModelMismatchError) Error() string {
	say := func(model string, dim int, network string) string {
		if network != "" {
			network = "; " + network
		}
		return fmt.Sprintf("%q (dimension %d%s)", model, dim, network)
	}
	return fmt.Sprintf("%v: the index was built with %s, the encoder is %s", ErrModelMismatch,
		say(e.IndexModel, e.IndexDim, e.IndexNetwork), say(e.EncoderModel, e.EncoderDim, e.EncoderNetwork))
}

// Unwrap returns ErrModelMismatch.
func (e *ModelMismatchError) Unwrap() error { return ErrModelMismatch }
