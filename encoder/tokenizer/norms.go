package tokenizer

import (
	"bytes"
	"unicode/utf8"
)

// The normalizers that change single characters. Each is a step.

// lowercase is char::to_lowercase.
type lowercase struct{}

func (lowercase) apply(dst, src *aligned, _ *scratch) bool {
	text := src.text
	i := 0
	for ; i < len(text); i++ { // ASCII stays in its place
		c := text[i]
		if c >= utf8.RuneSelf {
			break
		}
		if c-'A' < 26 {
			text[i] = c + 'a' - 'A'
		}
	}
	same := i
	for same < len(text) {
		r, n := utf8.DecodeRune(text[same:])
		if flagsOf(r)&isUpper != 0 {
			break
		}
		same += n
	}
	if same == len(text) {
		return false
	}
	e := dst.edit(src)
	e.copy(0, same)
	for i = same; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		i += n
		switch {
		case flagsOf(r)&isUpper == 0:
			e.emit(r, 0)
		case r == 0x130: // the one capital whose lower case has two code points
			e.emit('i', 0)
			e.emit(0x307, 1)
		default:
			e.emit(lower(r), 0)
		}
	}
	return true
}

// filter drops characters.
type filter func(r rune) bool

func (drop filter) apply(dst, src *aligned, _ *scratch) bool {
	text := src.text
	i := 0
	for i < len(text) {
		r, n := utf8.DecodeRune(text[i:])
		if drop(r) {
			break
		}
		i += n
	}
	if i == len(text) {
		return false
	}
	// A character that is dropped takes no part in the places of others, so that no changes need counting.
	src.toMapped()
	dst.reset(src.base)
	dst.toMapped()
	start := 0
	for i < len(text) {
		r, n := utf8.DecodeRune(text[i:])
		if drop(r) {
			dst.appendFrom(src, start, i)
			start = i + n
		}
		i += n
	}
	dst.appendFrom(src, start, len(text))
	return true
}

// appendFrom appends bytes [i, j) of a text with their places. The places of both are explicit.
func (a *aligned) appendFrom(src *aligned, i, j int) {
	a.text = append(a.text, src.text[i:j]...)
	a.from = append(a.from, src.from[i:j]...)
	a.to = append(a.to, src.to[i:j]...)
}

// stripAccents drops combining marks.
func stripAccents(r rune) bool { return flagsOf(r)&isMark != 0 }

// nmtDropped and nmtSpace are what Nmt drops and what it makes a space.
func nmtDropped(r rune) bool {
	return r >= 1 && r <= 8 || r == 0xb || r >= 0xe && r <= 0x1f || r == 0x7f || r == 0x8f || r == 0x9f
}

func nmtSpace(r rune) rune {
	switch {
	case r == '\t' || r == '\n' || r == '\f' || r == '\r' || r == 0x1680 || r >= 0x200b && r <= 0x200f ||
		r == 0x2028 || r == 0x2029 || r == 0x2581 || r == 0xfeff || r == 0xfffd:
		return ' '
	}
	return r
}

// mapRunes replaces characters one by one.
type mapRunes func(r rune) rune

func (f mapRunes) apply(dst, src *aligned, _ *scratch) bool {
	text := src.text
	i := 0
	for i < len(text) {
		r, n := utf8.DecodeRune(text[i:])
		if f(r) != r {
			break
		}
		i += n
	}
	if i == len(text) {
		return false
	}
	e := dst.edit(src)
	e.copy(0, i)
	for i < len(text) {
		r, n := utf8.DecodeRune(text[i:])
		e.emit(f(r), 0)
		i += n
	}
	return true
}

// strip removes white space from the ends.
type strip struct{ left, right bool }

func (t strip) apply(_, src *aligned, _ *scratch) bool {
	text := src.text
	i, j := 0, len(text)
	for t.right && j > 0 {
		r, n := utf8.DecodeLastRune(text[:j])
		if flagsOf(r)&isSpace == 0 {
			break
		}
		j -= n
	}
	for t.left && i < j {
		r, n := utf8.DecodeRune(text[i:])
		if flagsOf(r)&isSpace == 0 {
			break
		}
		i += n
	}
	src.text = text[:j]
	if i > 0 { // move, to keep the slice's capacity
		copy(src.text, text[i:j])
		src.text = src.text[:j-i]
		if !src.mapped {
			src.base += int32(i)
		}
	}
	if src.mapped {
		copy(src.from, src.from[i:j])
		copy(src.to, src.to[i:j])
		src.from, src.to = src.from[:j-i], src.to[:j-i]
	}
	return false
}

// prepend puts a string before a text that is not empty, at the place of its first character.
type prepend string

func (p prepend) apply(dst, src *aligned, _ *scratch) bool {
	if len(src.text) == 0 || p == "" {
		return false
	}
	src.toMapped()
	dst.reset(src.base)
	dst.toMapped()
	dst.appendAt(string(p), src, 0)
	dst.appendFrom(src, 0, len(src.text))
	return true
}

// appendAt appends a string at the place of the character of src at i.
func (a *aligned) appendAt(s string, src *aligned, i int) {
	_, n := utf8.DecodeRune(src.text[i:])
	from, to := src.from[i], src.to[i+n-1]
	for k := range len(s) {
		a.appendByte(s[k], from, to)
	}
}

// replacer replaces what a pattern matches; the replacement gets the place of the last character replaced.
type replacer struct {
	pattern matcher
	with    string
}

func (p *replacer) apply(dst, src *aligned, _ *scratch) bool {
	text := src.text
	start, end := p.pattern.find(text, 0)
	if start < 0 {
		return false
	}
	src.toMapped()
	dst.reset(src.base)
	dst.toMapped()
	done := 0
	for start >= 0 {
		dst.appendFrom(src, done, start)
		_, n := utf8.DecodeLastRune(text[:end])
		dst.appendAt(p.with, src, end-n)
		done = end
		start, end = p.pattern.find(text, end)
	}
	dst.appendFrom(src, done, len(text))
	return true
}

// matcher finds the next match of a pattern in text, at or after at; start is -1 when there is none. Matches are
// not empty.
type matcher interface {
	find(text []byte, at int) (start, end int)
}

// literal matches a string.
type literal string

func (p literal) find(text []byte, at int) (int, int) {
	i := bytes.Index(text[at:], []byte(p))
	if i < 0 {
		return -1, 0
	}
	return at + i, at + i + len(p)
}

// spaceRun matches runs of at least so many spaces, the pattern " {2,}".
type spaceRun int

func (least spaceRun) find(text []byte, at int) (int, int) {
	for at < len(text) {
		i := bytes.IndexByte(text[at:], ' ')
		if i < 0 {
			break
		}
		start := at + i
		at = start + 1
		for at < len(text) && text[at] == ' ' {
			at++
		}
		if at-start >= int(least) {
			return start, at
		}
	}
	return -1, 0
}

// byteLevelNorm writes every byte of a character as a printable one (see byteRunes).
type byteLevelNorm struct{}

func (byteLevelNorm) apply(dst, src *aligned, _ *scratch) bool {
	if len(src.text) == 0 {
		return false
	}
	src.toMapped()
	dst.reset(src.base)
	dst.toMapped()
	dst.appendByteLevel(src, 0, len(src.text))
	return true
}

// appendByteLevel appends bytes [i, j) of src as printable characters; all bytes of a character have its place.
func (a *aligned) appendByteLevel(src *aligned, i, j int) {
	for i < j {
		_, n := utf8.DecodeRune(src.text[i:j])
		from, to := src.from[i], src.to[i+n-1]
		for _, b := range src.text[i : i+n] {
			a.appendRune(byteRunes[b], from, to)
		}
		i += n
	}
}

// byteRunes is GPT-2's alphabet: a printable character for each byte.
var byteRunes = func() (t [256]rune) {
	next := rune(256)
	for b := range t {
		if b >= '!' && b <= '~' || b >= 0xa1 && b <= 0xac || b >= 0xae {
			t[b] = rune(b)
		} else {
			t[b] = next
			next++
		}
	}
	return t
}()

// fromByteLevel turns a token in GPT-2's alphabet into bytes; ok is false when it has other characters.
func fromByteLevel(dst []byte, token string) (_ []byte, ok bool) {
	for _, r := range token {
		switch {
		case r < 256 && byteRunes[r] == r:
			dst = append(dst, byte(r))
		case r >= 256 && r < 256+33:
			dst = append(dst, byte(r-256))
		case r >= 256+33 && r < 256+67:
			dst = append(dst, byte(r-256-33+0x7f))
		case r == 256+67:
			dst = append(dst, 0xad)
		default:
			return dst, false
		}
	}
	return dst, true
}

// bertStep lets a bertNormalizer follow other normalizers: the places that it gives are those in its input, which
// has places of its own.
type bertStep struct{ n *bertNormalizer }

func (b bertStep) apply(dst, src *aligned, s *scratch) bool {
	if !src.mapped {
		src.toMapped()
	}
	dst.reset(0)
	b.n.normalize(dst, string(src.text), s)
	dst.toMapped()
	for i, f := range dst.from {
		dst.from[i], dst.to[i] = src.from[f], src.to[dst.to[i]-1]
	}
	dst.base = src.base
	return true
}
