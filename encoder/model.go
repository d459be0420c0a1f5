package encoder

import (
	"context"
	"errors"
)

// Options change how a checkpoint is opened. A nil pointer means the zero value, which follows the
// checkpoint in everything.
type Options struct {
	// Name replaces the model's name; empty means the folder's name.
	Name string
	// MaxQueryTokens and MaxDocTokens replace the checkpoint's lengths, special tokens included; 0 keeps them.
	MaxQueryTokens, MaxDocTokens int
	// Workers is the number of goroutines that encode; 0 means GOMAXPROCS.
	Workers int
	// Expansion fills queries with MASK tokens up to MaxQueryTokens.
	Expansion Toggle
	// AttendExpansion lets other tokens attend to the expansion masks.
	AttendExpansion Toggle
	// Skiplist drops punctuation vectors from documents.
	Skiplist Toggle
	// Special keeps the vectors of CLS, SEP and the markers. On unless switched off.
	Special Toggle
}

// Info describes a loaded model.
type Info struct {
	Name         string // as in Model.Name
	Architecture string // "bert"
	Layout       string // "huggingface", "pylate" or "stanford"
	Layers       int
	Hidden       int // width of the transformer
	Heads        int
	Dim          int // width of the token vectors
	Vocab        int
	Parameters   int64 // of the transformer and the projection, the unused pooler left out
	QueryTokens  int   // query length, special tokens included
	DocTokens    int   // document length, special tokens included
	Expansion    bool  // queries are filled with MASK tokens
}

// Model turns texts into token vectors. It is safe for concurrent use until Close.
type Model struct {
	info Info
}

// Open loads a checkpoint from a folder in the plain Hugging Face, PyLate or Stanford layout.
func Open(path string, o *Options) (*Model, error) {
	return nil, errors.ErrUnsupported
}

// Dim returns the width of the token vectors.
func (m *Model) Dim() int { return m.info.Dim }

// Name returns the model's name.
func (m *Model) Name() string { return m.info.Name }

// Info describes the model.
func (m *Model) Info() Info { return m.info }

// Close releases the checkpoint's files.
func (m *Model) Close() error { return nil }

// EncodeQueries encodes search queries, in the order given.
func (m *Model) EncodeQueries(ctx context.Context, texts []string, o *TextOptions) ([]Encoded, error) {
	return nil, ErrUnsupported
}

// EncodeDocuments encodes documents, in the order given.
func (m *Model) EncodeDocuments(ctx context.Context, texts []string, o *TextOptions) ([]Encoded, error) {
	return nil, ErrUnsupported
}
