package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// metaspace is SentencePiece's way with spaces: a visible mark takes the place of each one, and words start with
// it.
type metaspace struct {
	mark  string
	first byte // of mark
	// always puts a mark before every piece of text that has none, firstOnly before that at the start of the
	// original text.
	always, firstOnly bool
	split             bool
}

// marked reports whether text starts with a space or with the mark.
func (m *metaspace) marked(text []byte) bool {
	return text[0] == ' ' || text[0] == m.first && bytes.HasPrefix(text, []byte(m.mark))
}

// adds reports whether a piece of text gets a mark in front.
func (m *metaspace) adds(a *aligned, in span) bool {
	return (m.always || m.firstOnly && a.origin(in)[0] == 0) && !m.marked(a.text[in.start:in.end])
}

// next returns the start of the next word in text after i.
func (m *metaspace) next(text []byte, i int) int {
	for i++; i < len(text); i++ {
		if c := text[i]; c == ' ' || c == m.first && bytes.HasPrefix(text[i:], []byte(m.mark)) {
			return i
		}
	}
	return len(text)
}

// rewrite implements rewriter.
func (m *metaspace) rewrite(words []span, dst, a *aligned, in []span) []span {
	a.toMapped()
	for _, w := range in {
		start := int32(len(dst.text))
		if m.adds(a, w) {
			dst.appendAt(m.mark, a, int(w.start))
		}
		done := int(w.start)
		for i := done; i < int(w.end); i++ {
			if a.text[i] == ' ' {
				dst.appendFrom(a, done, i)
				dst.appendAt(m.mark, a, i)
				done = i + 1
			}
		}
		dst.appendFrom(a, done, int(w.end))
		end := int32(len(dst.text))
		if !m.split {
			words = append(words, span{start, end})
			continue
		}
		for start < end {
			next := start + int32(m.next(dst.text[start:end], 0))
			words = append(words, span{start, next})
			start = next
		}
	}
	return words
}

// encodeMarked is encodeWords for a pre-tokenizer that ends with a Metaspace that splits: the words, their marks
// included, go to the model one by one, and no text is rewritten.
func (t *Tokenizer) encodeMarked(e *Encoding, a *aligned, words []span, limit int, s *scratch) {
	m := t.marks
	for _, w := range words {
		adds := m.adds(a, w)
		text := a.text[:w.end]
		for i := int(w.start); i < len(text); {
			end := m.next(text, i)
			word := text[i:end]
			content := i // where the text goes on behind the mark
			switch {
			case adds:
			case text[i] == ' ':
				content = i + 1
			default:
				content = -1 // no mark, or one that was in the text
			}
			adds = false
			if content < 0 {
				for _, p := range t.pieces(word, s) {
					t.addPiece(e, p.id, a.origin(span{int32(i) + p.start, int32(i) + p.end}), word[p.start:p.end], s)
				}
			} else {
				s.word = append(append(s.word[:0], m.mark...), text[content:end]...)
				mark := int32(len(m.mark))
				for _, p := range t.pieces(s.word, s) {
					at := span{int32(i), int32(i + 1)}
					if p.start >= mark {
						at.start = int32(content) + p.start - mark
					}
					if p.end > mark {
						at.end = int32(content) + p.end - mark
					}
					t.addPiece(e, p.id, a.origin(at), s.word[p.start:p.end], s)
				}
			}
			if len(e.IDs) > limit {
				return
			}
			i = end
		}
	}
}

// prefixSpace is ByteLevel's add_prefix_space: every piece of text starts with a space.
type prefixSpace struct{}

// rewrite implements rewriter.
func (prefixSpace) rewrite(words []span, dst, a *aligned, in []span) []span {
	a.toMapped()
	for _, w := range in {
		start := int32(len(dst.text))
		if a.text[w.start] != ' ' {
			dst.appendAt(" ", a, int(w.start))
		}
		dst.appendFrom(a, int(w.start), int(w.end))
		words = append(words, span{start, int32(len(dst.text))})
	}
	return words
}

// byteLetters is ByteLevel's alphabet: every byte becomes a printable character. Tokenizers whose vocabulary has
// all bytes do without it.
type byteLetters struct{}

// rewrite implements rewriter.
func (byteLetters) rewrite(words []span, dst, a *aligned, in []span) []span {
	a.toMapped()
	for _, w := range in {
		start := int32(len(dst.text))
		dst.appendByteLevel(a, int(w.start), int(w.end))
		words = append(words, span{start, int32(len(dst.text))})
	}
	return words
}

// whole widens a byte range of the original text to whole characters: the reference gives the tokens of parts of
// a character the place of all of it.
func whole(text string, at [2]int) [2]int {
	if at[0] < len(text) && !utf8.RuneStart(text[at[0]]) {
		at[0] = runeStart(text, at[0])
	}
	if at[1] < len(text) && at[1] > 0 && !utf8.RuneStart(text[at[1]]) {
		start := runeStart(text, at[1])
		if start < at[1] {
			_, n := utf8.DecodeRuneInString(text[start:])
			at[1] = start + n
		}
	}
	return at
}

// runeStart returns the start of the character that byte i is part of; bytes that are not UTF-8 are characters of
// their own.
func runeStart(text string, i int) int {
	for k := i - 1; k >= 0 && k >= i-3; k-- {
		if utf8.RuneStart(text[k]) {
			if _, n := utf8.DecodeRuneInString(text[k:]); k+n > i {
				return k
			}
			break
		}
	}
	return i
}
