package colbert

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

// Encoder turns texts into token vectors. *encoder.Model is one; a caller may bring another, a remote one
// say. An Encoder must be safe for concurrent use: Add calls EncodeDocuments from several goroutines.
//
// Both methods return one encoder.Encoded per text, in order, whose Vectors have Dim columns and unit rows.
// Tokens, where given, has one entry per row; only Explain needs it. An error that is one text's own should
// be an *encoder.TextError, so that the text can be named (and skipped, where the caller asks for that).
type Encoder interface {
	// Dim is the number of columns of the vectors.
	Dim() int
	// Name identifies the model. An index is opened only with an encoder of the name that built it.
	Name() string
	EncodeQueries(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error)
	EncodeDocuments(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error)
}

// WithLanguage returns an encoder that encodes texts as ones of the given language (a code that the model
// knows) wherever a call does not say another. Use it to give Rerank and Explain a language.
func WithLanguage(enc Encoder, language string) Encoder { return &languageEncoder{enc, language} }

type languageEncoder struct {
	Encoder
	language string
}

func (e *languageEncoder) options(o *encoder.TextOptions) *encoder.TextOptions {
	var c encoder.TextOptions
	if o != nil {
		c = *o
	}
	if c.Language == "" {
		c.Language = e.language
	}
	return &c
}

func (e *languageEncoder) EncodeQueries(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	return e.Encoder.EncodeQueries(ctx, texts, e.options(o))
}

func (e *languageEncoder) EncodeDocuments(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	return e.Encoder.EncodeDocuments(ctx, texts, e.options(o))
}

// side says which of the encoder's two methods a text goes through.
type side bool

const (
	query    side = false
	document side = true
)

func (s side) encode(ctx context.Context, enc Encoder, texts []string, o encoder.TextOptions) ([]encoder.Encoded, error) {
	f := enc.EncodeQueries
	if s == document {
		f = enc.EncodeDocuments
	}
	return f(ctx, texts, &o)
}

// encodeEach encodes texts and keeps errors apart: out[i] is valid where errs[i] is nil.
// A text that the encoder refuses costs the others nothing but a second call. The last result is an error
// of the call as a whole, cancellation say.
func encodeEach(ctx context.Context, enc Encoder, s side, texts []string, o encoder.TextOptions) (out []encoder.Encoded, errs []error, err error) {
	out = make([]encoder.Encoded, len(texts))
	errs = make([]error, len(texts))
	// todo holds the positions still to encode; a refused text leaves it and the rest is tried again.
	todo := make([]int, 0, len(texts))
	for i, t := range texts {
		if errs[i] = checkText(t); errs[i] == nil {
			todo = append(todo, i)
		}
	}
	for len(todo) > 0 {
		if err := ctx.Err(); err != nil {
			return nil, nil, err
		}
		part := make([]string, len(todo))
		for i, p := range todo {
			part[i] = texts[p]
		}
		enced, err := s.encode(ctx, enc, part, o)
		if te := (*encoder.TextError)(nil); errors.As(err, &te) && te.Index >= 0 && te.Index < len(todo) {
			errs[todo[te.Index]] = te.Err
			todo = append(todo[:te.Index], todo[te.Index+1:]...)
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		if len(enced) != len(part) {
			return nil, nil, fmt.Errorf("%w: %d results for %d texts", ErrEncoder, len(enced), len(part))
		}
		for i, p := range todo {
			out[p], errs[p] = enced[i], checkVectors(enc, enced[i].Vectors)
		}
		break
	}
	return out, errs, nil
}

// checkText refuses what no encoder can make sense of, before it costs anything.
func checkText(t string) error {
	if strings.TrimSpace(t) == "" {
		return ErrEmptyText
	}
	if !utf8.ValidString(t) {
		for i := 0; i < len(t); {
			r, n := utf8.DecodeRuneInString(t[i:])
			if r == utf8.RuneError && n == 1 {
				return fmt.Errorf("byte %d: %w", i, ErrInvalidUTF8)
			}
			i += n
		}
	}
	return nil
}

// checkVectors holds an encoder to its own word; a wrong one must not spoil an index.
func checkVectors(enc Encoder, m maxsim.Matrix) error {
	if err := m.Validate(); err != nil {
		return err
	}
	if m.Rows > 0 && m.Dim != enc.Dim() {
		return fmt.Errorf("encoder %q made vectors of dimension %d and declares %d: %w", enc.Name(), m.Dim, enc.Dim(), ErrDim)
	}
	return nil
}
