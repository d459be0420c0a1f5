package tokenizer

import (
	"encoding/binary"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/hostile"
)

// spmPiece is a piece of a model file that a test writes.
type spmPiece struct {
	text  string
	score float32
	typ   spmType
}

func wireBytes(dst []byte, num int, b []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(num<<3|2))
	return append(binary.AppendUvarint(dst, uint64(len(b))), b...)
}

func wireInt(dst []byte, num int, v uint64) []byte {
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(num<<3)), v)
}

// spmFile writes a model file.
func spmFile(modelType int, fallback bool, charsmap []byte, pieces ...spmPiece) []byte {
	var b []byte
	for _, p := range pieces {
		m := wireBytes(nil, 1, []byte(p.text))
		m = binary.LittleEndian.AppendUint32(append(m, 2<<3|5), math.Float32bits(p.score))
		b = wireBytes(b, 1, wireInt(m, 3, uint64(p.typ)))
	}
	trainer := wireInt(nil, 3, uint64(modelType))
	if fallback {
		trainer = wireInt(trainer, 35, 1)
	}
	b = wireBytes(b, 2, trainer)
	if charsmap != nil {
		b = wireBytes(b, 3, wireBytes(nil, 2, charsmap))
	}
	return b
}

var smallSPM = []spmPiece{
	{"<unk>", 0, spmUnknown}, {"<s>", 0, spmControl}, {"</s>", 0, spmControl}, {"▁", -3, spmNormal}, {"a", -2, spmNormal}, {"b", -2.5, spmNormal},
	{"▁a", -2.25, spmNormal}, {"ab", -3.5, spmNormal}, {"<m>", 0, spmUserDefined}, {"▁ab", -4, spmNormal},
}

func TestFromSentencePiece(t *testing.T) {
	for _, c := range []struct {
		name string
		typ  int
		o    SentencePieceOptions
		text string
		ids  []int32
	}{
		{"native", 1, SentencePieceOptions{Native: true}, " ab  ba<m>é ", []int32{9, 3, 5, 4, 8, 0}},
		{"converted", 1, SentencePieceOptions{}, "ab  ba<m>éé", []int32{9, 3, 5, 4, 8, 3, 0}},
		{"special", 1, SentencePieceOptions{Before: []string{"<s>"}, After: []string{"</s>"}}, "a</s>", []int32{1, 6, 2, 2}},
		{"fairseq", 1, SentencePieceOptions{Fairseq: true}, "ab ba <mask>", []int32{0, 10, 4, 6, 5, 11, 2}},
		{"BPE", 2, SentencePieceOptions{Native: true}, "ab  ba", []int32{9, 3, 5, 4}},
	} {
		tok, err := FromSentencePiece(spmFile(c.typ, false, nil, smallSPM...), c.o)
		require.NoError(t, err, c.name)
		require.Equal(t, c.ids, tok.Encode(c.text, EncodeOptions{AddSpecial: true}).IDs, c.name)
	}
	pieces := append([]spmPiece{}, smallSPM...)
	for _, b := range []string{"<0xC3>", "<0xA9>"} {
		pieces = append(pieces, spmPiece{b, 0, spmByte})
	}
	tok, err := FromSentencePiece(spmFile(1, true, nil, pieces...), SentencePieceOptions{Native: true})
	require.NoError(t, err)
	e := tok.Encode("aéñ", EncodeOptions{}) // ñ has a byte without a token: then all of the run is unknown
	require.Equal(t, []int32{6, 0}, e.IDs)
	e = tok.Encode("aéa", EncodeOptions{})
	require.Equal(t, []int32{6, 10, 11, 4}, e.IDs)
	require.Equal(t, [][2]int{{0, 1}, {1, 3}, {1, 3}, {3, 4}}, e.Offsets)
}

func TestFromSentencePieceErrors(t *testing.T) {
	good := spmFile(1, false, nil, smallSPM...)
	for name, b := range map[string][]byte{
		"empty":       nil,
		"truncated":   good[:len(good)-1],
		"tag":         {0},
		"wire type":   {3<<3 | 3},
		"length":      {1<<3 | 2, 0xff, 0xff, 0xff, 0xff, 0xf},
		"no unknown":  spmFile(1, false, nil, smallSPM[1:]...),
		"UTF-8":       spmFile(1, false, nil, smallSPM[0], spmPiece{"\xff", 0, spmNormal}),
		"NaN":         spmFile(1, false, nil, smallSPM[0], spmPiece{"a", float32(math.NaN()), spmNormal}),
		"long":        spmFile(2, false, nil, smallSPM[0], spmPiece{strings.Repeat("a", 5000), 0, spmNormal}),
		"type":        spmFile(1, false, nil, smallSPM[0], spmPiece{"a", 0, 9}),
		"charsmap":    spmFile(1, false, []byte{8, 0, 0, 0, 1}, smallSPM...),
		"merge parts": spmFile(1, false, []byte{1}, smallSPM...),
	} {
		_, err := FromSentencePiece(b, SentencePieceOptions{})
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.ErrorContains(t, err, "sentencepiece model", name)
	}
	_, err := FromSentencePiece(spmFile(3, false, nil, smallSPM...), SentencePieceOptions{})
	require.ErrorIs(t, err, ErrUnsupported)
	_, err = FromSentencePiece(spmFile(1, false, nil, smallSPM[0]), SentencePieceOptions{Fairseq: true})
	require.ErrorIs(t, err, ErrCorrupt)
	_, err = FromSentencePiece(good, SentencePieceOptions{After: []string{"<sep>"}})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "<sep>")
}

// TestFairseq: the pieces of XLM-R's tokenizer.json, written as the model file that they came from, give the same
// ids.
func TestFairseq(t *testing.T) {
	want := sharedTokenizer(t, "xlm-roberta/tokenizer.json.gz")
	m := want.model.(*unigram)
	pieces := []spmPiece{{"<unk>", 0, spmUnknown}, {"<s>", 0, spmControl}, {"</s>", 0, spmControl}}
	for id := 4; id < len(m.vocab.tokens)-1; id++ {
		pieces = append(pieces, spmPiece{m.vocab.tokens[id], float32(m.scores[id]), spmNormal})
	}
	c := want.normalizer.(chain)[0].(*charsmap)
	blob := binary.LittleEndian.AppendUint32(nil, uint32(4*len(c.units)))
	for _, u := range c.units {
		blob = binary.LittleEndian.AppendUint32(blob, u)
	}
	tok, err := FromSentencePiece(spmFile(1, false, append(blob, c.repl...), pieces...), SentencePieceOptions{Fairseq: true})
	require.NoError(t, err)
	require.Equal(t, want.VocabSize(), tok.VocabSize())
	texts, _ := corpus(t, "xquad-vi", 1<<16)
	for _, text := range append(texts, "Hello world", "<mask> of", "日本語") {
		text = strings.Join(strings.Fields(text), " ")
		require.Equal(t, want.Encode(text, EncodeOptions{AddSpecial: true}).IDs, tok.Encode(text, EncodeOptions{AddSpecial: true}).IDs, text)
	}
	require.Equal(t, []int32{0, 35378, 8999, 2}, tok.Encode("Hello world", EncodeOptions{AddSpecial: true}).IDs)
}

func FuzzFromSentencePiece(f *testing.F) {
	f.Add(spmFile(1, false, nil, smallSPM...), "ab <m> é", false)
	f.Add(spmFile(2, true, nil, smallSPM...), "abab", true)
	f.Add(spmFile(1, false, []byte("\x04\x00\x00\x00\x00\x00\x00\x00x\x00"), smallSPM...), "x", true)
	f.Fuzz(func(t *testing.T, b []byte, text string, native bool) {
		for _, fairseq := range []bool{false, true} {
			tok, err := FromSentencePiece(b, SentencePieceOptions{Native: native, Fairseq: fairseq})
			if err == nil {
				checkEncoding(t, tok, text, EncodeOptions{AddSpecial: true})
			}
		}
	})
}

func FuzzCharsmap(f *testing.F) {
	f.Add([]byte("\x04\x00\x00\x00\x00\x00\x00\x00x\x00"), "x\u0301")
	trie := make([]byte, 4+4*1024)
	binary.LittleEndian.PutUint32(trie, 4*1024)
	binary.LittleEndian.PutUint32(trie[4:], 256<<10)
	f.Add(append(trie, "X\x00"...), "aé\u0301")
	f.Fuzz(func(t *testing.T, b []byte, text string) {
		m, err := newCharsmap(b)
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		var s scratch
		for _, c := range []chain{{m}, {&spmNormalizer{charsmap: m, dummyPrefix: true, trim: true, space: "▁"}}} {
			s.norm.reset(0)
			s.edit.reset(0)
			c.normalize(&s.norm, text, &s)
			if s.norm.mapped {
				require.Len(t, s.norm.from, len(s.norm.text))
				require.Len(t, s.norm.to, len(s.norm.text))
			}
			for i := range s.norm.text {
				at := s.norm.origin(span{int32(i), int32(i + 1)})
				require.True(t, 0 <= at[0] && at[0] <= at[1] && at[1] <= len(text), "%v", at)
			}
		}
	})
}

func TestHostileSizes(t *testing.T) {
	hostile.Sizes(t, [][]byte{spmFile(1, false, nil, smallSPM...), spmFile(2, true, nil, smallSPM...), spmFile(1, false, []byte("\x04\x00\x00\x00\x00\x00\x00\x00x\x00"), smallSPM...)},
		200, 1<<20, func(b []byte) {
			if tok, err := FromSentencePiece(b, SentencePieceOptions{}); err == nil {
				tok.Encode("ab <m> é", EncodeOptions{AddSpecial: true})
			}
		})
	files := [][]byte{wordPieceJSON(t, nil)}
	for _, p := range readPipelines(t, "testdata/components.json").Pipelines[:3] {
		files = append(files, []byte(p.Tokenizer))
	}
	hostile.Sizes(t, files, 200, 1<<20, func(b []byte) {
		if tok, err := FromJSON(b); err == nil {
			tok.Encode("ab c é", EncodeOptions{AddSpecial: true})
		}
	})
}
