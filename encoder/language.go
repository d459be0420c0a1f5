package encoder

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"github.com/golbert/golbert/encoder/transformer"
)

// LanguageDetector guesses the language of a text. It must be safe for concurrent use.
type LanguageDetector interface {
	// DetectLanguage returns a code that LanguageCode knows, or "" when it cannot tell.
	DetectLanguage(text string) string
}

// canonical follows CLDR: three-letter and withdrawn codes become today's two-letter ones (deu, iw, in), members of a
// macrolanguage with a standard form become it (cmn, arb, nb).
const canonical = language.DeprecatedBase | language.SuppressScript | language.Legacy | language.Macro

// synonyms are codes that share the part of another language in XMOD, and that CLDR keeps apart.
var synonyms = map[string]string{"fil": "tl", "nn": "no", "yue": "zh"}

// maxLanguageCode is longer than any code with a region and a script.
const maxLanguageCode = 64

// LanguageCode gives the code by which golbert stores and compares languages: the ISO 639 code of two letters, or of
// three where there is none, in lower case. Regions do not count (pt-BR and pt_PT are "pt"), scripts do for Chinese
// alone: "zh" is written in simplified, "zh-Hant" in traditional characters, as zh-TW and zh-HK are.
//
// It understands BCP 47 tags with - or _ (de, de-AT, zh_Hant_TW), ISO 639-2 and 639-3 (ger, deu, cmn), withdrawn codes
// (iw, in, sh), fairseq's names (en_XX, eo_EO) and their suffixes _rom and _zaw for romanised and Zawgyi text, which do
// not change the language. Both kinds of Norwegian are "no", Filipino and Tagalog "tl". Anything else gives
// ErrLanguage.
func LanguageCode(name string) (string, error) {
	s := stripSuffix(name)
	if len(s) > maxLanguageCode {
		return "", fmt.Errorf("%w %.40q...: it has %d bytes", ErrLanguage, s, len(s))
	}
	t, err := canonical.Parse(s)
	if err != nil {
		if unknown := language.ValueError(nil); !errors.As(err, &unknown) {
			return "", fmt.Errorf("%w %q: it is not a language code", ErrLanguage, name)
		}
		// A part is well-formed but unknown. The regions of some fairseq names do not exist, which is no harm.
		base, script, _ := t.Raw()
		if t, err = canonical.Compose(base, script); err != nil {
			return "", fmt.Errorf("%w %q: %w", ErrLanguage, name, err)
		}
	}
	base, _, _ := t.Raw()
	code := base.String()
	if code == "und" || s == "" {
		return "", fmt.Errorf("%w %q", ErrLanguage, name)
	}
	if c, ok := synonyms[code]; ok {
		code = c
	}
	if script, _ := t.Script(); code == "zh" && script.String() == "Hant" {
		code = "zh-Hant"
	}
	return code, nil
}

// stripSuffix drops what fairseq's XMOD drops from a language before it looks for the adapter.
func stripSuffix(name string) string {
	s := strings.TrimSpace(name)
	for _, suffix := range []string{"_rom", "_zaw"} {
		if n := len(s) - len(suffix); n > 0 && strings.EqualFold(s[n:], suffix) {
			return s[:n]
		}
	}
	return s
}

// languages is the way from language codes to the parts of a model. Models without such parts take any language.
type languages struct {
	parts  transformer.Multilingual // nil for a model without parts
	names  map[string]int           // the checkpoint's own names, in lower case
	codes  map[string]int
	listed []string // the codes in the checkpoint's order
	code   []string // of each part
}

func newLanguages(enc transformer.Encoder) *languages {
	l := &languages{}
	l.parts, _ = enc.(transformer.Multilingual)
	if l.parts == nil {
		return l
	}
	names := l.parts.Languages()
	l.names, l.codes, l.code = map[string]int{}, map[string]int{}, make([]string, len(names))
	for i, n := range names {
		if n == "" { // without weights
			continue
		}
		l.names[spelling(n)] = i
		c, err := LanguageCode(n)
		if err != nil {
			c = n // a name of the checkpoint's own
		}
		if _, taken := l.codes[c]; taken {
			c = n // two parts for one language: the first has the code
		}
		l.codes[c], l.code[i] = i, c
		l.listed = append(l.listed, c)
	}
	return l
}

// spelling makes names equal that differ in case and separators.
func spelling(name string) string { return strings.ReplaceAll(strings.ToLower(name), "-", "_") }

// find returns the code of a language and the part of the model that is for it, -1 in models without parts. The code
// is valid even when the model has no part for it.
func (l *languages) find(name string) (code string, part int, err error) {
	if l.parts != nil {
		if i, ok := l.names[spelling(stripSuffix(name))]; ok {
			return l.code[i], i, nil
		}
	}
	code, err = LanguageCode(name)
	if l.parts == nil {
		return code, -1, err
	}
	if i, ok := l.codes[code]; ok && err == nil {
		return code, i, nil
	}
	if err == nil {
		err = fmt.Errorf("%w %q", ErrLanguage, name)
	}
	known := slices.Sorted(slices.Values(l.listed))
	return code, -1, fmt.Errorf("%w: the model has %s", err, strings.Join(known, ", "))
}

// langSettings is how a model treats languages.
type langSettings struct {
	*languages
	code     string // of texts that do not say theirs; "" when unknown
	part     int    // for these, -1 for none
	fallback int    // part for languages that the model lacks, -1 for none
	detector LanguageDetector
}

// settings lays the options over the checkpoint's default, and reads the part of the language that they name.
func (l *languages) settings(o *Options) (langSettings, error) {
	t := langSettings{languages: l, part: -1, fallback: -1, detector: o.Detector}
	if l.parts != nil {
		if t.part = l.parts.DefaultLanguage(); t.part >= 0 {
			t.code = l.code[t.part]
		}
	}
	var faults []error
	if o.Language != "" {
		code, part, err := l.find(o.Language)
		if err != nil {
			faults = append(faults, fmt.Errorf("option Language: %w", err))
		}
		t.code, t.part = code, part
	}
	if o.FallbackLanguage != "" {
		_, part, err := l.find(o.FallbackLanguage)
		if err != nil {
			faults = append(faults, fmt.Errorf("option FallbackLanguage: %w", err))
		}
		t.fallback = part
	}
	if len(faults) > 0 {
		return t, fmt.Errorf("%w: %w", ErrOptions, errors.Join(faults...))
	}
	// A fault in the weights shows at once, and the first text is not the slow one.
	for _, p := range []struct {
		asked string
		part  int
	}{{o.Language, t.part}, {o.FallbackLanguage, t.fallback}} {
		if p.asked != "" && p.part >= 0 {
			if err := l.parts.LoadLanguage(p.part); err != nil {
				return t, fmt.Errorf("encoder: %w", err)
			}
		}
	}
	return t, nil
}

// of gives the code and the part of the model for a text whose language is given, or "".
func (t *langSettings) of(text, given string) (code string, part int, err error) {
	detected := false
	if given == "" && t.detector != nil {
		given = t.detector.DetectLanguage(text)
		detected = given != ""
	}
	switch {
	case given != "":
		code, part, err = t.find(given)
		if err != nil && t.fallback >= 0 && code != "" {
			return code, t.fallback, nil
		}
		if err != nil && detected {
			err = fmt.Errorf("detected: %w", err)
		}
		return code, part, err
	case t.parts != nil && t.part < 0:
		return "", -1, fmt.Errorf("%w: the text does not say its language, and the checkpoint has no default_language", ErrLanguage)
	}
	return t.code, t.part, nil
}

// Languages lists the codes of the languages that the model has a part for, in the checkpoint's order. It is empty for
// models that treat all languages alike.
func (m *Model) Languages() []string { return slices.Clone(m.lang.listed) }
