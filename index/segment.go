package index

import (
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/quant"
)

// Segment is one immutable run of documents, numbered from 0 (ordinals), and the documents of it that a
// snapshot sees as deleted. Methods are safe for concurrent use until the snapshot is closed. An ordinal
// that is not below NumDocs is a programmer's mistake and panics; what the file holds never does: damage
// gives a *CorruptError.
type Segment struct {
	f   *segFile
	cb  *quant.Codebook
	del *roaring.Bitmap // nil: none
}

// NumDocs counts the documents, deleted ones included. Ordinals are below it.
func (s *Segment) NumDocs() int { panic("todo") }

// NumLive counts the documents that are not deleted.
func (s *Segment) NumLive() int { panic("todo") }

// NumTokens counts the token vectors, those of deleted documents included.
func (s *Segment) NumTokens() uint64 { panic("todo") }

// Codebook is what the segment was coded with. Segments of one snapshot may differ.
func (s *Segment) Codebook() *quant.Codebook { return s.cb }

// Deleted holds the ordinals of deleted documents; nil means none. Read-only.
func (s *Segment) Deleted() *roaring.Bitmap { return s.del }

// DocTokens counts a document's token vectors.
func (s *Segment) DocTokens(ord uint32) int { panic("todo") }

// Codes appends to dst[:0] the centroid of each of a document's tokens, in order. Every code is below the
// codebook's K.
func (s *Segment) Codes(dst []uint32, ord uint32) ([]uint32, error) { panic("todo") }

// DistinctCodes appends to dst[:0] a document's centroids, ascending, each once.
func (s *Segment) DistinctCodes(dst []uint32, ord uint32) ([]uint32, error) { panic("todo") }

// Residuals gives a document's residual rows, DocTokens x Codebook().RowBytes(). It is mapped memory:
// read-only, valid while the snapshot is open.
func (s *Segment) Residuals(ord uint32) ([]byte, error) { panic("todo") }

// InvNorms appends to dst[:0] the inverse norms of a document's decoded vectors: each token's score is
// <q, c + residual> times it. They are stored in 8 bits, within NormError of the true value, relatively.
// Exactly 0 marks a vector of zeros, which scores 0 against every query: the residual bits beside it mean
// nothing, and decoding them with quant.Codebook.Decode must be followed by clearing that row.
func (s *Segment) InvNorms(dst []float32, ord uint32) ([]float32, error) { panic("todo") }

// Postings appends to dst[:0] the ordinals of documents with a token at a centroid, ascending, deleted
// documents included. A centroid at which the segment has nothing, or not below K, gives an empty list.
func (s *Segment) Postings(dst []uint32, centroid uint32) ([]uint32, error) { panic("todo") }

// ID gives a document's external id.
func (s *Segment) ID(ord uint32) (string, error) { panic("todo") }

// Text gives a document's text, "" when none was stored.
func (s *Segment) Text(ord uint32) (string, error) { panic("todo") }

// Metadata gives a document's metadata; nil when it has none.
func (s *Segment) Metadata(ord uint32) (Metadata, error) { panic("todo") }
