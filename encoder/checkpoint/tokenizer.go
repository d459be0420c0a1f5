package checkpoint

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// tokenName is the text of a special token, which the files give as a string or as an object with a content.
type tokenName string

// UnmarshalJSON implements json.Unmarshaler.
func (n *tokenName) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '{' {
		var t struct{ Content string }
		if err := json.Unmarshal(b, &t); err != nil {
			return err
		}
		*n = tokenName(t.Content)
		return nil
	}
	var s string // null leaves it empty
	err := json.Unmarshal(b, &s)
	*n = tokenName(s)
	return err
}

// tokenizerConfig is what tokenizer_config.json, and before it special_tokens_map.json, say.
type tokenizerConfig struct {
	LowerCase    *bool     `json:"do_lower_case"`
	StripAccents *bool     `json:"strip_accents"`
	CJK          *bool     `json:"tokenize_chinese_chars"`
	Unk          tokenName `json:"unk_token"`
	CLS          tokenName `json:"cls_token"`
	SEP          tokenName `json:"sep_token"`
	Pad          tokenName `json:"pad_token"`
	Mask         tokenName `json:"mask_token"`
	EOS          tokenName `json:"eos_token"`
	MaxLength    float64   `json:"model_max_length"` // 1e30 where there is no limit
	Class        string    `json:"tokenizer_class"`
	// BertJapaneseTokenizer's settings.
	WordTokenizer    string `json:"word_tokenizer_type"`
	SubwordTokenizer string `json:"subword_tokenizer_type"`
	DoWord           *bool  `json:"do_word_tokenize"`
	DoSubword        *bool  `json:"do_subword_tokenize"`
	Added            map[string]struct {
		Content    string `json:"content"`
		SingleWord bool   `json:"single_word"`
		LStrip     bool   `json:"lstrip"`
		RStrip     bool   `json:"rstrip"`
		Normalized bool   `json:"normalized"`
		Special    bool   `json:"special"`
	} `json:"added_tokens_decoder"`
}

// readTokenizer reads the tokenizer in dir: tokenizer.json, or BERT's vocab.txt with the settings of
// tokenizer_config.json. Words finds the words of a BertJapaneseTokenizer's texts.
func readTokenizer(dir string, words tokenizer.WordSplitter) (*tokenizer.Tokenizer, tokenizerConfig, error) {
	var c tokenizerConfig
	for _, name := range []string{"special_tokens_map.json", "tokenizer_config.json"} {
		if _, err := optional(readJSON(filepath.Join(dir, name), &c)); err != nil {
			return nil, c, err
		}
	}
	path := filepath.Join(dir, "tokenizer.json")
	b, err := readFile(path, maxTokenizer)
	found, err := optional(err)
	if err != nil {
		return nil, c, err
	}
	if found {
		t, err := tokenizer.FromJSON(b)
		if err != nil {
			return nil, c, fmt.Errorf("checkpoint: %s: %w", path, err)
		}
		// transformers lets tokenizer_config.json overrule the normalizer of tokenizer.json.
		return t.WithBERT(c.LowerCase, c.StripAccents, c.CJK), c, nil
	}
	path = filepath.Join(dir, "vocab.txt")
	b, err = readFile(path, maxTokenizer)
	if found, err := optional(err); err != nil {
		return nil, c, err
	} else if !found {
		for _, name := range []string{"sentencepiece.bpe.model", "spiece.model", "tokenizer.model", "vocab.json"} {
			if exists(filepath.Join(dir, name)) {
				return nil, c, fmt.Errorf("%w: %s without a tokenizer.json", ErrUnsupported, filepath.Join(dir, name))
			}
		}
		return nil, c, fmt.Errorf("%w: neither tokenizer.json nor vocab.txt in %s", ErrNotFound, dir)
	}
	o := tokenizer.VocabOptions{
		Cased:        c.LowerCase != nil && !*c.LowerCase,
		StripAccents: c.StripAccents,
		NoCJKSplit:   c.CJK != nil && !*c.CJK,
		Unk:          string(c.Unk), CLS: string(c.CLS), SEP: string(c.SEP), Pad: string(c.Pad), Mask: string(c.Mask),
	}
	if c.Class == "BertJapaneseTokenizer" {
		if err := c.japanese(&o, words); err != nil {
			return nil, c, fmt.Errorf("%w: %s: %w", ErrUnsupported, filepath.Join(dir, "tokenizer_config.json"), err)
		}
	}
	for _, a := range c.Added {
		if name := tokenName(a.Content); name == c.Unk || name == c.CLS || name == c.SEP || name == c.Pad || name == c.Mask {
			continue // these are known already
		}
		o.Added = append(o.Added, tokenizer.AddedToken{
			Content: a.Content, SingleWord: a.SingleWord, LStrip: a.LStrip, RStrip: a.RStrip,
			Normalized: a.Normalized, Special: a.Special,
		})
	}
	// Tokens that the vocabulary lacks are numbered in this order, so take that of their ids in the file.
	ids := make(map[string]int, len(c.Added))
	if c.Added == nil { // the older place of added tokens: {"token": id, ...}
		if _, err := optional(readJSON(filepath.Join(dir, "added_tokens.json"), &ids)); err != nil {
			return nil, c, err
		}
		for content := range ids {
			o.Added = append(o.Added, tokenizer.AddedToken{Content: content, Normalized: true})
		}
	}
	for id, a := range c.Added {
		var n int
		if _, err := fmt.Sscanf(id, "%d", &n); err != nil {
			return nil, c, &CorruptError{File: filepath.Join(dir, "tokenizer_config.json"), Field: "added_tokens_decoder", Offset: -1, Msg: fmt.Sprintf("%q is not an id", id)}
		}
		ids[a.Content] = n
	}
	slices.SortFunc(o.Added, func(a, b tokenizer.AddedToken) int {
		return cmp.Or(cmp.Compare(ids[a.Content], ids[b.Content]), cmp.Compare(a.Content, b.Content))
	})
	t, err := tokenizer.FromVocab(b, o)
	if err != nil {
		return nil, c, fmt.Errorf("checkpoint: %s: %w", path, err)
	}
	return t, c, nil
}

// expansionID is the token that fills queries up: [MASK], or the end of text where a model has none.
func (c *tokenizerConfig) expansionID(t *tokenizer.Tokenizer) int32 {
	for _, name := range []tokenName{c.Mask, "[MASK]", "<mask>", c.EOS} {
		if name != "" {
			if id, ok := t.ID(string(name)); ok {
				return id
			}
		}
	}
	if id, ok := t.SEP(); ok {
		return id
	}
	return -1
}

// japanese sets what a BertJapaneseTokenizer does otherwise than BERT's.
func (c *tokenizerConfig) japanese(o *tokenizer.VocabOptions, words tokenizer.WordSplitter) error {
	switch {
	case c.WordTokenizer == "" || c.WordTokenizer == "basic":
		return errors.New("BertJapaneseTokenizer with the word_tokenizer_type basic")
	case c.DoWord != nil && !*c.DoWord, c.DoSubword != nil && !*c.DoSubword:
		return errors.New("BertJapaneseTokenizer without do_word_tokenize or do_subword_tokenize")
	case c.LowerCase != nil && *c.LowerCase:
		return errors.New("BertJapaneseTokenizer with do_lower_case")
	case words == nil:
		return fmt.Errorf("BertJapaneseTokenizer without option Words: package encoder/japanese finds words as %s does", c.WordTokenizer)
	}
	switch c.SubwordTokenizer {
	case "", "wordpiece":
	case "character":
		o.Characters = true
	default:
		return fmt.Errorf("BertJapaneseTokenizer with the subword_tokenizer_type %q", c.SubwordTokenizer)
	}
	o.Words, o.Cased = words, true
	return nil
}
