// Package langdetect guesses the language of a text, for encoders with a part per language (ColBERT-XM) and for the
// language column of an index:
//
//	d, err := langdetect.New(&langdetect.Options{Languages: []string{"de", "fr", "it"}})
//	m, err := encoder.Open("/models/colbert-xm", &encoder.Options{Detector: d})
//
// It asks whatlanggo, which compares the letters and their trigrams with profiles of 84 languages, and tells
// traditional from simplified Chinese by the characters. A sentence is enough as a rule; a query of two words is
// not, so give the language of queries where it is known. Fewer languages to choose from make fewer mistakes.
//
// The package is apart from encoder so that only those who import it link the profiles.
package langdetect

import (
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/abadojack/whatlanggo"
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/encoding/traditionalchinese"

	"github.com/golbert/golbert/encoder"
)

// Options change how languages are guessed. A nil pointer means the zero value.
type Options struct {
	// Languages are those to choose from, as codes that encoder.LanguageCode knows; nil means all of them. Those
	// that the detector has no profile of are left out.
	Languages []string
	// MinConfidence is the least confidence of a guess, from 0 to 1; below it the answer is "", so that the
	// encoder's default applies. 0 takes every guess.
	MinConfidence float64
	// MaxBytes is how much of a text is looked at; 0 means 2,048.
	MaxBytes int
}

// Detector guesses languages. It is safe for concurrent use and implements encoder.LanguageDetector.
type Detector struct {
	allowed    map[string]bool // codes; nil for all
	profiles   map[whatlanggo.Lang]bool
	confidence float64
	max        int
}

// New makes a detector. Errors wrap encoder.ErrLanguage for a code that is none, or when no language is left to choose
// from, and encoder.ErrOptions.
func New(o *Options) (*Detector, error) {
	if o == nil {
		o = new(Options)
	}
	if !(o.MinConfidence >= 0 && o.MinConfidence <= 1) || o.MaxBytes < 0 {
		return nil, fmt.Errorf("langdetect: MinConfidence %g, MaxBytes %d: %w", o.MinConfidence, o.MaxBytes, encoder.ErrOptions)
	}
	d := &Detector{confidence: o.MinConfidence, max: o.MaxBytes}
	if d.max == 0 {
		d.max = 2048
	}
	if o.Languages == nil {
		return d, nil
	}
	d.allowed, d.profiles = map[string]bool{}, map[whatlanggo.Lang]bool{}
	for _, l := range o.Languages {
		code, err := encoder.LanguageCode(l)
		if err != nil {
			return nil, fmt.Errorf("langdetect: %w", err)
		}
		d.allowed[code] = true
	}
	for l := range whatlanggo.Langs {
		if code := codeOf(l); d.allowed[code] || code == "zh" && d.allowed["zh-Hant"] {
			d.profiles[l] = true
		}
	}
	if len(d.profiles) == 0 {
		return nil, fmt.Errorf("langdetect: %w: there is a profile of none of %s", encoder.ErrLanguage, strings.Join(o.Languages, ", "))
	}
	return d, nil
}

// Languages lists the codes that the detector can answer with, sorted.
func (d *Detector) Languages() []string {
	var codes []string
	for l := range whatlanggo.Langs {
		if d.profiles == nil || d.profiles[l] {
			codes = append(codes, codeOf(l))
		}
	}
	if d.allowed == nil || d.allowed["zh-Hant"] {
		codes = append(codes, "zh-Hant")
	}
	codes = slices.DeleteFunc(codes, func(c string) bool { return c == "" || d.allowed != nil && !d.allowed[c] })
	slices.Sort(codes)
	return slices.Compact(codes)
}

// codeOf gives golbert's code of a profile's language, "" for one without.
func codeOf(l whatlanggo.Lang) string {
	code, err := encoder.LanguageCode(l.Iso6393())
	if err != nil {
		return ""
	}
	return code
}

// DetectLanguage guesses a text's language, or returns "" when it cannot tell.
func (d *Detector) DetectLanguage(text string) string {
	text = cut(text, d.max)
	info := whatlanggo.DetectWithOptions(text, whatlanggo.Options{Whitelist: d.profiles})
	// Confidence 0 is a tie, of which the library takes either side.
	if info.Lang < 0 || info.Confidence == 0 || info.Confidence < d.confidence {
		return ""
	}
	code := codeOf(info.Lang)
	if code == "zh" && (d.allowed == nil || d.allowed["zh-Hant"]) && (traditional(text) || d.allowed != nil && !d.allowed["zh"]) {
		code = "zh-Hant"
	}
	if d.allowed != nil && !d.allowed[code] { // found by its script alone
		return ""
	}
	return code
}

// cut keeps the first n bytes, whole characters.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// traditional says whether a Chinese text has more characters that only Big5 (Taiwan, Hong Kong) has than ones that
// only GB 2312 (mainland) has. Characters in both, which are most, say nothing.
func traditional(text string) bool {
	big5, gb := traditionalchinese.Big5.NewEncoder(), simplifiedchinese.HZGB2312.NewEncoder()
	has := func(e *encoding.Encoder, s string) bool {
		e.Reset()
		_, err := e.String(s)
		return err == nil
	}
	more, seen := 0, 0
	for _, r := range text {
		if !unicode.Is(unicode.Han, r) {
			continue
		}
		s := string(r)
		switch t, m := has(big5, s), has(gb, s); {
		case t && !m:
			more++
		case m && !t:
			more--
		}
		if seen++; seen == 200 {
			break
		}
	}
	return more > 0
}
