package train

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
)

func readAll(path string, o *ReadOptions) (out []Example, err error) {
	for e, err := range ReadExamples(path, o) {
		if err != nil {
			return out, err
		}
		out = append(out, e)
	}
	return out, nil
}

func TestReadExamples(t *testing.T) {
	const content = `{"query": "q1", "positive": "p1", "title": "T", "other": 5}

{"query": "q2", "positive": "p2", "negatives": ["n1", "p2", "n2", "n1"], "scores": [4, 3, 9, 2, 8], "group": "g", "lang": "de", "doc_lang": "fr"}
{"query": "q3", "positive": "T p3", "title": "T"}
`
	dir := t.TempDir()
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, err := w.Write([]byte(content))
	require.NoError(t, err)
	require.NoError(t, w.Close())
	enc, err := zstd.NewWriter(nil)
	require.NoError(t, err)
	for name, b := range map[string][]byte{"a.jsonl": []byte(content), "a.jsonl.gz": z.Bytes(), "a.jsonl.zst": enc.EncodeAll([]byte(content), nil)} {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, b, 0o644))
		got, err := readAll(path, &ReadOptions{Titles: true, Language: "en"})
		require.NoError(t, err)
		require.Equal(t, []Example{
			{Query: "q1", Positive: "T p1", Language: "en", DocumentLanguage: "en", Source: path + ":1"},
			{Query: "q2", Positive: "p2", Negatives: []string{"n1", "n2"}, Scores: []float32{4, 3, 2}, Group: "g", Language: "de", DocumentLanguage: "fr", Source: path + ":3"},
			{Query: "q3", Positive: "T p3", Language: "en", DocumentLanguage: "en", Source: path + ":4"},
		}, got)
		got, err = readAll(path, &ReadOptions{Limit: 1})
		require.NoError(t, err)
		require.Equal(t, []Example{{Query: "q1", Positive: "p1", Source: path + ":1"}}, got)
	}
}

func TestWriteExamples(t *testing.T) {
	want := toyExamples(1, 20)
	want[3].Language, want[3].DocumentLanguage = "de", "fr"
	want[4].Language, want[4].DocumentLanguage = "de", "de"
	want[5].Negatives, want[5].Scores = nil, nil
	want[6].Query = "<tags> & \u2028 \"quotes\"\n"
	var b bytes.Buffer
	require.NoError(t, WriteExamples(&b, want))
	path := filepath.Join(t.TempDir(), "x.jsonl")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	got, err := readAll(path, nil)
	require.NoError(t, err)
	for i := range want {
		want[i].Source = fmt.Sprint(path, ":", i+1)
		// Texts that a list holds twice were written, and count once.
		seen, n := map[string]bool{want[i].Positive: true}, 0
		for j, x := range want[i].Negatives {
			if !seen[x] {
				want[i].Negatives[n], want[i].Scores[n+1] = x, want[i].Scores[j+1]
				n++
			}
			seen[x] = true
		}
		if want[i].Negatives != nil {
			want[i].Negatives, want[i].Scores = want[i].Negatives[:n], want[i].Scores[:n+1]
		}
	}
	require.Equal(t, want, got)
}

func TestReadExamplesErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.jsonl")
	for want, line := range map[string]string{
		"no query":               `{"positive": "p"}`,
		"no positive":            `{"query": "q", "positive": " "}`,
		"negative 1 is empty":    `{"query": "q", "positive": "p", "negatives": ["n", ""]}`,
		"1 scores":               `{"query": "q", "positive": "p", "negatives": ["n"], "scores": [1]}`,
		"invalid character":      `{"query": "q", "positive"}`,
		"cannot unmarshal":       `{"query": "q", "positive": 3}`,
		"unexpected end of JSON": `{"query": "q",`,
		"number 1e60":            `{"query": "q", "positive": "p", "scores": [1e60]}`,
	} {
		require.NoError(t, os.WriteFile(path, []byte(`{"query": "q", "positive": "p"}`+"\n"+line+"\n"), 0o644))
		got, err := readAll(path, nil)
		require.ErrorIs(t, err, ErrData, want)
		require.ErrorContains(t, err, "x.jsonl:2: ")
		require.ErrorContains(t, err, want)
		require.Len(t, got, 1)
	}
	_, err := readAll(filepath.Join(t.TempDir(), "none.jsonl"), nil)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(path+".zst", []byte("no zstd"), 0o644))
	_, err = readAll(path+".zst", nil)
	require.ErrorContains(t, err, "x.jsonl.zst")
}

func FuzzParseExample(f *testing.F) {
	f.Add([]byte(`{"query": "q2", "positive": "p2", "negatives": ["n1", "p2", "n2", "n1"], "scores": [4, 3, 9, 2, 8], "group": "g"}`))
	f.Add([]byte(`{"query": "a", "positive": "b", "title": "T"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := parseExample(b, &ReadOptions{Titles: true})
		if err != nil {
			return
		}
		require.NotEmpty(t, strings.TrimSpace(e.Query))
		require.NotEmpty(t, strings.TrimSpace(e.Positive))
		require.NotContains(t, e.Negatives, e.Positive)
		require.Len(t, slices.Compact(slices.Sorted(slices.Values(e.Negatives))), len(e.Negatives))
		if e.Scores != nil {
			require.Len(t, e.Scores, 1+len(e.Negatives))
		}
	})
}

func TestHeldOut(t *testing.T) {
	byGroup, held := map[string]bool{}, 0
	for i := range 20000 {
		e := Example{Query: fmt.Sprint("q", i), Positive: fmt.Sprint("p", i), Group: fmt.Sprint("g", i/4)}
		h := e.HeldOut(0.1)
		if was, ok := byGroup[e.Group]; ok {
			require.Equal(t, was, h)
		}
		byGroup[e.Group] = h
		if h {
			held++
			require.True(t, e.HeldOut(0.2), "a larger part holds the smaller one")
		}
		require.False(t, e.HeldOut(0))
		require.True(t, e.HeldOut(1))
	}
	require.InDelta(t, 2000, held, 300)
	alone := 0
	for i := range 20000 {
		if (&Example{Positive: fmt.Sprint("text ", i)}).HeldOut(0.1) {
			alone++
		}
	}
	require.InDelta(t, 2000, alone, 300)
}

func numbered(n int) []Example {
	out := make([]Example, n)
	for i := range out {
		out[i] = Example{Query: fmt.Sprint("q", i), Positive: strings.Repeat("x", i%40) + fmt.Sprint("p", i)}
	}
	return out
}

// TestSamplerEpochs: an epoch has every example at most once and leaves out less than a batch; batches are of one source, in
// the proportion of the weights, and of similar lengths.
func TestSamplerEpochs(t *testing.T) {
	s, err := newSampler([]Source{{Name: "a", Examples: numbered(1003)}, {Name: "b", Examples: numbered(77), Weight: 2 * 1003}}, 10, 0, 1)
	require.NoError(t, err)
	var epochs [2][]int
	for epoch := range 2 {
		seen := map[int]bool{}
		spread := 0
		for n := range 100 {
			b := s.at(0, int64(epoch*100+n))
			require.Len(t, b, 10)
			lo, hi := 1000, 0
			for _, e := range b {
				require.False(t, seen[e])
				seen[e] = true
				l := len(s.sources[0].Examples[e].Positive)
				lo, hi = min(lo, l), max(hi, l)
			}
			spread += hi - lo
			epochs[epoch] = append(epochs[epoch], b...)
		}
		require.Len(t, seen, 1000)
		require.Less(t, spread/100, 8, "of lengths from 2 to 43")
	}
	require.NotEqual(t, epochs[0], epochs[1])
	for range 300 {
		s.next()
	}
	require.Equal(t, []int64{100, 200}, s.taken)

	small, err := newSampler([]Source{{Examples: numbered(3)}}, 10, 0, 1)
	require.NoError(t, err)
	for range 5 {
		require.Len(t, small.next().queries, 3)
	}
}

// TestSamplerSeeks: the next batch follows from the numbers of those drawn.
func TestSamplerSeeks(t *testing.T) {
	sources := []Source{{Examples: toyExamples(1, 150)}, {Examples: toyExamples(2, 90)}}
	a, err := newSampler(sources, 8, 2, 5)
	require.NoError(t, err)
	for range 50 {
		b, err := newSampler(sources, 8, 2, 5)
		require.NoError(t, err)
		copy(b.taken, a.taken)
		require.Equal(t, b.next(), a.next())
	}
}

// TestAssemble: texts come once, and what may answer is no negative.
func TestAssemble(t *testing.T) {
	all := []Example{
		{Query: "q1", Positive: "a", Negatives: []string{"n", "b"}, Group: "g"},
		{Query: "q2", Positive: "b", Negatives: []string{"n"}},
		{Query: "q3", Positive: "c", Group: "g"},
		{Query: "q1", Positive: "d"},
		{Query: "q4", Positive: "a"},
	}
	f := newFacts(all)
	b := f.assemble([]*Example{&all[0], &all[1], &all[2], &all[3], &all[4]})
	require.Equal(t, []string{"a", "n", "b", "c", "d"}, b.documents)
	require.Equal(t, []int{0, 2, 3, 4, 0}, b.targets.Positive)
	require.Equal(t, [][]int{{0, 1, 2}, {2, 1}, {3}, {4}, {0}}, b.targets.Lists)
	require.Nil(t, b.targets.Teacher)
	require.Equal(t, []bool{
		true, false, false, true, true, // c is of the same group, d answers the same query
		false, false, true, false, false,
		true, false, false, true, false,
		true, false, false, false, true,
		true, false, false, false, false,
	}, b.targets.Known)
	require.NoError(t, b.targets.validate())
	require.NoError(t, b.targets.lists())
	p, which := b.targets.part(1, 3)
	require.Equal(t, []int{2, 1, 3}, which)
	require.Equal(t, [][]int{{0, 1}, {2}}, p.Lists)
	require.Equal(t, []bool{true, false, false, false, false, true}, p.Known)
}

// TestFewerNegatives: those that are drawn keep their scores, and change.
func TestFewerNegatives(t *testing.T) {
	e := Example{Query: "q", Positive: "p", Negatives: []string{"1", "2", "3", "4"}, Scores: []float32{9, 1, 2, 3, 4}}
	s, err := newSampler([]Source{{Examples: []Example{e}}}, 1, 2, 1)
	require.NoError(t, err)
	drawn := map[string]bool{}
	for range 20 {
		b := s.next()
		require.Len(t, b.documents, 3)
		require.Equal(t, float32(9), b.targets.Teacher[0][0])
		for i, d := range b.documents[1:] {
			require.Equal(t, fmt.Sprint(b.targets.Teacher[0][i+1]), d)
			drawn[d] = true
		}
	}
	require.Len(t, drawn, 4)
	require.Len(t, e.Negatives, 4)
}

func TestNewEvaluation(t *testing.T) {
	all := []Example{{Query: "q1", Positive: "a", Negatives: []string{"n"}}, {Query: "q2", Positive: "b"}, {Query: "q1", Positive: "b"}, {Query: "q3", Positive: "c"}}
	e := NewEvaluation(all, 0, 0)
	require.Equal(t, []string{"q1", "q2", "q3"}, e.Queries)
	require.Equal(t, [][]int{{0, 1}, {1}, {2}}, e.Relevant)
	require.Equal(t, []string{"a", "b", "c", "n"}, e.Documents)
	e = NewEvaluation(all, 1, 3)
	require.Equal(t, []string{"q1"}, e.Queries)
	require.Equal(t, []string{"a", "b", "n"}, e.Documents)
	e.AddDocuments([]Example{{Positive: "b"}, {Positive: "x", DocumentLanguage: "de"}, {Positive: "x"}, {Positive: "y"}}, 4)
	require.Equal(t, []string{"a", "b", "n", "x"}, e.Documents)
	require.Equal(t, []string{"", "", "", "de"}, e.DocumentLanguages)
}
