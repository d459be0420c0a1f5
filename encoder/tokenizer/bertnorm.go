package tokenizer

import (
	"slices"
	"unicode/utf8"
)

// bertNormalizer is Hugging Face's BertNormalizer. The reference makes four passes (clean, pad Chinese
// characters, strip accents, lower-case); each of them looks at one code point at a time, but for the canonical
// ordering within NFD, so that one pass gives the same text.
type bertNormalizer struct {
	clean, cjk, strip, lower bool
	// ascii maps an ASCII character to what it becomes; dropped stands for nothing.
	ascii [128]byte
}

// dropped marks characters that vanish in bertNormalizer.ascii. No character maps to 0xff otherwise.
const dropped = 0xff

func newBertNormalizer(clean, cjk, strip, lowerCase bool) *bertNormalizer {
	n := &bertNormalizer{clean: clean, cjk: cjk, strip: strip, lower: lowerCase}
	for i := range n.ascii {
		c := byte(i)
		switch {
		case clean && (c == '\t' || c == '\n' || c == '\r'):
			c = ' '
		case clean && flagsOf(rune(c))&isControl != 0:
			c = dropped
		case lowerCase && c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		}
		n.ascii[i] = c
	}
	return n
}

// mark is a non-starter: a code point that NFD may move behind others.
type mark struct {
	r        rune
	class    uint8
	inserted bool // it came from a decomposition, as another than its first code point
	at       span // where it came from
	keep     bool // not of category Mn
}

// normalize implements normalizer.
func (n *bertNormalizer) normalize(dst *aligned, piece string, s *scratch) {
	// Up to the first byte that is not plain ASCII every byte stays one byte at its place.
	i := 0
	if cap(dst.text) < len(piece) {
		dst.text = make([]byte, 0, len(piece)+len(piece)/8)
	}
	text := dst.text[:min(len(piece), cap(dst.text))]
	for ; i < len(text); i++ {
		c := piece[i]
		if c >= utf8.RuneSelf {
			break
		}
		c = n.ascii[c]
		if c == dropped {
			break
		}
		text[i] = c
	}
	dst.text = text[:i]
	if i == len(piece) {
		return
	}
	dst.toMapped()
	s.marks = s.marks[:0]
	keepMark := false // the marks collected hold one that is kept
	for i < len(piece) {
		at := dst.base + int32(i)
		if c := piece[i]; c < utf8.RuneSelf {
			i++
			if c = n.ascii[c]; c == dropped {
				continue // gone before NFD, so that it does not part the marks around it
			}
			if len(s.marks) > 0 {
				s.flushMarks(n, dst, &keepMark)
			}
			dst.appendByte(c, at, at+1)
			continue
		}
		r, size := utf8.DecodeRuneInString(piece[i:])
		i += size
		end := at + int32(size)
		f := flagsOf(r)
		if n.clean {
			if f&isControl != 0 {
				continue
			}
			if f&isSpace != 0 {
				r, f = ' ', 0
			}
		}
		pad := n.cjk && f&isCJK != 0
		if n.strip && f&isNonStarter != 0 {
			keep := f&isNonspacing == 0
			s.marks = append(s.marks, mark{r: r, at: span{at, end}, keep: keep})
			keepMark = keepMark || keep
			continue
		}
		if pad {
			if len(s.marks) > 0 {
				s.flushMarks(n, dst, &keepMark)
			}
			dst.appendByte(' ', at, end)
		}
		switch {
		case !n.strip || f&(isDecomposable|isNonspacing) == 0:
			if len(s.marks) > 0 {
				s.flushMarks(n, dst, &keepMark)
			}
			n.emit(dst, r, f, at, end)
		case f&isDecomposable != 0:
			s.runes = decompose(s.runes[:0], r)
			for k, d := range s.runes {
				df := flagsOf(d)
				if df&isNonStarter != 0 {
					keep := df&isNonspacing == 0
					s.marks = append(s.marks, mark{r: d, at: span{at, end}, inserted: k > 0, keep: keep})
					keepMark = keepMark || keep
					continue
				}
				if len(s.marks) > 0 {
					s.flushMarks(n, dst, &keepMark)
				}
				if df&isNonspacing == 0 {
					n.emit(dst, d, df, at, end)
				}
			}
		default: // a starter of category Mn: dropped, but marks do not move across it
			if len(s.marks) > 0 {
				s.flushMarks(n, dst, &keepMark)
			}
		}
		if pad {
			if len(s.marks) > 0 {
				s.flushMarks(n, dst, &keepMark)
			}
			dst.appendByte(' ', at, end)
		}
	}
	if len(s.marks) > 0 {
		s.flushMarks(n, dst, &keepMark)
	}
}

// emit appends one code point, in lower case when that is asked for.
func (n *bertNormalizer) emit(dst *aligned, r rune, f runeFlags, from, to int32) {
	if n.lower && f&isUpper != 0 {
		if r == 0x130 { // the one capital whose lower case has two code points
			dst.appendRune('i', from, to)
			dst.appendRune(0x307, from, to)
			return
		}
		r = lower(r)
	}
	dst.appendRune(r, from, to)
}

// flushMarks writes the marks that are kept, in canonical order, and forgets them all. Nearly always there are
// none to keep. The places follow the reference, where the code points take up the places of the unsorted text
// one after the other.
func (s *scratch) flushMarks(n *bertNormalizer, dst *aligned, keep *bool) {
	if *keep {
		for i := range s.marks {
			s.marks[i].class = combiningClass(s.marks[i].r)
		}
		s.origin = s.origin[:0]
		last := s.marks[0].at
		for _, m := range s.marks {
			if !m.inserted {
				s.origin = append(s.origin, m.at)
			}
		}
		slices.SortStableFunc(s.marks, func(a, b mark) int { return int(a.class) - int(b.class) })
		next := 0
		for _, m := range s.marks {
			if !m.inserted && next < len(s.origin) {
				last = s.origin[next]
				next++
			}
			if m.keep {
				n.emit(dst, m.r, flagsOf(m.r), last.start, last.end)
			}
		}
		*keep = false
	}
	s.marks = s.marks[:0]
}
