package tokenizer

import (
	"sync"
	"unicode/utf8"
)

// WordSplitter finds the words of a text, for languages that do not write them apart (see VocabOptions.Words).
type WordSplitter interface {
	// AppendWords appends the byte ranges [start, end) of the words of text to dst, from left to right; they do
	// not overlap. What lies between them is no part of any token. Text is UTF-8 and must not be changed or
	// kept. It may be called by several goroutines at a time.
	AppendWords(dst [][2]int32, text []byte) [][2]int32
}

// wordSplitter is a pre-tokenizer with a WordSplitter.
type wordSplitter struct {
	words WordSplitter
	// split ends words at white space, too, as the WordPiece of the reference does.
	split bool
	pool  sync.Pool // *[][2]int32
}

// preTokenize implements preTokenizer.
func (p *wordSplitter) preTokenize(words []span, a *aligned, in span) []span {
	found, _ := p.pool.Get().(*[][2]int32)
	if found == nil {
		found = new([][2]int32)
	}
	*found = p.words.AppendWords((*found)[:0], a.text[in.start:in.end:in.end])
	done := in.start
	for _, w := range *found {
		// Ranges that break the rules are cut, so that they cannot break more than the words.
		s := span{max(done, in.start+w[0]), min(in.end, in.start+w[1])}
		if s.start >= s.end {
			continue
		}
		if done = s.end; p.split {
			words = splitPythonSpace(words, a.text, s)
		} else {
			words = append(words, s)
		}
	}
	if cap(*found) <= maxKept {
		p.pool.Put(found)
	}
	return words
}

// splitPythonSpace cuts a range at what Python's str.split takes for white space: more control characters than
// others do.
func splitPythonSpace(words []span, text []byte, in span) []span {
	start := in.start
	for i := start; i < in.end; {
		r, n := utf8.DecodeRune(text[i:in.end])
		if flagsOf(r)&isSpace != 0 || r >= 0x1c && r <= 0x1f {
			if start < i {
				words = append(words, span{start, i})
			}
			start = i + int32(n)
		}
		i += int32(n)
	}
	if start < in.end {
		words = append(words, span{start, in.end})
	}
	return words
}

// characters is a model that has tokens of one character only.
type characters struct {
	vocab *vocab
	unk   int32
}

// tokenize implements model.
func (m characters) tokenize(dst []piece, word []byte, _ *scratch) []piece {
	for i := 0; i < len(word); {
		_, n := utf8.DecodeRune(word[i:])
		id, ok := m.vocab.id(word[i : i+n])
		if !ok {
			id = m.unk
		}
		dst = append(dst, piece{id, span{int32(i), int32(i + n)}})
		i += n
	}
	return dst
}
