package tokenizer

import (
	"slices"
	"sync"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

// unicodeForm is NFC, NFD, NFKC or NFKD, with the characters that the reference implementation knows.
type unicodeForm struct{ compose, compat bool }

// part is a character of a decomposed text.
type decomposed struct {
	r      rune
	change int // as for editor.emit
	class  uint8
}

func (f unicodeForm) apply(dst, src *aligned, s *scratch) bool {
	mask := isDecomposable | isNonStarter // marks may be out of order
	if f.compose {
		mask = isNFCMaybe
	}
	if f.compat {
		mask |= isCompat
	}
	text := src.text
	i, safe := 0, 0 // safe is the start of the character before i
	for i < len(text) {
		if text[i] < utf8.RuneSelf {
			safe = i
			i++
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if flagsOf(r)&mask != 0 {
			break
		}
		safe = i
		i += n
	}
	if i == len(text) {
		return false
	}
	e := dst.edit(src)
	e.copy(0, safe)
	s.decomposed = s.decomposed[:0]
	for i = safe; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		s.decompose(r, f.compat)
	}
	s.order(0)
	if !f.compose {
		for _, d := range s.decomposed {
			e.emit(d.r, d.change)
		}
		return true
	}
	recompose(&e, s.decomposed)
	return true
}

// decompose appends the full decomposition of a character.
func (s *scratch) decompose(r rune, compat bool) {
	flags := flagsOf(r)
	s.runes = s.runes[:0]
	switch {
	case flags&isDecomposable != 0 && (!compat || r >= 0xac00 && r <= 0xd7a3):
		s.runes = decompose(s.runes, r)
	case compat && flags&(isDecomposable|isCompat) != 0:
		var buf [utf8.UTFMax]byte
		for d := norm.NFKD.Properties(utf8.AppendRune(buf[:0], r)).Decomposition(); len(d) > 0; {
			c, n := utf8.DecodeRune(d)
			s.runes, d = append(s.runes, c), d[n:]
		}
	}
	if len(s.runes) == 0 {
		s.runes = append(s.runes, r)
	}
	for i, d := range s.runes {
		var class uint8
		if flagsOf(d)&isNonStarter != 0 {
			class = combiningClass(d)
		}
		s.decomposed = append(s.decomposed, decomposed{d, min(i, 1), class})
	}
}

// order puts the marks of the decomposed text into canonical order. The changes stay with the marks.
func (s *scratch) order(from int) {
	d := s.decomposed
	for i := from; i < len(d); i++ {
		if d[i].class == 0 {
			continue
		}
		j := i + 1
		for j < len(d) && d[j].class != 0 {
			j++
		}
		if j > i+1 {
			slices.SortStableFunc(d[i:j], func(a, b decomposed) int { return int(a.class) - int(b.class) })
		}
		i = j
	}
}

// recompose emits the composed form of an ordered decomposed text, with the reference's way of counting changes.
func recompose(e *editor, text []decomposed) {
	for i := 0; i < len(text); {
		if text[i].class != 0 { // marks without a starter
			e.emit(text[i].r, text[i].change)
			i++
			continue
		}
		// A starter takes up what follows: marks that no kept mark of their class or a higher one keeps off,
		// and further starters while nothing is between.
		k := text[i]
		kept := i + 1 // marks kept are moved to text[i+1:kept]
		last := -1    // class of the last one kept
		j := i + 1
		for ; j < len(text); j++ {
			d := text[j]
			if last < 0 || last < int(d.class) {
				if r, ok := composition(k.r, d.r); ok {
					k.r, k.change = r, k.change+d.change-1
					continue
				}
			}
			if d.class == 0 {
				break
			}
			text[kept] = d
			kept++
			last = int(d.class)
		}
		e.emit(k.r, k.change)
		for _, d := range text[i+1 : kept] {
			e.emit(d.r, d.change)
		}
		i = j
	}
}

// compositionIndex finds compositions by their two characters; it is made on first use.
var compositionIndex = sync.OnceValue(func() map[[2]rune]rune {
	m := make(map[[2]rune]rune, len(compositions))
	for _, c := range compositions {
		m[[2]rune{c[0], c[1]}] = c[2]
	}
	return m
})

// composition makes one character of two, if there is one.
func composition(a, b rune) (rune, bool) {
	const sBase, lBase, vBase, tBase, lCount, vCount, tCount = 0xac00, 0x1100, 0x1161, 0x11a7, 19, 21, 28
	if flagsOf(b)&isNFCMaybe == 0 {
		return 0, false
	}
	if a >= lBase && a < lBase+lCount && b >= vBase && b < vBase+vCount {
		return sBase + ((a-lBase)*vCount+b-vBase)*tCount, true
	}
	if a >= sBase && a < sBase+lCount*vCount*tCount && (a-sBase)%tCount == 0 && b > tBase && b < tBase+tCount {
		return a + b - tBase, true
	}
	r, ok := compositionIndex()[[2]rune{a, b}]
	return r, ok
}
