package tokenizer

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/golbert/golbert/internal/jsonscan"
)

// MergesOptions describes a byte-level BPE tokenizer of which only the vocabulary and the merges are at hand. The
// zero value is right for RoBERTa, whose texts stand between <s> and </s>, and for GPT-2, whose do not: the
// vocabulary tells them apart.
type MergesOptions struct {
	// AddPrefixSpace puts a space before a text that has none, so that its first word is like the others.
	AddPrefixSpace bool
	// CLS, SEP, Unk, Pad and Mask name the special tokens; empty means <s>, </s>, <unk>, <pad>, <mask>, as far
	// as the vocabulary has them.
	CLS, SEP, Unk, Pad, Mask string
	// Added are further tokens to find in text. Their ids are ignored: a token of the vocabulary has that id,
	// others are numbered after it.
	Added []AddedToken
}

// FromMerges builds a byte-level BPE tokenizer from the contents of a vocab.json ({"token": id, ...}) and of a
// merges.txt (two tokens a line, the most important first), as RoBERTa and GPT-2 have them.
func FromMerges(vocab, merges []byte, o MergesOptions) (*Tokenizer, error) {
	if len(vocab) > maxFile || len(merges) > maxFile {
		return nil, fmt.Errorf("%w: vocabulary of %d bytes, merges of %d bytes", ErrCorrupt, len(vocab), len(merges))
	}
	s := jsonscan.New(vocab)
	v, err := readVocab(s)
	if err == nil {
		err = s.End()
	}
	var syntax *jsonscan.SyntaxError
	if errors.As(err, &syntax) {
		return nil, fmt.Errorf("%w: vocab.json: %w", ErrCorrupt, syntax)
	}
	if err != nil {
		return nil, err
	}
	list, err := parseMerges(merges)
	if err != nil {
		return nil, err
	}
	or := func(name, def string) string {
		if name == "" {
			return def
		}
		return name
	}
	cls, sep, unk := or(o.CLS, "<s>"), or(o.SEP, "</s>"), or(o.Unk, "<unk>")
	pad, mask := or(o.Pad, "<pad>"), or(o.Mask, "<mask>")
	m, raw, err := newBPE(bpeConfig{vocab: v, merges: list, unk: unk}, true)
	if err != nil {
		return nil, fmt.Errorf("merges.txt: %w", err)
	}
	var added []AddedToken
	for _, name := range []string{cls, pad, sep, unk, mask, "<|endoftext|>"} {
		if _, ok := v.id([]byte(name)); ok {
			added = append(added, AddedToken{Content: name, Special: true, LStrip: name == mask})
		}
	}
	var pre []any
	if o.AddPrefixSpace {
		pre = append(pre, prefixSpace{})
	}
	if pre = append(pre, gpt2Scanner{}); !raw {
		pre = append(pre, byteLetters{})
	}
	t, err := build(v, verbatim{}, pre, m, append(added, o.Added...), [4][]string{{cls}, {sep}, {pad}, {mask}})
	if err != nil {
		return nil, err
	}
	t.unk, t.cached = m.unk, true
	before, ok1 := t.CLS()
	after, ok2 := t.SEP()
	if ok1 && ok2 {
		t.before, t.after = []int32{before}, []int32{after}
		t.setTrims([]trim{{prefixSpace: o.AddPrefixSpace}})
	}
	return t, nil
}

// parseMerges reads a merges.txt.
func parseMerges(b []byte) ([][2]string, error) {
	if !utf8.Valid(b) {
		return nil, fmt.Errorf("%w: merges.txt is not UTF-8", ErrCorrupt)
	}
	var l mergeList
	for n := 1; len(b) > 0; n++ {
		line, rest, _ := bytes.Cut(b, []byte("\n"))
		b = rest
		line = bytes.TrimSuffix(line, []byte("\r"))
		if len(line) == 0 && len(b) == 0 {
			break
		}
		if len(l.ends) == maxVocab {
			return nil, fmt.Errorf("%w: merges.txt: more than %d merges", ErrCorrupt, maxVocab)
		}
		if err := l.addLine(line); err != nil {
			return nil, fmt.Errorf("merges.txt: line %d: %w", n, err)
		}
	}
	return l.list(), nil
}
