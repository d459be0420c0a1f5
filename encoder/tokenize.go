package encoder

import (
	"context"
	"fmt"
)

// Tokenized is a text as the transformer takes it: what encoding does before the first matrix product. Training needs
// it, and whoever counts tokens.
type Tokenized struct {
	// IDs are the tokens, with CLS, SEP, the marker and expansion tokens.
	IDs []int32
	// Attended is the number of tokens, from the first on, that others attend to; expansion tokens follow.
	Attended int
	// Keep lists the positions in IDs whose vectors are kept, ascending, at least one.
	Keep []int32
	// Tokens describes the kept ones, one for each position in Keep.
	Tokens []Token
	// Truncated says that the text was longer than the model's limit.
	Truncated bool
	// Language is that of Encoded; Part is the position of the language's part in Model.LanguageParts, -1 in models
	// without such parts.
	Language string
	Part     int
}

// TokenizeQueries gives the tokens that EncodeQueries would give vectors. Models that delete tokens on the way, and
// pooling, keep fewer vectors. Errors are those of EncodeQueries.
func (m *Model) TokenizeQueries(ctx context.Context, texts []string, o *TextOptions) ([]Tokenized, error) {
	return m.tokenize(ctx, texts, &m.settings.query, o)
}

// TokenizeDocuments is TokenizeQueries for documents.
func (m *Model) TokenizeDocuments(ctx context.Context, texts []string, o *TextOptions) ([]Tokenized, error) {
	return m.tokenize(ctx, texts, &m.settings.doc, o)
}

func (m *Model) tokenize(ctx context.Context, texts []string, s *side, o *TextOptions) ([]Tokenized, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.closed {
		return nil, ErrClosed
	}
	s, language, err := m.callOptions(texts, s, o)
	if err != nil {
		return nil, err
	}
	prep := make([]prepared, len(texts))
	if err := m.prepareAll(ctx, prep, texts, s, language); err != nil {
		return nil, err
	}
	out := make([]Tokenized, len(texts))
	for i, p := range prep {
		out[i] = Tokenized{
			IDs: p.ids, Attended: p.attended, Keep: p.keep, Tokens: p.tokens, Truncated: p.truncated,
			Language: p.language, Part: p.part,
		}
		if m.lang.parts == nil {
			out[i].Part = -1
		}
	}
	return out, nil
}

// LanguageParts lists the checkpoint's own names of the languages that the model has a part for, empty where it lacks
// the weights; nil for models that treat all languages alike.
func (m *Model) LanguageParts() []string {
	if m.lang.parts == nil {
		return nil
	}
	return m.lang.parts.Languages()
}

// callOptions lays a call's options over the model's, checks the texts, and gives what the caller says of each one's language.
func (m *Model) callOptions(texts []string, s *side, o *TextOptions) (*side, func(i int) string, error) {
	if o == nil {
		o = new(TextOptions)
	}
	if o.Languages != nil && len(o.Languages) != len(texts) {
		return nil, nil, fmt.Errorf("%w: %d languages for %d texts", ErrOptions, len(o.Languages), len(texts))
	}
	if o.Language != "" { // the call's fault, not a text's
		if _, _, err := m.lang.of("", o.Language); err != nil {
			return nil, nil, err
		}
	}
	s, err := s.with(o)
	if err != nil {
		return nil, nil, err
	}
	for i, t := range texts {
		if err := checkText(t); err != nil {
			return nil, nil, &TextError{Index: i, Err: err}
		}
	}
	return s, func(i int) string {
		if o.Languages != nil && o.Languages[i] != "" {
			return o.Languages[i]
		}
		return o.Language
	}, nil
}

// prepareAll tokenises texts on the model's workers.
func (m *Model) prepareAll(ctx context.Context, prep []prepared, texts []string, s *side, language func(i int) string) error {
	return m.parallel(ctx, len(texts), func(w *work, i int) error {
		code, part, err := m.lang.of(texts[i], language(i))
		if err != nil {
			return &TextError{Index: i, Err: err}
		}
		prep[i] = s.prepare(m.w.tok, texts[i], &w.enc)
		prep[i].language, prep[i].part = code, part
		return nil
	})
}
