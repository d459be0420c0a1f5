package encoder

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// TestGoldenPooling compares with PyLate 1.6's pooling and colbert-ai's formula (encoder/scripts/golden/pooling.py),
// the order of the rows included.
func TestGoldenPooling(t *testing.T) {
	raw, err := os.ReadFile("testdata/pooling.json")
	require.NoError(t, err)
	var cases []struct {
		Factor    float64
		Protected int
		Vectors   [][]float32
		PyLate    [][]float32
		ColBERT   [][]float32 `json:"colbert_ai"`
	}
	require.NoError(t, json.Unmarshal(raw, &cases))
	require.NotEmpty(t, cases)
	most := 0.0
	for i, c := range cases {
		v, err := maxsim.FromRows(c.Vectors)
		require.NoError(t, err)
		tokens := make([]Token, v.Rows)
		for j := range tokens {
			tokens[j].ID = int32(j)
		}
		for style, want := range [][][]float32{PoolPyLate: c.PyLate, PoolColBERT: c.ColBERT} {
			p := pooling{factor: c.Factor, protected: c.Protected, style: PoolStyle(style)}
			got, kept := v, tokens
			if c.Factor > 1 {
				got, kept = p.apply(v, tokens)
			} else if style == int(PoolColBERT) {
				continue // nothing to merge: the order stays
			}
			require.Equal(t, len(want), got.Rows, "case %d, style %d", i, style)
			require.Len(t, kept, got.Rows)
			for r, row := range want {
				for j, x := range row {
					most = max(most, math.Abs(float64(x-got.Row(r)[j])))
				}
				require.Less(t, most, 1e-5, "case %d, style %d, row %d", i, style, r)
			}
		}
	}
	t.Logf("pooling, %d cases: largest difference %.3g", len(cases), most)
}

// TestPoolingPartition checks on random vectors that every row goes into one cluster, that there are as many as asked
// for, and that each merged row is the mean of rows.
func TestPoolingPartition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 70 {
		v := maxsim.New(n, 8)
		for i := range v.Data {
			v.Data[i] = float32(r.NormFloat64())
		}
		v.Normalize()
		tokens := make([]Token, n)
		for i := range tokens {
			tokens[i].ID = int32(i)
		}
		for _, p := range []pooling{{factor: 2, protected: 1}, {factor: 1.5, protected: 0}, {factor: 3, protected: 200}, {factor: 1e18, protected: 2}, {factor: 4, protected: 1, style: PoolColBERT}} {
			got, kept := p.apply(v, tokens)
			require.Len(t, kept, got.Rows)
			rest := max(n-p.protected, 0)
			want := min(n, p.protected)
			if p.style == PoolColBERT {
				want += min(rest, max(int(float64(n)/p.factor), 1))
			} else {
				want += min(rest, max(int(float64(rest)/p.factor), 1))
			}
			require.Equal(t, want, got.Rows, "%d rows, %+v", n, p)
			// The means, weighted by their clusters, add up to the sum of the rows; each is nearest to its token.
			labels := wardClusters(cosineDistances(v.Data, n, 8, p.style), n, max(1, n/2))
			require.Len(t, labels, n)
			require.LessOrEqual(t, int(slices.Max(append(labels, -1))), max(1, n/2)-1)
			seen := map[int32]bool{}
			for _, k := range kept {
				require.False(t, seen[k.ID])
				seen[k.ID] = true
			}
		}
	}
	// Identical vectors: ties everywhere, fewer clusters than asked for are right, none is lost.
	v := maxsim.New(20, 4)
	for i := range 20 {
		v.Row(i)[i%2] = 1
	}
	got, kept := (&pooling{factor: 2, protected: 1}).apply(v, make([]Token, 20))
	require.LessOrEqual(t, got.Rows, 10)
	require.GreaterOrEqual(t, got.Rows, 3)
	require.Len(t, kept, got.Rows)
	// Vectors that cancel out have no mean to normalise.
	v = maxsim.New(2, 2)
	v.Row(0)[0], v.Row(1)[0] = 1, -1
	got, _ = (&pooling{factor: 2, normalize: true}).apply(v, make([]Token, 2))
	require.Equal(t, []float32{1, 0}, got.Data)
}

// TestPoolingInPortions takes more vectors than are clustered at once.
func TestPoolingInPortions(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	v := maxsim.New(maxPoolSquare+51, 4)
	for i := range v.Data {
		v.Data[i] = float32(r.NormFloat64())
	}
	v.Normalize()
	p := pooling{factor: 200, protected: 1, style: PoolColBERT, normalize: true}
	got, kept := p.apply(v, make([]Token, v.Rows))
	require.Equal(t, 1+maxPoolSquare/200+1, got.Rows)
	require.Len(t, kept, got.Rows)
}

func TestPoolOptions(t *testing.T) {
	dir, _ := plainDir(t)
	text := "red green blue sky sea sun moon star a b c red green blue"
	full := open(t, dir, nil)
	docs := func(m *Model, o *TextOptions) Encoded {
		e, err := m.EncodeDocuments(ctx, []string{text}, o)
		require.NoError(t, err)
		require.Len(t, e[0].Tokens, e[0].Vectors.Rows)
		return e[0]
	}
	all := docs(full, nil)
	require.Equal(t, 16, all.Vectors.Rows)
	m := open(t, dir, &Options{PoolFactor: 3})
	got := docs(m, nil)
	require.Equal(t, 1+5, got.Vectors.Rows)
	require.Equal(t, all.Vectors.Row(0), got.Vectors.Row(0))
	require.Equal(t, got, docs(full, &TextOptions{PoolFactor: 3}))
	require.Equal(t, all, docs(m, &TextOptions{PoolFactor: 1}))
	for i := range got.Vectors.Rows {
		n := 0.0
		for _, x := range got.Vectors.Row(i) {
			n += float64(x) * float64(x)
		}
		require.InDelta(t, 1, n, 1e-5)
	}
	require.Equal(t, 5, docs(open(t, dir, &Options{PoolFactor: 3, PoolProtected: -1}), nil).Vectors.Rows)
	require.Equal(t, 4+4, docs(open(t, dir, &Options{PoolFactor: 3, PoolProtected: 4}), nil).Vectors.Rows)
	q, err := full.EncodeQuery(ctx, text, &TextOptions{PoolFactor: 3})
	require.NoError(t, err)
	require.Equal(t, 16, q.Vectors.Rows)
	for _, bad := range []float64{.5, -1, math.NaN(), math.Inf(1)} {
		_, err = full.EncodeDocuments(ctx, []string{text}, &TextOptions{PoolFactor: bad})
		require.ErrorIs(t, err, ErrOptions)
		_, err = Open(dir, &Options{PoolFactor: bad})
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, "PoolFactor")
	}
	_, err = Open(dir, &Options{PoolStyle: 9})
	require.ErrorIs(t, err, ErrOptions)
}

func TestExpansionRules(t *testing.T) {
	for _, tc := range []struct {
		rule       ExpansionRule
		step       int
		n, becomes int
	}{
		{ExpandDynamic, 32, 5, 32}, {ExpandDynamic, 32, 24, 32}, {ExpandDynamic, 32, 25, 33}, {ExpandDynamic, 32, 31, 39},
		{ExpandDynamic, 32, 32, 40}, {ExpandDynamic, 32, 33, 64}, {ExpandDynamic, 32, 57, 65}, {ExpandDynamic, 16, 5, 16}, {ExpandDynamic, 16, 9, 17},
		{ExpandRerankers, 32, 5, 13}, {ExpandRerankers, 32, 8, 16}, {ExpandRerankers, 32, 9, 32}, {ExpandRerankers, 32, 31, 32},
		{ExpandRerankers, 32, 32, 40}, {ExpandRerankers, 32, 41, 64}, {ExpandEight, 32, 5, 13}, {ExpandEight, 32, 32, 40},
		{ExpandToLength, 32, 5, 32}, {ExpandToLength, 32, 40, 40},
	} {
		require.Equal(t, tc.becomes, tc.rule.filled(tc.n, tc.step), "%+v", tc)
	}
	dir, tiny, heads := stanfordDir(t, map[string]any{"query_maxlen": 9, "doc_maxlen": 12})
	m := open(t, dir, &Options{ExpansionRule: ExpandDynamic, ExpansionStep: 16})
	got, err := m.EncodeQuery(ctx, "red sky", nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, heads, rows(t, append([]string{"[CLS]", "[unused0]", "red", "sky", "[SEP]"}, slices.Repeat([]string{"~[MASK]"}, 11)...)...), got)
	// The model's 48 positions are the end of it.
	got, err = m.EncodeQuery(ctx, strings.Repeat("red ", 100), nil)
	require.NoError(t, err)
	require.True(t, got.Truncated)
	require.Equal(t, 48, got.Vectors.Rows)
	require.Equal(t, "[MASK]", got.Tokens[40].Text)
	require.Equal(t, "[SEP]", got.Tokens[39].Text)
	m = open(t, dir, &Options{ExpansionRule: ExpandEight, MaxQueryTokens: 14})
	got, err = m.EncodeQuery(ctx, strings.Repeat("red ", 100), nil)
	require.NoError(t, err)
	require.Equal(t, 14, got.Vectors.Rows)
	_, err = Open(dir, &Options{ExpansionRule: 17})
	require.ErrorIs(t, err, ErrOptions)
	_, err = Open(dir, &Options{ExpansionRule: ExpandDynamic, ExpansionStep: -1})
	require.ErrorIs(t, err, ErrOptions)
}

func TestPrompts(t *testing.T) {
	dir, tiny := plainDir(t)
	m := open(t, dir, &Options{QueryPrompt: "blue: ", DocumentPrompt: "sea "})
	got, err := m.EncodeQuery(ctx, "red sky", nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, rows(t, "[CLS]", "blue", ":", "red", "sky", "[SEP]"), unspecial(got, 1, 2))
	require.Equal(t, Token{ID: id(t, "sky"), Text: "sky", Start: 4, End: 7}, got.Tokens[4])
	require.True(t, got.Tokens[1].Special)
	got, err = m.EncodeQuery(ctx, "red sky", &TextOptions{Prompt: "moon "})
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, rows(t, "[CLS]", "moon", "red", "sky", "[SEP]"), unspecial(got, 1))
	docs, err := m.EncodeDocuments(ctx, []string{"sun"}, nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, rows(t, "[CLS]", "sea", "sun", "[SEP]"), unspecial(docs[0], 1))
	m = open(t, dir, &Options{QueryPrompt: "blue: ", Prompts: Off})
	got, err = m.EncodeQuery(ctx, "red sky", nil)
	require.NoError(t, err)
	requireEncoded(t, tiny, nil, rows(t, "[CLS]", "red", "sky", "[SEP]"), got)
}

// unspecial takes the mark off tokens of a prompt, whose names do not say that they are special.
func unspecial(e Encoded, at ...int) Encoded {
	e.Tokens = slices.Clone(e.Tokens)
	for _, i := range at {
		e.Tokens[i].Special = false
	}
	return e
}
