package index

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// leaning gives query vectors that share a direction.
func leaning(rows, dim int) maxsim.Matrix {
	m := vectors(newRand(77), rows, dim)
	for i := range rows {
		m.Row(i)[3] += 5
	}
	m.Normalize()
	return m
}

func some(n, from int, text bool) iter.Seq2[Document, error] {
	r := newRand(uint64(n + from))
	return func(yield func(Document, error) bool) {
		for i := range n {
			d := Document{ID: fmt.Sprintf("d%05d", from+i), Vectors: vectors(r, 8, testDim), Meta: Metadata{"n": int64(from + i)}}
			if text && i%2 == 1 {
				d.Text = "text of " + d.ID
			}
			if !yield(d, nil) {
				return
			}
		}
	}
}

// TestTrainedForQueries: the source is asked when a codebook is trained and at no other time, is shown
// documents that lie evenly, and what it gives goes into the codebook; later codebooks take it over.
func TestTrainedForQueries(t *testing.T) {
	ctx := t.Context()
	ix, err := Create(ctx, t.TempDir(), &Options{Dim: testDim, SegmentTokens: 4000})
	require.NoError(t, err)
	defer ix.Close()
	var asked [][]Document
	queries := leaning(300, testDim)
	source := func(_ context.Context, sample []Document) (maxsim.Matrix, error) {
		asked = append(asked, sample)
		return queries, nil
	}

	boom := errors.New("boom")
	_, err = ix.Add(ctx, some(10, 0, false), &AddOptions{Queries: func(context.Context, []Document) (maxsim.Matrix, error) { return maxsim.Matrix{}, boom }})
	require.ErrorIs(t, err, boom)
	require.Zero(t, ix.Info().Documents)
	_, err = ix.Add(ctx, some(10, 0, false), &AddOptions{Queries: func(context.Context, []Document) (maxsim.Matrix, error) { return maxsim.New(3, testDim+1), nil }})
	require.ErrorIs(t, err, maxsim.ErrDim)
	require.Zero(t, ix.Info().Documents)

	_, err = ix.Add(ctx, some(1000, 0, true), &AddOptions{Queries: source})
	require.NoError(t, err)
	require.Len(t, asked, 1)
	require.Len(t, asked[0], querySample)
	last := -1
	for _, d := range asked[0] {
		n := int(d.Meta["n"].(int64))
		require.Equal(t, "text of "+d.ID, d.Text)
		require.Zero(t, d.Vectors.Rows)
		if last >= 0 {
			require.InDelta(t, 1000./querySample, n-last, 2)
		}
		last = n
	}
	base, err := ix.current()
	require.NoError(t, err)
	first := base.focused()
	base.release()
	require.NotNil(t, first)
	require.Positive(t, first.Directions())

	_, err = ix.Add(ctx, some(5, 1000, false), &AddOptions{Queries: source})
	require.NoError(t, err)
	require.Len(t, asked, 1)

	// Sixteen times as much, in one go, trains another, and without a source the directions live on.
	_, err = ix.Add(ctx, some(20000, 2000, false), &AddOptions{NoCompact: true})
	require.NoError(t, err)
	base, err = ix.current()
	require.NoError(t, err)
	second := base.focused()
	base.release()
	require.NotEqual(t, first.ID(), second.ID())
	require.Equal(t, first.Directions(), second.Directions())
	require.Len(t, asked, 1)
}

// TestQuerySampleWithoutTexts: documents without any text are shown all the same, all of them when they are few.
func TestQuerySampleWithoutTexts(t *testing.T) {
	ix, err := Create(t.Context(), t.TempDir(), &Options{Dim: testDim})
	require.NoError(t, err)
	defer ix.Close()
	shown := 0
	_, err = ix.Add(t.Context(), some(100, 0, false), &AddOptions{Queries: func(_ context.Context, sample []Document) (maxsim.Matrix, error) {
		shown = len(sample)
		return maxsim.Matrix{}, nil
	}})
	require.NoError(t, err)
	require.Equal(t, 100, shown)
}
