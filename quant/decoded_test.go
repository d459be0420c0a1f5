package quant

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

func TestInvNormsOfCodes(t *testing.T) {
	docs := clustered(1, 300, 48, 10, 0.6)
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		book, err := Train(context.Background(), docs, &TrainOptions{NBits: nbits, Centroids: 8})
		require.NoError(t, err)
		enc, err := book.Encode(context.Background(), docs, 0)
		require.NoError(t, err)
		got := book.InvNorms([]float32{7}, enc.Codes, enc.Residuals)
		require.Len(t, got, 1+docs.Rows)
		for i, want := range enc.InvNorms {
			require.InEpsilon(t, want, got[i+1], 1e-6, "%d bits", nbits)
		}
	}
}

func TestLevels(t *testing.T) {
	values := []float32{3, -1, -1, 3, 3, -1}
	cuts, weights, err := Levels(values, 1)
	require.NoError(t, err)
	require.Equal(t, []float32{1}, cuts)
	require.Equal(t, []float32{-1, 3}, weights)
	_, _, err = Levels(values, 16)
	require.ErrorIs(t, err, ErrOption)
	_, _, err = Levels(values, 3)
	require.ErrorIs(t, err, ErrOption)
	_, _, err = Levels(nil, 4)
	require.ErrorIs(t, err, ErrEmpty)
	_, _, err = Levels([]float32{1, float32(math.NaN())}, 4)
	require.ErrorIs(t, err, maxsim.ErrNotFinite)
}

func TestRoundHalf(t *testing.T) {
	got, worst := RoundHalf([]float32{0.5, 1.0 / 3, -2})
	require.Equal(t, []float32{0.5, 0.33325195, -2}, got)
	require.InDelta(t, 8.14e-5, worst, 1e-7)
	_, worst = RoundHalf([]float32{0.25})
	require.Zero(t, worst)
}

func TestEncodeAt(t *testing.T) {
	docs := clustered(1, 300, 48, 10, 0.6)
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		book, err := Train(context.Background(), docs, &TrainOptions{NBits: nbits, Centroids: 8})
		require.NoError(t, err)
		want, err := book.Encode(context.Background(), docs, 0)
		require.NoError(t, err)
		got, err := book.EncodeAt(docs, want.Codes)
		require.NoError(t, err)
		require.Equal(t, want.Codes, got.Codes)
		differ := 0
		for i := range want.Residuals {
			if want.Residuals[i] != got.Residuals[i] {
				differ++
			}
		}
		// The inner product with the centroid may be rounded otherwise, and then a value at a cutoff.
		require.LessOrEqual(t, differ, len(want.Residuals)/1000)
	}
	book, err := Train(context.Background(), docs, &TrainOptions{Centroids: 8})
	require.NoError(t, err)
	_, err = book.EncodeAt(docs, make([]uint32, 1))
	require.ErrorIs(t, err, ErrOption)
	_, err = book.EncodeAt(docs.Slice(0, 1), []uint32{8})
	require.ErrorIs(t, err, ErrOption)
	_, err = book.EncodeAt(maxsim.New(1, 4), []uint32{0})
	require.ErrorIs(t, err, maxsim.ErrDim)
}
