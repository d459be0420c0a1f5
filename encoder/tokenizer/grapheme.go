package tokenizer

import "unicode/utf8"

// cluster returns the end of the extended grapheme cluster that starts at i (Unicode Annex 29). Only clusters of
// less than 6 bytes matter to the caller, so that rules that make longer ones anyway are left out: regional
// indicators (GB12, GB13), emoji sequences but after (c) and (r) (GB11) and Indic conjuncts (GB9c). Where a longer
// one ends does matter: the marks that follow may be a short one.
//
// The properties are measured from the reference (see _gen/unicode.py), and not those of a Go package, whose
// version of Unicode may be another.
func cluster(text []byte, i int) int {
	r, n := utf8.DecodeRune(text[i:])
	i += n
	if r == '\r' && i < len(text) && text[i] == '\n' {
		return i + 1
	}
	f := flagsOf(r)
	if f&isBreak != 0 {
		return i
	}
	picto := f&isPicto != 0 // Extended_Pictographic Extend* so far
	joiner := false         // and a zero width joiner
	hangul := hangulClass(r)
	for i < len(text) {
		if text[i] < utf8.RuneSelf && f&isPrepend == 0 {
			break
		}
		r, n = utf8.DecodeRune(text[i:])
		g := flagsOf(r)
		next := hangulClass(r)
		switch {
		case g&isBreak != 0:
			return i
		case g&isJoin != 0:
			joiner = picto && r == 0x200d
			next = 0
		case f&isPrepend != 0:
			picto, joiner = g&isPicto != 0, false
		case joiner && g&isPicto != 0:
			joiner = false
		case hangul != 0 && next != 0 && hangulJoins[hangul]&(1<<next) != 0:
		default:
			return i
		}
		f, hangul = g, next
		i += n
	}
	return i
}

// Classes of Hangul for rules GB6 to GB8.
const (
	hangulL = iota + 1
	hangulV
	hangulT
	hangulLV
	hangulLVT
)

// hangulJoins has, for each class, a bit for each class that continues the cluster.
var hangulJoins = [...]uint8{
	hangulL:   1<<hangulL | 1<<hangulV | 1<<hangulLV | 1<<hangulLVT,
	hangulV:   1<<hangulV | 1<<hangulT,
	hangulLV:  1<<hangulV | 1<<hangulT,
	hangulT:   1 << hangulT,
	hangulLVT: 1 << hangulT,
}

// hangulClass is the class of a code point, 0 for none.
func hangulClass(r rune) uint8 {
	switch {
	case r < 0x1100 || r > 0xd7fb:
		return 0
	case r <= 0x115f || r >= 0xa960 && r <= 0xa97c:
		return hangulL
	case r <= 0x11a7 || r >= 0xd7b0 && r <= 0xd7c6:
		return hangulV
	case r <= 0x11ff || r >= 0xd7cb:
		return hangulT
	case r >= 0xac00 && r <= 0xd7a3:
		if (r-0xac00)%28 == 0 {
			return hangulLV
		}
		return hangulLVT
	}
	return 0
}
