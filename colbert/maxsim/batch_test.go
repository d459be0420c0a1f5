package maxsim

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// batchOf puts documents end to end.
func batchOf(docs []Matrix, dim int) (b Batch, all Matrix) {
	all.Dim = dim
	b.Dim = dim
	for _, d := range docs {
		b.Lens = append(b.Lens, d.Rows)
		all.Data = append(all.Data, d.Data...)
		all.Rows += d.Rows
	}
	return b, all
}

func TestScoreBatch(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	ctx := t.Context()
	for _, dim := range []int{1, 7, 32, 128} {
		q := random(r, 1+r.IntN(40), dim)
		var docs []Matrix
		for range 40 {
			docs = append(docs, random(r, 1+r.IntN(60), dim))
		}
		want, err := Scores(q, docs)
		require.NoError(t, err)
		b, all := batchOf(docs, dim)
		for _, workers := range []int{0, 1, 3} {
			o := &BatchOptions{Workers: workers}
			b.F32, b.F16, b.BF16 = all.Data, nil, nil
			got, err := ScoreBatch(ctx, q, b, o)
			require.NoError(t, err)
			require.Equal(t, want, got, "the same in every bit")
			b.F32, b.F16 = nil, all.F16()
			got, err = ScoreBatch(ctx, q, b, o)
			require.NoError(t, err)
			require.InDeltaSlice(t, want, got, 1e-3*float64(q.Rows))
			b.F16, b.BF16 = nil, all.BF16()
			got, err = ScoreBatch(ctx, q, b, o)
			require.NoError(t, err)
			require.InDeltaSlice(t, want, got, 8e-3*float64(q.Rows))
		}
	}
}

// Documents enough for many blocks, on several goroutines.
func TestScoreBatchBlocks(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	q := random(r, 3, 64)
	long := random(r, 3*batchBlock/64, 64)
	b := Batch{Dim: 64, F32: long.Data}
	var docs []Matrix
	for at := 0; at < long.Rows; {
		n := min(1+r.IntN(700), long.Rows-at)
		b.Lens = append(b.Lens, n)
		docs = append(docs, long.Slice(at, at+n))
		at += n
	}
	want, err := Scores(q, docs)
	require.NoError(t, err)
	got, err := ScoreBatch(t.Context(), q, b, &BatchOptions{Workers: 4})
	require.NoError(t, err)
	require.Equal(t, want, got)
}

func TestScoreBatchErrors(t *testing.T) {
	ctx := t.Context()
	q := Matrix{Data: []float32{1, 0}, Rows: 1, Dim: 2}
	scores, err := ScoreBatch(ctx, q, Batch{Dim: 2}, nil)
	require.NoError(t, err)
	require.Empty(t, scores)
	six := []float32{1, 2, 3, 4, 5, 6}
	for name, tc := range map[string]struct {
		b    Batch
		want error
		text string
	}{
		"dimension":      {Batch{Dim: 3, Lens: []int{2}, F32: six}, ErrDim, "dimension 3"},
		"two kinds":      {Batch{Dim: 2, Lens: []int{3}, F32: six, F16: make([]uint16, 6)}, ErrDim, "in 2 of"},
		"too few values": {Batch{Dim: 2, Lens: []int{2, 2}, F32: six}, ErrDim, "document 1"},
		"too many":       {Batch{Dim: 2, Lens: []int{2}, F32: six}, ErrDim, "6 values"},
		"odd":            {Batch{Dim: 2, Lens: []int{2}, F32: six[:5]}, ErrDim, "5 values"},
		"no documents":   {Batch{Dim: 2, BF16: make([]uint16, 2)}, ErrDim, "2 values"},
		"empty document": {Batch{Dim: 2, Lens: []int{3, 0}, F32: six}, ErrEmpty, "document 1"},
		"negative":       {Batch{Dim: 2, Lens: []int{-1}, F32: six}, ErrDim, "document 0"},
		"overflow":       {Batch{Dim: 2, Lens: []int{1, math.MaxInt}, F32: six}, ErrDim, "document 1"},
		"NaN":            {Batch{Dim: 2, Lens: []int{1, 1}, F32: []float32{0, 0, 0, float32(math.NaN())}}, ErrNotFinite, "document 1: token 0, dimension 1"},
		"float16 inf":    {Batch{Dim: 2, Lens: []int{1, 1}, F16: []uint16{0, 0, 0x7c00, 0}}, ErrNotFinite, "document 1: token 0, dimension 0"},
		"bfloat16 NaN":   {Batch{Dim: 2, Lens: []int{1}, BF16: []uint16{0, 0xffff}}, ErrNotFinite, "document 0"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ScoreBatch(ctx, q, tc.b, nil)
			require.ErrorIs(t, err, tc.want)
			require.ErrorContains(t, err, tc.text)
		})
	}
	_, err = ScoreBatch(ctx, Matrix{}, Batch{Dim: 2, Lens: []int{3}, F32: six}, nil)
	require.ErrorIs(t, err, ErrEmpty)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = ScoreBatch(done, q, Batch{Dim: 2, Lens: []int{3}, F32: six}, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func BenchmarkScoreBatch(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	const docs, rows, dim = 1000, 300, 128
	q, all := random(r, 32, dim), random(r, docs*rows, dim)
	lens := make([]int, docs)
	for i := range lens {
		lens[i] = rows
	}
	for name, batch := range map[string]Batch{
		"float32":  {Dim: dim, Lens: lens, F32: all.Data},
		"float16":  {Dim: dim, Lens: lens, F16: all.F16()},
		"bfloat16": {Dim: dim, Lens: lens, BF16: all.BF16()},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				if _, err := ScoreBatch(context.Background(), q, batch, &BatchOptions{Workers: 1}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
