package main

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
)

func TestRanks(t *testing.T) {
	for n := 1; n <= deepest; n += 7 {
		rng := rand.New(rand.NewPCG(1, uint64(n)))
		r := ranks(rng, n)
		require.Len(t, r, n)
		require.True(t, slices.IsSorted(r))
		require.Len(t, slices.Compact(slices.Clone(r)), n, "drawn twice")
		require.GreaterOrEqual(t, r[0], 0)
		require.Less(t, r[n-1], deepest)
		for i := range min(nearest, n) {
			require.Equal(t, i, r[i])
		}
	}
}

func TestSentences(t *testing.T) {
	require.Equal(t, []string{"One is here.", "Is 2.5 two?", "Yes"}, sentences("One is here. Is 2.5 two? Yes"))
	require.Empty(t, sentences("  "))
}

func TestStandardised(t *testing.T) {
	dst := make([]float32, 3)
	addStandardised(dst, []float32{1, 2, 3}, 2)
	require.InDeltaSlice(t, []float32{-2.4495, 0, 2.4495}, dst, 1e-4)
	addStandardised(dst, []float32{5, 5, 5}, 1) // says nothing, and changes nothing
	require.InDeltaSlice(t, []float32{-2.4495, 0, 2.4495}, dst, 1e-4)
}

// vocabulary has letters as words.
func vocabulary(t *testing.T) *tokenizer.Tokenizer {
	words := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
	for c := 'a'; c <= 'z'; c++ {
		words = append(words, string(c), "##"+string(c))
	}
	tok, err := tokenizer.FromVocab([]byte(strings.Join(words, "\n")), tokenizer.VocabOptions{})
	require.NoError(t, err)
	return tok
}

func TestPool(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pairs")
	require.NoError(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "p.jsonl")
	long := strings.Repeat("a b c d ", 45) // 180 tokens: a passage and a rest that is too short for one
	require.NoError(t, os.WriteFile(path, []byte(`{"query": "x", "positive": "y z", "group": "g"}
{"query": "кто", "query_translated": "w", "pivot": "en", "positive": "`+long+`", "title": "t"}
{"query": "кто", "positive": "y"}
{"query": " ", "positive": "y"}
`), 0o644))
	p := newPool(vocabulary(t), 1)
	require.NoError(t, p.addPairs(path))
	require.Len(t, p.passages, 2)
	require.Len(t, p.queries, 2)
	for _, q := range p.queries {
		require.Equal(t, -1, q.banned)
		switch q.text {
		case "x":
			require.Equal(t, "y z", p.passages[q.label])
			require.True(t, strings.HasPrefix(q.group, "pairs:g:"))
		case "w":
			require.Len(t, strings.Fields(p.passages[q.label]), passageTokens)
			require.True(t, strings.HasPrefix(q.group, "pairs:t:"))
		default:
			t.Fatal(q)
		}
	}
	require.NoError(t, p.addTexts(path))
	require.ElementsMatch(t, []string{"y z", "y", strings.TrimSpace(strings.Repeat("a b c d ", passageTokens/4))}, p.passages, "each text once")
	require.ErrorContains(t, p.addTexts(path+",0"), "number of passages")
	p.addSentences(5)
	require.Len(t, p.queries, 2, "no sentence of 6 to 24 words")

	require.NoError(t, os.WriteFile(path, []byte("{}\n{"), 0o644))
	require.ErrorContains(t, p.addPairs(path), "p.jsonl:2")
}

func TestListsNeedPassages(t *testing.T) {
	c := command{length: 8, log: io.Discard}
	_, err := c.lists(t.Context(), newPool(vocabulary(t), 1), new(ensemble))
	require.ErrorContains(t, err, "want at least")
	require.ErrorContains(t, c.run(t.Context(), nil), "needs -student")
}

// A list holds the label first with its bonus, not the passage that a sentence is from, and scores in step.
func TestList(t *testing.T) {
	p := newPool(vocabulary(t), 1)
	scores := make([]float32, 300)
	for i := range scores {
		p.passages = append(p.passages, strings.Repeat("a", 1+i/26)+string(rune('a'+i%26)))
		scores[i] = float32(300 - i)
	}
	p.queries = []query{{"labelled", 5, -1, "g"}, {"sentence", -1, 0, "s"}, {"disagreement", 200, -1, "d"}}
	c := command{length: 8, seed: 3}
	order := make([]int, 300)
	number := func(s string) int { return slices.Index(p.passages, s) }

	x := c.list(p, 0, slices.Clone(scores), order)
	require.Equal(t, 5, number(x.Positive))
	require.InDelta(t, 295+labelBonus, x.Scores[0], 1e-4)
	require.Len(t, x.Negatives, 7)
	for i, n := range x.Negatives {
		require.NotEqual(t, 5, number(n))
		require.Equal(t, scores[number(n)], x.Scores[1+i])
	}
	require.Equal(t, x, c.list(p, 0, slices.Clone(scores), order), "the seed decides")

	x = c.list(p, 1, slices.Clone(scores), order)
	require.Equal(t, 1, number(x.Positive))
	require.NotContains(t, x.Negatives, p.passages[0])

	require.Nil(t, c.list(p, 2, slices.Clone(scores), order))
}
