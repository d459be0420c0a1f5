package plaid

import (
	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/quant"
)

// segment is what the search reads of an index.Segment; tests bring one that lies in memory.
type segment interface {
	NumDocs() int
	NumTokens() uint64
	Codebook() *quant.Codebook
	Deleted() *roaring.Bitmap
	Codes(dst []uint32, ord uint32) ([]uint32, error)
	Residuals(ord uint32) ([]byte, error)
	InvNorms(dst []float32, ord uint32) ([]float32, error)
	NormError() float32
	LeastNorm() float32
	Postings(dst []uint32, centroid uint32) ([]uint32, error)
	ID(ord uint32) (string, error)
}

var _ segment = (*index.Segment)(nil)

// unit is one segment of a Searcher.
type unit struct {
	seg   segment
	pub   *index.Segment // nil for a test's segment
	reads bool           // residuals are read, not looked at in mapped memory
	space int            // index into Searcher.spaces
	live  []uint64       // bitset of documents not deleted; nil = all
}

// space is one codebook and the segments coded by it.
type space struct {
	cb     *quant.Codebook
	levels *kernel.Levels // for scoring without decoding; nil if the codec has no such rows
	units  []int
	tokens uint64

	inverse    []float32 // 1/scale of each centroid
	steepest   float32   // the largest of them
	coarseness float64   // see knobs.go
}

// newSpace prepares a codebook.
func newSpace(cb *quant.Codebook) space {
	sp := space{cb: cb, inverse: make([]float32, cb.K())}
	for i := range sp.inverse {
		sp.inverse[i] = 1 / cb.Scale(uint32(i))
		sp.steepest = max(sp.steepest, sp.inverse[i])
	}
	if n := cb.NBits(); n <= 8 && cb.Dim()*n%8 == 0 {
		sp.levels = kernel.NewLevels(cb.Weights(), n, cb.Dim())
	}
	return sp
}

// scale is what the levels of a centroid's residuals are multiplied by.
func (sp *space) scale(c uint32) float32 { return sp.cb.Scale(c) }

// mask is the set of documents of one unit that a search may return.
type mask struct {
	all  bool // every document; words is not set
	n    int
	docs []uint64
}

// words returns the number of 64-bit words of a set over n documents.
func words(n int) int { return (n + 63) / 64 }

// liveWords returns the bitset of documents not deleted, nil if none is.
func liveWords(seg segment) []uint64 {
	del := seg.Deleted()
	if del == nil || del.IsEmpty() {
		return nil
	}
	n := seg.NumDocs()
	w := make([]uint64, words(n))
	for i := range w {
		w[i] = ^uint64(0)
	}
	if r := n % 64; r != 0 {
		w[len(w)-1] = 1<<r - 1
	}
	it := del.ManyIterator()
	var buf [256]uint32
	for {
		m := it.NextMany(buf[:])
		if m == 0 {
			return w
		}
		for _, ord := range buf[:m] {
			if int(ord) < n {
				w[ord/64] &^= 1 << (ord % 64)
			}
		}
	}
}
