package mine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder/golbertmini"
	"github.com/golbert/golbert/encoder/train"
)

var ctx = context.Background()

// science are questions whose answers come in near pairs.
func science() []train.Example {
	pairs := [][3]string{
		{"which planet is called red", "Mars looks red because of the iron oxide in its soil.", "planets"},
		{"what is the biggest planet", "Jupiter is the largest planet of the solar system.", "planets"},
		{"which planet has rings", "Saturn is known for its bright rings of ice.", "rings"},
		{"why is the sky blue", "Air scatters blue light more than red light.", "light"},
		{"what makes a rainbow", "Drops of water bend light of each colour by another angle.", "light"},
		{"how do plants make sugar", "Photosynthesis turns light, water and carbon dioxide into sugar.", "plants"},
		{"which planet is called red", "The surface of Mars is rusty, hence the name red planet.", ""},
	}
	var out []train.Example
	for i, p := range pairs {
		out = append(out, train.Example{Query: p[0], Positive: p[1], Group: p[2], Source: fmt.Sprint("line ", i+1)})
	}
	return out
}

func corpus(texts ...string) iter.Seq2[colbert.Document, error] {
	return func(yield func(colbert.Document, error) bool) {
		for _, t := range texts {
			if !yield(colbert.Document{Text: t}, nil) {
				return
			}
		}
	}
}

func open(t *testing.T) colbert.Encoder {
	m, err := golbertmini.Open()
	require.NoError(t, err)
	t.Cleanup(func() { m.Close() })
	return m
}

func TestNegatives(t *testing.T) {
	enc, examples := open(t), science()
	extra := []string{"The red planet has two moons.", "A recipe for tomato soup.", examples[0].Positive}
	steps := map[string]int{}
	mined, r, err := Negatives(ctx, enc, examples, &Options{Negatives: 4, Margin: -1, Corpus: corpus(extra...), Progress: func(what string, done, _ int) { steps[what] = done }})
	require.NoError(t, err)
	require.Equal(t, &Report{Documents: 9, Examples: 7, Negatives: 28}, r)
	require.Equal(t, map[string]int{"documents": 9, "queries": 7}, steps)
	for i, e := range mined {
		require.Equal(t, examples[i].Query, e.Query)
		require.Nil(t, examples[i].Negatives)
		require.Len(t, e.Negatives, 4)
		require.Len(t, e.Scores, 5)
		require.True(t, slices.IsSortedFunc(e.Scores[1:], func(a, b float32) int { return int(math.Copysign(1, float64(b-a))) }), e.Scores)
		for _, n := range e.Negatives {
			require.NotEqual(t, e.Positive, n)
			for _, other := range examples {
				if n == other.Positive {
					require.False(t, other.Group != "" && other.Group == e.Group, "%q is of the group of %q", n, e.Query)
					require.NotEqual(t, e.Query, other.Query)
				}
			}
		}
	}
	require.Equal(t, extra[0], mined[0].Negatives[0], "what looks like an answer")

	// The first of each ranking left out; nothing above the positive.
	skipped, _, err := Negatives(ctx, enc, examples, &Options{Negatives: 3, Margin: -1, Skip: 1, Corpus: corpus(extra...)})
	require.NoError(t, err)
	for i := range mined {
		require.Equal(t, mined[i].Negatives[1:], skipped[i].Negatives)
	}
	below, r, err := Negatives(ctx, enc, examples, &Options{Negatives: 8, Corpus: corpus(extra...), Margin: 0.5, Least: 1})
	require.NoError(t, err)
	require.Positive(t, r.Negatives)
	require.Equal(t, 7, r.Examples+r.Left)
	for _, e := range below {
		for _, s := range e.Scores[1:] {
			require.LessOrEqual(t, s, e.Scores[0]/2)
		}
	}

	// Chance is seeded; what is left of a shallow ranking may lack the positive, whose score is found nevertheless.
	sample := func(seed uint64) []train.Example {
		m, _, err := Negatives(ctx, enc, examples, &Options{Negatives: 2, Margin: -1, Sample: true, Seed: seed, Corpus: corpus(extra...)})
		require.NoError(t, err)
		return m
	}
	require.Equal(t, sample(1), sample(1))
	require.NotEqual(t, sample(1), sample(2))
	hard := append(science(), train.Example{Query: "which planet is called red", Positive: "A recipe for tomato soup.", Group: "soup"})
	shallow, r, err := Negatives(ctx, enc, hard, &Options{Depth: 2, Margin: -1})
	require.NoError(t, err)
	require.Equal(t, 1, r.Missed)
	require.Less(t, shallow[7].Scores[0], shallow[0].Scores[0])

	var b bytes.Buffer
	require.NoError(t, train.WriteExamples(&b, mined))
	require.Equal(t, 7, strings.Count(b.String(), "\n"))
}

func TestNegativesErrors(t *testing.T) {
	enc := open(t)
	for _, o := range []*Options{{Negatives: -1}, {Depth: -1}, {Skip: -1}, {Least: -1}, {Margin: math.NaN()}} {
		_, _, err := Negatives(ctx, enc, science(), o)
		require.ErrorIs(t, err, ErrOptions)
	}
	_, _, err := Negatives(ctx, enc, nil, nil)
	require.ErrorIs(t, err, ErrOptions)
	fault := errors.New("disk on fire")
	dir := t.TempDir()
	_, _, err = Negatives(ctx, enc, science(), &Options{Dir: dir, Corpus: func(yield func(colbert.Document, error) bool) { yield(colbert.Document{}, fault) }})
	require.ErrorIs(t, err, fault)
	bad := science()
	bad[2].Positive = " "
	_, _, err = Negatives(ctx, enc, bad, &Options{Dir: dir})
	require.ErrorIs(t, err, colbert.ErrEmptyText)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, _, err = Negatives(done, enc, science(), &Options{Dir: dir})
	require.ErrorIs(t, err, context.Canceled)
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, entries, "an index was left")
}

func TestMargin(t *testing.T) {
	require.Equal(t, 9.5, limit(10, 0.95))
	require.Equal(t, 10.0, limit(10, 1))
	require.Less(t, limit(-10, 0.95), -10.0)
	require.Equal(t, -10.0, limit(-10, 1))
}

// TestTeachers: a model's scores are MaxSim, an ensemble's the mean of scaled ones.
func TestTeachers(t *testing.T) {
	enc, examples := open(t), science()[:3]
	examples[0].Negatives = []string{examples[1].Positive, examples[2].Positive}
	examples[1].Negatives = []string{examples[0].Positive}
	require.NoError(t, Rescore(ctx, MaxSim{Encoder: enc}, examples))
	require.Len(t, examples[2].Scores, 1)
	for _, e := range examples {
		q, err := enc.EncodeQueries(ctx, []string{e.Query}, nil)
		require.NoError(t, err)
		for j, d := range append([]string{e.Positive}, e.Negatives...) {
			v, err := enc.EncodeDocuments(ctx, []string{d}, nil)
			require.NoError(t, err)
			want, err := maxsim.Score(q[0].Vectors, v[0].Vectors)
			require.NoError(t, err)
			require.InDelta(t, want, e.Scores[j], 1e-5)
		}
	}
	length := ScorerFunc(func(_ context.Context, l List) ([]float32, error) {
		var out []float32
		for _, d := range l.Documents {
			out = append(out, float32(len(d)))
		}
		return out, nil
	})
	same := ScorerFunc(func(_ context.Context, l List) ([]float32, error) { return make([]float32, len(l.Documents)), nil })
	scores, err := Ensemble{{Scorer: length, Weight: 3}, {Scorer: same}}.Scores(ctx, []List{{Documents: []string{"a", "bbb", "cc"}}, {Documents: []string{"a"}}})
	require.NoError(t, err)
	require.Equal(t, [][]float32{{0, 0.75, 0.375}, {0}}, scores)

	for want, s := range map[string]Scorer{
		"0 scores of 3": ScorerFunc(func(context.Context, List) ([]float32, error) { return nil, nil }),
		"NaN":           ScorerFunc(func(context.Context, List) ([]float32, error) { return []float32{1, 2, float32(math.NaN())}, nil }),
		"broken":        ScorerFunc(func(context.Context, List) ([]float32, error) { return nil, errors.New("broken") }),
		"member 0":      Ensemble{{}},
		"without":       Ensemble{},
	} {
		before := slices.Clone(examples[0].Scores)
		require.ErrorContains(t, Rescore(ctx, s, examples[:1]), want)
		if want != "member 0" && want != "without" {
			require.Error(t, Rescore(ctx, Ensemble{{Scorer: s}}, examples[:1]))
		}
		require.Equal(t, before, examples[0].Scores)
	}
}
