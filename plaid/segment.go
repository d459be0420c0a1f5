package plaid

import (
	"math"
	"slices"

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

	scales     []float32 // of the compressed domain: the codebook's, but none below leastScale of their mean; nil when all are 1
	raised     float64   // how far the scores of a query token of length 1 are off because of that, before norms, at most
	inverse    []float32 // 1/scale of each centroid
	steepest   float32   // the largest of them
	coarseness float64   // see knobs.go
}

// leastScale bounds what one centroid can do to the scores of all others. The table of centroid scores, which are divided by
// the scales, has one unit for all of them; a scale of nearly nothing, as of a centroid whose tokens are all the same, would
// leave the others a few different values. With this bound they keep nine bits, and such a centroid's residuals, which are
// next to nothing, count for up to a 64th of what others do.
const leastScale = 1. / 64

// newSpace prepares a codebook.
func newSpace(cb *quant.Codebook) space {
	sp := space{cb: cb, scales: cb.Scales(), inverse: make([]float32, cb.K())}
	if sp.scales != nil {
		sum := 0.
		for _, v := range sp.scales {
			sum += float64(v)
		}
		least := float32(leastScale * sum / float64(len(sp.scales)))
		if v := slices.Min(sp.scales); v < least {
			far := 0.
			for _, w := range cb.Weights() {
				far = max(far, math.Abs(float64(w)))
			}
			sp.raised = float64(least-v) * far * math.Sqrt(float64(cb.Dim()))
			sp.scales = slices.Clone(sp.scales)
			for i, v := range sp.scales {
				sp.scales[i] = max(v, least)
			}
		}
	}
	for i := range sp.inverse {
		sp.inverse[i] = 1 / sp.scale(uint32(i))
		sp.steepest = max(sp.steepest, sp.inverse[i])
	}
	if n := cb.NBits(); n <= 8 && cb.Dim()*n%8 == 0 {
		sp.levels = kernel.NewLevels(cb.Weights(), n, cb.Dim())
	}
	return sp
}

// scale is what the levels of a centroid's residuals are multiplied by in the compressed domain.
func (sp *space) scale(c uint32) float32 {
	if sp.scales == nil {
		return 1
	}
	return sp.scales[c]
}

// mask is the set of documents of one unit that a search may return.
type mask struct {
	all  bool // every document; docs is not set
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
