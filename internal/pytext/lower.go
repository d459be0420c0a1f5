// Package pytext changes texts as Python's str does, where the reference implementations do that before they tokenize.
package pytext

import (
	"unicode"
	"unicode/utf8"
)

// Lower is str.lower for all but rare contexts: letter by letter, with İ becoming two characters and a capital sigma at
// the end of a word becoming ς. at holds for each byte of the result the offset in s of its letter; it is nil where
// nothing moved.
func Lower(s string) (lower string, at []int32) {
	b := make([]byte, 0, len(s))
	at = make([]int32, 0, len(s))
	moved := false
	var before rune
	for i, r := range s {
		moved = moved || len(b) != i
		switch {
		case r == 'İ':
			b = append(b, "i\u0307"...)
		case r == 'Σ' && unicode.IsLetter(before) && !startsWithLetter(s[i+utf8.RuneLen(r):]):
			b = utf8.AppendRune(b, 'ς')
		default:
			b = utf8.AppendRune(b, unicode.ToLower(r))
		}
		for len(at) < len(b) {
			at = append(at, int32(i))
		}
		before = r
	}
	if !moved && len(b) == len(s) {
		at = nil
	}
	return string(b), at
}

func startsWithLetter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return unicode.IsLetter(r)
}
