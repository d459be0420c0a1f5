package index

import "context"

// Report is what Check found.
type Report struct {
	Generation uint64
	Files      int   // files examined
	Bytes      int64 // their size
	Segments   int
	Documents  int // live
	Deleted    int
	Tokens     uint64  // stored, deleted documents' included
	Problems   []error // each names its file; *CorruptError mostly
}

// Check opens the index in dir read-only and verifies every checksum and every invariant. The error is nil
// for a sound index; otherwise it wraps the problems that the report lists (ErrCorrupt). The report is nil
// only when the directory has no index or the context was cancelled.
func Check(ctx context.Context, dir string) (*Report, error) { panic("todo") }
