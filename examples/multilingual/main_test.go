package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/internal/testdata"
)

// tiny is an XMOD with random weights: it ranks at random.
const tiny = "../../encoder/testdata/layouts/stanford_xmod"

// folder writes a collection of texts, each of which is also its own query.
func folder(t *testing.T, texts ...string) string {
	dir := t.TempDir()
	var corpus, queries, qrels strings.Builder
	qrels.WriteString("query-id\tcorpus-id\tscore\n")
	for i, s := range texts {
		fmt.Fprintf(&corpus, "{\"_id\":\"p%d\",\"title\":\"\",\"text\":%q}\n", i, s)
		fmt.Fprintf(&queries, "{\"_id\":\"q%d\",\"text\":%q}\n", i, s)
		fmt.Fprintf(&qrels, "q%d\tp%d\t1\n", i, i)
	}
	for name, b := range map[string]string{"corpus.jsonl": corpus.String(), "queries.jsonl": queries.String(), "qrels.tsv": qrels.String()} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(b), 0o600))
	}
	return dir
}

func folders(t *testing.T) []string {
	return []string{
		"en=" + folder(t, "the red sun and the moon", "a blue sea of water", "the green star", "where is the sky"),
		"de_DE=" + folder(t, "die rot sonne und der mond", "das blau meer und wasser", "der grün stern", "wo ist der himmel"),
		"nb=" + folder(t, "rød sol og måne", "blå hav er vann", "grønn stjerne", "hvor er himmel"),
	}
}

func TestMeasure(t *testing.T) {
	var out, errs strings.Builder
	require.NoError(t, run(t.Context(), append([]string{"-model", tiny}, folders(t)...), &out, &errs), errs.String())
	require.Contains(t, errs.String(), "12 passages")
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 4)
	require.Equal(t, []string{"en", "de", "no", "all"}, strings.Fields(lines[0])[4:])
	for i, lang := range []string{"en", "de", "no"} {
		f := strings.Fields(lines[i+1])
		require.Len(t, f, 5)
		require.Equal(t, lang, f[0])
		for _, s := range f[1:] {
			v, err := strconv.ParseFloat(s, 64)
			require.NoError(t, err)
			require.True(t, v > 0 && v <= 1, s)
		}
	}

	// One passage per language is found by every query where the filter lets only it through, and in any order
	// among its translations, each of which counts.
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-model", tiny, "en=" + folder(t, "sun"), "tr=" + folder(t, "güneş"), "zh-TW=" + folder(t, "太陽")}, &out, &errs))
	require.Equal(t, 12, strings.Count(out.String(), "1.000"), out.String())
	require.Contains(t, out.String(), "zh-Hant")

	// Folders that have nothing in common do not judge each other.
	other := folder(t, "el sol")
	for name, old := range map[string]string{"corpus.jsonl": `"p0"`, "qrels.tsv": "\tp0"} {
		b, err := os.ReadFile(filepath.Join(other, name))
		require.NoError(t, err)
		b = []byte(strings.Replace(string(b), old, strings.Replace(old, "p0", "x0", 1), 1))
		require.NoError(t, os.WriteFile(filepath.Join(other, name), b, 0o600))
	}
	out.Reset()
	require.NoError(t, run(t.Context(), []string{"-model", tiny, "-pool", "2", folders(t)[0], "es=" + other}, &out, &errs))
	require.Contains(t, out.String(), "-")
}

func TestSearch(t *testing.T) {
	var out, errs strings.Builder
	args := append([]string{"-model", tiny, "-query", "wo ist der himmel", "-query-lang", "de"}, folders(t)...)
	require.NoError(t, run(t.Context(), args, &out, &errs))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 10)
	for i, l := range lines {
		f := strings.Fields(l)
		require.Equal(t, strconv.Itoa(i+1), f[0])
		require.Equal(t, f[2]+"/", f[3][:len(f[2])+1])
	}
	out.Reset()
	require.NoError(t, run(t.Context(), append([]string{"-filter", `lang = "no" or lang = "en"`}, args...), &out, &errs))
	require.Len(t, strings.Split(strings.TrimSpace(out.String()), "\n"), 8)
	require.NotContains(t, out.String(), "de/")
}

func TestDetect(t *testing.T) {
	var out, errs strings.Builder
	dirs := []string{
		"en=" + folder(t, "The moon raises the tides of all the seas, and the sun does it, too."),
		"de=" + folder(t, "Der Mond und die Sonne sind der Grund für die Gezeiten der Meere."),
		"zh=" + folder(t, "红色的太阳月亮海星天空行星是哪个水"),
	}
	require.NoError(t, run(t.Context(), append([]string{"-model", tiny, "-detect"}, dirs...), &out, &errs))
	require.Contains(t, errs.String(), "the languages of 3 of 3 passages")
	require.NotContains(t, out.String(), "-\n")
}

func TestRefuses(t *testing.T) {
	var out strings.Builder
	dir := folder(t, "sun")
	err := run(t.Context(), nil, &out, &out)
	require.ErrorContains(t, err, "-model DIR")
	require.ErrorContains(t, err, "ranks at random")
	require.ErrorIs(t, run(t.Context(), []string{"-model", tiny, "fr=" + dir}, &out, &out), encoder.ErrLanguage)
	require.ErrorIs(t, run(t.Context(), []string{"-model", tiny, "klingonese=" + dir}, &out, &out), encoder.ErrLanguage)
	require.ErrorContains(t, run(t.Context(), []string{"-model", tiny, dir}, &out, &out), "LANGUAGE=FOLDER")
	require.ErrorContains(t, run(t.Context(), []string{"-model", tiny, "-filter", "lang =", "en=" + dir}, &out, &out), "-filter")
	require.ErrorIs(t, run(t.Context(), []string{"-model", tiny, "en=" + filepath.Join(dir, "absent")}, &out, &out), os.ErrNotExist)
	require.Error(t, run(t.Context(), []string{"-model", filepath.Join(dir, "absent"), "en=" + dir}, &out, &out))
}

// TestXQuAD runs a part of the real collections. The weights are random, and so is the ranking.
func TestXQuAD(t *testing.T) {
	data := testdata.Shared(t, "ir")
	var out, errs strings.Builder
	require.NoError(t, run(t.Context(), []string{"-model", tiny, "-data", data, "-passages", "20", "-queries", "10"}, &out, &errs), errs.String())
	require.Len(t, strings.Split(strings.TrimSpace(out.String()), "\n"), 5)
	t.Logf("%s%s", errs.String(), out.String())
}
