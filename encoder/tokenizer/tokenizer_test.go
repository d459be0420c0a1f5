package tokenizer

import (
	"encoding/json"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

// smallVocab is a vocabulary for tests of which the ids do not matter much.
const smallVocab = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nhello\nworld\n##s\nh\n##e\n##l\n##o\na\n##a\n!\n"

func small(t testing.TB, o VocabOptions) *Tokenizer {
	t.Helper()
	tok, err := FromVocab([]byte(smallVocab), o)
	require.NoError(t, err)
	return tok
}

func TestFromVocab(t *testing.T) {
	tok := small(t, VocabOptions{})
	require.Equal(t, 15, tok.VocabSize())
	require.Equal(t, 2, tok.NumSpecial())
	require.True(t, tok.LowerCases())
	for name, f := range map[string]func() (int32, bool){"[CLS]": tok.CLS, "[SEP]": tok.SEP, "[PAD]": tok.PAD, "[MASK]": tok.MASK, "[UNK]": tok.UNK} {
		id, ok := f()
		require.True(t, ok, name)
		s, ok := tok.Token(id)
		require.True(t, ok)
		require.Equal(t, name, s)
		again, ok := tok.ID(s)
		require.True(t, ok)
		require.Equal(t, id, again)
	}
	e := tok.Encode("Hello WORLDS! hellx", EncodeOptions{AddSpecial: true})
	require.Equal(t, []int32{2, 5, 6, 7, 14, 1, 3}, e.IDs)
	require.Equal(t, [][2]int{{0, 0}, {0, 5}, {6, 11}, {11, 12}, {12, 13}, {14, 19}, {0, 0}}, e.Offsets)
	_, ok := tok.ID("nonsense")
	require.False(t, ok)
	for _, id := range []int32{-1, 15, 1 << 30} {
		_, ok = tok.Token(id)
		require.False(t, ok)
	}
	// Cased text, and the special tokens in the text.
	tok = small(t, VocabOptions{Cased: true})
	require.Equal(t, []int32{1, 3, 5}, tok.Encode("Hello[SEP]hello", EncodeOptions{}).IDs)
	require.NotContains(t, tok.Encode("Hello[SEP]hello", EncodeOptions{NoSpecialInText: true}).IDs, int32(3))

	for name, v := range map[string]string{"empty": "", "no unk": "[CLS]\n[SEP]\n", "no cls": "[UNK]\n[SEP]\n", "not UTF-8": smallVocab + "\xff\n"} {
		_, err := FromVocab([]byte(v), VocabOptions{})
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	// A token that comes twice has the later id, as in the reference; line ends may be CR LF.
	tok, err := FromVocab([]byte("[UNK]\r\n[CLS]\r\n[SEP]\r\na\r\na"), VocabOptions{})
	require.NoError(t, err)
	require.Equal(t, []int32{4}, tok.Encode("a", EncodeOptions{}).IDs)
	_, ok = tok.PAD()
	require.False(t, ok)
}

func TestInvalidUTF8(t *testing.T) {
	tok := small(t, VocabOptions{})
	e := tok.Encode("he\xffllo \xf0\x9fworld\xc3", EncodeOptions{})
	require.Equal(t, []int32{5, 6}, e.IDs)
	require.Equal(t, [][2]int{{0, 6}, {9, 14}}, e.Offsets)
	// Without a normalizer each bad byte is one U+FFFD.
	tok, err := FromJSON([]byte(`{"model":{"type":"WordPiece","unk_token":"u","vocab":{"u":0,"a":1,"##\ufffd":2}}}`))
	require.NoError(t, err)
	e = tok.Encode("a\xff\xe4\xb8", EncodeOptions{})
	require.Equal(t, []int32{1, 2, 2, 2}, e.IDs)
	require.Equal(t, [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}}, e.Offsets)
}

func TestLongTexts(t *testing.T) {
	tok := small(t, VocabOptions{})
	word := strings.Repeat("a", 1_000_000)
	e := tok.Encode(word, EncodeOptions{})
	require.Equal(t, []int32{1}, e.IDs)
	require.Equal(t, [][2]int{{0, 1_000_000}}, e.Offsets)
	e = tok.Encode(strings.Repeat("a ", 500_000), EncodeOptions{AddSpecial: true, MaxLen: 32})
	require.Len(t, e.IDs, 32)
	require.True(t, e.Truncated)
	require.Len(t, tok.Encode(strings.Repeat("a", 100), EncodeOptions{}).IDs, 100)
	require.Len(t, tok.Encode(strings.Repeat("a", 101), EncodeOptions{}).IDs, 1)
	// Fewer than the special tokens: they stay.
	for _, n := range []int{1, 2} {
		e = tok.Encode("a a", EncodeOptions{AddSpecial: true, MaxLen: n})
		require.Equal(t, []int32{2, 3}, e.IDs)
		require.True(t, e.Truncated)
	}
	e = tok.Encode("", EncodeOptions{AddSpecial: true, MaxLen: 2})
	require.False(t, e.Truncated)
}

// wordPieceJSON is a small tokenizer.json with the given members put in the place of its own.
func wordPieceJSON(t testing.TB, set map[string]any) []byte {
	m := map[string]any{
		"version": "1.0", "truncation": map[string]any{"max_length": 1}, "padding": map[string]any{"pad_id": 0},
		"added_tokens":  []any{map[string]any{"id": 1, "content": "[CLS]", "special": true}},
		"normalizer":    map[string]any{"type": "BertNormalizer", "strip_accents": nil},
		"pre_tokenizer": map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{
			"type": "BertProcessing", "sep": []any{"[SEP]", 2}, "cls": []any{"[CLS]", 1},
		},
		"decoder": map[string]any{"type": "Whatever"},
		"model": map[string]any{
			"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
			"vocab": map[string]any{"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "a": 3},
		},
	}
	for k, v := range set {
		m[k] = v
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return b
}

func TestFromJSON(t *testing.T) {
	type m = map[string]any
	tok, err := FromJSON(wordPieceJSON(t, nil))
	require.NoError(t, err)
	require.Equal(t, []int32{1, 3, 3, 2}, tok.Encode("a A", EncodeOptions{AddSpecial: true}).IDs) // stored truncation is ignored

	for want, set := range map[string]m{
		`normalizer "NFX"`:                      {"normalizer": m{"type": "NFX"}},
		`normalizer "NFC.form"`:                 {"normalizer": m{"type": "NFC", "form": 1}},
		`normalizer "Replace.pattern a(?=b)"`:   {"normalizer": m{"type": "Replace", "content": "", "pattern": m{"Regex": "a(?=b)"}}},
		`normalizer "Sequence.x"`:               {"normalizer": m{"type": "Sequence", "normalizers": []any{}, "x": 1}},
		`normalizer "BertNormalizer.new"`:       {"normalizer": m{"type": "BertNormalizer", "new": 1}},
		`pre_tokenizer "UnicodeScripts"`:        {"pre_tokenizer": m{"type": "UnicodeScripts"}},
		`pre_tokenizer "Split.pattern \\w+"`:    {"pre_tokenizer": m{"type": "Split", "pattern": m{"Regex": `\w+`}}},
		`pre_tokenizer "Split.behavior X"`:      {"pre_tokenizer": m{"type": "Split", "pattern": m{"String": "x"}, "behavior": "X"}},
		`pre_tokenizer "Metaspace.prepend_sc`:   {"pre_tokenizer": m{"type": "Metaspace", "prepend_scheme": "x"}},
		`post_processor "OtherProcessing"`:      {"post_processor": m{"type": "OtherProcessing"}},
		`post_processor "TemplateProcessing wi`: {"post_processor": m{"type": "TemplateProcessing", "single": []any{}}},
		`model "BPE.dropout"`:                   {"model": m{"type": "BPE", "vocab": m{}, "merges": []any{}, "dropout": 0.1}},
		`model "Other"`:                         {"model": m{"type": "Other", "vocab": m{}}},
		`model ""`:                              {"model": m{"vocab": m{}}},
	} {
		_, err := FromJSON(wordPieceJSON(t, set))
		require.ErrorIs(t, err, ErrUnsupported, want)
		require.ErrorContains(t, err, want)
		var u *UnsupportedError
		require.ErrorAs(t, err, &u)
	}

	model := func(set m) m {
		mm := m{"type": "WordPiece", "unk_token": "[UNK]", "vocab": m{"[UNK]": 0}}
		for k, v := range set {
			mm[k] = v
		}
		return m{"model": mm}
	}
	tmpl := func(single, special any) m {
		return m{"post_processor": m{"type": "TemplateProcessing", "single": single, "special_tokens": special}}
	}
	for name, set := range map[string]m{
		"no model":               {"model": nil},
		"unk not there":          model(m{"unk_token": "x"}),
		"no vocab":               model(m{"vocab": nil}),
		"negative id":            model(m{"vocab": m{"[UNK]": 0, "a": -1}}),
		"sparse id":              model(m{"vocab": m{"[UNK]": 0, "a": 10_000_000}}),
		"huge id":                model(m{"vocab": m{"[UNK]": 0, "a": 1 << 40}}),
		"id twice":               model(m{"vocab": m{"[UNK]": 0, "a": 0}}),
		"fractional id":          model(m{"vocab": m{"[UNK]": 0.5}}),
		"max chars":              model(m{"max_input_chars_per_word": -1}),
		"added without content":  {"added_tokens": []any{m{"id": 1}}},
		"added id":               {"added_tokens": []any{m{"id": -1, "content": "x"}}},
		"added not an array":     {"added_tokens": m{}},
		"special id beyond":      {"post_processor": m{"type": "BertProcessing", "sep": []any{"[SEP]", 99}, "cls": []any{"[CLS]", 1}}},
		"no cls":                 {"post_processor": m{"type": "BertProcessing", "sep": []any{"[SEP]", 1}}},
		"no id":                  {"post_processor": m{"type": "BertProcessing", "sep": []any{"[SEP]"}, "cls": []any{"[CLS]", 1}}},
		"template without":       tmpl(nil, m{}),
		"template unknown token": tmpl([]any{m{"SpecialToken": m{"id": "x"}}}, m{}),
		"template unknown part":  tmpl([]any{m{"Other": m{"id": "x"}}}, m{}),
		"template of B":          tmpl([]any{m{"Sequence": m{"id": "B", "type_id": 0}}}, m{}),
		"no model fields":        {"model": m{}},
		"no sequence":            {"normalizer": m{"type": "Sequence"}},
		"charsmap base64":        {"normalizer": m{"type": "Precompiled", "precompiled_charsmap": "?"}},
		"charsmap short":         {"normalizer": m{"type": "Precompiled", "precompiled_charsmap": "AAAA"}},
		"charsmap trie":          {"normalizer": m{"type": "Precompiled", "precompiled_charsmap": "CAAAAAAA"}},
		"charsmap UTF-8":         {"normalizer": m{"type": "Precompiled", "precompiled_charsmap": "BAAAAAAAAAD/AA=="}},
		"metaspace mark":         {"pre_tokenizer": m{"type": "Metaspace", "replacement": "ab"}},
		"metaspace contradicts":  {"pre_tokenizer": m{"type": "Metaspace", "prepend_scheme": "first", "add_prefix_space": false}},
		"no pattern":             {"pre_tokenizer": m{"type": "Split"}},
		"length":                 {"pre_tokenizer": m{"type": "FixedLength", "length": 0}},
		"unigram unk":            {"model": m{"type": "Unigram", "unk_id": 1, "vocab": []any{[]any{"a", 0}}}},
		"unigram score":          {"model": m{"type": "Unigram", "unk_id": 0, "vocab": []any{[]any{"a"}}}},
		"unigram three":          {"model": m{"type": "Unigram", "unk_id": 0, "vocab": []any{[]any{"a", 0, 1}}}},
		"unigram empty":          {"model": m{"type": "Unigram", "vocab": []any{}}},
		"merge of three":         {"model": m{"type": "BPE", "vocab": m{"a": 0}, "merges": []any{"a a a"}}},
		"merge of one":           {"model": m{"type": "BPE", "vocab": m{"a": 0}, "merges": []any{[]any{"a"}}}},
		"merge unknown":          {"model": m{"type": "BPE", "vocab": m{"a": 0}, "merges": []any{"a a"}}},
		"merge prefix":           {"model": m{"type": "BPE", "continuing_subword_prefix": "##", "vocab": m{"a": 0}, "merges": []any{"a a"}}},
		"strip_accents":          {"normalizer": m{"type": "BertNormalizer", "strip_accents": 3}},
	} {
		_, err := FromJSON(wordPieceJSON(t, set))
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	for _, b := range []string{"", "null", "[]", "{", `{"model":`, strings.Repeat("[", 1_000_000), `{"x":` + strings.Repeat(`{"a":`, 1_000_000)} {
		_, err := FromJSON([]byte(b))
		require.ErrorIs(t, err, ErrCorrupt, "%.20q", b)
	}
	whole := wordPieceJSON(t, nil)
	for n := range whole {
		_, err := FromJSON(whole[:n])
		require.ErrorIs(t, err, ErrCorrupt, "%d bytes", n)
	}
}

func TestWithBERT(t *testing.T) {
	yes, no := true, false
	tok, err := FromVocab([]byte("[UNK]\n[CLS]\n[SEP]\na\nA\ne\né\n中\n中中\n"), VocabOptions{Added: []AddedToken{{Content: "[Q] ", Normalized: true}, {Content: "[D] ", Special: true}}})
	require.NoError(t, err)
	require.Same(t, tok, tok.WithBERT(nil, nil, nil))
	require.Same(t, tok, tok.WithBERT(&yes, nil, nil))
	ids := func(t *Tokenizer) []int32 { return t.Encode("A é 中中 [q] [D] ", EncodeOptions{}).IDs }
	require.Equal(t, []int32{3, 5, 7, 7, 9, 10}, ids(tok))
	require.Equal(t, []int32{4, 6, 7, 7, 0, 0, 0, 10}, ids(tok.WithBERT(&no, nil, nil)))
	require.Equal(t, []int32{4, 5, 7, 7, 0, 0, 0, 10}, ids(tok.WithBERT(&no, &yes, nil)))
	require.Equal(t, []int32{3, 6, 8, 9, 10}, ids(tok.WithBERT(nil, &no, &no)))
	require.Equal(t, 11, tok.VocabSize())
	id, ok := tok.ID("[Q] ")
	require.True(t, ok)
	require.Equal(t, int32(9), id)
	require.Len(t, tok.AddedTokens(), 5)
}

func TestConcurrent(t *testing.T) {
	tok := small(t, VocabOptions{})
	want := tok.Encode("Hello wörlds a [SEP]", EncodeOptions{AddSpecial: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				got := tok.Encode("Hello wörlds a [SEP]", EncodeOptions{AddSpecial: true})
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("got %v", got)
				}
			}
		})
	}
	wg.Wait()
}

// TestAllocations: with memory to reuse, encoding allocates nothing. (The pool may lose its memory at any time.)
func TestAllocations(t *testing.T) {
	tok := small(t, VocabOptions{})
	var e Encoding
	var s scratch
	text := "hello world hellos a a! é [SEP]"
	encode := func() {
		e.IDs, e.Offsets, e.Special = e.IDs[:0], e.Offsets[:0], e.Special[:0]
		tok.encodeText(&e, text, false, math.MaxInt, &s)
	}
	encode()
	require.Zero(t, testing.AllocsPerRun(100, encode))
}

func FuzzFromJSON(f *testing.F) {
	f.Add(wordPieceJSON(f, nil))
	f.Add([]byte(`{"model":{"type":"WordPiece","vocab":{"[UNK]":0}},"added_tokens":[{"content":"x","id":9,"lstrip":true,"normalized":true}]}`))
	f.Add(wordPieceJSON(f, map[string]any{"post_processor": map[string]any{
		"type": "TemplateProcessing", "single": []any{map[string]any{"SpecialToken": map[string]any{"id": "c"}}, map[string]any{"Sequence": map[string]any{"id": "A"}}},
		"special_tokens": map[string]any{"c": map[string]any{"ids": []any{1, 2}}},
	}}))
	for _, p := range readPipelines(f, "testdata/components.json").Pipelines[:20] {
		f.Add([]byte(p.Tokenizer))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		tok, err := FromJSON(b)
		if err != nil {
			return
		}
		checkEncoding(t, tok, "a[CLS] é\u0301中[SEP] hello  x\xff ▁ab\n12 ｶﾞ", EncodeOptions{AddSpecial: true})
	})
}

func FuzzEncode(f *testing.F) {
	for _, s := range []string{"", "Hello, world! [SEP]", "\u302e\u0301\x00\u3099é", "中\xff文 한국어 İ", strings.Repeat("ab ", 50)} {
		f.Add(s, 7, true)
	}
	toks := []*Tokenizer{small(f, VocabOptions{}), small(f, VocabOptions{Cased: true, NoCJKSplit: true, Added: []AddedToken{
		{Content: "a ", Normalized: true, LStrip: true}, {Content: "h", SingleWord: true, RStrip: true}, {Content: "[Q] "}}})}
	f.Fuzz(func(t *testing.T, text string, limit int, plain bool) {
		for _, tok := range toks {
			checkEncoding(t, tok, text, EncodeOptions{AddSpecial: true, MaxLen: limit % 1000, NoSpecialInText: plain})
		}
	})
}

// checkEncoding checks what holds for any text.
func checkEncoding(t *testing.T, tok *Tokenizer, text string, o EncodeOptions) {
	e := tok.Encode(text, o)
	if len(e.IDs) != len(e.Offsets) || len(e.IDs) != len(e.Special) {
		t.Fatalf("lengths %d %d %d", len(e.IDs), len(e.Offsets), len(e.Special))
	}
	if o.MaxLen > 0 && len(e.IDs) > max(o.MaxLen, tok.NumSpecial()) {
		t.Fatalf("%d tokens, limit %d", len(e.IDs), o.MaxLen)
	}
	valid := utf8.ValidString(text)
	_, bert := tok.normalizer.(*bertNormalizer)
	for i, id := range e.IDs {
		if id < 0 || int(id) >= tok.VocabSize() {
			t.Fatalf("id %d", id)
		}
		at := e.Offsets[i]
		if at[0] < 0 || at[1] < at[0] || at[1] > len(text) || bert && !e.Special[i] && at[0] == at[1] {
			t.Fatalf("offsets %v in %q", at, text)
		}
		if valid && (at[0] < len(text) && !utf8.RuneStart(text[at[0]]) || at[1] < len(text) && !utf8.RuneStart(text[at[1]])) {
			t.Fatalf("offsets %v split a character of %q", at, text)
		}
	}
}
