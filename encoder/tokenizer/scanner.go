package tokenizer

import "unicode/utf8"

// The patterns of byte-level tokenizers look ahead, which Go's regular expressions cannot. These scanners match
// them by hand, starting at any position: each pattern matches everywhere.

// charClass is the view that the patterns have of a character.
type charClass uint8

const (
	classOther charClass = iota
	classLetter
	classNumber
	classSpace
)

// asciiCharClass is charClass for ASCII.
var asciiCharClass = func() (t [utf8.RuneSelf]charClass) {
	for c := range t {
		switch {
		case c >= '0' && c <= '9':
			t[c] = classNumber
		case c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z':
			t[c] = classLetter
		case c == ' ' || c >= '\t' && c <= '\r':
			t[c] = classSpace
		}
	}
	return t
}()

// classAt returns the class and the length of the character at i.
func classAt(text []byte, i int) (charClass, int) {
	if c := text[i]; c < utf8.RuneSelf {
		return asciiCharClass[c], 1
	}
	r, n := utf8.DecodeRune(text[i:])
	switch f := flagsOf(r); {
	case f&isLetter != 0:
		return classLetter, n
	case f&isNumber != 0:
		return classNumber, n
	case f&isSpace != 0:
		return classSpace, n
	}
	return classOther, n
}

// runOf returns the end of the characters of a class from i on.
func runOf(text []byte, i int, class charClass) int {
	for i < len(text) {
		c, n := classAt(text, i)
		if c != class {
			break
		}
		i += n
	}
	return i
}

// contraction returns the length of 's, 't, 're, 've, 'm, 'll or 'd at the start of text, 0 for none. With fold
// the case does not matter, and the long s is an s.
func contraction(text []byte, fold bool) int {
	if len(text) < 2 || text[0] != '\'' {
		return 0
	}
	lowerAt := func(i int) byte {
		if i >= len(text) {
			return 0
		}
		c := text[i]
		if fold && c-'A' < 26 {
			c += 'a' - 'A'
		}
		return c
	}
	switch c := lowerAt(1); c {
	case 's', 't', 'm', 'd':
		return 2
	case 'r', 'v':
		if lowerAt(2) == 'e' {
			return 3
		}
	case 'l':
		if lowerAt(2) == 'l' {
			return 3
		}
	case 0xc5: // U+017F
		if fold && lowerAt(2) == 0xbf {
			return 3
		}
	}
	return 0
}

// blanks matches \s+(?!\S)|\s+ at i, where white space starts: all of it at the end of the text, else all but the
// last character, which belongs to the next word, or a single one.
func blanks(text []byte, i int) int {
	end, last := i, i
	for end < len(text) {
		c, n := classAt(text, end)
		if c != classSpace {
			break
		}
		last = end
		end += n
	}
	if end < len(text) && last > i {
		return last
	}
	return end
}

// gpt2Scanner is 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
type gpt2Scanner struct{}

const gpt2Pattern = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`

func (gpt2Scanner) find(text []byte, at int) (int, int) {
	if at >= len(text) {
		return -1, 0
	}
	if text[at] == '\'' {
		if n := contraction(text[at:], false); n > 0 {
			return at, at + n
		}
	}
	i := at
	class, n := classAt(text, i)
	if text[i] == ' ' && i+1 < len(text) {
		if c, m := classAt(text, i+1); c != classSpace {
			class, n, i = c, m, i+1
		}
	}
	if class == classSpace {
		return at, blanks(text, at)
	}
	return at, runOf(text, i+n, class)
}

// preTokenize implements preTokenizer, for the behaviour in which all matches are words.
func (g gpt2Scanner) preTokenize(words []span, a *aligned, in span) []span {
	text := a.text[:in.end]
	for at := int(in.start); at < len(text); {
		_, end := g.find(text, at)
		words = append(words, span{int32(at), int32(end)})
		at = end
	}
	return words
}

// cl100kScanner is the pattern of GPT-4, Llama 3 and Qwen, which differ in how many digits a word has:
//
//	(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
type cl100kScanner struct{ digits int }

// scanners are the patterns that have a scanner, word for word.
var scanners = map[string]matcher{
	gpt2Pattern: gpt2Scanner{},
	// Llama 3, EuroBERT, LFM2
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: cl100kScanner{3},
	// Qwen 2 and 3
	`(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`: cl100kScanner{1},
	// GPT-4's own spelling, with possessive quantifiers that change nothing
	`'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`: cl100kScanner{3},
}

func (p cl100kScanner) find(text []byte, at int) (int, int) {
	if at >= len(text) {
		return -1, 0
	}
	if text[at] == '\'' {
		if n := contraction(text[at:], true); n > 0 {
			return at, at + n
		}
	}
	class, n := classAt(text, at)
	i := at + n
	switch class {
	case classLetter:
		return at, runOf(text, i, classLetter)
	case classNumber:
		for k := 1; k < p.digits && i < len(text); k++ {
			c, m := classAt(text, i)
			if c != classNumber {
				break
			}
			i += m
		}
		return at, i
	}
	if i < len(text) {
		next, m := classAt(text, i)
		if next == classLetter && text[at] != '\r' && text[at] != '\n' {
			return at, runOf(text, i+m, classLetter)
		}
		if text[at] == ' ' && next == classOther {
			class, i = classOther, i+m
		}
	}
	if class == classOther {
		i = runOf(text, i, classOther)
		for i < len(text) && (text[i] == '\r' || text[i] == '\n') {
			i++
		}
		return at, i
	}
	newline := -1 // the end of the last line end in the white space
	for i = at; i < len(text); {
		c, m := classAt(text, i)
		if c != classSpace {
			break
		}
		if i += m; text[i-1] == '\r' || text[i-1] == '\n' {
			newline = i
		}
	}
	if newline >= 0 {
		return at, newline
	}
	return at, blanks(text, at)
}

// preTokenize implements preTokenizer, for the behaviour in which all matches are words.
func (p cl100kScanner) preTokenize(words []span, a *aligned, in span) []span {
	text := a.text[:in.end]
	for at := int(in.start); at < len(text); {
		_, end := p.find(text, at)
		words = append(words, span{int32(at), int32(end)})
		at = end
	}
	return words
}
