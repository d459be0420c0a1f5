package checkpoint

import (
	"fmt"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// Layout is the way in which a directory is arranged.
type Layout uint8

// The layouts that Open understands.
const (
	HuggingFace Layout = iota // a backbone only
	PyLate                    // modules.json, 1_Dense, config_sentence_transformers.json
	Stanford                  // artifact.metadata, linear.weight
)

// String returns "huggingface", "pylate" or "stanford".
func (l Layout) String() string {
	switch l {
	case HuggingFace:
		return "huggingface"
	case PyLate:
		return "pylate"
	case Stanford:
		return "stanford"
	}
	return fmt.Sprintf("layout %d", uint8(l))
}

// Checkpoint is an open model directory.
type Checkpoint struct {
	Dir       string
	Layout    Layout
	Config    Config
	Tensors   Tensors
	Prefix    string  // what the names of the backbone's tensors start with: "", "bert.", "roberta." ...
	Head      []Dense // the projections after the backbone, in order; none for a plain backbone
	Retrieval Retrieval
	Tokenizer *tokenizer.Tokenizer
}

// Dense is one projection of the head: y = act(W x + b), plus x or R x with Residual.
type Dense struct {
	In, Out    int
	Weight     []float32 // Out x In, row-major
	Bias       []float32 // Out values, or nil
	Activation string    // "identity", "gelu", "relu", "silu", "tanh"
	Residual   bool
	// ResidualWeight is R (Out x In); nil means the identity, which needs In == Out.
	ResidualWeight []float32
}

// Marker is the token that tells queries from documents. It is inserted at position 1, after [CLS].
type Marker struct {
	Token string // its text as the checkpoint names it, "" for none
	ID    int32
}

// Similarity is how a query token and a document token compare.
type Similarity uint8

// The similarities that checkpoints name.
const (
	Cosine Similarity = iota
	L2                // minus the squared Euclidean distance of unit vectors: the same order as Cosine
)

// Retrieval tells how texts become token vectors. Lengths count every token: [CLS], marker, [SEP].
type Retrieval struct {
	Query, Document Marker
	QueryLength     int // longest query in tokens; with Expansion the number of rows of every query
	DocumentLength  int // longest document in tokens
	// Expansion pads queries to QueryLength with ExpansionID; the rows of these tokens are kept.
	Expansion bool
	// AttendExpansion lets tokens attend to the expansion tokens (attention mask 1 instead of 0).
	AttendExpansion bool
	ExpansionID     int32
	// Skiplist holds the ids of document tokens whose vectors are dropped, ascending. Queries keep theirs.
	Skiplist []int32
	// StripSpace removes white space around a text before it is tokenized.
	StripSpace bool
	// LowerCase lower-cases a text before it is tokenized, beside what the tokenizer itself does.
	LowerCase  bool
	Similarity Similarity
}

// Open reads the checkpoint in dir.
func Open(dir string) (*Checkpoint, error) {
	return nil, fmt.Errorf("%w: Open", ErrUnsupported)
}

// Close unmaps the weights.
func (c *Checkpoint) Close() error {
	if c.Tensors == nil {
		return nil
	}
	return c.Tensors.Close()
}
