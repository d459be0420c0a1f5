package tokenizer

import (
	"strings"
	"unicode/utf8"
)

// spmNormalizer is the normalization of the SentencePiece library (normalizer.cc): the longest entry of the
// charsmap at each place, white space collapsed and cut off at the ends, spaces made visible.
type spmNormalizer struct {
	charsmap          *charsmap // nil for none
	verbatim          *trie     // user-defined pieces, which stay as they are; nil for none
	dummyPrefix, trim bool
	space             string
}

// next returns what the start of text becomes, and its length.
func (p *spmNormalizer) next(text []byte) (string, int) {
	if p.verbatim != nil {
		if _, n := p.verbatim.longest(0, text); n > 0 {
			return string(text[:n]), n
		}
	}
	if p.charsmap != nil {
		if repl, n, ok := p.charsmap.longest(text); ok {
			return repl, n
		}
	}
	_, n := utf8.DecodeRune(text)
	return string(text[:n]), n
}

// apply implements step.
func (p *spmNormalizer) apply(dst, src *aligned, _ *scratch) bool {
	src.toMapped()
	dst.reset(src.base)
	dst.toMapped()
	text := src.text
	i := 0
	if p.trim {
		for i < len(text) {
			s, n := p.next(text[i:])
			if s != " " {
				break
			}
			i += n
		}
	}
	if i == len(text) {
		return true
	}
	if p.dummyPrefix {
		dst.appendAt(p.space, src, i)
	}
	afterSpace := p.trim
	for i < len(text) {
		s, n := p.next(text[i:])
		for afterSpace && strings.HasPrefix(s, " ") {
			s = s[1:]
		}
		if s != "" {
			from, to := src.from[i], src.to[i+n-1]
			for k := range len(s) {
				if s[k] == ' ' {
					for j := range len(p.space) {
						dst.appendByte(p.space[j], from, to)
					}
				} else {
					dst.appendByte(s[k], from, to)
				}
			}
			afterSpace = s[len(s)-1] == ' '
		}
		i += n
		if !p.trim {
			afterSpace = false
		}
	}
	if p.trim {
		n := len(dst.text)
		for strings.HasSuffix(string(dst.text[max(0, n-len(p.space)):n]), p.space) {
			n -= len(p.space)
		}
		dst.truncate(n)
	}
	return true
}
