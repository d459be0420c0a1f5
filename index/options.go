package index

import (
	"context"
	"errors"
	"fmt"
	"runtime"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/quant"
)

// NormPolicy says what happens to the length of the vectors that are added. It is stored in the manifest.
type NormPolicy uint8

const (
	// Normalize scales every row to unit length. Rows of zeros stay zero.
	Normalize NormPolicy = iota
	// RequireNormalized refuses rows whose length differs from 1 by more than 0.002 (rows of zeros pass).
	RequireNormalized
	// AsIs takes rows as they come. Note that the codec stores directions: lengths are kept only with
	// NBits 16.
	AsIs
)

// String gives the policy's name in the manifest.
func (p NormPolicy) String() string {
	switch p {
	case Normalize:
		return "normalize"
	case RequireNormalized:
		return "require"
	case AsIs:
		return "as-is"
	}
	return fmt.Sprintf("NormPolicy(%d)", uint8(p))
}

// Limits and defaults.
const (
	// DefaultMaxDocTokens is the longest document accepted unless Options.MaxDocTokens says otherwise.
	DefaultMaxDocTokens = 65535
	// HardMaxDocTokens bounds Options.MaxDocTokens.
	HardMaxDocTokens = 1 << 24
	// DefaultSegmentTokens is the number of tokens after which Add closes a segment and starts another.
	DefaultSegmentTokens = 4 << 20
	// MaxIDBytes is the longest document id.
	MaxIDBytes = 512
	// MaxDim bounds the vectors' dimension.
	MaxDim = 1 << 16

	maxSegmentTokens = 1 << 31
	maxDocuments     = 1<<31 - 1
	sampleBytes      = 384 << 20 // memory for the training sample: a build peaks at twice and a little more
)

// Options shape a new index; Create writes them to the manifest. Only Dim (or Codebook) is needed.
type Options struct {
	// Dim is the vectors' dimension, 1 to MaxDim; 0 takes the Codebook's.
	Dim int
	// NBits is the size of a residual per dimension: 1, 2, 4, 8, or 16 for float16 rows. 0 means 4, or the
	// Codebook's.
	NBits int
	// Centroids fixes the size of trained codebooks; 0 means quant.NumCentroids of the tokens.
	Centroids int
	// Seed makes training repeatable: same documents in the same order, same seed, same bytes.
	Seed uint64
	// Normalize is the policy for the rows' length.
	Normalize NormPolicy
	// MaxDocTokens bounds a document; 0 means DefaultMaxDocTokens, HardMaxDocTokens is the most.
	MaxDocTokens int
	// AllowEmpty accepts documents without tokens. They are stored and no search returns them.
	AllowEmpty bool
	// SegmentTokens is about the size of a segment; 0 means DefaultSegmentTokens.
	SegmentTokens int
	// Codebook, when given, is used for every segment, and none is ever trained.
	Codebook *quant.Codebook
	// Attributes are stored in the manifest for the caller: model name and the like. At most 1 MiB.
	Attributes map[string]string
	// Workers bounds the goroutines of one Add; 0 means GOMAXPROCS. It is not stored.
	Workers int

	fs       vfs.FS // tests inject faults here; nil means the operating system's files
	maxDocs  uint64 // tests lower it; 0 means maxDocuments
	spoolMem int    // tests lower it; 0 means spoolMemory
	// earlySync is the length that a segment is synced from before the end of the commit; 0 means earlySync.
	earlySync int64
}

// OpenOptions say how an existing index is opened. A nil pointer opens it for writing.
type OpenOptions struct {
	// ReadOnly takes no lock, writes nothing, and sees the commit that is the newest at the time.
	ReadOnly bool
	// Verify checks every block's checksum before Open returns, which reads all files. Otherwise blocks are
	// checked when they are first touched.
	Verify bool
	// ReadResiduals lets searches read the residuals of documents, most of an index, from the files into memory of their
	// own every time, where else they do so the first time only and look at mapped memory from then on. What is resident
	// then stays small, however much is searched, and searches are slower: half a microsecond for each document that they
	// score, most of which the system takes to find a file's pages. With 157 MB of residuals: 20 MB resident after any
	// number of searches and not 170, and searches take 15 to 35 % longer.
	ReadResiduals bool
	// Workers bounds the goroutines of one Add; 0 means GOMAXPROCS.
	Workers int

	fs vfs.FS
}

// Progress is what Add reports while it works.
type Progress struct {
	// Stage is "read" (documents are spooled until a codebook can be trained), "train", "write" or
	// "commit".
	Stage string
	// Docs and Tokens have passed the stage so far; Total is the number of documents when it is known, else 0.
	// For "train" Docs counts steps and Total their number.
	Docs, Total int
	Tokens      uint64
}

// AddOptions steer one Add. A nil pointer means the zero value.
type AddOptions struct {
	// Upsert replaces documents whose id is in the index already, and lets the last of equal ids in one Add
	// win. Without it such an id is ErrDuplicateID.
	Upsert bool
	// NoCompact leaves out the merging of small segments that otherwise keeps their number low; see
	// MaybeCompact.
	NoCompact bool
	// Queries, when set, gives query vectors of the caller's model, which a codebook trained by this Add is
	// fitted to; see quant.TrainOptions. It is called only when one is trained, with a few of the documents
	// that are added, without their vectors, for callers who make queries of them. No rows are as good as no
	// function: then directions are taken over from the newest codebook, or there are none. An error of it ends
	// the Add.
	Queries QuerySource
	// Progress, when set, is called from Add's own goroutine now and then.
	Progress func(Progress)
}

// QuerySource gives a sample of query vectors, rows of the index's dimension, for a sample of documents.
type QuerySource func(ctx context.Context, sample []Document) (maxsim.Matrix, error)

// AddResult says what an Add did.
type AddResult struct {
	// Added counts the documents that are in the index because of this Add, replacements included.
	Added int
	// Replaced counts the documents that were in the index before and gave way to one of the same id.
	Replaced int
	// Tokens counts the token vectors of the documents added.
	Tokens uint64
}

// DeleteOptions steer one Delete. A nil pointer means the zero value.
type DeleteOptions struct {
	// IgnoreMissing passes over ids that are not in the index.
	IgnoreMissing bool
	// NoCompact is as in AddOptions.
	NoCompact bool
}

// complete returns a validated copy with defaults filled in. All faults are reported at once.
func (o *Options) complete() (*Options, error) {
	var c Options
	if o != nil {
		c = *o
	}
	var faults []error
	fault := func(format string, a ...any) { faults = append(faults, fmt.Errorf(format, a...)) }
	if cb := c.Codebook; cb != nil {
		if c.Dim == 0 {
			c.Dim = cb.Dim()
		}
		if c.NBits == 0 {
			c.NBits = cb.NBits()
		}
		if c.Dim != cb.Dim() {
			fault("Dim is %d, the codebook has %d", c.Dim, cb.Dim())
		}
		if c.NBits != cb.NBits() {
			fault("NBits is %d, the codebook has %d", c.NBits, cb.NBits())
		}
		if c.Centroids != 0 && c.Centroids != cb.K() {
			fault("Centroids is %d, the codebook has %d", c.Centroids, cb.K())
		}
	}
	if c.NBits == 0 {
		c.NBits = 4
	}
	if c.MaxDocTokens == 0 {
		c.MaxDocTokens = DefaultMaxDocTokens
	}
	if c.SegmentTokens == 0 {
		c.SegmentTokens = DefaultSegmentTokens
	}
	if c.Dim < 1 || c.Dim > MaxDim {
		fault("Dim is %d, want 1 to %d", c.Dim, MaxDim)
	}
	switch c.NBits {
	case 1, 2, 4, 8, 16:
	default:
		fault("NBits is %d, want 1, 2, 4, 8 or 16", c.NBits)
	}
	if c.Centroids < 0 || c.Centroids > 1<<24 {
		fault("Centroids is %d, want 0 to %d", c.Centroids, 1<<24)
	}
	if c.Normalize > AsIs {
		fault("Normalize is %v", c.Normalize)
	}
	if c.MaxDocTokens < 1 || c.MaxDocTokens > HardMaxDocTokens {
		fault("MaxDocTokens is %d, want 1 to %d", c.MaxDocTokens, HardMaxDocTokens)
	}
	if c.SegmentTokens < 1 || c.SegmentTokens > maxSegmentTokens {
		fault("SegmentTokens is %d, want 1 to %d", c.SegmentTokens, maxSegmentTokens)
	}
	if err := checkAttributes(c.Attributes); err != nil {
		faults = append(faults, err)
	}
	c.Workers = workers(c.Workers)
	if c.fs == nil {
		c.fs = vfs.OS{}
	}
	if c.maxDocs == 0 {
		c.maxDocs = maxDocuments
	}
	if c.spoolMem == 0 {
		c.spoolMem = spoolMemory
	}
	if c.earlySync == 0 {
		c.earlySync = earlySync
	}
	if len(faults) > 0 {
		return nil, fmt.Errorf("%w: %w", ErrInvalidOptions, errors.Join(faults...))
	}
	return &c, nil
}

func workers(n int) int {
	if n <= 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}
