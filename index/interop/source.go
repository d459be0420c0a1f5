package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"github.com/golbert/golbert/quant"
)

// Format names the program that wrote an index.
type Format string

// The formats.
const (
	ColBERTAI Format = "colbert-ai"
	FastPLAID Format = "fast-plaid"
	NextPLAID Format = "next-plaid"
)

// Wrapper names a program around the one that wrote the index, which adds ids or texts to it.
type Wrapper string

// The wrappers.
const (
	NoWrapper   Wrapper = ""
	RAGatouille Wrapper = "RAGatouille"
	PyLate      Wrapper = "PyLate"
)

// ListsPolicy says what Open does about inverted lists. They are not needed, since they follow from the codes;
// where they differ, one of the two is damaged.
type ListsPolicy uint8

const (
	// ListsNote compares them and leaves a note where they differ.
	ListsNote ListsPolicy = iota
	// ListsRefuse makes a difference an error that wraps ErrLists.
	ListsRefuse
	// ListsIgnore does not compare them. colbert-ai's are still read, because documents that are in no list
	// have been removed.
	ListsIgnore
)

// Options say how a source is read. A nil pointer means the zero value.
type Options struct {
	// Lists is the policy for inverted lists.
	Lists ListsPolicy
	// PositionIDs ignores the files that map positions to ids (pid_docid_map.json, PyLate's pickles): ids are
	// the positions, "0", "1" and so on, which are colbert-ai's pids and the others' document numbers.
	PositionIDs bool
	// NoText leaves collection.json alone, NoMetadata docid_metadata_map.json and metadata.db.
	NoText, NoMetadata bool
	// IDColumn and TextColumn name columns of metadata.db that hold the documents' ids and texts. Empty
	// means that there is none, and every column becomes metadata.
	IDColumn, TextColumn string
}

// Source is an index of another program, opened for reading. Methods are safe for concurrent use, except
// beside Close.
type Source struct {
	dir     string
	format  Format
	wrapper Wrapper
	o       Options
	b       backend
	p       params
	book    *quant.Codebook

	chunks    []chunkInfo
	docs      uint64 // positions, removed ones included
	live      uint64
	tokens    uint64 // of live documents
	maxTokens int
	absent    bitset // positions with tokens that are in no list: removed; nil means none

	ids   []string // by position; nil means positions
	names []string // by position, what the id file says before it is made unique; nil where it is the id
	texts *textFile
	meta  metadata
	notes []string
}

// params are the small parts of an index.
type params struct {
	dim, nbits                  int
	centroids, cutoffs, weights []float32
	numChunks                   int
	declared                    map[string]int64 // counts that the metadata declares, by name
	checkpoint                  string
	config                      json.RawMessage
	notes                       []string
}

type chunkInfo struct{ docs, tokens uint64 }

// backend reads one program's files.
type backend interface {
	load() (params, error)
	chunk(i int, p *params) (*chunk, error)
	// lists gives the inverted lists, nil when the index has none.
	lists() (*lists, error)
}

// maxDocuments is the most documents that a golbert index takes.
const maxDocuments = math.MaxInt32

// Open recognises the index in dir and checks everything in it but the residuals' bytes: shapes, counts, codes
// and lists, which reads all codes once. dir may be the folder of the index itself or PyLate's around it.
// Errors: ErrUnknown, ErrUnsupported, ErrCorrupt (*FileError), ErrForbidden, ErrLists, and the context's.
func Open(ctx context.Context, dir string, o *Options) (*Source, error) {
	s := &Source{}
	if o != nil {
		s.o = *o
	}
	if err := s.detect(dir); err != nil {
		return nil, err
	}
	var err error
	if s.p, err = s.b.load(); err != nil {
		return nil, err
	}
	p := &s.p
	s.notes = append(s.notes, p.notes...)
	switch {
	case p.nbits != 1 && p.nbits != 2 && p.nbits != 4 && p.nbits != 8:
		return nil, fmt.Errorf("%d bits per dimension, 1, 2, 4 and 8 are known: %w", p.nbits, ErrUnsupported)
	case p.dim*p.nbits%8 != 0:
		return nil, fmt.Errorf("dimension %d with %d bits does not fill bytes: %w", p.dim, p.nbits, ErrUnsupported)
	}
	if s.book, err = quant.NewCodebook(p.dim, p.nbits, p.centroids, p.cutoffs, p.weights); err != nil {
		return nil, &FileError{File: "centroids and levels", Err: err}
	}
	if err := s.scan(ctx); err != nil {
		return nil, err
	}
	if err := s.openExtras(ctx); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// detect finds out whose index lies in dir.
func (s *Source) detect(dir string) error {
	st, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("interop: %w", err)
	}
	if !st.IsDir() {
		return fmt.Errorf("%s is not a directory: %w", dir, ErrUnknown)
	}
	has := func(parts ...string) bool {
		_, err := os.Stat(filepath.Join(append([]string{dir}, parts...)...))
		return err == nil
	}
	s.dir = dir
	if has("fast_plaid_index", "metadata.json") {
		s.wrapper, s.dir = PyLate, filepath.Join(dir, "fast_plaid_index")
		dir = s.dir
	} else if has(pylateToDoc) || filepath.Base(dir) == "fast_plaid_index" && has("..", pylateToDoc) {
		s.wrapper = PyLate
	}
	switch {
	case has("centroids.pt"):
		s.format, s.b = ColBERTAI, &colbertAI{dir: dir}
		if has(ragCollection) || has(ragDocIDs) {
			s.wrapper = RAGatouille
		}
	case has("codes.compacted.pt") || has("sizes.compacted.pt"):
		return fmt.Errorf("%s holds an index of WARP; import the colbert-ai index that it was converted from: %w", dir, ErrUnsupported)
	case has("centroids.npy") && has("metadata.json"):
		n := &npyIndex{dir: dir}
		if s.format, err = n.detect(); err != nil {
			return err
		}
		s.b = n
	case s.wrapper == PyLate:
		return fmt.Errorf("%s holds PyLate's id files and no index that is known: %w", dir, ErrUnknown)
	default:
		if m, _ := filepath.Glob(filepath.Join(dir, "MANIFEST-*")); len(m) > 0 {
			return fmt.Errorf("%s holds an index of golbert's own, which needs no import: %w", dir, ErrUnknown)
		}
		return fmt.Errorf("%s has neither centroids.pt (colbert-ai) nor centroids.npy with metadata.json (fast-plaid, next-plaid): %w", dir, ErrUnknown)
	}
	return nil
}

// note leaves a note for the user.
func (s *Source) note(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

// Close gives up what the source holds open. It does not fail for the formats of today.
func (s *Source) Close() error {
	if s.meta != nil {
		return s.meta.close()
	}
	return nil
}

// Dir is the directory that holds the index's files: that which Open was given, or the one below it.
func (s *Source) Dir() string { return s.dir }

// Format names the program that wrote the index.
func (s *Source) Format() Format { return s.format }

// Wrapper names the program around it, if any.
func (s *Source) Wrapper() Wrapper { return s.wrapper }

// Dim is the dimension of the vectors.
func (s *Source) Dim() int { return s.p.dim }

// NBits is the number of bits per dimension of a residual.
func (s *Source) NBits() int { return s.p.nbits }

// Codebook holds centroids (K x Dim, exactly as they lie in the source: float16 values widened, lengths not
// exactly 1), cutoffs and weights.
func (s *Source) Codebook() *quant.Codebook { return s.book }

// NumDocs counts the documents that Documents gives.
func (s *Source) NumDocs() int { return int(s.live) }

// NumRemoved counts the documents that were removed in the source and still take a position in it.
func (s *Source) NumRemoved() int { return int(s.docs - s.live) }

// NumTokens counts the token vectors of the documents that Documents gives.
func (s *Source) NumTokens() uint64 { return s.tokens }

// MaxDocTokens is the length of the longest document.
func (s *Source) MaxDocTokens() int { return s.maxTokens }

// Checkpoint is the model that the source says it was made with, "" where it does not say.
func (s *Source) Checkpoint() string { return s.p.checkpoint }

// Notes tell what a user should know about this index: differences between its parts, files that were passed
// over, removed documents. They are sentences for people.
func (s *Source) Notes() []string { return append([]string(nil), s.notes...) }
