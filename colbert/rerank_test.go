package colbert_test

import (
	"context"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
)

func TestRerank(t *testing.T) {
	enc := &words{}
	hits, err := colbert.Rerank(t.Context(), enc, "apple banana", fruit(), 3)
	require.NoError(t, err)
	require.Equal(t, "pair", hits[0].ID)
	require.Equal(t, "Apple and banana in one bowl", hits[0].Text)
	require.Len(t, hits, 3)
	for i, h := range hits {
		require.Equal(t, i+1, h.Rank)
		q, err := enc.EncodeQueries(t.Context(), []string{"apple banana"}, nil)
		require.NoError(t, err)
		d, err := enc.EncodeDocuments(t.Context(), []string{h.Text}, nil)
		require.NoError(t, err)
		want, err := colbert.MaxSim(q[0].Vectors, d[0].Vectors)
		require.NoError(t, err)
		require.InDelta(t, want, h.Score, 1e-5)
	}
	// More than one batch; every document but one says the same, so that the given order decides.
	docs := numbered(300)
	for i := range docs {
		docs[i].Text = "the same"
	}
	docs[290].Text = "needle"
	hits, err = colbert.Rerank(t.Context(), enc, "needle", docs, 4)
	require.NoError(t, err)
	require.Equal(t, []string{"d290", "d0", "d1", "d2"}, ids(hits))
}

func TestRerankBoundaries(t *testing.T) {
	enc := &words{failWord: "BAD", nanWord: "NAN"}
	ctx := t.Context()
	for _, k := range []int{0, -1} {
		_, err := colbert.Rerank(ctx, enc, "apple", fruit(), k)
		require.ErrorIs(t, err, colbert.ErrInvalidK)
	}
	hits, err := colbert.Rerank(ctx, enc, "apple", fruit(), 1<<40)
	require.NoError(t, err)
	require.Len(t, hits, 4)
	hits, err = colbert.Rerank(ctx, enc, "apple", nil, 5)
	require.NoError(t, err)
	require.Empty(t, hits)
	_, err = colbert.Rerank(ctx, enc, " \n", fruit(), 5)
	require.ErrorIs(t, err, colbert.ErrEmptyText)
	require.ErrorContains(t, err, "query")
	_, err = colbert.Rerank(ctx, nil, "apple", fruit(), 5)
	require.ErrorIs(t, err, colbert.ErrEncoder)
	for text, want := range map[string]error{
		"": colbert.ErrEmptyText, "a\xff": colbert.ErrInvalidUTF8, "so BAD": errBadWord, "so NAN": colbert.ErrNotFinite,
	} {
		_, err = colbert.Rerank(ctx, enc, "apple", append(fruit(), colbert.Document{ID: "odd", Text: text}), 5)
		require.ErrorIs(t, err, want)
		var de *colbert.DocumentError
		require.ErrorAs(t, err, &de)
		require.Equal(t, "odd", de.ID)
	}
	_, err = colbert.Rerank(ctx, &words{madeDim: 7}, "apple", fruit(), 5)
	require.ErrorIs(t, err, colbert.ErrDim)
	_, err = colbert.Rerank(ctx, &words{short: true}, "apple", fruit(), 5)
	require.ErrorIs(t, err, colbert.ErrEncoder)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = colbert.Rerank(done, enc, "apple", fruit(), 5)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTexts(t *testing.T) {
	require.Equal(t, []colbert.Document{{ID: "0", Text: "a"}, {ID: "1", Text: "b"}}, colbert.Texts("a", "b"))
}

func TestRerankLanguages(t *testing.T) {
	enc := &words{}
	docs := []colbert.Document{{ID: "1", Text: "one", Language: "de"}, {ID: "2", Text: "two"}, {ID: "3", Text: "three", Language: "de", Meta: index.Metadata{"a": 1}}}
	hits, err := colbert.Rerank(t.Context(), colbert.WithLanguage(enc, "fr"), "one", docs, 3)
	require.NoError(t, err)
	require.Equal(t, []string{"fr", "de", "fr"}, enc.languages, "query, German documents, the other one")
	require.Equal(t, "de", hits[0].Meta[colbert.LanguageKey])
	require.Equal(t, index.Metadata{"a": 1}, docs[2].Meta, "the caller's metadata stays as it is")
}

func TestMaxSim(t *testing.T) {
	q, _ := maxsim.FromRows([][]float32{{1, 0}, {0, 1}})
	d, _ := maxsim.FromRows([][]float32{{0.6, 0.8}, {1, 0}})
	s, err := colbert.MaxSim(q, d)
	require.NoError(t, err)
	require.InDelta(t, 1.8, s, 1e-6)
	_, err = colbert.MaxSim(q, maxsim.New(1, 3))
	require.ErrorIs(t, err, colbert.ErrDim)
	_, err = colbert.MaxSim(q, maxsim.Matrix{Data: []float32{0, float32(math.Inf(1))}, Rows: 1, Dim: 2})
	require.ErrorIs(t, err, colbert.ErrNotFinite)
}

func TestExplain(t *testing.T) {
	enc := &words{}
	const text = "Waiting is hard: wait for goroutines, then wait again."
	e, err := colbert.Explain(t.Context(), enc, "wait goroutines", text)
	require.NoError(t, err)
	require.Len(t, e.Query, 3)
	require.Len(t, e.Document, 10)
	require.Len(t, e.Sim, 30)
	require.True(t, e.Query[0].Special)
	for j, tok := range e.Document {
		if !tok.Special {
			require.Equal(t, tok.Text, text[tok.Start:tok.End])
		}
		require.InDelta(t, e.Sim[len(e.Document)+j], e.Similarity(1, j), 0)
	}
	require.Equal(t, "wait", e.Document[e.Best[1]].Text)
	require.Equal(t, 17, e.Document[e.Best[1]].Start, "the first of equals")
	require.Equal(t, "goroutines", e.Document[e.Best[2]].Text)
	var sum float32
	for i, b := range e.Best {
		require.Equal(t, e.Similarity(i, b), e.Max[i])
		sum += e.Max[i]
	}
	require.InDelta(t, sum, e.Score, 1e-5)
	hits, err := colbert.Rerank(t.Context(), enc, "wait goroutines", colbert.Texts(text), 1)
	require.NoError(t, err)
	require.InDelta(t, hits[0].Score, e.Score, 1e-4)

	require.Equal(t, "Waiting is hard: <wait> for <goroutines>, then wait again.", e.Mark("<", ">"))
	ws := e.Words()
	require.Len(t, ws, 9)
	for i := 1; i < len(ws); i++ {
		require.LessOrEqual(t, ws[i-1].End, ws[i].Start)
	}
}

func TestExplainErrors(t *testing.T) {
	ctx := t.Context()
	_, err := colbert.Explain(ctx, &words{}, "", "text")
	require.ErrorIs(t, err, colbert.ErrEmptyText)
	require.ErrorContains(t, err, "query")
	_, err = colbert.Explain(ctx, &words{}, "query", "\t")
	require.ErrorIs(t, err, colbert.ErrEmptyText)
	_, err = colbert.Explain(ctx, &words{}, "query", "ab\xff")
	require.ErrorIs(t, err, colbert.ErrInvalidUTF8)
	require.ErrorContains(t, err, "byte 2")
	_, err = colbert.Explain(ctx, &words{nanWord: "text"}, "query", "text")
	require.ErrorIs(t, err, colbert.ErrNotFinite)
	_, err = colbert.Explain(ctx, &words{noTokens: true}, "query", "text")
	require.ErrorIs(t, err, colbert.ErrEmptyQuery)
	e, err := colbert.Explain(ctx, &words{max: 3}, "query", strings.Repeat("text ", 1000))
	require.NoError(t, err)
	require.True(t, e.Truncated)
	require.Len(t, e.Document, 4)
}

// pieces is an explanation made by hand, of tokens that are parts of words.
func pieces(text string, spans [][2]int, sims []float32) *colbert.Explanation {
	e := &colbert.Explanation{Text: text, Query: []encoder.Token{{Text: "q", Start: 0, End: 1}}, Sim: sims}
	for _, s := range spans {
		e.Document = append(e.Document, encoder.Token{Start: s[0], End: s[1], Special: s == [2]int{}})
	}
	return e
}

func TestMark(t *testing.T) {
	for _, c := range []struct {
		name, text string
		spans      [][2]int
		sims       []float32
		want       string
	}{
		{"pieces of a word are marked as one", "a goroutine ends", [][2]int{{0, 1}, {2, 4}, {4, 8}, {8, 11}, {12, 16}}, []float32{0, 0, .9, 0, .1}, "a [goroutine] ends"},
		{"punctuation parts words", "well-known", [][2]int{{0, 4}, {4, 5}, {5, 10}}, []float32{.1, 0, .9}, "well-[known]"},
		{"Chinese characters stand alone", "東京都", [][2]int{{0, 3}, {3, 6}, {6, 9}}, []float32{0, .9, .1}, "東[京]都"},
		{"specials are not marked", "one two", [][2]int{{}, {0, 3}, {4, 7}}, []float32{.99, .1, .9}, "one [two]"},
		{"nothing stands out", "one two", [][2]int{{0, 3}, {4, 7}}, []float32{.5, .5}, "one two"},
		{"only specials", "one two", [][2]int{{}}, []float32{.5}, "one two"},
		{"bytes of one character", "x é y", [][2]int{{0, 1}, {2, 4}, {2, 4}, {5, 6}}, []float32{0, .2, .9, 0}, "x [é] y"},
		{"negative similarities", "one two", [][2]int{{0, 3}, {4, 7}}, []float32{-.9, -.1}, "one [two]"},
		{"word at the start", "one two", [][2]int{{0, 3}, {4, 7}}, []float32{.9, .1}, "[one] two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := pieces(c.text, c.spans, c.sims)
			require.Equal(t, c.want, e.Mark("[", "]"))
			require.Equal(t, c.text, e.Mark("", ""))
		})
	}
}
