package encoder

import "github.com/golbert/golbert/colbert/maxsim"

// Encoded is one text as token vectors.
type Encoded struct {
	// Vectors holds one unit row per kept token.
	Vectors maxsim.Matrix
	// Tokens describes the rows of Vectors, one each and in the same order. A row that was merged of several
	// (Options.PoolFactor) has the token whose vector is nearest to it.
	Tokens []Token
	// Truncated says that the text was longer than the model's limit and that its end was left out.
	Truncated bool
	// Language is the code (see LanguageCode) of the text's language: the one given, detected, or assumed by
	// default; empty when nothing is known.
	Language string
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
	// Language is the language of the texts, as a code that LanguageCode knows, or a name of the checkpoint's
	// own. It selects the part of models that have one for each language, and comes back in Encoded. Empty
	// means that it is detected, with Options.Detector, or else Options.Language. An unknown one gives
	// ErrLanguage.
	Language string
	// Languages, when not nil, holds the language of each text in the place of Language; empty ones mean
	// Language. Texts of different languages are encoded together.
	Languages []string
	// Prompt, when not empty, is put in front of every text in the place of the model's own prompt: the
	// instruction of a task, say.
	Prompt string
	// PoolFactor replaces Options.PoolFactor for the documents of this call; 0 keeps it. Queries ignore it.
	PoolFactor float64
	// Progress, when set, is called after each finished portion of the texts, never concurrently and with
	// ascending done.
	Progress func(done, total int)
}
