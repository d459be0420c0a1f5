package plaid

import (
	"errors"
	"fmt"
	"math"

	"github.com/RoaringBitmap/roaring/v2"

	"github.com/golbert/golbert/index"
)

// Sentinel errors. Faults of the query's values wrap maxsim.ErrDim and maxsim.ErrNotFinite.
var (
	// ErrEmptyQuery reports a query without token vectors.
	ErrEmptyQuery = errors.New("plaid: query has no tokens")
	// ErrInvalidK reports a number of wanted hits below one.
	ErrInvalidK = errors.New("plaid: k must be at least 1")
	// ErrTooManyTokens reports a query of more than MaxQueryTokens tokens.
	ErrTooManyTokens = errors.New("plaid: query has too many tokens")
	// ErrInvalidOptions reports knobs out of range.
	ErrInvalidOptions = errors.New("plaid: invalid options")
)

// MaxQueryTokens is the longest query that is taken. It only guards against nonsense: a query is meant to
// be a text of any usual length, and a document may serve as one.
const MaxQueryTokens = 1 << 16

// Filter restricts a search to a subset of the documents.
//
// Bitmap returns the ordinals in seg that are allowed; deleted ones and ordinals beyond the segment may be
// among them and are ignored. A nil or empty bitmap allows no document of the segment. The bitmap is only
// read, and only until the search returns. Bitmap is called once per segment and search (or batch), never
// concurrently within a call.
type Filter interface {
	Bitmap(seg *index.Segment) (*roaring.Bitmap, error)
}

// FilterFunc makes a function a Filter.
type FilterFunc func(seg *index.Segment) (*roaring.Bitmap, error)

// Bitmap calls f.
func (f FilterFunc) Bitmap(seg *index.Segment) (*roaring.Bitmap, error) { return f(seg) }

// Options are the knobs of a search. The zero value, and nil, choose by k and the collection's size.
//
// With NProbe, NDocs and Patience all 0 the knobs that Tune has stored with the index are used, those for the least number of
// hits that is not under k. Without any, by the number n of live documents that the filter allows:
//
//   - n <= 2,000: stages 2 and 3 are skipped, stage 4 scores all n documents;
//   - above: all four stages, NProbe grown by the filter's selectivity.
//
// Whatever the knobs, when k is more than half of n the search is exhaustive.
type Options struct {
	// NProbe is the number of centroids probed per query token; 0 chooses. It is a floor: probing widens
	// when a filter is selective or when fewer than k documents were found.
	NProbe int
	// NDocs is the number of documents that pass from stage 3 to stage 4, of each codebook's segments; 0
	// chooses, by k, the number of documents and how fine the codebook is. Values under k count as k. Documents
	// that tie with the last one may pass too.
	NDocs int
	// Patience ends a search before all NDocs are scored when there is no more to expect of them. Documents are scored in
	// rounds, in the order of stage 3, whose sums foretell scores: by a line through those of the documents so far, and
	// around it their standard deviation. A search ends when what the line foretells for the next one, and so many
	// deviations more, is less than the last hit has that Exact asks for. 0 scores all. NDocs is what a hard query may
	// take then, and the usual one takes less: see Stats.Scored. Devices score all.
	Patience float32
	// CentroidThreshold prunes the probed centroids. A centroid's list is read if for at least one query token that
	// probes it its score reaches this fraction of the way from the token's mean centroid score to its best. Being
	// relative it means the same for models with high and with low cosines. 0 prunes nothing, the default. A
	// document in none of the lists is a hit only if there are fewer than k others.
	CentroidThreshold float32
	// Exact is how many of the first hits have exact scores, of vectors decoded to float32: decoding takes a third of the
	// time when many hits are wanted of a small shortlist. Hits after them keep the scores by which they were
	// found, in the compressed domain, and say so (Hit.Approx): on 20,000 real passages at 4 bits, where scores are about 17,
	// they are off by .011 (root mean square), and by .09 at most.
	// 0 means all hits. Devices and exhaustive searches give exact scores to all in any case.
	Exact int
	// Exhaustive decodes every allowed document and scores it in float32: the oracle for recall.
	Exhaustive bool
	// Workers is the number of goroutines per Search, and of concurrent queries in SearchBatch; 0 means
	// GOMAXPROCS. Results do not depend on it.
	Workers int
	// Filter restricts the search; nil allows every document.
	Filter Filter
	// Stats, if not nil, is overwritten with what the call did. Two concurrent calls must not share one.
	Stats *Stats
}

// validate reports every fault at once.
func (o *Options) validate() error {
	if o == nil {
		return nil
	}
	var errs []error
	bad := func(name string, v any) {
		errs = append(errs, fmt.Errorf("%s is %v: %w", name, v, ErrInvalidOptions))
	}
	if o.NProbe < 0 {
		bad("NProbe", o.NProbe)
	}
	if o.NDocs < 0 {
		bad("NDocs", o.NDocs)
	}
	if o.Exact < 0 {
		bad("Exact", o.Exact)
	}
	if o.Workers < 0 {
		bad("Workers", o.Workers)
	}
	if t := float64(o.Patience); !(t >= 0) || math.IsInf(t, 0) {
		bad("Patience (finite, not negative)", o.Patience)
	}
	if t := float64(o.CentroidThreshold); math.IsNaN(t) || t < 0 || t > 1 {
		bad("CentroidThreshold (0 to 1)", o.CentroidThreshold)
	}
	return errors.Join(errs...)
}

// Hit is one document found.
type Hit struct {
	// ID is the document's external id.
	ID string
	// Score is MaxSim of the query with the document's decoded vectors, approximately so if Approx is set.
	Score float32
	// Approx says that Score was made without decoding, for hits after the first Options.Exact.
	Approx bool
	// Segment and Ord locate the document for reading its text and metadata while the snapshot is open.
	Segment *index.Segment
	Ord     uint32
}

// Result is the outcome of one query of a batch. One query's error is its own.
type Result struct {
	Hits []Hit
	Err  error
}
