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
		n := t.blanks[id]
		if _, ok := t.model.(*unigram); ok && id == t.unk { // whose unknown token keeps its text in the reference
			n = blanksOf(string(part))
		}
		if n != (blankEnds{}) {
			at = t.trimmed(at, n, len(e.IDs)-s.skipped, s.text)
		}
	}
	e.add(id, at, false)
}

// addAdded appends an added token that was found in text.
func (t *Tokenizer) addAdded(e *Encoding, id int32, at [2]int, text string, s *scratch) {
	at = whole(s.text, at)
	if t.trims != nil {
		at = t.trimmed(at, blanksOf(text), len(e.IDs)-s.skipped, s.text)
	}
	e.add(id, at, false)
}

// blankEnds counts the white space at the ends of a token.
type blankEnds struct{ leading, trailing int32 }

func blanksOf(token string) (n blankEnds) {
	for _, r := range token {
		if r != byteSpace && flagsOf(r)&isSpace == 0 {
			break
		}
		n.leading++
	}
	for end := len(token); end > 0; n.trailing++ {
		r, size := utf8.DecodeLastRuneInString(token[:end])
		if r != byteSpace && flagsOf(r)&isSpace == 0 {
			break
		}
		end -= size
	}
	return n
}

// setTrims sets what is done to offsets, and counts the white space of all tokens.
func (t *Tokenizer) setTrims(trims []trim) {
	if t.trims = trims; len(trims) == 0 {
		return
	}
	t.blanks = make([]blankEnds, len(t.vocab.tokens))
	for id, token := range t.vocab.tokens {
		t.blanks[id] = blanksOf(token)
	}
}

// trimmed returns the offsets of a token, the index-th one, without its white space. The reference counts white
// space in the token and moves the offsets by as many characters of the text.
func (t *Tokenizer) trimmed(at [2]int, n blankEnds, index int, text string) [2]int {
	leading, trailing := int(n.leading), int(n.trailing)
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
