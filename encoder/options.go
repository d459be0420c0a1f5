package encoder

import (
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
	// Workers is the number of goroutines that encode; 0 means GOMAXPROCS.
	Workers int
	// Markers inserts the query and document marker tokens.
	Markers Toggle
	// Expansion fills queries with MASK tokens up to the query length.
	Expansion Toggle
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
	floor        int    // rows up to which expansion pads
	dropFirst    bool   // the first token's vector is left out
	plainText    bool   // NoSpecialInText
}

type settings struct{ query, doc side }

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
	s := settings{query: common, doc: common}
	s.query.prompt, s.doc.prompt = r.QueryPrompt, r.DocumentPrompt
	s.query.length = length("MaxQueryTokens", o.MaxQueryTokens, r.QueryLength)
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
	if len(faults) > 0 {
		return s, fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
	}
	return s, nil
}

func idSet(list []int32) map[int32]bool {
	m := make(map[int32]bool, len(list))
	for _, id := range list {
		m[id] = true
	}
	return m
}
