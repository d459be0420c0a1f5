package tokenizer

import "fmt"

// Tokenizer turns text into token ids. It is immutable and safe for concurrent use.
type Tokenizer struct{}

// Encoding is the result of Encode. The three slices have one element per token.
type Encoding struct {
	// IDs are the token ids.
	IDs []int32
	// Offsets are byte ranges [start, end) of the text given to Encode; {0, 0} for the tokens that the
	// post-processor adds ([CLS], [SEP]).
	Offsets [][2]int
	// Special is true for the tokens that the post-processor adds, and only for those: "[SEP]" found in
	// the text is an ordinary token here, as in Hugging Face's special_tokens_mask.
	Special []bool
	// Truncated is true when MaxLen cut tokens off.
	Truncated bool
}

// EncodeOptions steers Encode. The zero value gives the bare tokens of the text.
type EncodeOptions struct {
	// AddSpecial lets the post-processor add its tokens ([CLS] ... [SEP]).
	AddSpecial bool
	// MaxLen is the largest number of tokens, special ones counted; 0 means no limit. The first tokens are
	// kept and the special tokens are always kept, even when MaxLen is below their number.
	MaxLen int
	// NoSpecialInText treats the names of special tokens in the text ("[SEP]") as ordinary text.
	NoSpecialInText bool
}

// VocabOptions describes a BERT tokenizer of which only the vocabulary is at hand. The zero value is that of
// bert-base-uncased.
type VocabOptions struct {
	// Cased keeps the case of letters (do_lower_case false).
	Cased bool
	// StripAccents removes combining marks; nil means: when the text is lower-cased.
	StripAccents *bool
	// NoCJKSplit keeps runs of Chinese characters together (tokenize_chinese_chars false).
	NoCJKSplit bool
	// Unk, CLS, SEP, Pad and Mask name the special tokens; empty means [UNK], [CLS], [SEP], [PAD], [MASK].
	Unk, CLS, SEP, Pad, Mask string
}

// FromJSON reads a Hugging Face tokenizer.json.
func FromJSON(b []byte) (*Tokenizer, error) { return nil, fmt.Errorf("%w: FromJSON", ErrUnsupported) }

// FromVocab builds a BERT tokenizer from the content of a vocab.txt: one token a line, its id the line number.
func FromVocab(vocab []byte, o VocabOptions) (*Tokenizer, error) {
	return nil, fmt.Errorf("%w: FromVocab", ErrUnsupported)
}

// Encode tokenizes text.
func (t *Tokenizer) Encode(text string, o EncodeOptions) Encoding { return Encoding{} }

// AppendEncode is Encode into e, whose slices are overwritten and reused.
func (t *Tokenizer) AppendEncode(e *Encoding, text string, o EncodeOptions) {}

// ID returns the id of a token of the vocabulary or of an added token, by its exact text.
func (t *Tokenizer) ID(token string) (int32, bool) { return 0, false }

// Token returns the text of an id.
func (t *Tokenizer) Token(id int32) (string, bool) { return "", false }

// VocabSize is the largest id, plus one.
func (t *Tokenizer) VocabSize() int { return 0 }

// CLS returns the id of the classification token, when there is one.
func (t *Tokenizer) CLS() (int32, bool) { return 0, false }

// SEP returns the id of the separator token, when there is one.
func (t *Tokenizer) SEP() (int32, bool) { return 0, false }

// PAD returns the id of the padding token, when there is one.
func (t *Tokenizer) PAD() (int32, bool) { return 0, false }

// MASK returns the id of the mask token, when there is one.
func (t *Tokenizer) MASK() (int32, bool) { return 0, false }

// UNK returns the id of the unknown token, when there is one.
func (t *Tokenizer) UNK() (int32, bool) { return 0, false }
