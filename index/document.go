package index

import (
	"github.com/golbert/golbert/colbert/maxsim"
)

// Document is what Add stores under one id.
type Document struct {
	// ID is the caller's name for the document: 1 to 512 bytes of valid UTF-8.
	ID string
	// Vectors holds one row per token. Add does not keep or change it.
	Vectors maxsim.Matrix
	// TokenIDs, when not nil, holds the vocabulary id of the token of each row of Vectors, or quant.NoToken. They are not stored: a
	// codebook that is trained on the way is clustered by them, see quant.TrainOptions.
	TokenIDs []uint32
	// Text is stored as it is, compressed, and handed back by Segment.Text. It may be empty.
	Text string
	// Meta is stored in typed columns. It may be nil.
	Meta Metadata
}

// Metadata holds a document's named values. Types are string, int64, float64, bool and time.Time; int and
// the other integer types that fit int64 are accepted and come back as int64, float32 as float64, and times
// come back in UTC. One name may have different types in different documents.
type Metadata map[string]any
