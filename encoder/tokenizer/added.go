package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// AddedToken is a token that is found in the text as it stands, before the model sees it.
type AddedToken struct {
	ID      int32
	Content string
	// SingleWord ignores the token beside letters, digits and the like.
	SingleWord bool
	// LStrip and RStrip make the token swallow the white space before or after it.
	LStrip, RStrip bool
	// Normalized looks for the normalised form of the token in normalised text, instead of the raw text.
	Normalized bool
	// Special marks control tokens, such as [SEP], which EncodeOptions.NoSpecialInText ignores.
	Special bool
}

// addedSet finds a set of added tokens in text.
type addedSet struct {
	trie   *trie
	tokens []AddedToken // the trie's ids
	first  [256]bool    // bytes that start a token
	only   int          // the one byte that does, or -1
}

// newAddedSet collects tokens; contents are what to look for, in the same order.
func newAddedSet(tokens []AddedToken, contents []string) *addedSet {
	if len(tokens) == 0 {
		return nil
	}
	s := &addedSet{trie: newTrie(64), only: -1}
	for i, t := range tokens {
		c := contents[i]
		if c == "" { // normalised away: never found
			continue
		}
		if !s.trie.insert(c, int32(len(s.tokens))) {
			return nil
		}
		s.tokens = append(s.tokens, t)
		if s.first[c[0]] = true; s.only == -1 || s.only == int(c[0]) {
			s.only = int(c[0])
		} else {
			s.only = 256
		}
	}
	if len(s.tokens) == 0 {
		return nil
	}
	if s.only == 256 {
		s.only = -1
	}
	return s
}

// find returns the next match at or after at: the leftmost one, and the longest there.
func (s *addedSet) find(text string, at int) (tok *AddedToken, start, end int) {
	for at < len(text) {
		if s.only >= 0 {
			i := strings.IndexByte(text[at:], byte(s.only))
			if i < 0 {
				break
			}
			at += i
		} else if !s.first[text[at]] {
			at++
			continue
		}
		var node uint32
		best := -1
		for i := at; i < len(text); i++ {
			if node = s.trie.child(node, text[i]); node == 0 {
				break
			}
			if id := s.trie.ids[node]; id >= 0 {
				best, end = int(id), i+1
			}
		}
		if best >= 0 {
			return &s.tokens[best], at, end
		}
		at++
	}
	return nil, 0, 0
}

// part is a range of a text: an added token, or the text between two of them.
type part struct {
	tok *AddedToken // nil for text
	span
}

// split cuts text at the added tokens, in the way of the reference: a match that single_word refuses is passed
// over whole, and a match may start inside the white space that the one before has swallowed.
func (s *addedSet) split(dst []part, text string, noSpecial bool) []part {
	done := 0
	blank := span{-1, -1} // the last white space that a token has swallowed behind it
	if s != nil {
		for at := 0; ; {
			tok, start, end := s.find(text, at)
			if tok == nil {
				break
			}
			at = end
			if noSpecial && tok.Special {
				continue
			}
			if tok.SingleWord {
				before, _ := utf8.DecodeLastRuneInString(text[:start])
				after, _ := utf8.DecodeRuneInString(text[end:])
				if start > 0 && flagsOf(before)&isWord != 0 || end < len(text) && flagsOf(after)&isWord != 0 {
					continue
				}
			}
			if tok.LStrip {
				for start > done {
					r, n := utf8.DecodeLastRuneInString(text[:start])
					if flagsOf(r)&isSpace == 0 {
						break
					}
					start -= n
				}
				start = max(start, done)
			}
			if tok.RStrip {
				if from := int32(end); from < blank.start || from > blank.end {
					for end < len(text) {
						r, n := utf8.DecodeRuneInString(text[end:])
						if flagsOf(r)&isSpace == 0 {
							break
						}
						end += n
					}
					blank = span{from, int32(end)}
				} else { // tokens of white space within it: look at it once
					end = int(blank.end)
				}
			}
			if done < start {
				dst = append(dst, part{span: span{int32(done), int32(start)}})
			}
			if start < end { // else the token before has swallowed all of it
				dst = append(dst, part{tok, span{int32(start), int32(end)}})
			}
			done = max(done, end)
		}
	}
	if done < len(text) {
		dst = append(dst, part{span: span{int32(done), int32(len(text))}})
	}
	return dst
}
