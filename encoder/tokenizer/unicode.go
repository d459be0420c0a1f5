package tokenizer

import (
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

//go:generate sh -c "python _gen/unicode.py > unicode_tables.go"

// runeFlags are the properties of a code point, as the reference implementation sees them: its crates mix
// Unicode versions 8 to 17, so neither Go's tables nor those of one Unicode version give the same ids.
type runeFlags uint32

const (
	isControl      runeFlags = 1 << iota // dropped by BertNormalizer's clean_text
	isSpace                              // char::is_whitespace
	isPunct                              // isolated by BertPreTokenizer
	isNonspacing                         // category Mn, dropped with accents
	isCJK                                // padded with spaces by BertNormalizer
	isDecomposable                       // changes under NFD
	isUpper                              // changes when lower-cased
	isWord                               // \w of the regex crate
	isNonStarter                         // canonical combining class above 0
	isJoin                               // stays in the grapheme cluster of what is before it
	isPrepend                            // starts the grapheme cluster of what follows
	isBreak                              // a grapheme cluster of its own (control characters)
	isPicto                              // Extended_Pictographic
	isLetter                             // \p{L} of the regular expressions
	isNumber                             // \p{N} of the regular expressions
	isNumeric                            // char::is_numeric
	isMark                               // any combining mark, dropped by StripAccents
	isNFCMaybe                           // changes under NFC, or may do so after another code point
	isCompat                             // changes under NFKC
)

// flagsOf looks up a code point below U+110000.
func flagsOf(r rune) runeFlags {
	p := uint(r) >> 7 * 2
	page := uint(pageIndex[p]) | uint(pageIndex[p+1])<<8
	return classFlags[pageClasses[page<<7|uint(r)&127]]
}

// lowerRun maps the code points lo, lo+step ... hi to their lower case by adding delta.
type lowerRun struct{ lo, hi, step, delta rune }

// lower is char::to_lowercase, but for U+0130, which has two code points: the caller appends U+0307.
func lower(r rune) rune {
	lo, hi := 0, len(lowerRuns)
	for lo < hi {
		if mid := (lo + hi) / 2; lowerRuns[mid].hi < r {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	if lo < len(lowerRuns) {
		if l := &lowerRuns[lo]; r >= l.lo && (r-l.lo)%l.step == 0 {
			return r + l.delta
		}
	}
	return r
}

// decompose appends the full canonical decomposition of a code point with isDecomposable. Decompositions never
// change between Unicode versions, so x/text's are right whatever its version.
func decompose(dst []rune, r rune) []rune {
	const sBase, lBase, vBase, tBase, vCount, tCount = 0xac00, 0x1100, 0x1161, 0x11a7, 21, 28
	if r >= sBase && r <= 0xd7a3 { // Hangul syllables, Unicode 3.12
		s := r - sBase
		dst = append(dst, lBase+s/(vCount*tCount), vBase+s%(vCount*tCount)/tCount)
		if t := s % tCount; t != 0 {
			dst = append(dst, tBase+t)
		}
		return dst
	}
	var buf [utf8.UTFMax]byte
	for d := norm.NFD.Properties(utf8.AppendRune(buf[:0], r)).Decomposition(); len(d) > 0; {
		c, n := utf8.DecodeRune(d)
		dst, d = append(dst, c), d[n:]
	}
	return dst
}

// combiningClass is the canonical combining class of a code point with isNonStarter.
func combiningClass(r rune) uint8 {
	var buf [utf8.UTFMax]byte
	return norm.NFD.Properties(utf8.AppendRune(buf[:0], r)).CCC()
}

// asciiClass tells the pre-tokenizer what to do with an ASCII character.
type asciiClass uint8

const (
	asciiLetter asciiClass = iota
	asciiSpace
	asciiPunct
)

// asciiClasses is BertPreTokenizer's view of ASCII.
var asciiClasses = [128]asciiClass{
	'\t': asciiSpace, '\n': asciiSpace, '\v': asciiSpace, '\f': asciiSpace, '\r': asciiSpace, ' ': asciiSpace,
	'!': asciiPunct, '"': asciiPunct, '#': asciiPunct, '$': asciiPunct, '%': asciiPunct, '&': asciiPunct, '\'': asciiPunct,
	'(': asciiPunct, ')': asciiPunct, '*': asciiPunct, '+': asciiPunct, ',': asciiPunct, '-': asciiPunct, '.': asciiPunct,
	'/': asciiPunct, ':': asciiPunct, ';': asciiPunct, '<': asciiPunct, '=': asciiPunct, '>': asciiPunct, '?': asciiPunct,
	'@': asciiPunct, '[': asciiPunct, '\\': asciiPunct, ']': asciiPunct, '^': asciiPunct, '_': asciiPunct, '`': asciiPunct,
	'{': asciiPunct, '|': asciiPunct, '}': asciiPunct, '~': asciiPunct,
}
