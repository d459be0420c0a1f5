package tokenizer

import "unicode/utf8"

// bertPreTokenizer is Hugging Face's BertPreTokenizer: words end at white space, and punctuation marks are
// words of one character.
type bertPreTokenizer struct{}

// preTokenize implements preTokenizer.
func (bertPreTokenizer) preTokenize(words []span, a *aligned, in span) []span {
	text := a.text[:in.end]
	start := int(in.start)
	for i := start; i < len(text); {
		c := text[i]
		class, size := asciiLetter, 1
		if c < utf8.RuneSelf {
			class = asciiClasses[c]
		} else {
			var r rune
			r, size = utf8.DecodeRune(text[i:])
			if f := flagsOf(r); f&isSpace != 0 {
				class = asciiSpace
			} else if f&isPunct != 0 {
				class = asciiPunct
			}
		}
		if class == asciiLetter {
			i += size
			continue
		}
		if start < i {
			words = append(words, span{int32(start), int32(i)})
		}
		if class == asciiPunct {
			words = append(words, span{int32(i), int32(i + size)})
		}
		i += size
		start = i
	}
	if start < len(text) {
		words = append(words, span{int32(start), int32(len(text))})
	}
	return words
}
