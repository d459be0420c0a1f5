package tokenizer

import "unicode/utf8"

// editor writes a changed copy of a text, with the places that the reference's NormalizedString.transform gives
// its characters. Every character comes with a change: 0 when it takes the place of the next character of the
// source, 1 when it is new (it shares the place of the character before), -n when it takes the place of the next
// character and n more after that are dropped.
type editor struct {
	dst, src *aligned
	pos      int // the next byte of the source that is not yet replaced
	// The last character written, for amend: its change and the position before it.
	lastChange, lastPos int
	some                bool
}

// edit starts a copy of src, whose places are made explicit.
func (dst *aligned) edit(src *aligned) editor {
	src.toMapped()
	dst.reset(src.base)
	dst.toMapped()
	return editor{dst: dst, src: src}
}

// emit writes one character.
func (e *editor) emit(r rune, change int) {
	e.lastChange, e.lastPos, e.some = change, e.pos, true
	src := e.src
	at := e.pos
	if change > 0 {
		at--
	}
	from, to := src.base, src.base // what the reference says of a character that nothing precedes
	if at = min(at, len(src.text)-1); at >= 0 {
		from, to = src.from[at], src.to[at]
		if change <= 0 { // of a character without explicit places before, the last byte tells the end
			if _, n := utf8.DecodeRune(src.text[at:]); n > 1 {
				to = src.to[at+n-1]
			}
		}
	}
	e.dst.appendRune(r, from, to)
	for ; change <= 0 && e.pos < len(src.text); change++ {
		_, n := utf8.DecodeRune(src.text[e.pos:])
		e.pos += n
	}
}

// copy writes bytes [i, j) of the source as they are. That is more than a loop over emit(r, 0) only when the
// reference has lost count before, by dropping characters at the start of the text.
func (e *editor) copy(i, j int) {
	if i == j {
		return
	}
	src, dst := e.src, e.dst
	if e.pos != i {
		for _, r := range string(src.text[i:j]) {
			e.emit(r, 0)
		}
		return
	}
	dst.text = append(dst.text, src.text[i:j]...)
	dst.from = append(dst.from, src.from[i:j]...)
	dst.to = append(dst.to, src.to[i:j]...)
	_, n := utf8.DecodeLastRune(src.text[i:j])
	e.pos, e.lastChange, e.lastPos, e.some = j, 0, j-n, true
}

// amend adds to the change of the last character written; without one nothing happens.
func (e *editor) amend(change int) {
	if !e.some {
		return
	}
	r, n := utf8.DecodeLastRune(e.dst.text)
	e.dst.truncate(len(e.dst.text) - n)
	e.pos = e.lastPos
	e.emit(r, e.lastChange+change)
}

// truncate shortens the text to n bytes.
func (a *aligned) truncate(n int) {
	a.text = a.text[:n]
	if a.mapped {
		a.from, a.to = a.from[:n], a.to[:n]
	}
}

// step is a normalizer that reads what another one has written. It writes a changed copy of src to dst and
// returns true, or leaves dst alone when nothing changes. It may change src in place.
type step interface {
	apply(dst, src *aligned, s *scratch) bool
}

// chain is a normalizer made of steps, one after the other.
type chain []step

// normalize implements normalizer.
func (c chain) normalize(dst *aligned, piece string, s *scratch) {
	verbatim{}.normalize(dst, piece, s)
	s.grown = maxGrown + 16*len(dst.text)
	c.apply(&s.edit, dst, s)
}

// maxGrown is how long a short text may become: the steps of a hostile file could each double it. No further
// steps run on longer ones.
const maxGrown = 1 << 20

// apply runs the steps on src, and uses dst as working memory; the result is always in src.
func (c chain) apply(dst, src *aligned, s *scratch) bool {
	for _, st := range c {
		if len(src.text) > s.grown {
			break
		}
		if nested, ok := st.(chain); ok {
			nested.apply(dst, src, s)
		} else if st.apply(dst, src, s) {
			*dst, *src = *src, *dst
		}
	}
	return false
}

// lowerCases reports whether one of the steps lower-cases.
func (c chain) lowerCases() bool {
	for _, st := range c {
		switch st := st.(type) {
		case lowercase:
			return true
		case bertStep:
			if st.n.lower {
				return true
			}
		case chain:
			if st.lowerCases() {
				return true
			}
		}
	}
	return false
}
