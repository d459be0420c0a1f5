package bm25

import (
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTerms(t *testing.T) {
	for _, c := range []struct {
		lang, text string
		want       []string
	}{
		{"en", "The Quick foxes' JUMPED_over 3.14", []string{"quick", "fox", "jumped_ov", "3", "14"}},
		{"", "running", []string{"run"}},
		{"en-GB", "running", []string{"run"}},
		{"de", "Die Häuser", []string{"die", "häuser"}},
		{"de", "Ha\u0308user", []string{"häuser"}},
		{"es", "corriendo", []string{"corr"}},
		{"fr", "continuellement", []string{"continuel"}},
		{"ru", "бегущий", []string{"бегущ"}},
		{"ja", "東京タワー、a", []string{"東京", "京タ", "タワ", "ワー", "a"}},
		{"zh", "東 京都", []string{"東", "京都"}},
		{"th", "ภาษาไทย", []string{"ภาษา", "าษาไ", "ษาไท", "าไทย"}},
		{"ko", "한국어 문장", []string{"한국어", "문장"}},
		{"en", "ＦＵＬＬ ﬁx", []string{"full", "fix"}},
		{"en", " .,!? \x00", nil},
		{"en", "a\xffb", []string{"b"}},
		{"hi", "हिन्दी", []string{"हिन्दी"}},
	} {
		require.Equal(t, c.want, newAnalyzer(c.lang).terms(c.text), "%s %q", c.lang, c.text)
	}
}

func build(lang string, docs ...string) *Index {
	b := Builder{Language: lang}
	for i, d := range docs {
		b.Add(fmt.Sprint("d", i), d)
	}
	return b.Build()
}

func TestScoresByHand(t *testing.T) {
	ix := build("none", "cat cat dog", "cat", "bird bird bird bird")
	idf := func(df float64) float64 { return math.Log(1 + (3-df+.5)/(df+.5)) }
	part := func(tf, dl float64) float64 { return tf / (tf + .9*(1-.4+.4*dl/(8./3))) }
	hits := ix.Search("cat dog cat", 10)
	require.Len(t, hits, 2)
	require.Equal(t, "d0", hits[0].ID)
	require.InDelta(t, 2*idf(2)*part(2, 3)+idf(1)*part(1, 3), hits[0].Score, 1e-12)
	require.InDelta(t, 2*idf(2)*part(1, 1), hits[1].Score, 1e-12)
}

func TestSearchBoundaries(t *testing.T) {
	var empty Builder
	require.Empty(t, empty.Build().Search("x", 5))
	ix := build("en", "same words", "same words", "", "other")
	require.Empty(t, ix.Search("same", 0))
	require.Empty(t, ix.Search("same", -1))
	require.Empty(t, ix.Search("", 5))
	require.Empty(t, ix.Search("nothing like it", 5))
	hits := ix.Search("same", 100)
	require.Equal(t, []string{"d0", "d1"}, []string{hits[0].ID, hits[1].ID}, "equal scores are in order of id")
	require.Len(t, ix.Search("same", 1), 1)
	require.Equal(t, "d0", ix.Search("same", 1)[0].ID)
}

func BenchmarkSearch(b *testing.B) {
	var bd Builder
	for i := range 10000 {
		bd.Add(fmt.Sprint(i), fmt.Sprintf("common word%d word%d", i%100, i%7))
	}
	ix := bd.Build()
	for b.Loop() {
		ix.Search("common word3 word42", 10)
	}
}

// No text makes the analyzer, or the stemmers of the library under it, panic.
func FuzzTerms(f *testing.F) {
	for _, s := range []string{"", "The running foxes'", "東京タワー", "ภาษาไทย", "\xff\xfe", "бегущий", "éèê", "'''s", "y", "ied"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for lang := range stemmers {
			for _, term := range newAnalyzer(lang).terms(s) {
				require.NotEmpty(t, term)
			}
		}
	})
}
