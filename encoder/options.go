package encoder

import (
	"cmp"
	"errors"
	"fmt"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/tokenizer"
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

// Options change how a checkpoint is opened. A nil pointer means the zero value, which follows the
// checkpoint in everything.
type Options struct {
	// Name replaces the model's name; empty means the folder's name.
	Name string
	// MaxQueryTokens and MaxDocTokens replace the checkpoint's lengths, special tokens included; 0 keeps them.
	MaxQueryTokens, MaxDocTokens int
	// Words finds the words of Japanese text for checkpoints that want MeCab (tokenizer_class
	// BertJapaneseTokenizer): a Dictionary of package encoder/japanese. Open uses it, New does not: there the
	// checkpoint has its tokenizer already (checkpoint.Options.Words).
	Words tokenizer.WordSplitter
	// Dim cuts the token vectors to their first values before they are normalised, for models trained to stand it
	// (Matryoshka representation learning: jina-colbert-v2 with 96 or 64 of 128); 0 keeps all.
	Dim int
	// Precision is that of the weights as they are loaded; the zero value is Float32. Models made by With have the
	// precision of their weights: there, the zero value keeps it and another one is an error.
	Precision Precision
	// TokensOnly opens a model for TokenizeQueries and TokenizeDocuments: its weights are checked, but not loaded, and
	// encoding is ErrUnsupported.
	TokensOnly bool
	// Workers is the number of goroutines that encode; 0 means GOMAXPROCS.
	Workers int
	// Markers inserts the query and document marker tokens.
	Markers Toggle
	// Expansion fills queries with MASK tokens up to the query length.
	Expansion Toggle
	// ExpansionRule says how many expansion tokens a query gets, ExpansionStep what the dynamic rules round up
	// to, 0 for 32. With a rule other than ExpandToLength queries are cut at MaxQueryTokens when it is set, else
	// at the model's own limit.
	ExpansionRule ExpansionRule
	ExpansionStep int
	// AttendExpansion lets other tokens attend to the expansion masks.
	AttendExpansion Toggle
	// Skiplist drops the vectors of punctuation from documents. When it is On and the checkpoint has no list,
	// the list is ASCII punctuation.
	Skiplist Toggle
	// SpecialVectors keeps the vectors of CLS, SEP and the markers; checkpoints keep them. Expansion masks are
	// always kept.
	SpecialVectors Toggle
	// NoSpecialInText treats the names of special tokens in a text ("[SEP]") as ordinary text. The reference
	// implementations do not; switch it on for texts that are not trusted.
	NoSpecialInText bool
	// QueryPrompt and DocumentPrompt are put in front of every text and replace the checkpoint's; empty keeps
	// those. Prompts Off leaves them all out, On is the same as FromCheckpoint. The vectors of a prompt are kept.
	QueryPrompt, DocumentPrompt string
	Prompts                     Toggle
	// PoolFactor merges the vectors of a document that are near to each other, until one is left for every
	// PoolFactor of them; 2 halves an index and costs next to nothing in quality, as a rule. 0 is the
	// checkpoint's own factor, 1 merges nothing. It does not have to be a whole number.
	PoolFactor float64
	// PoolProtected is the number of a text's first vectors that are not merged: 0 means the checkpoint's, or 1,
	// the CLS token; a negative one none.
	PoolProtected int
	// PoolNormalize makes unit vectors of merged ones, which indexes ask for. Off keeps means as PyLate does.
	PoolNormalize Toggle
	// PoolStyle is whose clusters they are.
	PoolStyle PoolStyle
	// Language is the language of texts that do not say theirs (TextOptions), as a code that LanguageCode
	// knows; empty means the checkpoint's default_language. Its part of the model is read when the model is
	// opened, other languages' parts at their first use.
	Language string
	// FallbackLanguage is the language whose part of the model encodes texts of languages that the model has
	// no part for. Empty means none: such a text gives ErrLanguage.
	FallbackLanguage string
	// Detector, when set, is asked for the language of texts that do not say theirs, before Language. Package
	// langdetect has one.
	Detector LanguageDetector
}

// side is how texts of one kind become tokens and which of their vectors are kept.
type side struct {
	marker       int32 // inserted at index 1 when hasMarker
	hasMarker    bool
	length       int // limit, special tokens included
	expand       bool
	attend       bool  // the expansion tokens are attended to
	expansion    int32 // the expansion token
	skip         map[int32]bool
	keepSpecial  bool
	strip, lower bool
	prompt       string // put in front of every text
	rule         ExpansionRule
	floor        int // rows up to which expansion pads; with another rule than ExpandToLength the step
	pool         *pooling
	query        bool
	dropFirst    bool // the first token's vector is left out
	plainText    bool // NoSpecialInText
}

type settings struct {
	query, doc side
	dim        int // of the token vectors
}

// minTokens is the least length that leaves room for CLS, a marker, one token and SEP.
const minTokens = 4

// resolve lays the options over the checkpoint's own settings.
func (w *weights) resolve(o *Options) (settings, error) {
	r := &w.ckpt.Retrieval
	most := w.enc.Shape().MaxTokens
	var faults []error
	length := func(what string, asked, own int) int {
		n := own
		if asked != 0 {
			n = asked
		}
		switch {
		case n == 0 || asked == 0 && most > 0 && n > most:
			n = most
		case most > 0 && n > most:
			faults = append(faults, fmt.Errorf("option %s is %d, the model has %d positions", what, n, most))
		}
		if n < minTokens {
			faults = append(faults, fmt.Errorf("option %s is %d, the least is %d", what, n, minTokens))
		}
		return n
	}
	if p := w.precision; o.Precision != Float32 && o.Precision != p {
		faults = append(faults, fmt.Errorf("option Precision is %v, the weights are loaded in %v", o.Precision, p))
	}
	if o.Workers < 0 {
		faults = append(faults, fmt.Errorf("option Workers is %d", o.Workers))
	}
	common := side{
		keepSpecial: o.SpecialVectors.or(true),
		strip:       r.StripSpace,
		lower:       r.LowerCase,
		plainText:   o.NoSpecialInText,
	}
	common.dropFirst = r.DropFirst
	s := settings{query: common, doc: common, dim: w.dim()}
	if o.Dim < 0 || o.Dim > s.dim {
		faults = append(faults, fmt.Errorf("option Dim is %d, the model's vectors have %d values", o.Dim, s.dim))
	} else if o.Dim > 0 {
		s.dim = o.Dim
	}
	s.query.query = true
	if o.Prompts != Off {
		s.query.prompt, s.doc.prompt = cmp.Or(o.QueryPrompt, r.QueryPrompt), cmp.Or(o.DocumentPrompt, r.DocumentPrompt)
	}
	if err := o.ExpansionRule.check(o.ExpansionStep); err != nil {
		faults = append(faults, err)
	}
	own := r.QueryLength
	if o.ExpansionRule != ExpandToLength {
		own = 0
		if most == 0 {
			own = openLength
		}
	}
	s.query.length = length("MaxQueryTokens", o.MaxQueryTokens, own)
	s.doc.length = length("MaxDocTokens", o.MaxDocTokens, r.DocumentLength)
	for _, m := range []struct {
		s  *side
		id int32
		ok bool
	}{{&s.query, r.Query.ID, r.Query.Token != ""}, {&s.doc, r.Document.ID, r.Document.Token != ""}} {
		if o.Markers == On && !m.ok {
			faults = append(faults, errors.New("option Markers is On and the checkpoint has none"))
		}
		m.s.marker, m.s.hasMarker = m.id, m.ok && o.Markers != Off
	}
	if s.query.expand = o.Expansion.or(r.Expansion); s.query.expand {
		s.query.floor = s.query.length
		if r.ExpansionLength > 0 && r.ExpansionLength < r.QueryLength { // otherwise the one length is both
			s.query.floor = min(r.ExpansionLength, s.query.length)
		}
		if s.query.rule = o.ExpansionRule; s.query.rule != ExpandToLength {
			s.query.floor = cmp.Or(o.ExpansionStep, expansionStep)
		}
		s.query.attend = o.AttendExpansion.or(r.AttendExpansion)
		if s.query.expansion = r.ExpansionID; r.ExpansionID < 0 {
			faults = append(faults, errors.New("option Expansion is On and the checkpoint has no token for it"))
		}
	}
	if o.Skiplist.or(len(r.Skiplist) > 0) {
		list := r.Skiplist
		if len(list) == 0 {
			list = checkpoint.StanfordSkiplist(w.tok)
		}
		s.doc.skip = idSet(list)
	}
	if o.Skiplist != Off && len(r.QuerySkiplist) > 0 {
		s.query.skip = idSet(r.QuerySkiplist)
	}
	var ownPool *pooling
	if p := r.Pooling; p != nil {
		ownPool = &pooling{factor: p.Factor, protected: p.Protected, normalize: p.Normalize}
	}
	pool, err := o.pooling(ownPool)
	if err != nil {
		faults = append(faults, err)
	}
	s.doc.pool = &pool
	if r.Pooling != nil && r.Pooling.Queries {
		s.query.pool = &pool
	}
	if r.Pooling != nil && !r.Pooling.Documents && o.PoolFactor == 0 {
		none := pool
		none.factor = 1
		s.doc.pool = &none
	}
	if len(faults) > 0 {
		return s, fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
	}
	return s, nil
}

// with lays a call's options over the model's.
func (s *side) with(o *TextOptions) (*side, error) {
	if err := checkFactor("PoolFactor", o.PoolFactor); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrOptions, err)
	}
	if o.Prompt == "" && (o.PoolFactor == 0 || s.query) {
		return s, nil
	}
	c := *s
	if o.Prompt != "" {
		c.prompt = o.Prompt
	}
	if o.PoolFactor != 0 && !s.query {
		p := *s.pool
		p.factor = o.PoolFactor
		c.pool = &p
	}
	return &c, nil
}

func idSet(list []int32) map[int32]bool {
	m := make(map[int32]bool, len(list))
	for _, id := range list {
		m[id] = true
	}
	return m
}
