package tokenizer

import (
	"bytes"
	"fmt"
	"strings"
	"unicode/utf8"
)

// VocabOptions describes a BERT tokenizer of which only the vocabulary is at hand. The zero value is that of
// bert-base-uncased.
type VocabOptions struct {
	// Cased keeps the case of letters (do_lower_case false).
	Cased bool
	// StripAccents removes combining marks; nil means: when the text is lower-cased.
	StripAccents *bool
	// NoCJKSplit keeps runs of Chinese characters together (tokenize_chinese_chars false).
	NoCJKSplit bool
	// Words finds the words of a text in place of BERT's rules, as in BertJapaneseTokenizer, whose text is
	// normalised to NFKC and no further: Cased must be set, StripAccents and NoCJKSplit do not matter.
	Words WordSplitter
	// Characters makes a token of each character of a word, an unknown one of each that the vocabulary lacks,
	// in place of WordPiece.
	Characters bool
	// Unk, CLS, SEP, Pad and Mask name the special tokens; empty means [UNK], [CLS], [SEP], [PAD], [MASK].
	// Unk, CLS and SEP must be in the vocabulary.
	Unk, CLS, SEP, Pad, Mask string
	// Added are further tokens to find in text. Their ids are ignored: a token of the vocabulary has that id,
	// others are numbered after it.
	Added []AddedToken
}

// bertPrefix and bertMaxChars are what BERT's vocabularies are made for.
const (
	bertPrefix   = "##"
	bertMaxChars = 100
)

// FromVocab builds a BERT tokenizer from the content of a vocab.txt: one token a line, its id the line number.
func FromVocab(text []byte, o VocabOptions) (*Tokenizer, error) {
	if len(text) > maxFile {
		return nil, fmt.Errorf("%w: vocabulary of %d bytes", ErrCorrupt, len(text))
	}
	if !utf8.Valid(text) {
		return nil, fmt.Errorf("%w: vocabulary is not UTF-8", ErrCorrupt)
	}
	lines := bytes.Count(text, []byte{'\n'})
	if len(text) > 0 && text[len(text)-1] != '\n' {
		lines++
	}
	if lines == 0 {
		return nil, fmt.Errorf("%w: vocabulary is empty", ErrCorrupt)
	}
	v, err := newVocab(lines, lines-1)
	if err != nil {
		return nil, err
	}
	rest := string(text)
	for id := range lines {
		line, tail, _ := strings.Cut(rest, "\n")
		rest = tail
		if err := v.add(trimEnd(line), id); err != nil {
			return nil, err
		}
	}

	or := func(name, def string) string {
		if name == "" {
			return def
		}
		return name
	}
	unk, cls, sep := or(o.Unk, "[UNK]"), or(o.CLS, "[CLS]"), or(o.SEP, "[SEP]")
	pad, mask := or(o.Pad, "[PAD]"), or(o.Mask, "[MASK]")
	ids := make([]int32, 0, 3)
	for _, name := range []string{unk, cls, sep} {
		id, ok := v.id([]byte(name))
		if !ok {
			return nil, fmt.Errorf("%w: vocabulary lacks the special token %q", ErrCorrupt, name)
		}
		ids = append(ids, id)
	}
	var m model = characters{v, ids[0]}
	if !o.Characters {
		if m, err = newWordPiece(v, bertPrefix, ids[0], bertMaxChars); err != nil {
			return nil, err
		}
	}
	var added []AddedToken
	for _, name := range []string{pad, unk, cls, sep, mask} {
		if _, ok := v.id([]byte(name)); ok {
			added = append(added, AddedToken{Content: name, Special: true})
		}
	}
	strip := !o.Cased
	if o.StripAccents != nil {
		strip = *o.StripAccents
	}
	var norm normalizer = newBertNormalizer(true, !o.NoCJKSplit, strip, !o.Cased)
	var pre preTokenizer = bertPreTokenizer{}
	if o.Words != nil {
		if !o.Cased {
			return nil, &UnsupportedError{Component: "normalizer", Name: "lower-casing with VocabOptions.Words"}
		}
		norm, pre = chain{unicodeForm{compose: true, compat: true}}, &wordSplitter{words: o.Words, split: !o.Characters}
	}
	t, err := build(v, norm, []any{pre}, m, append(added, o.Added...), [4][]string{{cls}, {sep}, {pad}, {mask}})
	if err != nil {
		return nil, err
	}
	t.unk, t.before, t.after = ids[0], ids[1:2:2], ids[2:]
	return t, nil
}

// trimEnd removes white space from the end of a line, as the reference does.
func trimEnd(s string) string {
	for len(s) > 0 {
		r, n := utf8.DecodeLastRuneInString(s)
		if flagsOf(r)&isSpace == 0 {
			break
		}
		s = s[:len(s)-n]
	}
	return s
}
