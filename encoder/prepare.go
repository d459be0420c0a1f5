package encoder

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/golbert/golbert/encoder/tokenizer"
	"github.com/golbert/golbert/internal/pytext"
)

// prepared is a text as the transformer takes it.
type prepared struct {
	ids       []int32
	attended  int     // the first tokens, those that others attend to
	keep      []int32 // the positions whose vectors are kept
	tokens    []Token // one per kept position
	truncated bool
	rows      int    // of the transformer's output: one per id, fewer where it deletes tokens
	language  string // its code
	part      int    // of the model, for the language
}

// checkText refuses texts that no model can encode.
func checkText(text string) error {
	if !utf8.ValidString(text) {
		for i, r := range text {
			if r == utf8.RuneError {
				if _, n := utf8.DecodeRuneInString(text[i:]); n == 1 {
					return fmt.Errorf("%w: byte %#02x at offset %d", ErrInvalidUTF8, text[i], i)
				}
			}
		}
	}
	if strings.TrimSpace(text) == "" {
		return ErrEmptyText
	}
	return nil
}

// prepare tokenises a text: CLS, the marker at index 1, the text's tokens, SEP, and for queries with expansion
// MASK up to the length (Khattab and Zaharia, SIGIR 2020, section 3.2). buf is working memory.
func (s *side) prepare(tok *tokenizer.Tokenizer, text string, buf *tokenizer.Encoding) prepared {
	src := s.source(text)
	limit := s.length
	if s.hasMarker {
		limit--
	}
	if s.expand && s.rule != ExpandToLength {
		limit = max(limit-leastExpansion, minTokens-1) // room for what the rules add at least
	}
	tok.AppendEncode(buf, src.text, tokenizer.EncodeOptions{AddSpecial: true, MaxLen: limit, NoSpecialInText: s.plainText})

	n := len(buf.IDs)
	p := prepared{truncated: buf.Truncated}
	total := n
	if s.hasMarker {
		total++
	}
	p.attended = total
	if s.expand {
		if total = min(s.rule.filled(total, s.floor), s.length); s.attend {
			p.attended = total
		}
	}
	p.ids = make([]int32, 0, total)
	p.keep = make([]int32, 0, total)
	p.tokens = make([]Token, 0, total)
	add := func(id int32, off [2]int, special, keep bool) {
		if keep && !(s.dropFirst && len(p.ids) == 0 && total > 1) {
			text, _ := tok.Token(id)
			p.keep = append(p.keep, int32(len(p.ids)))
			p.tokens = append(p.tokens, Token{ID: id, Text: text, Start: off[0], End: off[1], Special: special})
		}
		p.ids = append(p.ids, id)
	}
	fill := func(all bool) {
		for i, id := range buf.IDs {
			// The marker goes to index 1 even when the tokenizer adds nothing in front.
			if i == 1 && s.hasMarker {
				add(s.marker, [2]int{}, true, all || s.keepSpecial && !s.skip[s.marker])
			}
			if off, own := src.offsets(buf.Offsets[i]); buf.Special[i] || !own {
				add(id, [2]int{}, true, all || s.keepSpecial && !s.skip[id])
			} else {
				add(id, off, false, all || !s.skip[id])
			}
		}
		if n < 2 && s.hasMarker {
			add(s.marker, [2]int{}, true, all || s.keepSpecial && !s.skip[s.marker])
		}
		for len(p.ids) < total {
			add(s.expansion, [2]int{}, true, all || !s.skip[s.expansion])
		}
	}
	fill(false)
	if len(p.keep) == 0 {
		// Nothing but punctuation, or nothing that the tokenizer kept: a text always has a vector.
		p.ids = p.ids[:0]
		fill(true)
	}
	return p
}

// source is a text with its prompt, after stripping and lower-casing, with the way back to the given text.
type source struct {
	text   string
	given  string  // before lower-casing, without the prompt
	shift  int     // offset of given in the text as the caller has it
	at     []int32 // per byte of lower-cased text the offset of its letter in given, when they moved
	prompt int     // length of the prompt in text
}

func (s *side) source(text string) source {
	src := source{text: text, given: text}
	if s.strip {
		src.given = strings.TrimRightFunc(text, unicode.IsSpace)
		if s.prompt == "" { // a prompt stands before the space
			src.given = strings.TrimLeftFunc(src.given, unicode.IsSpace)
			src.shift = len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
		}
		src.text = src.given
	}
	if s.lower {
		src.text, src.at = pytext.Lower(src.given)
	}
	if s.prompt != "" {
		src.text, src.prompt = s.prompt+src.text, len(s.prompt)
	}
	return src
}

// offsets takes a range of the prepared text back to the caller's text. It is false for the prompt's own tokens.
func (s *source) offsets(r [2]int) ([2]int, bool) {
	if s.prompt > 0 {
		if r[1] <= s.prompt {
			return [2]int{}, false
		}
		r[0], r[1] = max(r[0]-s.prompt, 0), r[1]-s.prompt
	}
	if s.at != nil && r[0] < r[1] {
		last := int(s.at[r[1]-1])
		_, n := utf8.DecodeRuneInString(s.given[last:])
		r[0], r[1] = int(s.at[r[0]]), last+n
	}
	return [2]int{r[0] + s.shift, r[1] + s.shift}, true
}
