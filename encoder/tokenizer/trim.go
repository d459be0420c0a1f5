package tokenizer

import (
	"unicode/utf8"
)

// trim is what the post-processors of byte-level tokenizers do to offsets: the white space at the ends of a token
// does not count. With prefixSpace a single space before the first token is taken for one that the tokenizer has
// put there itself.
type trim struct{ prefixSpace bool }

// byteSpace is the space in GPT-2's alphabet.
const byteSpace = 0x120

// addPiece appends a token that the model found, and the part of the word that it stands for.
func (t *Tokenizer) addPiece(e *Encoding, id int32, at [2]int, part []byte, s *scratch) {
	at = whole(s.text, at)
	if t.trims != nil {
		token := t.vocab.tokens[id]
		if _, ok := t.model.(*unigram); ok && id == t.unk { // whose unknown token keeps its text in the reference
			token = string(part)
		}
		at = t.trimmed(at, token, len(e.IDs)-s.skipped, s.text)
	}
	e.add(id, at, false)
}

// addAdded appends an added token that was found in text.
func (t *Tokenizer) addAdded(e *Encoding, id int32, at [2]int, text string, s *scratch) {
	at = whole(s.text, at)
	if t.trims != nil {
		at = t.trimmed(at, text, len(e.IDs)-s.skipped, s.text)
	}
	e.add(id, at, false)
}

// trimmed returns the offsets of a token, the index-th one, without its white space. The reference counts white
// space in the token and moves the offsets by as many characters of the text.
func (t *Tokenizer) trimmed(at [2]int, token string, index int, text string) [2]int {
	leading, trailing := 0, 0
	for _, r := range token {
		if r != byteSpace && flagsOf(r)&isSpace == 0 {
			break
		}
		leading++
	}
	for n := len(token); n > 0; trailing++ {
		r, size := utf8.DecodeLastRuneInString(token[:n])
		if r != byteSpace && flagsOf(r)&isSpace == 0 {
			break
		}
		n -= size
	}
	if leading == 0 && trailing == 0 {
		return at
	}
	for _, trim := range t.trims {
		left := leading
		if (index == 0 || at[0] == 0) && trim.prefixSpace && left == 1 {
			left = 0
		}
		for ; left > 0 && at[0] < at[1]; left-- {
			_, n := utf8.DecodeRuneInString(text[at[0]:])
			at[0] += n
		}
		if trailing > at[1] || at[1] < 4*trailing && utf8.RuneCountInString(text[:at[1]]) < trailing {
			continue
		}
		for right := trailing; right > 0 && at[0] < at[1]; right-- {
			_, n := utf8.DecodeLastRuneInString(text[at[0]:at[1]])
			at[1] -= n
		}
	}
	return at
}
