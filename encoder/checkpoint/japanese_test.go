package checkpoint

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// pairs takes every two characters of ASCII for a word.
type pairs struct{}

func (pairs) AppendWords(dst [][2]int32, text []byte) [][2]int32 {
	for i := 0; i < len(text); i += 2 {
		dst = append(dst, [2]int32{int32(i), int32(min(i+2, len(text)))})
	}
	return dst
}

func TestJapanese(t *testing.T) {
	config := obj{
		"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab", "subword_tokenizer_type": "wordpiece",
		"do_lower_case": false, "mecab_kwargs": obj{"mecab_dic": "unidic_lite"},
	}
	files := with(plainFiles(), obj{"tokenizer_config.json": config, "vocab.txt": "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nc\n"})
	c, err := OpenWith(dirOf(t, files), &Options{Words: pairs{}})
	require.NoError(t, err)
	require.Equal(t, []int32{2, 5, 6, 7, 6, 3}, c.Tokenizer.Encode("abcb", tokenizer.EncodeOptions{AddSpecial: true}).IDs)
	require.NoError(t, c.Close())

	files["tokenizer_config.json"] = with(config, obj{"subword_tokenizer_type": "character"})
	c, err = OpenWith(dirOf(t, files), &Options{Words: pairs{}})
	require.NoError(t, err)
	require.Equal(t, []int32{5, 1, 7, 1}, c.Tokenizer.Encode("abcb", tokenizer.EncodeOptions{}).IDs)
	require.NoError(t, c.Close())

	for text, set := range map[string]obj{
		"word_tokenizer_type basic":                {"word_tokenizer_type": "basic"},
		"do_lower_case":                            {"do_lower_case": true},
		"do_subword_tokenize":                      {"do_subword_tokenize": false},
		`subword_tokenizer_type "sentencepiece"`:   {"subword_tokenizer_type": "sentencepiece"},
		"without option Words: package encoder/ja": {},
	} {
		files["tokenizer_config.json"] = with(config, set)
		o := &Options{Words: pairs{}}
		if len(set) == 0 {
			o = nil
		}
		_, err := OpenWith(dirOf(t, files), o)
		require.ErrorIs(t, err, ErrUnsupported, text)
		require.ErrorContains(t, err, text)
	}
}

// TestJapaneseRewritten: checkpoints with such a tokenizer can be averaged and saved without its words, and trimmed
// with them.
func TestJapaneseRewritten(t *testing.T) {
	dir := dirOf(t, with(plainFiles(), obj{
		"tokenizer_config.json": obj{"tokenizer_class": "BertJapaneseTokenizer", "word_tokenizer_type": "mecab"},
		"vocab.txt":             "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\na\n##b\nc\n",
	}))
	words := &Options{Words: pairs{}}
	c, err := OpenWith(dir, words)
	require.NoError(t, err)
	defer c.Close()
	to := t.TempDir()
	mean, saved, trimmed := filepath.Join(to, "mean"), filepath.Join(to, "saved"), filepath.Join(to, "trimmed")
	require.NoError(t, AverageDirs(mean, []string{dir, dir}, nil))
	require.NoError(t, Save(saved, c))
	_, err = Trim(dir, trimmed, textsOf("ab"), nil)
	require.ErrorIs(t, err, ErrUnsupported)
	rep, err := Trim(dir, trimmed, textsOf("ab"), &TrimOptions{Words: pairs{}})
	require.NoError(t, err)
	require.Equal(t, 7, rep.After)
	for _, d := range []string{mean, saved, trimmed} {
		_, err := Open(d)
		require.ErrorIs(t, err, ErrUnsupported)
		n, err := OpenWith(d, words)
		require.NoError(t, err)
		require.Equal(t, []int32{2, 5, 6, 3}, n.Tokenizer.Encode("ab", tokenizer.EncodeOptions{AddSpecial: true}).IDs)
		require.NoError(t, n.Close())
	}
}
