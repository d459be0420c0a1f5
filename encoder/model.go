package encoder

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/encoder/transformer"
)

// Info describes a loaded model.
type Info struct {
	Name         string // as Model.Name
	Architecture string // model_type of config.json: "bert", "xmod" ...
	Layout       string // "huggingface", "pylate" or "stanford"
	Layers       int
	Hidden       int // width of the transformer
	Heads        int
	Dim          int    // width of the token vectors
	Similarity   string // "cosine", "l2" or "mean": see Model.Score
	Vocab        int
	Parameters   int64  // of the transformer and the projection; of parts per language, those of one; no unused pooler
	QueryTokens  int    // query length, special tokens included
	DocTokens    int    // document length, special tokens included
	Expansion    bool   // queries are filled with MASK tokens up to QueryTokens
	Language     string // code of the language of texts that do not say theirs, "" for none
	Precision    Precision
	Instructions string // that do the matrix products: "avx512bf16", "avx512vnni", "avx512", "avx2", "neon" or "generic"
}

// Model turns texts into token vectors. It is safe for concurrent use; Close waits for the calls in progress.
type Model struct {
	w        *weights
	settings settings
	lang     langSettings
	name     string
	workers  int

	mu     sync.RWMutex // held for reading by calls, for writing by Close
	closed bool
}

// weights is what several models over one checkpoint share.
type weights struct {
	ckpt *checkpoint.Checkpoint
	tok  *tokenizer.Tokenizer
	enc  transformer.Encoder
	lang *languages
	head head

	precision Precision

	mu   sync.Mutex
	refs int
}

// Open loads a checkpoint from a folder in the plain Hugging Face, PyLate or Stanford layout.
//
// Errors wrap ErrUnsupported with the component that is not supported, checkpoint.ErrNotFound,
// checkpoint.ErrCorrupt, transformer.ErrWeights with the tensors at fault, or ErrOptions.
func Open(path string, o *Options) (*Model, error) {
	var co checkpoint.Options
	if o != nil {
		co.Words = o.Words
	}
	c, err := checkpoint.OpenWith(path, &co)
	if err != nil {
		return nil, unsupported(err)
	}
	m, err := New(c, o)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return m, nil
}

// New makes a model of an open checkpoint, which belongs to the model from then on and is closed with it. When
// New fails the checkpoint stays open. Errors are those of Open.
func New(c *checkpoint.Checkpoint, o *Options) (*Model, error) {
	if c.Tokenizer == nil {
		return nil, fmt.Errorf("encoder: checkpoint without a tokenizer: %w", checkpoint.ErrNotFound)
	}
	var to transformer.Options
	if o != nil {
		if o.Precision > Int8 {
			return nil, fmt.Errorf("%w: option Precision is %v", ErrOptions, o.Precision)
		}
		to.Precision, to.ShapeOnly = o.Precision, o.TokensOnly
	}
	enc, err := transformer.New(c, &to)
	if err != nil {
		return nil, unsupported(err)
	}
	h, err := newHead(c.Head, enc.Shape().Hidden)
	if err != nil {
		return nil, err
	}
	w := &weights{ckpt: c, tok: c.Tokenizer, enc: enc, lang: newLanguages(enc), head: h, precision: to.Precision}
	if n := w.tok.VocabSize(); n > enc.Shape().Vocab {
		return nil, fmt.Errorf("encoder: the tokenizer has %d tokens, the model %d: %w", n, enc.Shape().Vocab, checkpoint.ErrCorrupt)
	}
	return w.model(o)
}

// With returns a second model over the same weights with other options. Both must be closed; the checkpoint
// is released with the last one. Errors wrap ErrOptions or ErrClosed.
func (m *Model) With(o *Options) (*Model, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	return m.w.model(o)
}

// model makes a model and counts it.
func (w *weights) model(o *Options) (*Model, error) {
	if o == nil {
		o = new(Options)
	}
	s, err := w.resolve(o)
	if err != nil {
		return nil, err
	}
	lang, err := w.lang.settings(o)
	if err != nil {
		return nil, err
	}
	m := &Model{w: w, settings: s, lang: lang, name: o.Name, workers: o.Workers}
	if m.name == "" && w.ckpt.Dir != "" {
		if abs, err := filepath.Abs(w.ckpt.Dir); err == nil {
			m.name = filepath.Base(abs)
		}
	}
	w.mu.Lock()
	w.refs++
	w.mu.Unlock()
	return m, nil
}

// Dim returns the width of the token vectors.
func (m *Model) Dim() int { return m.settings.dim }

// Name returns the model's name: Options.Name, or the name of the checkpoint's folder.
func (m *Model) Name() string { return m.name }

// Info describes the model.
func (m *Model) Info() Info {
	s := m.w.enc.Shape()
	return Info{
		Name:         m.name,
		Architecture: s.Architecture,
		Layout:       m.w.ckpt.Layout.String(),
		Layers:       s.Layers,
		Hidden:       s.Hidden,
		Heads:        s.Heads,
		Dim:          m.Dim(),
		Similarity:   m.w.ckpt.Retrieval.Similarity.String(),
		Vocab:        s.Vocab,
		Parameters:   s.Parameters + m.w.head.params(),
		QueryTokens:  m.settings.query.length,
		DocTokens:    m.settings.doc.length,
		Expansion:    m.settings.query.expand,
		Language:     m.lang.code,
		Precision:    m.w.precision,
		Instructions: m.w.precision.Instructions(),
	}
}

// Close waits for the calls in progress and releases the checkpoint's files. Later calls return ErrClosed;
// closing again does nothing.
func (m *Model) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.closed = true
	m.w.mu.Lock()
	defer m.w.mu.Unlock()
	if m.w.refs--; m.w.refs > 0 {
		return nil
	}
	return m.w.ckpt.Close()
}

// EncodeQueries encodes search queries: the query marker, and expansion with MASK tokens where the model has
// it. The results are in the order of texts.
//
// Errors: a *TextError that names the first text at fault and wraps ErrEmptyText, ErrInvalidUTF8 or
// ErrNotFinite, or ErrLanguage for its own language; ErrLanguage for TextOptions.Language; the context's error;
// ErrClosed. A text that is too long is not an error, see
// Encoded.Truncated. No texts give no results.
func (m *Model) EncodeQueries(ctx context.Context, texts []string, o *TextOptions) ([]Encoded, error) {
	return m.encode(ctx, texts, &m.settings.query, o)
}

// EncodeQuery encodes one query. Errors are those of EncodeQueries without the *TextError.
func (m *Model) EncodeQuery(ctx context.Context, text string, o *TextOptions) (Encoded, error) {
	out, err := m.EncodeQueries(ctx, []string{text}, o)
	if err != nil {
		var te *TextError
		if errors.As(err, &te) {
			err = te.Err
		}
		return Encoded{}, err
	}
	return out[0], nil
}

// EncodeDocuments encodes documents: the document marker, and the vectors of the skiplist's tokens left out.
// Results and errors are those of EncodeQueries.
func (m *Model) EncodeDocuments(ctx context.Context, texts []string, o *TextOptions) ([]Encoded, error) {
	return m.encode(ctx, texts, &m.settings.doc, o)
}

// dim is the width of the vectors before Options.Dim cuts them.
func (w *weights) dim() int {
	if n := len(w.head); n > 0 {
		return w.head[n-1].out
	}
	return w.enc.Shape().Hidden
}

// unsupported gives the errors of the packages below this package's ErrUnsupported.
func unsupported(err error) error {
	if errors.Is(err, checkpoint.ErrUnsupported) || errors.Is(err, tokenizer.ErrUnsupported) || errors.Is(err, transformer.ErrUnsupported) {
		return fmt.Errorf("%w: %w", ErrUnsupported, err)
	}
	return err
}
