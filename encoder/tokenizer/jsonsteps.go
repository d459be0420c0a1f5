package tokenizer

import (
	"encoding/base64"
	"errors"
	"fmt"
	"unicode/utf8"
)

// maxSteps bounds the number of components of a Sequence.
const maxSteps = 256

// sequence reads the components of a Sequence.
func (f fields) sequence(component, kind, name string, add func(kind string, f fields) error) error {
	if err := f.unknown(component, kind, name); err != nil {
		return err
	}
	s := f[name]
	if s == nil {
		return fmt.Errorf("%w: tokenizer.json: %s: Sequence lacks %q", ErrCorrupt, component, name)
	}
	return s.Array(func(i int) error {
		if i == maxSteps {
			return s.Errorf("%s: Sequence of more than %d", component, maxSteps)
		}
		kind, inner, err := readComponent(s, component)
		if err != nil {
			return err
		}
		return add(kind, inner)
	})
}

// readNormalizer reads a normalizer.
func readNormalizer(kind string, f fields) (normalizer, error) {
	st, err := readStep(kind, f)
	if err != nil {
		return nil, err
	}
	c, ok := st.(chain)
	if !ok {
		c = chain{st}
	}
	if len(c) == 0 {
		return verbatim{}, nil
	}
	if b, ok := c[0].(bertStep); ok && len(c) == 1 {
		return b.n, nil
	}
	return c, nil
}

// readStep reads a normalizer that may follow others.
func readStep(kind string, f fields) (step, error) {
	const component = "normalizer"
	known := map[string][]string{
		"BertNormalizer": {"clean_text", "handle_chinese_chars", "strip_accents", "lowercase"},
		"Strip":          {"strip_left", "strip_right"},
		"Replace":        {"pattern", "content"},
		"Prepend":        {"prepend"},
		"Precompiled":    {"precompiled_charsmap"},
	}[kind]
	if kind == "Sequence" {
		c := chain{}
		return c, f.sequence(component, kind, "normalizers", func(kind string, f fields) error {
			st, err := readStep(kind, f)
			c = append(c, st)
			return err
		})
	}
	if err := f.unknown(component, kind, known...); err != nil {
		return nil, err
	}
	switch kind {
	case "BertNormalizer":
		clean, err1 := f.bool("clean_text", true)
		cjk, err2 := f.bool("handle_chinese_chars", true)
		lowerCase, err3 := f.bool("lowercase", true)
		strip, err4 := f.bool("strip_accents", lowerCase)
		return bertStep{newBertNormalizer(clean, cjk, strip, lowerCase)}, errors.Join(err1, err2, err3, err4)
	case "NFC":
		return unicodeForm{compose: true}, nil
	case "NFD":
		return unicodeForm{}, nil
	case "NFKC":
		return unicodeForm{compose: true, compat: true}, nil
	case "NFKD":
		return unicodeForm{compat: true}, nil
	case "Lowercase":
		return lowercase{}, nil
	case "StripAccents":
		return filter(stripAccents), nil
	case "Nmt":
		return chain{filter(nmtDropped), mapRunes(nmtSpace)}, nil
	case "ByteLevel":
		return byteLevelNorm{}, nil
	case "Strip":
		left, err1 := f.bool("strip_left", true)
		right, err2 := f.bool("strip_right", true)
		return strip{left, right}, errors.Join(err1, err2)
	case "Prepend":
		text, err := f.text("prepend", "")
		if len(text) > maxReplacement {
			return nil, &UnsupportedError{Component: component, Name: fmt.Sprintf("Prepend of %d bytes", len(text))}
		}
		return prepend(text), err
	case "Replace":
		with, err1 := f.text("content", "")
		pattern, err2 := f.pattern(component, kind)
		if len(with) > maxReplacement {
			return nil, &UnsupportedError{Component: component, Name: fmt.Sprintf("Replace.content of %d bytes", len(with))}
		}
		if pattern == nil && err2 == nil {
			return chain{}, err1
		}
		return &replacer{pattern, with}, errors.Join(err1, err2)
	case "Precompiled":
		text, err := f.text("precompiled_charsmap", "")
		if err != nil {
			return nil, err
		}
		if text == "" { // the reference knows it, and does nothing
			return chain{}, nil
		}
		b, err := base64.StdEncoding.DecodeString(text)
		if err != nil {
			return nil, fmt.Errorf("%w: tokenizer.json: normalizer: precompiled_charsmap: %w", ErrCorrupt, err)
		}
		return newCharsmap(b)
	}
	return nil, &UnsupportedError{Component: component, Name: kind}
}

// pattern reads {"String": ...} or {"Regex": ...}; an empty string matches nothing, and is nil.
func (f fields) pattern(component, kind string) (matcher, error) {
	s := f["pattern"]
	if s == nil {
		return nil, fmt.Errorf("%w: tokenizer.json: %s: %s lacks a pattern", ErrCorrupt, component, kind)
	}
	var m matcher
	err := s.Object(func(key []byte) error {
		name := string(key)
		text, err := s.Text()
		if err != nil {
			return err
		}
		switch name {
		case "String":
			m = nil
			if text != "" {
				m = literal(text)
			}
		case "Regex":
			if m, err = newRegexp(text); err != nil {
				return &UnsupportedError{Component: component, Name: fmt.Sprintf("%s.pattern %s", kind, text)}
			}
		default:
			return s.Errorf("%s: %s.pattern has a member %q", component, kind, name)
		}
		return nil
	})
	return m, err
}

// behaviour reads the option of that name.
func (f fields) behaviour(component, kind string) (behaviour, error) {
	name, err := f.text("behavior", "Isolated")
	if err != nil {
		return 0, err
	}
	for b, n := range []string{"Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"} {
		if n == name {
			return behaviour(b), nil
		}
	}
	return 0, &UnsupportedError{Component: component, Name: kind + ".behavior " + name}
}

// readPreTokenizer appends the steps of a pre-tokenizer.
func readPreTokenizer(steps []any, kind string, f fields) ([]any, error) {
	const component = "pre_tokenizer"
	known := map[string][]string{
		"Metaspace":          {"replacement", "prepend_scheme", "split", "add_prefix_space", "str_rep"},
		"ByteLevel":          {"add_prefix_space", "trim_offsets", "use_regex"},
		"Split":              {"pattern", "behavior", "invert"},
		"Punctuation":        {"behavior"},
		"Digits":             {"individual_digits"},
		"CharDelimiterSplit": {"delimiter"},
		"FixedLength":        {"length"},
	}[kind]
	if kind == "Sequence" {
		err := f.sequence(component, kind, "pretokenizers", func(kind string, f fields) (err error) {
			steps, err = readPreTokenizer(steps, kind, f)
			return err
		})
		return steps, err
	}
	if err := f.unknown(component, kind, known...); err != nil {
		return nil, err
	}
	switch kind {
	case "BertPreTokenizer":
		return append(steps, bertPreTokenizer{}), nil
	case "Whitespace":
		return append(steps, whitespace{}), nil
	case "WhitespaceSplit":
		return append(steps, whitespaceSplit{}), nil
	case "Punctuation":
		do, err := f.behaviour(component, kind)
		return append(steps, &charSplitter{isPunctuation, do}), err
	case "Digits":
		single, err := f.bool("individual_digits", false)
		do := contiguous
		if single {
			do = isolated
		}
		return append(steps, &charSplitter{isDigit, do}), err
	case "CharDelimiterSplit":
		text, err := f.text("delimiter", "")
		r, n := utf8.DecodeRuneInString(text)
		if err == nil && (n == 0 || n != len(text)) {
			err = fmt.Errorf("%w: tokenizer.json: pre_tokenizer: delimiter %q is not one character", ErrCorrupt, text)
		}
		return append(steps, &charSplitter{func(c rune) bool { return c == r }, removed}), err
	case "FixedLength":
		n := int64(5)
		if s := f["length"]; s != nil {
			var err error
			if n, err = s.Int(); err != nil || n < 1 || n > 1<<30 {
				return nil, s.Errorf("length is not a number from 1 to %d", 1<<30)
			}
		}
		return append(steps, fixedLength(n)), nil
	case "Metaspace":
		m, err := readMetaspace(f)
		return append(steps, m), err
	case "ByteLevel":
		prefix, err1 := f.bool("add_prefix_space", true)
		regex, err2 := f.bool("use_regex", true)
		if prefix {
			steps = append(steps, prefixSpace{})
		}
		if regex {
			steps = append(steps, gpt2Scanner{})
		}
		return append(steps, byteLetters{}), errors.Join(err1, err2)
	case "Split":
		do, err1 := f.behaviour(component, kind)
		invert, err2 := f.bool("invert", false)
		m, err3 := f.pattern(component, kind)
		if err := errors.Join(err1, err2, err3); err != nil {
			return nil, err
		}
		if m == nil { // no match anywhere
			m = never{}
		}
		if p, ok := m.(preTokenizer); ok && (do == isolated || do == removed && invert) {
			return append(steps, p), nil // a scanner: every match is a word
		}
		return append(steps, &splitter{m, do, invert}), nil
	}
	return nil, &UnsupportedError{Component: component, Name: kind}
}

// never matches nothing.
type never struct{}

func (never) find([]byte, int) (int, int) { return -1, 0 }

// readMetaspace reads a Metaspace in its forms of different ages.
func readMetaspace(f fields) (*metaspace, error) {
	mark, err1 := f.text("replacement", "▁")
	scheme, err2 := f.text("prepend_scheme", "always")
	prefix, err3 := f.bool("add_prefix_space", true)
	split, err4 := f.bool("split", true)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return nil, err
	}
	if _, n := utf8.DecodeRuneInString(mark); n == 0 || n != len(mark) {
		return nil, fmt.Errorf("%w: tokenizer.json: pre_tokenizer: Metaspace.replacement %q is not one character", ErrCorrupt, mark)
	}
	m := &metaspace{mark: mark, first: mark[0], split: split}
	switch {
	case !prefix:
		if scheme != "never" && f["prepend_scheme"] != nil {
			return nil, fmt.Errorf("%w: tokenizer.json: pre_tokenizer: Metaspace.add_prefix_space contradicts prepend_scheme %q", ErrCorrupt, scheme)
		}
	case scheme == "always":
		m.always = true
	case scheme == "first":
		m.firstOnly = true
	case scheme != "never":
		return nil, &UnsupportedError{Component: "pre_tokenizer", Name: "Metaspace.prepend_scheme " + scheme}
	}
	return m, nil
}

// int reads an optional number; null means absent.
func (f fields) int(name string, def int64) (int64, error) {
	s := f[name]
	if s == nil {
		return def, nil
	}
	if null, err := s.Null(); null || err != nil {
		return def, err
	}
	return s.Int()
}
