package tokenizer

import (
	"unicode/utf8"
)

// behaviour says what becomes of the matches of a pattern that cuts text.
type behaviour uint8

const (
	removed behaviour = iota
	isolated
	mergedWithPrevious
	mergedWithNext
	contiguous
)

// splitter cuts text by a pattern. With invert the text between the matches counts as matches.
type splitter struct {
	pattern matcher
	do      behaviour
	invert  bool
}

// preTokenize implements preTokenizer.
func (p *splitter) preTokenize(words []span, a *aligned, in span) []span {
	c := cutter{words: words, do: p.do}
	text := a.text[:in.end]
	for at := in.start; at < in.end; {
		i, j := p.pattern.find(text, int(at))
		start, end := int32(i), int32(j)
		if i < 0 {
			start, end = in.end, in.end
		}
		if at < start {
			c.add(span{at, start}, p.invert)
		}
		if start < end {
			c.add(span{start, end}, !p.invert)
		}
		at = end
	}
	return c.finish()
}

// charSplitter is a splitter whose pattern is one character of a kind.
type charSplitter struct {
	is func(r rune) bool
	do behaviour
}

// preTokenize implements preTokenizer.
func (p *charSplitter) preTokenize(words []span, a *aligned, in span) []span {
	c := cutter{words: words, do: p.do}
	text := a.text[:in.end]
	at := in.start
	for i := int(in.start); i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		if p.is(r) {
			if at < int32(i) {
				c.add(span{at, int32(i)}, false)
			}
			at = int32(i + n)
			c.add(span{int32(i), at}, true)
		}
		i += n
	}
	if at < in.end {
		c.add(span{at, in.end}, false)
	}
	return c.finish()
}

// cutter turns matches, and what lies between them, into words.
type cutter struct {
	words  []span
	do     behaviour
	last   bool // the piece before was a match
	some   bool // there was one
	open   span // for mergedWithNext: a match that waits for what follows
	opened bool
}

func (c *cutter) add(s span, match bool) {
	switch c.do {
	case removed:
		if !match {
			c.words = append(c.words, s)
		}
	case isolated:
		c.words = append(c.words, s)
	case contiguous:
		// The reference starts as if a piece that is no match had preceded.
		if match == c.last && c.some {
			c.words[len(c.words)-1].end = s.end
		} else {
			c.words = append(c.words, s)
		}
	case mergedWithPrevious:
		if match && !c.last && c.some {
			c.words[len(c.words)-1].end = s.end
		} else {
			c.words = append(c.words, s)
		}
	case mergedWithNext:
		if c.opened {
			if c.opened = false; match {
				c.words = append(c.words, c.open)
			} else {
				s.start = c.open.start
			}
		}
		if match {
			c.open, c.opened = s, true
		} else {
			c.words = append(c.words, s)
		}
	}
	c.last, c.some = match, true
}

func (c *cutter) finish() []span {
	if c.opened {
		c.words = append(c.words, c.open)
	}
	return c.words
}

// whitespaceSplit cuts at white space and drops it.
type whitespaceSplit struct{}

// preTokenize implements preTokenizer.
func (whitespaceSplit) preTokenize(words []span, a *aligned, in span) []span {
	text := a.text[:in.end]
	start := int(in.start)
	for i := start; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if asciiClasses[c] != asciiSpace {
				i++
				continue
			}
			if start < i {
				words = append(words, span{int32(start), int32(i)})
			}
			i++
			start = i
			continue
		}
		r, n := utf8.DecodeRune(text[i:])
		if flagsOf(r)&isSpace != 0 {
			if start < i {
				words = append(words, span{int32(start), int32(i)})
			}
			start = i + n
		}
		i += n
	}
	if start < len(text) {
		words = append(words, span{int32(start), int32(len(text))})
	}
	return words
}

// whitespace is the pattern \w+|[^\w\s]+, whose matches are the words.
type whitespace struct{}

// preTokenize implements preTokenizer.
func (whitespace) preTokenize(words []span, a *aligned, in span) []span {
	text := a.text[:in.end]
	start, kind := int(in.start), runeFlags(0)
	for i := start; i < len(text); {
		r, n := utf8.DecodeRune(text[i:])
		f := flagsOf(r)
		k := f & isWord
		if k == 0 {
			k = f & isSpace
		}
		if i > start && k != kind {
			if kind != isSpace {
				words = append(words, span{int32(start), int32(i)})
			}
			start = i
		}
		kind = k
		i += n
	}
	if start < len(text) && kind != isSpace {
		words = append(words, span{int32(start), int32(len(text))})
	}
	return words
}

// fixedLength cuts every so many characters.
type fixedLength int

// preTokenize implements preTokenizer.
func (size fixedLength) preTokenize(words []span, a *aligned, in span) []span {
	text := a.text[:in.end]
	start, n := int(in.start), 0
	for i := start; i < len(text); {
		_, w := utf8.DecodeRune(text[i:])
		i += w
		if n++; n == int(size) {
			words = append(words, span{int32(start), int32(i)})
			start, n = i, 0
		}
	}
	if start < len(text) {
		words = append(words, span{int32(start), int32(len(text))})
	}
	return words
}

func isPunctuation(r rune) bool { return flagsOf(r)&isPunct != 0 }
func isDigit(r rune) bool       { return flagsOf(r)&isNumeric != 0 }
