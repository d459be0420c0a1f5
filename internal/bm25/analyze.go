package bm25

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/kljensen/snowball"
	"golang.org/x/text/unicode/norm"
)

// analyzer turns texts of one language into index terms.
type analyzer struct {
	stemmer string // Snowball's name of the language, "" for none
	stop    map[string]bool
}

// stemmers names the Snowball stemmer of a language. Other languages go unstemmed.
var stemmers = map[string]string{
	"en": "english", "es": "spanish", "fr": "french", "ru": "russian",
	"sv": "swedish", "no": "norwegian", "nb": "norwegian", "nn": "norwegian", "hu": "hungarian",
}

// englishStop is Lucene's list of English stop words (EnglishAnalyzer.ENGLISH_STOP_WORDS_SET), with which the
// published figures of BM25 baselines are made.
const englishStop = "a an and are as at be but by for if in into is it no not of on or such that the their then there these they this to was will with"

// newAnalyzer makes the analyzer of a language code such as "en" or "en-GB"; "" means English.
func newAnalyzer(language string) analyzer {
	base, _, _ := strings.Cut(strings.ReplaceAll(strings.ToLower(language), "_", "-"), "-")
	if base == "" {
		base = "en"
	}
	a := analyzer{stemmer: stemmers[base]}
	if base == "en" {
		a.stop = map[string]bool{}
		for _, w := range strings.Fields(englishStop) {
			a.stop[w] = true
		}
	}
	return a
}

// terms cuts a text into index terms: words (runs of letters, numbers, marks and underscores) in lower case and
// compatibility form, without stop words, stemmed where there is a stemmer. Scripts that are written without
// spaces give overlapping n-grams of characters.
func (a analyzer) terms(text string) []string {
	text = norm.NFKC.String(strings.ToLower(norm.NFKC.String(text)))
	var out []string
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		switch g := gram(r); {
		case g > 0:
			j := runEnd(text, i, func(r rune) bool { return gram(r) == g })
			out = ngrams(out, text[i:j], g)
			i = j
		case inWord(r):
			j := runEnd(text, i, func(r rune) bool { return inWord(r) && gram(r) == 0 })
			if w := text[i:j]; !a.stop[w] {
				out = append(out, a.stem(w))
			}
			i = j
		default:
			i += n
		}
	}
	return out
}

// runEnd returns the end of the run of characters that starts at byte i.
func runEnd(text string, i int, in func(rune) bool) int {
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if !in(r) {
			break
		}
		i += n
	}
	return i
}

func inWord(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r) || r == '_'
}

// gram gives the length of the n-grams of a script written without spaces: 2 for Chinese and Japanese
// characters, each of which is about a syllable, 4 for the letters of the alphabets of South-East Asia, and 0
// for all other scripts.
func gram(r rune) int {
	switch {
	case r < 0x0e00:
		return 0
	case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana) || r == 'ー':
		return 2
	case unicode.In(r, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar):
		return 4
	}
	return 0
}

// ngrams appends the overlapping n-grams of the characters of s, or s itself if it is shorter than one.
func ngrams(out []string, s string, n int) []string {
	starts := make([]int, 0, len(s)/3+1)
	for i := range s {
		starts = append(starts, i)
	}
	if len(starts) <= n {
		return append(out, s)
	}
	starts = append(starts, len(s))
	for i := range len(starts) - n {
		out = append(out, s[starts[i]:starts[i+n]])
	}
	return out
}

func (a analyzer) stem(word string) string {
	if a.stemmer == "" {
		return word
	}
	// The library's only error is an unknown language, and the table above knows them.
	s, err := snowball.Stem(word, a.stemmer, true)
	if err != nil || s == "" {
		return word
	}
	return s
}
