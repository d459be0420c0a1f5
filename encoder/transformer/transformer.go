package transformer

import (
	"context"
	"errors"
	"fmt"
)

// Sentinel errors.
var (
	// ErrUnsupported reports an architecture or a variant of one that this package does not run.
	ErrUnsupported = errors.New("transformer: unsupported")
	// ErrWeights reports tensors that are missing or of another shape than the configuration says; the
	// message lists them by name.
	ErrWeights = errors.New("transformer: checkpoint lacks the weights of its configuration")
	// ErrBatch reports a batch that the model cannot take: a token id outside of the vocabulary, a sequence
	// that is empty or longer than the model's positions, a sequence without any attended token.
	ErrBatch = errors.New("transformer: bad batch")
)

// Batch is a set of token sequences laid end to end.
type Batch struct {
	// IDs holds the tokens of all sequences.
	IDs []int32
	// Lens holds the number of tokens of each sequence; they add up to len(IDs).
	Lens []int
	// Types holds the token types (segment ids) of the tokens; nil means type 0 everywhere.
	Types []int32
	// Attend says for each token whether the others may attend to it; nil means all of them. Tokens that are
	// not attended to still attend to others and get an output.
	Attend []bool
	// Languages holds for each sequence its language's position in Multilingual.Languages; nil means the
	// model's default language everywhere. Models with one part for all languages do not look at it.
	Languages []int
	// Workers is the number of goroutines that Forward may use; 0 means one. More help only with few tokens or one
	// long sequence, and where processors are idle: it is better to run several batches at a time.
	Workers int
	// Kept is set by Forward, to nil by models that give every token a row. Models that delete tokens on the way
	// (MrT5) write a row for each token that is left, and Kept says which these are: numbers of tokens in IDs,
	// ascending, at least one of every sequence.
	Kept []int32
}

// Shape describes a loaded transformer.
type Shape struct {
	Architecture string // model_type of config.json: "bert", "xlm-roberta", "xmod" ...
	Layers       int
	Hidden       int // width of the output vectors
	Heads        int
	FFN          int // width of the feed-forward layer
	Vocab        int
	MaxTokens    int   // longest sequence; 0 means no limit
	Parameters   int64 // weights in use; of parts per language, those of one language
}

// Encoder is the forward pass of one loaded model, safe for concurrent use.
type Encoder interface {
	// Shape describes the model.
	Shape() Shape
	// Forward writes the last hidden state of every token of b to dst, len(b.IDs) x Hidden, row-major; of models
	// that delete tokens only those that are left, len(b.Kept) x Hidden, dst having room for all the same. The
	// context is looked at between layers; its error is returned as it is. Other errors wrap ErrBatch.
	// Forward panics when dst is too short.
	Forward(ctx context.Context, b *Batch, dst []float32) error
}

// Multilingual is an Encoder with a part of its own for each language, as XMOD is. The part of a language is read
// from the checkpoint when it is first needed; the checkpoint must stay open for that.
type Multilingual interface {
	Encoder
	// Languages lists the languages by the names that the checkpoint gives them ("de_DE"). A name is empty
	// where config.json lists a language whose weights the checkpoint lacks.
	Languages() []string
	// DefaultLanguage is the position of the language of sequences that do not say theirs, or -1: then
	// Forward refuses them with ErrBatch.
	DefaultLanguage() int
	// LoadLanguage reads the part of the language at a position of Languages ahead of its first use. Errors
	// wrap ErrBatch or ErrWeights.
	LoadLanguage(i int) error
}

// check validates a batch against a model's limits.
func (b *Batch) check(s Shape) error {
	if b.Kept != nil { // no write without need: one batch may be in several calls
		b.Kept = nil
	}
	sum := 0
	for i, n := range b.Lens {
		if n <= 0 {
			return fmt.Errorf("sequence %d has %d tokens: %w", i, n, ErrBatch)
		}
		if s.MaxTokens > 0 && n > s.MaxTokens {
			return fmt.Errorf("sequence %d has %d tokens, the model takes %d: %w", i, n, s.MaxTokens, ErrBatch)
		}
		sum += n
	}
	if sum != len(b.IDs) {
		return fmt.Errorf("lengths add up to %d, there are %d tokens: %w", sum, len(b.IDs), ErrBatch)
	}
	for i, id := range b.IDs {
		if id < 0 || int(id) >= s.Vocab {
			return fmt.Errorf("token %d has id %d, the vocabulary has %d: %w", i, id, s.Vocab, ErrBatch)
		}
	}
	if b.Types != nil && len(b.Types) != len(b.IDs) {
		return fmt.Errorf("%d token types for %d tokens: %w", len(b.Types), len(b.IDs), ErrBatch)
	}
	if b.Languages != nil && len(b.Languages) != len(b.Lens) {
		return fmt.Errorf("%d languages for %d sequences: %w", len(b.Languages), len(b.Lens), ErrBatch)
	}
	if b.Attend != nil && len(b.Attend) != len(b.IDs) {
		return fmt.Errorf("%d attention flags for %d tokens: %w", len(b.Attend), len(b.IDs), ErrBatch)
	}
	return nil
}

// noTypes refuses token types for models that have none.
func (b *Batch) noTypes() error {
	for i, t := range b.Types {
		if t != 0 {
			return batchError("token %d has type %d, the model has no types", i, t)
		}
	}
	return nil
}

func batchError(format string, args ...any) error {
	return fmt.Errorf(format+": %w", append(args, ErrBatch)...)
}
