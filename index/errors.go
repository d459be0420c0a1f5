package index

import (
	"errors"
	"fmt"
	"strings"
)

// Sentinel errors. The concrete errors wrap them and name the file, document, token or id at fault.
var (
	// ErrCorrupt reports a file of the index that is damaged, truncated, missing or not what the manifest
	// says it is. The concrete error is a *CorruptError.
	ErrCorrupt = errors.New("index: corrupt")
	// ErrClosed reports a call on an Index or a Snapshot after its Close.
	ErrClosed = errors.New("index: closed")
	// ErrLocked reports that another Index, in this process or another, has the directory open for writing.
	ErrLocked = errors.New("index: locked by another writer")
	// ErrReadOnly reports a write on an Index that was opened read-only.
	ErrReadOnly = errors.New("index: opened read-only")
	// ErrVersion reports a file of another version of the format than this package reads: a newer one, or one
	// from before the first release.
	ErrVersion = errors.New("index: format version not supported")
	// ErrExists reports a directory that already holds an index, or any other file.
	ErrExists = errors.New("index: directory is not empty")
	// ErrNotFound reports a directory without an index in it.
	ErrNotFound = errors.New("index: no index there")
	// ErrDuplicateID reports a document whose id is already in the index or came earlier in the same Add.
	ErrDuplicateID = errors.New("index: duplicate document id")
	// ErrUnknownID reports an id to delete that is not in the index.
	ErrUnknownID = errors.New("index: unknown document id")
	// ErrInvalidID reports an id that is not 1 to 512 bytes of valid UTF-8.
	ErrInvalidID = errors.New("index: invalid document id")
	// ErrEmptyDocument reports a document without token vectors where Options.AllowEmpty is not set.
	ErrEmptyDocument = errors.New("index: document has no tokens")
	// ErrTooManyTokens reports a document with more tokens than Options.MaxDocTokens.
	ErrTooManyTokens = errors.New("index: document has too many tokens")
	// ErrTooManyDocuments reports an index that would grow over 2^31-1 documents: build several (shards).
	ErrTooManyDocuments = errors.New("index: too many documents for one index")
	// ErrNotNormalized reports a row that is not of unit length under the policy RequireNormalized.
	ErrNotNormalized = errors.New("index: vector is not of unit length")
	// ErrInvalidMetadata reports a metadata value of a type that has no column, or an invalid column name.
	ErrInvalidMetadata = errors.New("index: invalid metadata")
	// ErrInvalidText reports a document text that is not valid UTF-8.
	ErrInvalidText = errors.New("index: text is not valid UTF-8")
	// ErrInvalidOptions reports options that contradict each other or are out of range. All faults are
	// reported at once.
	ErrInvalidOptions = errors.New("index: invalid options")
	// ErrBroken reports a writer that has met an error while making a commit durable. Nothing more can be
	// written through it, because the system may have dropped what it was told to keep; its readers go on.
	// Open the directory again: what the failed commit brought is either all there or not there at all.
	ErrBroken = errors.New("index: writer is broken by an earlier error, open the index again")
)

// CorruptError says where a file of the index is not as it should be. It wraps ErrCorrupt.
type CorruptError struct {
	File    string // name within the index directory
	Section string // part of the file, "" when the whole file is meant
	Offset  int64  // byte offset in the file, -1 when unknown
	Want    any    // what was expected, nil when there is nothing to say
	Got     any    // what was found
	Err     error  // underlying cause, may be nil
}

// Error names file, section and offset.
func (e *CorruptError) Error() string {
	var b strings.Builder
	b.WriteString("index: corrupt: ")
	b.WriteString(e.File)
	if e.Section != "" {
		fmt.Fprintf(&b, ": %s", e.Section)
	}
	if e.Offset >= 0 {
		fmt.Fprintf(&b, ": at byte %d", e.Offset)
	}
	switch {
	case e.Want != nil && e.Got != nil:
		fmt.Fprintf(&b, ": want %v, got %v", e.Want, e.Got)
	case e.Got != nil:
		fmt.Fprintf(&b, ": %v", e.Got)
	}
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

// Unwrap gives ErrCorrupt and the underlying cause.
func (e *CorruptError) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrCorrupt}
	}
	return []error{ErrCorrupt, e.Err}
}

// DocumentError says which document of an Add was refused. Err wraps one of this package's sentinels,
// maxsim.ErrDim or maxsim.ErrNotFinite, and names token and dimension where there is one.
type DocumentError struct {
	ID       string // the document's id as given
	Position int    // its position in the Add, from 0
	Err      error
}

// Error names the document by id and position.
func (e *DocumentError) Error() string {
	return fmt.Sprintf("index: document %q (number %d of the batch): %v", clip(e.ID), e.Position, e.Err)
}

// Unwrap gives the cause.
func (e *DocumentError) Unwrap() error { return e.Err }

// clip shortens an id of any length for a message.
func clip(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

// clipAll joins the first few ids for a message.
func clipAll(ids []string) string {
	const most = 5
	var b strings.Builder
	for i, id := range ids {
		if i == most {
			fmt.Fprintf(&b, " and %d more", len(ids)-most)
			break
		}
		if i > 0 {
			b.WriteString(", ")
		}
		fmt.Fprintf(&b, "%q", clip(id))
	}
	return b.String()
}
