package tokenizer

import "unicode/utf8"

// span is a byte range [start, end) of a text.
type span struct{ start, end int32 }

// aligned is text on its way through the pipeline, with the place of every byte in the original text. As long
// as each byte stands for one byte of the original, from and to stay nil and base alone tells the place, which
// is the case for most ASCII text.
type aligned struct {
	text []byte
	base int32 // position of text[0] in the original; meaningful only without from and to
	// from[i] and to[i] bound the bytes of the original that text[i] came from.
	from, to []int32
	mapped   bool // from and to are in use
}

// reset empties a for text that starts at base.
func (a *aligned) reset(base int32) {
	a.text, a.from, a.to = a.text[:0], a.from[:0], a.to[:0]
	a.base, a.mapped = base, false
}

// origin maps a byte range of the text, which must not be empty, to the original. Like the reference, it goes
// from the start of the first byte's source to the end of the last one's: what was dropped in between counts,
// what was dropped around does not.
func (a *aligned) origin(s span) [2]int {
	if !a.mapped {
		return [2]int{int(a.base + s.start), int(a.base + s.end)}
	}
	return [2]int{int(a.from[s.start]), int(a.to[s.end-1])}
}

// toMapped switches to explicit places.
func (a *aligned) toMapped() {
	if a.mapped {
		return
	}
	a.mapped = true
	a.from, a.to = a.from[:0], a.to[:0]
	for i := range a.text {
		a.from = append(a.from, a.base+int32(i))
		a.to = append(a.to, a.base+int32(i)+1)
	}
}

// appendRune appends a code point that came from the given place. The places must be in use already.
func (a *aligned) appendRune(r rune, from, to int32) {
	n := len(a.text)
	a.text = utf8.AppendRune(a.text, r)
	for ; n < len(a.text); n++ {
		a.from = append(a.from, from)
		a.to = append(a.to, to)
	}
}

// appendByte is appendRune for ASCII.
func (a *aligned) appendByte(c byte, from, to int32) {
	a.text = append(a.text, c)
	a.from = append(a.from, from)
	a.to = append(a.to, to)
}

// normalizer is a step of the pipeline that rewrites text. It reads a piece that starts at base of the original
// and writes dst, which was reset to base. Bytes that are not UTF-8 count as U+FFFD each. Normalizers that may
// follow another one are steps.
type normalizer interface {
	normalize(dst *aligned, piece string, s *scratch)
}

// verbatim is the normalizer of tokenizers that have none: it only replaces what is not UTF-8.
type verbatim struct{}

func (verbatim) normalize(dst *aligned, piece string, _ *scratch) {
	if utf8.ValidString(piece) {
		dst.text = append(dst.text, piece...)
		return
	}
	dst.toMapped()
	base := dst.base
	for i, r := range piece {
		n := int32(utf8.RuneLen(r))
		if r == utf8.RuneError {
			_, w := utf8.DecodeRuneInString(piece[i:])
			n = int32(w)
		}
		dst.appendRune(r, base+int32(i), base+int32(i)+n)
	}
}

// preTokenizer is a step that cuts text into words. It appends their ranges in a.text[in.start:in.end], which is
// not empty; nor are they.
type preTokenizer interface {
	preTokenize(words []span, a *aligned, in span) []span
}

// rewriter is a pre-tokenizer that changes text: it appends the words in, which are ranges of a, to dst in their
// new form, and their ranges there to words. The places of dst are explicit; it may make those of a so.
type rewriter interface {
	rewrite(words []span, dst, a *aligned, in []span) []span
}

// piece is a token that a model found in a word.
type piece struct {
	id int32
	span
}

// model turns a word into pieces, with ranges relative to the word.
type model interface {
	tokenize(dst []piece, word []byte, s *scratch) []piece
}

// scratch is the working memory of one Encode call.
type scratch struct {
	text      string // the text of the call
	skipped   int    // special tokens before the first token of the text
	grown     int    // the longest text on which further normalizers run
	norm      aligned
	edit      aligned    // second buffer of a chain of normalizers
	rewritten [2]aligned // buffers of the rewriters
	words     []span
	nextWords []span
	pieces    []piece
	marks     []mark
	runes     []rune
	origin    []span
	parts     []part
	inner     []part

	decomposed []decomposed
	cells      []cell
	symbols    []symbol
	heap       []merge
	word       []byte
	letter     []byte
	cache      wordCache
}

// maxKept is the largest text, in bytes, for which a scratch goes back to the pool: one giant document must not
// hold its memory for ever.
const maxKept = 1 << 20

// small reports whether a scratch may be kept.
func (s *scratch) small() bool {
	for _, a := range []*aligned{&s.norm, &s.edit, &s.rewritten[0], &s.rewritten[1]} {
		if cap(a.text) > maxKept || cap(a.from) > maxKept {
			return false
		}
	}
	return cap(s.cells) <= maxKept && cap(s.symbols) <= maxKept && cap(s.heap) <= maxKept && cap(s.words) <= maxKept
}
