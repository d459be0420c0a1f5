package langdetect

import (
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/eval"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/internal/testdata"
)

var _ encoder.LanguageDetector = (*Detector)(nil)

var samples = map[string]string{
	"en":      "The tides are raised by the moon's gravity and, less strongly, by that of the sun.",
	"de":      "Die Gezeiten entstehen durch die Anziehungskraft des Mondes und, schwächer, durch die der Sonne.",
	"fr":      "Les marées sont provoquées par l'attraction de la lune et, dans une moindre mesure, du soleil.",
	"es":      "Las mareas se deben a la atracción de la luna y, en menor medida, a la del sol.",
	"tr":      "Gelgitler, ayın ve daha az ölçüde güneşin çekim kuvvetinden kaynaklanır.",
	"vi":      "Thủy triều do lực hấp dẫn của mặt trăng và, yếu hơn, của mặt trời gây ra.",
	"ru":      "Приливы вызываются притяжением Луны и, в меньшей степени, Солнца.",
	"ar":      "تحدث المد والجزر بسبب جاذبية القمر وبدرجة أقل جاذبية الشمس.",
	"ja":      "潮の満ち引きは月の引力と、それより弱い太陽の引力によって起こる。",
	"ko":      "밀물과 썰물은 달의 인력과 그보다 약한 태양의 인력 때문에 생긴다.",
	"zh":      "潮汐是由月亮的引力和较弱的太阳引力引起的,这种现象每天发生两次。",
	"zh-Hant": "潮汐是由月亮的引力和較弱的太陽引力引起的,這種現象每天發生兩次。",
	"th":      "น้ำขึ้นน้ำลงเกิดจากแรงดึงดูดของดวงจันทร์และดวงอาทิตย์",
	"el":      "Οι παλίρροιες προκαλούνται από τη βαρύτητα της σελήνης και, λιγότερο, του ήλιου.",
	"hi":      "ज्वार भाटा चंद्रमा के गुरुत्वाकर्षण और कुछ हद तक सूर्य के कारण होता है।",
}

func TestDetect(t *testing.T) {
	d, err := New(nil)
	require.NoError(t, err)
	all := d.Languages()
	require.Greater(t, len(all), 70)
	for want, text := range samples {
		require.Equal(t, want, d.DetectLanguage(text))
		require.Contains(t, all, want)
	}
	for _, s := range []string{"", " ", "123 456", "?!", "\x00", "\xff\xfe", strings.Repeat("7", 1<<20)} {
		require.Empty(t, d.DetectLanguage(s), "%.10q", s)
	}
	long := strings.Repeat(samples["fr"]+" ", 1000)
	require.Equal(t, "fr", d.DetectLanguage(long))
	require.Equal(t, d.DetectLanguage(cut(long, 2048)), d.DetectLanguage(long))
	require.Equal(t, "aü", cut("aüü", 4))
}

func TestOptions(t *testing.T) {
	d, err := New(&Options{Languages: []string{"de_DE", "nb", "zh-TW", "eo"}})
	require.NoError(t, err)
	require.Equal(t, []string{"de", "eo", "no", "zh-Hant"}, d.Languages())
	require.Equal(t, "de", d.DetectLanguage(samples["de"]))
	require.Equal(t, "zh-Hant", d.DetectLanguage(samples["zh"])) // the only Chinese there is
	require.Empty(t, d.DetectLanguage(samples["ru"]))
	require.Empty(t, d.DetectLanguage(samples["ko"]))

	d, err = New(&Options{Languages: []string{"zh", "ja"}})
	require.NoError(t, err)
	require.Equal(t, "zh", d.DetectLanguage(samples["zh-Hant"]))

	d, err = New(&Options{MinConfidence: 1})
	require.NoError(t, err)
	require.Empty(t, d.DetectLanguage("no"))
	require.Equal(t, "ja", d.DetectLanguage(samples["ja"]))

	_, err = New(&Options{Languages: []string{"klingonese"}})
	require.ErrorIs(t, err, encoder.ErrLanguage)
	_, err = New(&Options{Languages: []string{"la"}})
	require.ErrorIs(t, err, encoder.ErrLanguage)
	require.ErrorContains(t, err, "none of la")
	_, err = New(&Options{MinConfidence: 1.5})
	require.ErrorIs(t, err, encoder.ErrOptions)
	_, err = New(&Options{MaxBytes: -1})
	require.ErrorIs(t, err, encoder.ErrOptions)
}

// TestSame checks that the same text always gets the same answer, from any goroutine.
func TestSame(t *testing.T) {
	d, err := New(nil)
	require.NoError(t, err)
	words := strings.Fields(samples["es"] + " " + samples["fr"])
	var wg sync.WaitGroup
	for i := range words {
		wg.Go(func() {
			text := strings.Join(words[:i+1], " ")
			want := d.DetectLanguage(text)
			for range 5 {
				if got := d.DetectLanguage(text); got != want {
					t.Errorf("%q: %q and %q", text, want, got)
				}
			}
		})
	}
	wg.Wait()
}

// TestAccuracy measures on passages and questions of XQuAD, with the detector's own choice and with eight languages.
func TestAccuracy(t *testing.T) {
	all, err := New(nil)
	require.NoError(t, err)
	some, err := New(&Options{Languages: []string{"en", "es", "tr", "vi", "de", "fr", "it", "pt"}})
	require.NoError(t, err)
	for _, lang := range []string{"en", "es", "tr", "vi"} {
		c, err := eval.ReadBEIR(testdata.Shared(t, "ir/xquad-"+lang))
		require.NoError(t, err)
		var passages, questions []string
		for d, err := range c.Docs() {
			require.NoError(t, err)
			passages = append(passages, d.Text)
		}
		for _, q := range c.Queries {
			questions = append(questions, q.Text)
		}
		for what, texts := range map[string][]string{"passages": passages, "questions": questions[:200]} {
			right := [2]float64{}
			for _, s := range texts {
				for i, d := range []*Detector{all, some} {
					if d.DetectLanguage(s) == lang {
						right[i] += 1 / float64(len(texts))
					}
				}
			}
			t.Logf("%s: %d %s, right %.3f of all languages, %.3f of eight", lang, len(texts), what, right[0], right[1])
			if what == "passages" {
				require.Greater(t, right[1], .97)
			}
		}
	}
}
