package tokenizer

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// smallBPE returns the files of a byte-level BPE tokenizer with all bytes and some merges.
func smallBPE(special bool) (vocab, merges string) {
	var b strings.Builder
	b.WriteString(`{"<unk>":0`)
	n := 1
	add := func(name string) {
		b.WriteString(`,` + quote(name) + `:` + itoa(n))
		n++
	}
	if special {
		for _, name := range []string{"<s>", "</s>", "<mask>"} {
			add(name)
		}
	}
	for _, r := range byteRunes {
		add(string(r))
	}
	for _, name := range []string{"ab", "Ġa", "abab", "aa", "aaaa"} {
		add(name)
	}
	return b.String() + "}", "#version: 0.2\na b\nĠ a\nab ab\na a\naa aa\n"
}

func quote(s string) string { return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"` }

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + string(rune('0'+n%10))
}

func TestFromMerges(t *testing.T) {
	vocab, merges := smallBPE(true)
	tok, err := FromMerges([]byte(vocab), []byte(merges), MergesOptions{})
	require.NoError(t, err)
	e := tok.Encode("abab a é", EncodeOptions{AddSpecial: true})
	names := []string{}
	for _, id := range e.IDs {
		name, _ := tok.Token(id)
		names = append(names, name)
	}
	require.Equal(t, []string{"<s>", "abab", "Ġa", "Ġ", "Ã", "©", "</s>"}, names)
	require.Equal(t, [][2]int{{0, 0}, {0, 4}, {5, 6}, {7, 7}, {7, 9}, {7, 9}, {0, 0}}, e.Offsets)

	vocab, _ = smallBPE(false)
	tok, err = FromMerges([]byte(vocab), []byte(strings.ReplaceAll(merges, "\n", "\r\n")), MergesOptions{AddPrefixSpace: true})
	require.NoError(t, err)
	e = tok.Encode("a", EncodeOptions{AddSpecial: true})
	require.Len(t, e.IDs, 1)
	require.Equal(t, [][2]int{{0, 1}}, e.Offsets)

	for name, m := range map[string]string{"three": "a b c", "one": "a\na b", "unknown": "a é", "not made": "b a", "UTF-8": "a \xff"} {
		_, err := FromMerges([]byte(vocab), []byte(m), MergesOptions{})
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.ErrorContains(t, err, "merge", name)
	}
	_, err = FromMerges([]byte(`{"a":0`), nil, MergesOptions{})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "vocab.json")
}

// TestMergeLong: the heap merges as the search over all pairs does, and takes time in proportion.
func TestMergeLong(t *testing.T) {
	vocab, merges := smallBPE(false)
	tok, err := FromMerges([]byte(vocab), []byte(merges), MergesOptions{})
	require.NoError(t, err)
	m := tok.model.(*bpe)
	var s scratch
	for n := range 200 {
		word := []byte(strings.Repeat("aab", n)[:n] + strings.Repeat("a", n%7))
		if len(word) == 0 {
			continue
		}
		m.spellBytes(word, &s)
		m.mergeLong(&s)
		var got []int32
		for _, y := range s.symbols {
			if y.size > 0 {
				got = append(got, y.id)
			}
		}
		require.Equal(t, naiveMerge(m, word, &s), got, "%s", word)
	}
	start := time.Now()
	e := tok.Encode(strings.Repeat("a", 1<<20), EncodeOptions{})
	require.Len(t, e.IDs, 1<<18)
	require.Less(t, time.Since(start), 30*time.Second) // quadratic time would be hours
}

// naiveMerge is byte-pair encoding by its definition.
func naiveMerge(m *bpe, word []byte, s *scratch) []int32 {
	m.spellBytes(word, s)
	var ids []int32
	for _, y := range s.symbols {
		ids = append(ids, y.id)
	}
	for {
		best, at := uint64(noMerge), 0
		for i := range len(ids) - 1 {
			if p := m.merges.get(ids[i], ids[i+1]); p < best {
				best, at = p, i
			}
		}
		if best == noMerge {
			return ids
		}
		ids[at] = int32(uint32(best))
		ids = append(ids[:at+1], ids[at+2:]...)
	}
}

func TestBytes(t *testing.T) {
	tok := Bytes()
	require.Equal(t, 384, tok.VocabSize())
	e := tok.Encode("aé<extra_id_0>\xff", EncodeOptions{AddSpecial: true})
	require.Equal(t, []int32{100, 198, 172, 259, 0xef + 3, 0xbf + 3, 0xbd + 3, 1}, e.IDs)
	require.Equal(t, [][2]int{{0, 1}, {1, 3}, {1, 3}, {3, 15}, {15, 16}, {15, 16}, {15, 16}, {0, 0}}, e.Offsets)
	pad, ok := tok.PAD()
	require.True(t, ok && pad == 0)
	sep, ok := tok.SEP()
	require.True(t, ok && sep == 1)
	_, ok = tok.CLS()
	require.False(t, ok)
	unk, ok := tok.UNK()
	require.True(t, ok && unk == 2)
	id, ok := tok.ID("A")
	require.True(t, ok && id == 68)
}

func FuzzFromMerges(f *testing.F) {
	vocab, merges := smallBPE(true)
	f.Add(vocab, merges, "abab é")
	f.Add(`{"a":0,"b":1,"ab":2}`, "a b", "aab b")
	f.Fuzz(func(t *testing.T, vocab, merges, text string) {
		tok, err := FromMerges([]byte(vocab), []byte(merges), MergesOptions{AddPrefixSpace: len(text)%2 == 0})
		if err != nil {
			require.ErrorIs(t, err, ErrCorrupt)
			return
		}
		checkEncoding(t, tok, text, EncodeOptions{AddSpecial: true})
	})
}
