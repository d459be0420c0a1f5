package encoder

import (
	"context"

	"github.com/golbert/golbert/colbert/maxsim"
)

// Toggle overrides a yes-or-no setting of a checkpoint.
type Toggle uint8

// The zero Toggle leaves the checkpoint's own setting.
const (
	FromCheckpoint Toggle = iota
	On
	Off
)

func (t Toggle) or(own bool) bool {
	switch t {
	case On:
		return true
	case Off:
		return false
	}
	return own
}

// Encoded is one text as token vectors.
type Encoded struct {
	// Vectors holds one unit row per kept token.
	Vectors maxsim.Matrix
	// Tokens describes the rows of Vectors, one each and in the same order.
	Tokens []Token
	// Truncated says that the text was longer than the model's limit and that its end was left out.
	Truncated bool
}

// Token is one token of an encoded text.
type Token struct {
	// ID is the token's number in the model's vocabulary.
	ID int32
	// Text is the vocabulary's own spelling, such as "##ing" or "[CLS]".
	Text string
	// Start and End are byte offsets in the given text; both are 0 for special tokens.
	Start, End int
	// Special marks the tokens that the model adds: CLS, SEP, markers and query expansion masks.
	Special bool
}

// TextOptions are the options of one encoding call. A nil pointer means the zero value.
type TextOptions struct {
	// Language is the language of the texts, as an ISO code, for models that need it. Models that do not
	// ignore it.
	Language string
	// Progress, when set, is called after each finished portion of the texts, never concurrently.
	Progress func(done, total int)
}

// EncodeQuery encodes one query. Errors are those of EncodeQueries without the *TextError.
func (m *Model) EncodeQuery(ctx context.Context, text string, o *TextOptions) (Encoded, error) {
	out, err := m.EncodeQueries(ctx, []string{text}, o)
	if err != nil {
		if te, ok := err.(*TextError); ok {
			err = te.Err
		}
		return Encoded{}, err
	}
	return out[0], nil
}
