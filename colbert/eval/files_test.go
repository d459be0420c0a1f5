package eval

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/testdata"
)

const (
	corpus  = "{\"_id\":\"d1\",\"title\":\"T\",\"text\":\"one\"}\n\n{\"_id\":\"d2\",\"title\":\"\",\"text\":\"two\",\"metadata\":{\"x\":1}}\n"
	queries = "{\"_id\":\"q1\",\"text\":\"what\"}\r\n{\"_id\":\"q2\",\"text\":\"other split\"}\n"
	qrels   = "query-id\tcorpus-id\tscore\nq1\td1\t2\nq1\td2\t0\n"
)

func gz(s string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write([]byte(s))
	w.Close()
	return b.String()
}

func zst(s string) string {
	w, _ := zstd.NewWriter(nil)
	return string(w.EncodeAll([]byte(s), nil))
}

func folder(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for name, s := range files {
		p := filepath.Join(dir, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(p), 0o755))
		require.NoError(t, os.WriteFile(p, []byte(s), 0o644))
	}
	return dir
}

func docs(c *Collection) (out []Document, err error) {
	for d, err := range c.Docs() {
		if err != nil {
			return out, err
		}
		out = append(out, d)
	}
	return out, nil
}

func TestReadBEIR(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"plain":          {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels.tsv": qrels},
		"split":          {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/test.tsv": qrels},
		"no header":      {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels.tsv": "q1\td1\t2\nq1\td2\t0"},
		"gzip":           {"corpus.jsonl.gz": gz(corpus), "queries.jsonl.gz": gz(queries), "qrels/test.tsv.gz": gz(qrels)},
		"zstd":           {"corpus.jsonl.zst": zst(corpus), "queries.jsonl.zst": zst(queries), "qrels.tsv.zst": zst(qrels)},
		"own qrels wins": {"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels.tsv": qrels, "qrels/test.tsv": "garbage"},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := ReadBEIR(folder(t, files))
			require.NoError(t, err)
			require.Equal(t, []Query{{"q1", "what"}}, c.Queries)
			require.Equal(t, 1, c.Unjudged)
			require.Equal(t, Qrels{"q1": {"d1": 2, "d2": 0}}, c.Qrels)
			for range 2 { // the corpus can be read again
				got, err := docs(c)
				require.NoError(t, err)
				require.Equal(t, []Document{{"d1", "T", "one"}, {"d2", "", "two"}}, got)
				require.Equal(t, "T one", got[0].Contents())
				require.Equal(t, "two", got[1].Contents())
			}
			for range c.Docs() { // and left early
				break
			}
		})
	}
	_, err := ReadBEIRSplit(folder(t, map[string]string{"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels/dev.tsv": qrels}), "dev")
	require.NoError(t, err)
}

func TestReadBEIRErrors(t *testing.T) {
	for _, c := range []struct {
		name, file, content, want string
		format                    bool
	}{
		{"missing corpus", "corpus.jsonl", "", "corpus.jsonl", false},
		{"missing queries", "queries.jsonl", "", "queries.jsonl", false},
		{"missing qrels", "qrels.tsv", "", "test.tsv", false},
		{"corpus not JSON", "corpus.jsonl", corpus + "oops\n", "corpus.jsonl:4: ", true},
		{"corpus without id", "corpus.jsonl", "{\"text\":\"x\"}", "corpus.jsonl:1: no \"_id\"", true},
		{"corpus not UTF-8", "corpus.jsonl", corpus + "{\"_id\":\"d3\",\"text\":\"\xff\"}", "corpus.jsonl:4: not valid UTF-8", true},
		{"id is a number", "corpus.jsonl", "{\"_id\":3}", "corpus.jsonl:1: ", true},
		{"query twice", "queries.jsonl", queries + "{\"_id\":\"q1\",\"text\":\"x\"}", "queries.jsonl:3: query \"q1\" occurs twice", true},
		{"judged query absent", "qrels.tsv", qrels + "q9\td1\t1\n", "\"q9\"", true},
		{"two fields", "qrels.tsv", qrels + "q1\td1\n", "qrels.tsv:4: 2 tab-separated fields", true},
		{"judgement", "qrels.tsv", qrels + "q1\td1\thigh\n", "qrels.tsv:4: judgement \"high\"", true},
		{"contradiction", "qrels.tsv", qrels + "q1\td1\t1\n", "qrels.tsv:4: query \"q1\" and document \"d1\"", true},
		{"empty id", "qrels.tsv", "q1\t\t1\n", "qrels.tsv:1: empty id", true},
		{"broken zstd", "corpus.jsonl.zst", "not zstd at all", "corpus.jsonl.zst:1: ", true},
		{"truncated zstd", "corpus.jsonl.zst", zst(strings.Repeat(corpus, 999))[:60], "corpus.jsonl.zst:", true},
		{"broken gzip", "corpus.jsonl.gz", "not gzip at all", "corpus.jsonl.gz", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			files := map[string]string{"corpus.jsonl": corpus, "queries.jsonl": queries, "qrels.tsv": qrels}
			delete(files, strings.TrimSuffix(strings.TrimSuffix(c.file, ".zst"), ".gz"))
			if c.content != "" {
				files[c.file] = c.content
			}
			col, err := ReadBEIR(folder(t, files))
			if err == nil {
				_, err = docs(col)
			}
			require.ErrorContains(t, err, c.want)
			require.Equal(t, c.format, errors.Is(err, ErrFormat), "%v", err)
			require.Equal(t, c.content == "", errors.Is(err, fs.ErrNotExist), "%v", err)
		})
	}
}

func TestReadTREC(t *testing.T) {
	dir := folder(t, map[string]string{
		"qrels":   "q1 0 d1 2\nq1\t0\td2\t-1\n\nq2 0 d1 0\n",
		"run.gz":  gz("q1 Q0 d1 1 1.5 me\nq1 Q0 d2 2 -3e2 me\n"),
		"run.zst": zst("q1 Q0 d1 1 1.5 me\n"),
	})
	q, err := ReadTRECQrels(filepath.Join(dir, "qrels"))
	require.NoError(t, err)
	require.Equal(t, Qrels{"q1": {"d1": 2, "d2": -1}, "q2": {"d1": 0}}, q)
	r, err := ReadTRECRun(filepath.Join(dir, "run.gz"))
	require.NoError(t, err)
	require.Equal(t, Run{"q1": {{"d1", 1.5}, {"d2", -300}}}, r)
	_, err = ReadTRECRun(filepath.Join(dir, "run.zst"))
	require.NoError(t, err)
	_, err = ReadTRECRun(filepath.Join(dir, "none"))
	require.ErrorIs(t, err, fs.ErrNotExist)

	for in, want := range map[string]string{
		"q1 0 d1":              "qrels:1: 3 fields",
		"q1 0 d1 x":            "qrels:1: judgement \"x\"",
		"q 0 d 1\n\nq 0 d 2\n": "qrels:3: query \"q\" and document \"d\" are judged 2 here and 1 before",
	} {
		_, err := ParseTRECQrels("qrels", strings.NewReader(in))
		require.ErrorContains(t, err, want)
		require.ErrorIs(t, err, ErrFormat)
	}
	for in, want := range map[string]string{
		"q Q0 d 1 1":                     "run:1: 5 fields",
		"q Q0 d 1 x me":                  "run:1: score \"x\"",
		"q Q0 d 1 NaN me":                "run:1: score \"NaN\"",
		"q Q0 d 1 2 me\nq Q0 d 2 1 me\n": "run:2: document \"d\" occurs twice for query \"q\"",
	} {
		_, err := ParseTRECRun("run", strings.NewReader(in))
		require.ErrorContains(t, err, want)
		var le *LineError
		require.ErrorAs(t, err, &le)
		require.Equal(t, "run", le.File)
	}
}

func TestWriteTRECRunRoundTrip(t *testing.T) {
	run := Run{"q2": {{"b", 0.1}, {"a", 0.1}, {"c", 1.0 / 3}}, "q1": {{"x", -1e-9}}}
	var b bytes.Buffer
	require.NoError(t, WriteTRECRun(&b, run, "me"))
	require.Equal(t, "q1 Q0 x 1 -1e-09 me\nq2 Q0 c 1 0.3333333333333333 me\nq2 Q0 a 2 0.1 me\nq2 Q0 b 3 0.1 me\n", b.String())
	got, err := ParseTRECRun("run", &b)
	require.NoError(t, err)
	for q := range run {
		require.ElementsMatch(t, run[q], got[q])
	}
	require.ErrorContains(t, WriteTRECRun(&b, run, "two words"), "two words")
	require.ErrorContains(t, WriteTRECRun(&b, Run{"": nil}, "me"), "query id")
	require.ErrorContains(t, WriteTRECRun(&b, Run{"q": {{"a b", 1}}}, "me"), "a b")
	require.ErrorContains(t, WriteTRECRun(&b, Run{"q": {{"a", math.NaN()}}}, "me"), "not a number")
}

// The shared collections are read whole and have the sizes that their notes say.
func TestSharedCollections(t *testing.T) {
	for _, want := range []struct {
		name           string
		docs, queries_ int
	}{{"cranfield", 1398, 225}, {"cacm", 3204, 52}, {"xquad-en", 240, 1190}} {
		t.Run(want.name, func(t *testing.T) {
			c, err := ReadBEIR(testdata.Shared(t, "ir/"+want.name))
			require.NoError(t, err)
			require.Len(t, c.Queries, want.queries_)
			got, err := docs(c)
			require.NoError(t, err)
			require.Len(t, got, want.docs)
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(corpus))
	f.Add([]byte(qrels))
	f.Add([]byte("q1 0 d1 2\n"))
	f.Add([]byte("q1 Q0 d1 1 1.5 me\nq1 Q0 d2 2 -3e2 me\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if r, err := ParseTRECRun("run", bytes.NewReader(b)); err == nil {
			var w bytes.Buffer
			require.NoError(t, WriteTRECRun(&w, r, "me"))
			again, err := ParseTRECRun("run", &w)
			require.NoError(t, err)
			require.Len(t, again, len(r))
			for q := range r {
				require.ElementsMatch(t, r[q], again[q])
			}
		}
		if q, err := ParseTRECQrels("qrels", bytes.NewReader(b)); err == nil {
			Evaluate(q, nil, nil, NDCG(10))
		}
		q := Qrels{}
		for i, l := range bytes.Split(b, []byte("\n")) {
			_ = q.addTSV(string(l), i == 0)
			if rec, ok, err := parseRecord(l); ok {
				require.NoError(t, err)
				require.NotEmpty(t, rec.ID)
			}
		}
	})
}
