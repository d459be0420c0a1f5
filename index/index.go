package index

import (
	"context"
	"iter"
)

// Index is an open index directory. It is safe for concurrent use; writers take turns.
type Index struct {
}

// Create makes a new index in a directory that is absent or empty (else ErrExists) and opens it for
// writing. The empty index is durable when Create returns.
func Create(ctx context.Context, dir string, o *Options) (*Index, error) { panic("todo") }

// Open opens an existing index, for writing unless told otherwise. Errors: ErrNotFound, ErrLocked (names
// the holder), ErrVersion, ErrCorrupt. Opening for writing removes what an interrupted commit left behind.
func Open(ctx context.Context, dir string, o *OpenOptions) (*Index, error) { panic("todo") }

// Add stores documents in one atomic commit that is durable when Add returns. An error from the iterator, a
// document that is refused (*DocumentError), a failing disk or a cancelled context leaves the index as it
// was. Memory is bounded by Options.SegmentTokens and the largest document, not by the number of documents.
func (ix *Index) Add(ctx context.Context, docs iter.Seq2[Document, error], o *AddOptions) (AddResult, error) {
	panic("todo")
}

// Delete removes documents in one durable commit and returns how many. An unknown id is ErrUnknownID, which
// names it, and nothing is deleted, unless DeleteOptions.IgnoreMissing is set.
func (ix *Index) Delete(ctx context.Context, ids []string, o *DeleteOptions) (int, error) {
	panic("todo")
}

// Snapshot opens the newest commit for reading.
func (ix *Index) Snapshot() (*Snapshot, error) { panic("todo") }

// Close waits for nothing: snapshots that are open stay good until they are closed, an Add or Delete under
// way is abandoned and returns ErrClosed, and new calls return ErrClosed.
func (ix *Index) Close() error { panic("todo") }

// Attributes gives the caller's attributes stored by Create; the map is a copy.
func (ix *Index) Attributes() map[string]string { panic("todo") }

// Dim is the dimension of the vectors.
func (ix *Index) Dim() int { panic("todo") }

// Info describes the newest commit.
func (ix *Index) Info() Info { panic("todo") }
