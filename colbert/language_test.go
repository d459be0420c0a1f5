package colbert_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
)

// xmod opens the small ColBERT-XM of package encoder, with the languages en, de, es, tr, vi, zh, zh-Hant and no.
func xmod(t *testing.T, o *encoder.Options) *encoder.Model {
	m, err := encoder.Open("../encoder/testdata/layouts/stanford_xmod", o)
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

var polyglot = []colbert.Document{
	{ID: "en", Text: "The red planet is known and the blue sea is water.", Language: "en"},
	{ID: "de", Text: "Der Planet ist rot und das Meer ist blau.", Language: "de_DE"},
	{ID: "es", Text: "El planeta es rojo y el mar es azul.", Language: "spa"},
	{ID: "no", Text: "Sol og stjerne er rød.", Language: "nb"},
	{ID: "zh", Text: "红色的太阳", Language: "zh-CN"},
	{ID: "tw", Text: "紅色的太陽", Language: "zh-TW"},
	{ID: "default", Text: "The moon and the star."},
}

// TestLanguageInMetadata: an entry of the application's own under LanguageKey stays what it is and chooses no adapter.
func TestLanguageInMetadata(t *testing.T) {
	enc := &words{}
	ix, _ := create(t, enc, &colbert.Options{Language: "en"})
	_, err := ix.Add(t.Context(), slices.Values([]colbert.Document{{ID: "a", Text: "roter Apfel", Meta: index.Metadata{"lang": "de"}}}),
		&colbert.AddOptions{Queries: []string{"Apfel"}})
	require.NoError(t, err)
	require.NotEmpty(t, enc.languages)
	require.NotContains(t, enc.languages, "de")
	d, err := ix.Get(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, "de", d.Meta[colbert.LanguageKey])
}

func TestLanguagesOfDocuments(t *testing.T) {
	m := xmod(t, nil)
	ix, dir := create(t, m, nil)
	_, err := ix.Add(t.Context(), slices.Values(polyglot), nil)
	require.NoError(t, err)
	want := map[string]string{"en": "en", "de": "de", "es": "es", "no": "no", "zh": "zh", "tw": "zh-Hant", "default": "en"}
	for id, lang := range want {
		d, err := ix.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, lang, d.Language)
		require.Equal(t, lang, d.Meta[colbert.LanguageKey])
	}

	// A query of any language finds documents of all, and the scores are those of the document's own adapter.
	for _, lang := range []string{"", "de", "zh-TW", "nn"} {
		hits, err := ix.Search(t.Context(), "planet", 10, &colbert.SearchOptions{Language: lang})
		require.NoError(t, err)
		require.Len(t, hits, len(polyglot))
		q, err := m.EncodeQuery(t.Context(), "planet", &encoder.TextOptions{Language: lang})
		require.NoError(t, err)
		for _, h := range hits {
			e, err := m.EncodeDocuments(t.Context(), []string{h.Text}, &encoder.TextOptions{Language: want[h.ID]})
			require.NoError(t, err)
			exact, err := maxsim.Score(q.Vectors, e[0].Vectors)
			require.NoError(t, err)
			require.InDelta(t, exact, h.Score, .3, h.ID)
		}
	}

	filter, err := index.ParseFilter(`lang = "de" or lang = "zh-Hant"`)
	require.NoError(t, err)
	for _, f := range []index.Filter{filter, index.In(colbert.LanguageKey, "de", "zh-Hant")} {
		hits, err := ix.Search(t.Context(), "planet", 10, &colbert.SearchOptions{Language: "es", Filter: f})
		require.NoError(t, err)
		require.ElementsMatch(t, []string{"de", "tw"}, ids(hits))
	}

	_, err = ix.Search(t.Context(), "planet", 10, &colbert.SearchOptions{Language: "fr"})
	require.ErrorIs(t, err, colbert.ErrLanguage)
	require.ErrorContains(t, err, "the model has de, en, es, no, tr, vi, zh, zh-Hant")

	// Explain uses the stored language.
	ex, err := ix.Explain(t.Context(), "planet", "tw")
	require.NoError(t, err)
	own, err := m.EncodeDocuments(t.Context(), []string{ex.Text}, &encoder.TextOptions{Language: "zh-Hant"})
	require.NoError(t, err)
	q, err := m.EncodeQuery(t.Context(), "planet", nil)
	require.NoError(t, err)
	exact, err := maxsim.Score(q.Vectors, own[0].Vectors)
	require.NoError(t, err)
	require.Equal(t, exact, ex.Score)

	// Another process finds the languages where they were.
	require.NoError(t, ix.Close())
	ix, err = colbert.Open(t.Context(), dir, m, nil)
	require.NoError(t, err)
	defer ix.Close()
	hits, err := ix.Search(t.Context(), "planet", 10, &colbert.SearchOptions{Filter: index.Eq("lang", "no")})
	require.NoError(t, err)
	require.Equal(t, []string{"no"}, ids(hits))
}

func TestLanguageFaults(t *testing.T) {
	ix, _ := create(t, xmod(t, nil), nil)
	docs := []colbert.Document{{ID: "a", Text: "sun"}, {ID: "b", Text: "soleil", Language: "fr"}, {ID: "c", Text: "moon"}, {ID: "d", Text: "lune", Language: "klingonese"}}
	_, err := ix.Add(t.Context(), slices.Values(docs), nil)
	var de *colbert.DocumentError
	require.ErrorAs(t, err, &de)
	require.Equal(t, "b", de.ID)
	require.ErrorIs(t, err, colbert.ErrLanguage)
	var skipped []string
	res, err := ix.Add(t.Context(), slices.Values(docs), &colbert.AddOptions{Skip: func(e *colbert.DocumentError) bool {
		skipped = append(skipped, e.ID)
		return true
	}})
	require.NoError(t, err)
	require.Equal(t, []string{"b", "d"}, skipped)
	require.Equal(t, 2, res.Added)

	// The index's own language is the call's fault.
	ix, _ = create(t, xmod(t, nil), &colbert.Options{Language: "fr"})
	_, err = ix.Add(t.Context(), slices.Values(docs[:1]), &colbert.AddOptions{Skip: func(*colbert.DocumentError) bool { return true }})
	require.ErrorIs(t, err, colbert.ErrLanguage)

	ix, _ = create(t, xmod(t, &encoder.Options{FallbackLanguage: "es"}), nil)
	_, err = ix.Add(t.Context(), slices.Values(docs[:3]), nil)
	require.NoError(t, err)
	d, err := ix.Get(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, "fr", d.Language)
}

// firstWord detects languages by the text's first word.
type firstWord struct{}

func (firstWord) DetectLanguage(text string) string {
	l, _, _ := strings.Cut(text, " ")
	return map[string]string{"Der": "de", "El": "es", "Soleil": "fr"}[l]
}

func TestDetectedLanguages(t *testing.T) {
	m := xmod(t, &encoder.Options{Detector: firstWord{}})
	ix, _ := create(t, m, nil)
	docs := []colbert.Document{
		{ID: "detected", Text: "Der Mond"},
		{ID: "given", Text: "Der Mond", Language: "no"},
		{ID: "meta", Text: "Der Mond", Meta: index.Metadata{"lang": "my own"}},
		{ID: "unsure", Text: "Mond"},
	}
	_, err := ix.Add(t.Context(), slices.Values(docs), nil)
	require.NoError(t, err)
	for id, lang := range map[string]string{"detected": "de", "given": "no", "meta": "", "unsure": "en"} {
		d, err := ix.Get(t.Context(), id)
		require.NoError(t, err)
		require.Equal(t, lang, d.Language, id)
	}
	// Metadata of the caller's own under the same key are no language: the document can be explained and added again.
	d, err := ix.Get(t.Context(), "meta")
	require.NoError(t, err)
	require.Equal(t, docs[2], d)
	_, err = ix.Explain(t.Context(), "Mond", "meta")
	require.NoError(t, err)
	_, err = ix.Add(t.Context(), slices.Values([]colbert.Document{d}), nil)
	require.NoError(t, err)
	_, err = ix.Add(t.Context(), slices.Values([]colbert.Document{{ID: "fr", Text: "Soleil rouge"}}), nil)
	var de *colbert.DocumentError
	require.ErrorAs(t, err, &de)
	require.Equal(t, "fr", de.ID)
	require.ErrorContains(t, err, `detected: encoder: unknown language "fr"`)
}

func TestPoolFactor(t *testing.T) {
	m := xmod(t, nil)
	tokens := map[float64]uint64{}
	for _, f := range []float64{0, 1, 2, 4} {
		ix, _ := create(t, m, nil)
		res, err := ix.Add(t.Context(), slices.Values(polyglot), &colbert.AddOptions{PoolFactor: f})
		require.NoError(t, err)
		tokens[f] = res.Tokens
		hits, err := ix.Search(t.Context(), "planet", 3, nil)
		require.NoError(t, err)
		require.Len(t, hits, 3)
	}
	require.Equal(t, tokens[0], tokens[1])
	require.InDelta(t, float64(tokens[0])/2, float64(tokens[2]), 7)
	require.Less(t, tokens[4], tokens[2])
	ix, _ := create(t, m, nil)
	_, err := ix.Add(t.Context(), slices.Values(polyglot), &colbert.AddOptions{PoolFactor: .5})
	require.ErrorIs(t, err, encoder.ErrOptions)
}
