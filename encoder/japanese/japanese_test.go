package japanese

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
)

// golden is a text of testdata/*.json and the words that MeCab 0.996 finds, made by _gen/tiny.py.
type golden struct {
	Text  string
	Words []string
}

func readGolden(t testing.TB, name string) (g []golden) {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &g))
	require.NotEmpty(t, g)
	return g
}

func surfaces(d *Dictionary, text string) []string {
	words := []string{}
	for _, w := range d.AppendWords(nil, []byte(text)) {
		words = append(words, text[w[0]:w[1]])
	}
	return words
}

func tiny(t testing.TB) *Dictionary {
	t.Helper()
	d, err := Open("testdata/tiny")
	require.NoError(t, err)
	return d
}

// unidic opens unidic-lite, which is too large for the repository.
func unidic(t testing.TB) *Dictionary {
	t.Helper()
	dir := os.Getenv("GOLBERT_UNIDIC")
	if dir == "" {
		t.Skip("GOLBERT_UNIDIC does not name the directory of unidic-lite (dicdir in the Python package)")
	}
	d, err := Open(dir)
	require.NoError(t, err)
	return d
}

func TestGoldenTiny(t *testing.T) {
	d := tiny(t)
	for _, g := range readGolden(t, "testdata/tiny.json") {
		require.Equal(t, g.Words, surfaces(d, g.Text), "%q", g.Text)
	}
}

func TestGoldenUnidic(t *testing.T) {
	d := unidic(t)
	for _, g := range readGolden(t, "testdata/unidic.json") {
		require.Equal(t, g.Words, surfaces(d, g.Text), "%q", g.Text)
	}
}

// TestLongTexts: time and memory must not grow with the square of the text, whatever it is made of.
func TestLongTexts(t *testing.T) {
	d := tiny(t)
	const n = 100_000
	for _, part := range []string{"a", " ", "ア", "あ", "一", "α", "\xff", "\uffff", "あ ", "/"} {
		text := strings.Repeat(part, n)
		words := d.AppendWords(nil, []byte(text))
		last := int32(0)
		for _, w := range words {
			require.True(t, last <= w[0] && w[0] < w[1] && int(w[1]) <= len(text))
			last = w[1]
		}
		require.Equal(t, part == " ", len(words) == 0)
	}
	// White space farther than MeCab looks ahead.
	require.Equal(t, []string{"人", "人"}, surfaces(d, "人"+strings.Repeat(" ", 2*maxLookup)+"人"))
}

func TestConcurrentUse(t *testing.T) {
	d := tiny(t)
	all := readGolden(t, "testdata/tiny.json")
	var wg sync.WaitGroup
	wrong := make([]string, 4)
	for k := range wrong {
		wg.Go(func() {
			for i := range all {
				g := all[(i+k*7)%len(all)]
				if got := surfaces(d, g.Text); fmt.Sprint(got) != fmt.Sprint(g.Words) {
					wrong[k] = g.Text
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, make([]string, 4), wrong)
}

// files reads the tiny dictionary as a file system that tests may change.
func files(t testing.TB) fstest.MapFS {
	t.Helper()
	m := fstest.MapFS{}
	for _, name := range []string{"sys.dic", "unk.dic", "matrix.bin", "char.bin", "dicrc"} {
		b, err := os.ReadFile("testdata/tiny/" + name)
		require.NoError(t, err)
		m[name] = &fstest.MapFile{Data: b}
	}
	return m
}

func TestErrors(t *testing.T) {
	_, err := Open(t.TempDir())
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, err, os.ErrNotExist)
	put := func(at int, v uint32) func([]byte) []byte {
		return func(b []byte) []byte { binary.LittleEndian.PutUint32(b[at:], v); return b }
	}
	cut := func(n int) func([]byte) []byte { return func(b []byte) []byte { return b[:len(b)-n] } }
	for _, c := range []struct {
		file   string
		change func([]byte) []byte
		want   error
		text   string
	}{
		{"sys.dic", cut(1), ErrCorrupt, "does not start like"},
		{"sys.dic", cut(24_000), ErrCorrupt, "sys.dic"},
		{"sys.dic", put(0, 7), ErrCorrupt, "does not start like"},
		{"sys.dic", put(4, 101), ErrUnsupported, "version 101"},
		{"sys.dic", put(24, 1<<31), ErrCorrupt, "sections of"},
		{"sys.dic", put(28, 8), ErrCorrupt, "sections of"},
		{"sys.dic", func(b []byte) []byte { copy(b[40:], "EUC-JP\x00"); return b }, ErrUnsupported, `"EUC-JP"`},
		{"unk.dic", func(b []byte) []byte { // the first entry's left context
			units := binary.LittleEndian.Uint32(b[24:])
			binary.LittleEndian.PutUint16(b[headerSize+units:], 7)
			return b
		}, ErrCorrupt, "entry 0 has contexts 7"},
		{"matrix.bin", cut(2), ErrCorrupt, "7 x 7"},
		{"matrix.bin", func([]byte) []byte { return []byte{1, 0} }, ErrCorrupt, "matrix.bin"},
		{"matrix.bin", func([]byte) []byte { return make([]byte, 4) }, ErrCorrupt, "0 x 0"},
		{"char.bin", put(0, 1<<31), ErrCorrupt, "categories"},
		{"char.bin", put(4+9*nameSize+4*65, 200<<categoryBits), ErrCorrupt, "U+0041 is in category 200 of 9"},
		{"char.bin", func(b []byte) []byte { copy(b[4:], "OTHER\x00\x00\x00"); return b }, ErrCorrupt, `category "OTHER"`},
		{"dicrc", func([]byte) []byte { return []byte("max-grouping-size = x\n") }, ErrCorrupt, "max-grouping-size"},
	} {
		m := files(t)
		m[c.file].Data = c.change(m[c.file].Data)
		_, err := OpenFS(m)
		require.ErrorIs(t, err, c.want, "%s: %s", c.file, c.text)
		require.ErrorContains(t, err, c.text)
	}
	for _, name := range []string{"sys.dic", "unk.dic", "matrix.bin", "char.bin"} {
		m := files(t)
		delete(m, name)
		_, err := OpenFS(m)
		require.ErrorIs(t, err, ErrNotFound, name)
		require.ErrorContains(t, err, name)
	}
	m := files(t)
	delete(m, "dicrc")
	d, err := OpenFS(m)
	require.NoError(t, err)
	require.Equal(t, defaultGroup, d.group)
}

// FuzzOpen: files that were tampered with are refused or used, without panics.
func FuzzOpen(f *testing.F) {
	f.Add(uint8(0), uint32(headerSize), []byte{0xff, 0xff, 0xff, 0x7f}, "あいab1 一")
	f.Add(uint8(1), uint32(24), []byte{8, 0, 0, 0}, "zz")
	f.Add(uint8(2), uint32(2), []byte{0xff}, "")
	f.Add(uint8(3), uint32(300), []byte{0, 0, 0, 0xff}, "ア")
	names := []string{"sys.dic", "unk.dic", "matrix.bin", "char.bin"}
	good := files(f)
	f.Fuzz(func(t *testing.T, which uint8, at uint32, with []byte, text string) {
		m := fstest.MapFS{}
		for name, file := range good {
			m[name] = file
		}
		name := names[int(which)%len(names)]
		b := append([]byte(nil), good[name].Data...)
		copy(b[int(at)%len(b):], with)
		m[name] = &fstest.MapFile{Data: b}
		d, err := OpenFS(m)
		if err != nil {
			return
		}
		last := int32(0)
		for _, w := range d.AppendWords(nil, []byte(text)) {
			require.True(t, last <= w[0] && w[0] < w[1] && int(w[1]) <= len(text))
			last = w[1]
		}
	})
}

// vocabulary is a vocab.txt for the tiny dictionary's words and others.
const vocabulary = "[PAD]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\nあ\nい\n##い\n人\na\n##b\n1\n語\nア\nー\n##ー\n"

// TestTokenizer: words of the dictionary, as the tokens of a checkpoint. The ids are those that transformers 5.3 gives
// with BertJapaneseTokenizer, this vocabulary and the tiny dictionary.
func TestTokenizer(t *testing.T) {
	d := tiny(t)
	for _, c := range []struct {
		characters bool
		want       map[string][]int32
	}{
		{false, map[string][]int32{
			"":                       {2, 3},
			"あい人":                    {2, 5, 6, 8, 3},
			"ああい ab":                 {2, 5, 5, 6, 9, 10, 3},
			"１一二三":                   {2, 1, 3},
			"人[SEP]語\u3000ｱー":        {2, 8, 3, 12, 13, 14, 3},
			"アアア\u001cあ":             {2, 13, 13, 13, 5, 3},
			"[ MASK ]あ\u000a[MASK]い": {2, 1, 1, 1, 5, 4, 6, 3},
			"日本語人ab1アイウー、あ":          {2, 1, 1, 12, 8, 9, 1, 11, 13, 1, 1, 14, 1, 5, 3},
		}},
		{true, map[string][]int32{
			"":                       {2, 3},
			"あい人":                    {2, 5, 6, 8, 3},
			"ああい ab":                 {2, 5, 5, 6, 9, 1, 3},
			"１一二三":                   {2, 11, 1, 1, 1, 3},
			"人[SEP]語\u3000ｱー":        {2, 8, 3, 12, 13, 14, 3},
			"アアア\u001cあ":             {2, 13, 13, 13, 1, 5, 3},
			"[ MASK ]あ\u000a[MASK]い": {2, 1, 1, 1, 1, 1, 1, 5, 4, 6, 3},
			"日本語人ab1アイウー、あ":          {2, 1, 1, 12, 8, 9, 1, 11, 13, 1, 1, 14, 1, 5, 3},
		}},
	} {
		tok, err := tokenizer.FromVocab([]byte(vocabulary), tokenizer.VocabOptions{Cased: true, Words: d, Characters: c.characters})
		require.NoError(t, err)
		for text, want := range c.want {
			require.Equal(t, want, tok.Encode(text, tokenizer.EncodeOptions{AddSpecial: true}).IDs, "%q", text)
		}
		// Places are those in the text before NFKC.
		e := tok.Encode("１ 人", tokenizer.EncodeOptions{})
		require.Equal(t, []int32{11, 8}, e.IDs)
		require.Equal(t, [][2]int{{0, 3}, {4, 7}}, e.Offsets)
		require.Equal(t, []int32{2, 3}, tok.Encode("", tokenizer.EncodeOptions{AddSpecial: true}).IDs)
		require.NotContains(t, tok.Encode("人[SEP]", tokenizer.EncodeOptions{NoSpecialInText: true}).IDs, int32(3))
		e = tok.Encode("人\xff人", tokenizer.EncodeOptions{})
		require.Equal(t, [2]int{0, 3}, e.Offsets[0])
	}
	_, err := tokenizer.FromVocab([]byte(vocabulary), tokenizer.VocabOptions{Words: d})
	require.ErrorIs(t, err, tokenizer.ErrUnsupported)
}

func BenchmarkOpen(b *testing.B) {
	dir := os.Getenv("GOLBERT_UNIDIC")
	if dir == "" {
		b.Skip("GOLBERT_UNIDIC does not name the directory of unidic-lite")
	}
	for b.Loop() {
		_, err := Open(dir)
		require.NoError(b, err)
	}
	var m runtime.MemStats
	d, err := Open(dir)
	require.NoError(b, err)
	runtime.GC()
	runtime.ReadMemStats(&m)
	b.ReportMetric(float64(m.HeapAlloc)/1e6, "MB-heap")
	runtime.KeepAlive(d)
}

func BenchmarkAppendWords(b *testing.B) {
	d := unidic(b)
	var text []byte
	for _, g := range readGolden(b, "testdata/unidic.json") {
		text = append(text, g.Text...)
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	var words [][2]int32
	for b.Loop() {
		words = d.AppendWords(words[:0], text)
	}
}
