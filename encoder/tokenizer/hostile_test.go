package tokenizer

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestLinearTime: no tokenizer may take time in the square of the text, whatever it is made of. Texts are long enough
// for one that does to need minutes.
func TestLinearTime(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 30_000
	}
	toks := []*Tokenizer{small(t, VocabOptions{}), Bytes()}
	for _, p := range readPipelines(t, "testdata/shapes.json").Pipelines {
		tok, err := FromJSON(p.Tokenizer)
		require.NoError(t, err)
		toks = append(toks, tok)
	}
	// Tokens of white space that swallow white space.
	blanks := wordPieceJSON(t, map[string]any{"added_tokens": []any{
		map[string]any{"id": 0, "content": " ", "rstrip": true}, map[string]any{"id": 1, "content": "\n", "rstrip": true, "lstrip": true},
		map[string]any{"id": 3, "content": "\t", "lstrip": true, "normalized": true, "single_word": true},
	}})
	tok, err := FromJSON(blanks)
	require.NoError(t, err)
	toks = append(toks, tok)
	for _, part := range []string{
		"a", "ab", " ", "\n", " \n", "\t ", "\t", "\r\n", "'", "'s", "1", "!", "▁", "中", "\u0301", "\u3099\u0301\u0327", "e\u0301", "\u1100", "\u200d", "©\u200d", "😀\u200d",
		"🇫", "\u0600", "\xff", "\xf0\x9f", "[SEP]", "[MASK] ", "<s>", "\x00", "ﷺ", "İ",
	} {
		text := strings.Repeat(part, n/len(part))
		for i, tok := range toks {
			start := time.Now()
			checkEncoding(t, tok, text, EncodeOptions{AddSpecial: true})
			if took := time.Since(start); took > 20*time.Second {
				t.Errorf("tokenizer %d: %d bytes of %q took %v", i, len(text), part, took)
			}
		}
	}
}

// TestRStripInBlanks: tokens of white space within white space that another has swallowed, as tokenizers 0.23.3 has them.
func TestRStripInBlanks(t *testing.T) {
	tok, err := FromVocab([]byte("[UNK]\n[CLS]\n[SEP]\nb\n"), VocabOptions{Added: []AddedToken{{Content: " ", RStrip: true}, {Content: "a", RStrip: true}}})
	require.NoError(t, err)
	for text, want := range map[string]Encoding{
		"b   b a  b ": {IDs: []int32{3, 4, 4, 4, 3, 4, 5, 4, 4, 3, 4}, Offsets: [][2]int{{0, 1}, {1, 4}, {2, 4}, {3, 4}, {4, 5}, {5, 6}, {6, 9}, {7, 9}, {8, 9}, {9, 10}, {10, 11}}},
		" \n b a   ":  {IDs: []int32{4, 4, 3, 4, 5, 4, 4, 4}, Offsets: [][2]int{{0, 3}, {2, 3}, {3, 4}, {4, 5}, {5, 9}, {6, 9}, {7, 9}, {8, 9}}},
		"a a  a":      {IDs: []int32{5, 4, 5, 4, 4, 5}, Offsets: [][2]int{{0, 2}, {1, 2}, {2, 5}, {3, 5}, {4, 5}, {5, 6}}},
	} {
		e := tok.Encode(text, EncodeOptions{})
		require.Equal(t, want.IDs, e.IDs, "%q", text)
		require.Equal(t, want.Offsets, e.Offsets, "%q", text)
	}
}

func TestHostileFiles(t *testing.T) {
	type m = map[string]any
	long := strings.Repeat("a", maxToken+1)
	for name, b := range map[string][]byte{
		"WordPiece":        wordPieceJSON(t, m{"model": m{"type": "WordPiece", "unk_token": "a", "vocab": m{"a": 0, long: 1}}}),
		"Unigram":          wordPieceJSON(t, m{"model": m{"type": "Unigram", "unk_id": 0, "vocab": []any{[]any{"[CLS]", 0}, []any{long, 0}}}}),
		"added":            wordPieceJSON(t, m{"added_tokens": []any{m{"id": 4, "content": long}}}),
		"normalised added": wordPieceJSON(t, m{"normalizer": m{"type": "Replace", "pattern": m{"String": "a"}, "content": strings.Repeat("b", maxReplacement)}, "added_tokens": []any{m{"id": 4, "content": long[1:], "normalized": true}}}),
	} {
		_, err := FromJSON(b)
		require.ErrorIs(t, err, ErrUnsupported, name)
		require.ErrorContains(t, err, "bytes; the limit is 4096", name)
	}
	_, err := FromVocab([]byte("[UNK]\n[CLS]\n[SEP]\n"+long), VocabOptions{})
	require.ErrorIs(t, err, ErrUnsupported)

	// Merges that make what others are made of, of tokens with themselves and of nothing. Every merge leaves a symbol
	// less, so that none goes on for ever.
	cyclic, err := json.Marshal(m{"model": m{
		"type": "BPE", "vocab": m{"a": 0, "aa": 1, "aaa": 2, "aaaa": 3, "": 4},
		"merges": []any{[]any{"a", "a"}, []any{"aa", "aa"}, []any{"aa", "a"}, []any{"a", "aa"}, []any{"", "a"}, []any{"a", ""}, []any{"", ""}, []any{"a", "a"}},
	}})
	require.NoError(t, err)
	tok, err := FromJSON(cyclic)
	require.NoError(t, err)
	require.Equal(t, []int32{2, 2, 2, 1}, tok.Encode(strings.Repeat("a", 11), EncodeOptions{}).IDs) // as tokenizers 0.23.3
	e := tok.Encode(strings.Repeat("a", 100_003), EncodeOptions{})
	require.Len(t, e.IDs, 33_335)
	require.Equal(t, int32(0), e.IDs[33_334])

	// Counts that the file does not have the bytes for.
	for _, b := range []string{
		`{"model":{"type":"WordPiece","unk_token":"a","vocab":{"a":16777215}}}`,
		`{"model":{"type":"Unigram","unk_id":1000000000,"vocab":[["a",0]]}}`,
		`{"model":{"type":"Unigram","unk_id":0,"vocab":[["a",1e999]]}}`,
		`{"model":{"type":"BPE","vocab":{"a":0},"merges":["a a","a"]}}`,
		`{"model":{"type":"WordPiece","unk_token":"a","vocab":{"a":0}},"added_tokens":[{"id":16777216,"content":"x"}]}`,
	} {
		_, err := FromJSON([]byte(b))
		require.ErrorIs(t, err, ErrCorrupt, b)
	}
}

// TestNoSpecialInText: names of special tokens are text, whatever the tokenizer; other added tokens are not affected.
func TestNoSpecialInText(t *testing.T) {
	added := []AddedToken{{Content: "[Q] "}, {Content: "<mark>", Special: true, LStrip: true}}
	tok, err := FromVocab([]byte(smallVocab+"[\n]\nsep\nq\n"), VocabOptions{Added: added})
	require.NoError(t, err)
	ids := func(text string, plain bool) []int32 {
		return tok.Encode(text, EncodeOptions{AddSpecial: true, NoSpecialInText: plain}).IDs
	}
	sep, _ := tok.SEP()
	q, _ := tok.ID("[Q] ")
	mark, _ := tok.ID("<mark>")
	require.Contains(t, ids("hello[SEP]world <mark>", false), mark)
	got := ids("hello[SEP]world <mark>", true)
	require.NotContains(t, got, mark)
	require.NotContains(t, got[1:len(got)-1], sep)
	require.Equal(t, sep, got[len(got)-1], "the post-processor's own stay")
	require.Contains(t, ids("[Q] hello", true), q)
	// Bytes that would become a name once the normalizer has dropped others are text, too.
	for _, text := range []string{"[S\x00EP]", "[S\u0301EP]", "[s\xffep]", "［SEP］"} {
		got := ids(text, true)
		require.NotContains(t, got[:len(got)-1], sep, "%q", text)
	}
	require.Equal(t, []int32{2, 3}, ids("", true))
	require.Equal(t, []int32{2, 3}, ids("\xff", true))
}
