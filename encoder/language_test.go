package encoder

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/transformer"
)

// xmodDir is a small XMOD checkpoint in the Stanford layout with the languages of xmodCodes.
const xmodDir = "testdata/layouts/stanford_xmod"

var xmodCodes = []string{"en", "de", "es", "tr", "vi", "zh", "zh-Hant", "no"}

func TestLanguageCode(t *testing.T) {
	for want, names := range map[string]string{
		"de":      "de DE de-AT de_DE deu ger De_de de_DE_rom",
		"en":      "en en_XX en-GB eng EN_xx en_XX_ROM",
		"eo":      "eo eo_EO epo",
		"zh":      "zh zh_CN zh-CN zh-Hans zh-SG cmn chi zho zh_hans_TW",
		"zh-Hant": "zh-TW zh_TW zh-Hant zh-HK zh_Hant_CN yue",
		"no":      "no nb nn nob nno no_XX nb-NO",
		"tl":      "tl fil fil-PH tgl tl_XX",
		"he":      "he iw heb he_IL",
		"id":      "id in ind id_ID",
		"sr":      "sr sh sr-Latn hbs sr_RS",
		"ar":      "ar arb ar_AR ar-EG ara",
		"fa":      "fa pes fas per fa_IR",
		"ur":      "ur ur_PK ur_PK_rom urd",
		"my":      "my my_MM my_MM_zaw",
		"sw":      "sw swh sw_KE",
		"ms":      "ms zsm",
		"et":      "et ekk",
		"ckb":     "ckb",
		"yo":      "yo yo-NG",
	} {
		for _, n := range strings.Fields(names) {
			got, err := LanguageCode(n)
			require.NoError(t, err, n)
			require.Equal(t, want, got, n)
		}
	}
	for _, bad := range []string{"", " ", "xx", "xx-YY", "german", "und", "und-US", "x-foo", "de.UTF-8", "de-", "_rom", "\xff", "de\x00", "1", "-", "🏴", strings.Repeat("de-", 40), strings.Repeat("a", 1<<20)} {
		_, err := LanguageCode(bad)
		require.ErrorIs(t, err, ErrLanguage, "%.20q", bad)
		require.Less(t, len(err.Error()), 200)
	}
}

// TestLanguageNames checks that every code that the 81 names of the published models have leads back to them.
func TestLanguageNames(t *testing.T) {
	raw, err := os.ReadFile("transformer/testdata/xmod_languages/config.json")
	require.NoError(t, err)
	names := strings.Split(between(string(raw), `"languages": [`, "]"), ",")
	require.Len(t, names, 81)
	l := &fakeParts{}
	for _, n := range names {
		l.names = append(l.names, strings.Trim(strings.TrimSpace(n), `"`))
	}
	langs := newLanguages(l)
	require.Len(t, langs.codes, 81)
	for i, n := range l.names {
		for _, name := range []string{n, strings.ToLower(n), strings.ReplaceAll(n, "_", "-"), n + "_rom", langs.code[i], n[:2]} {
			code, part, err := langs.find(name)
			require.NoError(t, err, name)
			if name == "zh" && n == "zh_TW" { // the one prefix that stands for two
				continue
			}
			require.Equal(t, i, part, name)
			require.Equal(t, langs.code[i], code)
		}
	}
	_, _, err = langs.find("yo")
	require.ErrorIs(t, err, ErrLanguage)
	require.ErrorContains(t, err, `"yo": the model has af, am, ar, az,`)
	require.ErrorContains(t, err, "zh, zh-Hant")
}

func between(s, a, b string) string {
	_, s, _ = strings.Cut(s, a)
	s, _, _ = strings.Cut(s, b)
	return s
}

// fakeParts is a multilingual encoder that cannot encode.
type fakeParts struct {
	transformer.Encoder
	names []string
}

func (f *fakeParts) Languages() []string    { return f.names }
func (f *fakeParts) DefaultLanguage() int   { return -1 }
func (f *fakeParts) LoadLanguage(int) error { return nil }

func TestLanguages(t *testing.T) {
	m := open(t, xmodDir, nil)
	require.Equal(t, xmodCodes, m.Languages())
	require.Equal(t, "en", m.Info().Language)
	require.Equal(t, "xmod", m.Info().Architecture)

	one := func(m *Model, text, language string) Encoded {
		e, err := m.EncodeQuery(ctx, text, &TextOptions{Language: language})
		require.NoError(t, err)
		return e
	}
	const text = "rot und blau"
	de := one(m, text, "de")
	require.Equal(t, "de", de.Language)
	for _, same := range []string{"de_DE", "de-AT", "DEU"} {
		require.Equal(t, de, one(m, text, same))
	}
	en := one(m, text, "")
	require.Equal(t, "en", en.Language)
	require.NotEqual(t, de.Vectors, en.Vectors)
	require.Equal(t, "no", one(m, text, "nb").Language)
	require.NotEqual(t, one(m, text, "zh").Vectors, one(m, text, "zh-HK").Vectors)

	t.Run("default", func(t *testing.T) {
		d := open(t, xmodDir, &Options{Language: "ger"})
		require.Equal(t, "de", d.Info().Language)
		require.Equal(t, de, one(d, text, ""))
		require.Equal(t, en, one(d, text, "en"))
	})
	t.Run("mixed", func(t *testing.T) {
		var texts, languages []string
		for i := range 300 {
			texts = append(texts, strings.Repeat("rot blau mond ", 1+i%13)+fmt.Sprint(i))
			languages = append(languages, append([]string{""}, xmodCodes...)[i*i%9])
		}
		got, err := m.EncodeDocuments(ctx, texts, &TextOptions{Language: "vi", Languages: languages})
		require.NoError(t, err)
		for i := range texts {
			l := languages[i]
			if l == "" {
				l = "vi"
			}
			want, err := m.EncodeDocuments(ctx, texts[i:i+1], &TextOptions{Language: l})
			require.NoError(t, err)
			require.Equal(t, l, got[i].Language)
			require.Equal(t, want[0], got[i])
		}
	})
	t.Run("unknown", func(t *testing.T) {
		for _, f := range []func(o *TextOptions) error{
			func(o *TextOptions) error { _, err := m.EncodeDocuments(ctx, []string{text, text}, o); return err },
			func(o *TextOptions) error { _, err := m.EncodeQueries(ctx, []string{text, text}, o); return err },
		} {
			err := f(&TextOptions{Language: "fr"})
			require.ErrorIs(t, err, ErrLanguage)
			require.EqualError(t, err, `encoder: unknown language "fr": the model has de, en, es, no, tr, vi, zh, zh-Hant`)
			require.ErrorIs(t, f(&TextOptions{Language: "klingonese"}), ErrLanguage)
			err = f(&TextOptions{Languages: []string{"de", "fr"}})
			var te *TextError
			require.ErrorAs(t, err, &te)
			require.Equal(t, 1, te.Index)
			require.ErrorIs(t, err, ErrLanguage)
			require.ErrorIs(t, f(&TextOptions{Languages: []string{"de"}}), ErrOptions)
		}
	})
	t.Run("fallback", func(t *testing.T) {
		m := open(t, xmodDir, &Options{FallbackLanguage: "de"})
		got := one(m, text, "fr")
		require.Equal(t, "fr", got.Language)
		require.Equal(t, de.Vectors, got.Vectors)
		require.Equal(t, en, one(m, text, ""))
		// What is no language is not one that the model lacks.
		_, err := m.EncodeQuery(ctx, text, &TextOptions{Language: "klingonese"})
		require.ErrorIs(t, err, ErrLanguage)
	})
	t.Run("detector", func(t *testing.T) {
		guess := detector(func(s string) string {
			l, _, _ := strings.Cut(s, " ")
			return strings.Trim(l, "?")
		})
		m := open(t, xmodDir, &Options{Detector: guess, Language: "vi"})
		got, err := m.EncodeDocuments(ctx, []string{"deu rot", "? rot", "tr rot", "es rot"}, &TextOptions{Languages: []string{"", "", "", "no"}})
		require.NoError(t, err)
		for i, l := range []string{"de", "vi", "tr", "no"} {
			require.Equal(t, l, got[i].Language)
		}
		require.Equal(t, one(m, "deu rot", "de").Vectors.Rows, 16)
		_, err = m.EncodeDocuments(ctx, []string{"de rot", "fr rot"}, nil)
		require.ErrorIs(t, err, ErrLanguage)
		require.ErrorContains(t, err, `text 1: detected: encoder: unknown language "fr"`)
		m, err = m.With(&Options{Detector: guess, FallbackLanguage: "es"})
		require.NoError(t, err)
		defer m.Close()
		e := one(m, "fr rot", "")
		require.Equal(t, "fr", e.Language)
		require.Equal(t, one(m, "fr rot", "es").Vectors, e.Vectors)
	})
	t.Run("options", func(t *testing.T) {
		_, err := Open(xmodDir, &Options{Language: "fr", FallbackLanguage: "nothing"})
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorIs(t, err, ErrLanguage)
		require.ErrorContains(t, err, `option Language: encoder: unknown language "fr": the model has de,`)
		require.ErrorContains(t, err, `option FallbackLanguage: encoder: unknown language "nothing"`)
	})
}

type detector func(string) string

func (d detector) DetectLanguage(text string) string { return d(text) }

// TestLanguageWithoutParts: a model that treats all languages alike reports the language and nothing else changes.
func TestLanguageWithoutParts(t *testing.T) {
	dir, _ := plainDir(t)
	m := open(t, dir, nil)
	require.Empty(t, m.Languages())
	want, err := m.EncodeQuery(ctx, "red", nil)
	require.NoError(t, err)
	require.Empty(t, want.Language)
	got, err := m.EncodeQuery(ctx, "red", &TextOptions{Language: "yo_NG"})
	require.NoError(t, err)
	require.Equal(t, "yo", got.Language)
	require.Equal(t, want.Vectors, got.Vectors)
	_, err = m.EncodeQuery(ctx, "red", &TextOptions{Language: "klingonese"})
	require.ErrorIs(t, err, ErrLanguage)
	m = open(t, dir, &Options{Language: "de", Detector: detector(func(s string) string {
		if s == "red" {
			return "en"
		}
		return ""
	})})
	got, err = m.EncodeQuery(ctx, "red", nil)
	require.NoError(t, err)
	require.Equal(t, "en", got.Language)
	got, err = m.EncodeQuery(ctx, "sky", nil)
	require.NoError(t, err)
	require.Equal(t, "de", got.Language)
}

func FuzzLanguageCode(f *testing.F) {
	for _, s := range []string{"de", "en_XX", "zh-Hant-TW", "hi_IN_rom", "i-klingon", "", "de-u-co-phonebk", "x-y-z"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		c, err := LanguageCode(s)
		if err != nil {
			require.ErrorIs(t, err, ErrLanguage)
			return
		}
		again, err := LanguageCode(c)
		require.NoError(t, err)
		require.Equal(t, c, again, "%q", s)
		require.LessOrEqual(t, len(c), 8)
	})
}
