package checkpoint

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"unicode"

	"github.com/golbert/golbert/encoder/tokenizer"
)

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
	Mean              // Cosine, with the mean over a query's tokens in place of the sum: the same order
)

// String returns "cosine", "l2" or "mean".
func (s Similarity) String() string {
	switch s {
	case L2:
		return "l2"
	case Mean:
		return "mean"
	}
	return "cosine"
}

// Pooling says that a checkpoint merges similar vectors of a text: Ward clusters of cosine distances, one for
// every Factor vectors, each replaced by its mean (sentence-transformers' HierarchicalTokenPooling).
type Pooling struct {
	Factor             float64 // at least 1, which merges nothing
	Protected          int     // the first vectors, which are kept as they are
	Normalize          bool    // whether means become unit vectors
	Queries, Documents bool    // which texts
}

// Retrieval tells how texts become token vectors. Lengths count every token: [CLS], marker, [SEP].
type Retrieval struct {
	Query, Document Marker
	QueryLength     int // longest query in tokens; with Expansion the number of rows of every query
	DocumentLength  int // longest document in tokens
	// Expansion pads queries to QueryLength with ExpansionID; the rows of these tokens are kept.
	Expansion bool
	// AttendExpansion lets tokens attend to the expansion tokens (attention mask 1 instead of 0).
	AttendExpansion bool
	// ExpansionID is [MASK], or the end of text in models that have none; -1 when there is neither.
	ExpansionID int32
	// ExpansionLength is the number of rows up to which Expansion pads; 0 means QueryLength. When it is less,
	// longer queries are not cut there.
	ExpansionLength int
	// Skiplist and QuerySkiplist hold the ids of document and query tokens whose vectors are dropped, ascending.
	// Most checkpoints keep all of a query's.
	Skiplist, QuerySkiplist []int32
	// QueryPrompt and DocumentPrompt are put in front of every text before it is tokenized.
	QueryPrompt, DocumentPrompt string
	// DropFirst drops the vector of every text's first token, [CLS].
	DropFirst bool
	// Pooling is nil for checkpoints that keep all vectors.
	Pooling *Pooling
	// StripSpace removes white space around a text before it is tokenized.
	StripSpace bool
	// LowerCase lower-cases a text before it is tokenized, beside what the tokenizer itself does.
	LowerCase  bool
	Similarity Similarity
}

// punctuation is Python's string.punctuation: the 32 ASCII marks.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// StanfordSkiplist gives the ids that colbert-ai drops from documents: for each ASCII punctuation mark the first
// token of the mark encoded as a text.
func StanfordSkiplist(t *tokenizer.Tokenizer) []int32 {
	var ids []int32
	for _, r := range punctuation {
		if e := t.Encode(string(r), tokenizer.EncodeOptions{}); len(e.IDs) > 0 {
			ids = append(ids, e.IDs[0])
		}
	}
	return sorted(ids)
}

// PyLateSkiplist gives the ids that PyLate drops from documents: the tokens that are exactly these words. A word
// that is no token stands for the unknown token, as in PyLate. nil words mean the ASCII punctuation marks.
func PyLateSkiplist(t *tokenizer.Tokenizer, words []string) []int32 {
	if words == nil {
		for _, r := range punctuation {
			words = append(words, string(r))
		}
	}
	var ids []int32
	for _, w := range words {
		id, ok := t.ID(w)
		if !ok {
			id, ok = t.UNK()
		}
		if ok {
			ids = append(ids, id)
		}
	}
	return sorted(ids)
}

func sorted(ids []int32) []int32 {
	slices.Sort(ids)
	return slices.Compact(ids)
}

const (
	// maxLength bounds the lengths that a checkpoint may set.
	maxLength = 1 << 20
	// maxExpansion bounds the rows that every query is filled up to, however short it is. Checkpoints have 32 to 512.
	maxExpansion = 1 << 13
)

// check refuses lengths that make no sense.
func (r *Retrieval) check(file, query, document string) error {
	for _, f := range []struct {
		name string
		n    int
	}{{query, r.QueryLength}, {document, r.DocumentLength}} {
		if f.n < 1 || f.n > maxLength {
			return &CorruptError{File: file, Field: f.name, Offset: -1, Msg: fmt.Sprintf("length %d is out of range", f.n)}
		}
	}
	rows := r.ExpansionLength
	if rows == 0 {
		rows = r.QueryLength
	}
	if r.Expansion && rows > maxExpansion {
		return &CorruptError{File: file, Field: query, Offset: -1, Msg: fmt.Sprintf("every query would be filled up to %d tokens, at most %d are taken", rows, maxExpansion)}
	}
	return nil
}

// plainRetrieval gives the settings of a backbone without any of its own: no markers, no expansion, all tokens
// kept, texts as long as the model takes them.
func plainRetrieval(c *Checkpoint, tc *tokenizerConfig, s *sentenceConfig) {
	n := c.longest(s)
	c.Retrieval = Retrieval{
		QueryLength: n, DocumentLength: n, ExpansionID: tc.expansionID(c.Tokenizer),
		LowerCase: s.LowerCase, StripSpace: s.found,
	}
}

// longest is the length of texts where nothing but the backbone limits it.
func (c *Checkpoint) longest(s *sentenceConfig) int {
	n := 512
	if c.Config.MaxPositions > 0 {
		n = c.Config.MaxPositions
	}
	if s.MaxLength != nil && *s.MaxLength > 0 {
		n = min(n, *s.MaxLength)
	}
	return n
}

// sentenceConfig is sentence_bert_config.json, with the fields that MultiVectorEncoder adds.
type sentenceConfig struct {
	MaxLength      *int            `json:"max_seq_length"`
	LowerCase      bool            `json:"do_lower_case"`
	Task           string          `json:"transformer_task"`
	QueryLength    *int            `json:"query_length"`
	DocumentLength *int            `json:"document_length"`
	Expansion      *queryExpansion `json:"query_expansion"`
	Modalities     map[string]any  `json:"modality_config"`
	Processing     map[string]any  `json:"processing_kwargs"`
	found          bool
}

func readSentenceConfig(dir string) (c sentenceConfig, err error) {
	c.found, err = optional(readJSON(filepath.Join(dir, "sentence_bert_config.json"), &c))
	return c, err
}

// pylateConfig is config_sentence_transformers.json with the fields that PyLate adds.
type pylateConfig struct {
	ModelType      string    `json:"model_type"`
	QueryPrefix    *string   `json:"query_prefix"`
	DocumentPrefix *string   `json:"document_prefix"`
	QueryLength    *int      `json:"query_length"`
	DocumentLength *int      `json:"document_length"`
	Attend         *bool     `json:"attend_to_expansion_tokens"`
	Expansion      *bool     `json:"do_query_expansion"`
	Skiplist       *[]string `json:"skiplist_words"`
	SimilarityFn   string    `json:"similarity_fn_name"`
	// Prompts are texts to put in front of queries and documents; some names have none.
	Prompts       map[string]*string `json:"prompts"`
	DefaultPrompt *string            `json:"default_prompt_name"`
	file          string
}

// or returns *p, or the default when the file does not say.
func or[T any](p *T, def T) T {
	if p == nil {
		return def
	}
	return *p
}

// pylateRetrieval gives PyLate's settings.
func pylateRetrieval(c *Checkpoint, tc *tokenizerConfig, s *sentenceConfig, p *pylateConfig) error {
	r := &c.Retrieval
	*r = Retrieval{
		QueryLength: or(p.QueryLength, 32), DocumentLength: or(p.DocumentLength, 180),
		Expansion: or(p.Expansion, true), AttendExpansion: or(p.Attend, false),
		ExpansionID: tc.expansionID(c.Tokenizer),
		StripSpace:  true, LowerCase: s.LowerCase,
	}
	if p.DefaultPrompt != nil { // PyLate takes the others only when they are asked for
		prompt, ok := p.Prompts[*p.DefaultPrompt]
		if !ok {
			return &CorruptError{File: p.file, Field: "default_prompt_name", Offset: -1, Msg: fmt.Sprintf("there is no prompt %q", *p.DefaultPrompt)}
		}
		r.QueryPrompt = strings.TrimLeftFunc(or(prompt, ""), unicode.IsSpace)
		if r.LowerCase {
			r.QueryPrompt = strings.ToLower(r.QueryPrompt)
		}
		r.DocumentPrompt = r.QueryPrompt
	}
	switch p.SimilarityFn {
	case "", "MaxSim", "maxsim", "cosine", "dot":
	case "meanmaxsim", "MeanMaxSim":
		r.Similarity = Mean
	default:
		return fmt.Errorf("%w: %s: similarity_fn_name %q", ErrUnsupported, p.file, p.SimilarityFn)
	}
	for _, m := range []struct {
		field string
		text  string
		to    *Marker
	}{
		{"query_prefix", or(p.QueryPrefix, "[Q] "), &r.Query},
		{"document_prefix", or(p.DocumentPrefix, "[D] "), &r.Document},
	} {
		if m.text == "" {
			continue
		}
		id, ok := c.Tokenizer.ID(m.text)
		if !ok {
			return &CorruptError{File: p.file, Field: m.field, Offset: -1, Msg: fmt.Sprintf("%q is not a token of the tokenizer", m.text)}
		}
		*m.to = Marker{m.text, id}
	}
	r.Skiplist = PyLateSkiplist(c.Tokenizer, or(p.Skiplist, nil))
	if p.Skiplist != nil && len(*p.Skiplist) == 0 {
		r.Skiplist = nil
	}
	return r.check(p.file, "query_length", "document_length")
}

// stanfordConfig is artifact.metadata; null and missing fields take colbert-ai's defaults.
type stanfordConfig struct {
	QueryToken      *string `json:"query_token_id"` // despite the name the token's text
	DocToken        *string `json:"doc_token_id"`
	QueryLength     *int    `json:"query_maxlen"`
	DocLength       *int    `json:"doc_maxlen"`
	MaskPunctuation *bool   `json:"mask_punctuation"`
	Attend          *bool   `json:"attend_to_mask_tokens"`
	Similarity      *string `json:"similarity"`
	Interaction     *string `json:"interaction"`
	Dim             *int    `json:"dim"`
	file            string
}

// stanfordRetrieval gives colbert-ai's settings.
func stanfordRetrieval(c *Checkpoint, tc *tokenizerConfig, s *stanfordConfig) error {
	r := &c.Retrieval
	*r = Retrieval{
		QueryLength: or(s.QueryLength, 32), DocumentLength: or(s.DocLength, 220),
		Expansion: true, AttendExpansion: or(s.Attend, false),
		ExpansionID: tc.expansionID(c.Tokenizer),
	}
	switch v := or(s.Similarity, "cosine"); v {
	case "cosine":
	case "l2":
		r.Similarity = L2
	default:
		return fmt.Errorf("%w: %s: similarity %q", ErrUnsupported, s.file, v)
	}
	if v := or(s.Interaction, "colbert"); v != "colbert" {
		return fmt.Errorf("%w: %s: interaction %q", ErrUnsupported, s.file, v)
	}
	// A marker that the vocabulary lacks becomes the unknown token: so ColBERT-XM was trained and evaluated,
	// with <unk> as the marker of queries and documents alike.
	marker := func(text string) (Marker, error) {
		id, ok := c.Tokenizer.ID(text)
		if !ok {
			id, ok = c.Tokenizer.UNK()
		}
		if !ok {
			return Marker{}, &CorruptError{File: s.file, Field: "query_token_id", Offset: -1, Msg: fmt.Sprintf("neither %q nor an unknown token is in the vocabulary", text)}
		}
		return Marker{text, id}, nil
	}
	var err error
	if r.Query, err = marker(or(s.QueryToken, "[unused0]")); err != nil {
		return err
	}
	if r.Document, err = marker(or(s.DocToken, "[unused1]")); err != nil {
		return err
	}
	if or(s.MaskPunctuation, true) {
		r.Skiplist = StanfordSkiplist(c.Tokenizer)
	}
	return r.check(s.file, "query_maxlen", "doc_maxlen")
}
