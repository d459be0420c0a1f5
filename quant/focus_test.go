package quant

import (
	"context"
	"math"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/stretchr/testify/require"
)

// leaning returns unit vectors that share a direction, as [MASK] tokens make queries do.
func leaning(seed uint64, rows, dim int) maxsim.Matrix {
	m := randomUnit(seed, rows, dim)
	for i := range rows {
		m.Row(i)[3] += 2
	}
	m.Normalize()
	return m
}

func TestTopDirections(t *testing.T) {
	const dim = 32
	r := rng{1}
	// Energies 9, 4, 1, 0.04, 0.04, ... along the axes.
	x := maxsim.New(4000, dim)
	for i := range x.Data {
		s := 0.2
		if a := i % dim; a < 3 {
			s = float64(3 - a)
		}
		x.Data[i] = float32(s * r.normal())
	}
	dirs, energy := topDirections(&r, x.Data, x.Rows, dim, 3)
	for j, want := range []float64{9, 4, 1} {
		require.InDelta(t, want, energy[j], 0.1*want)
		require.InDelta(t, 1, math.Abs(float64(dirs[j*dim+j])), 0.02)
		for k := range 3 {
			d := dot(dirs[j*dim:(j+1)*dim], dirs[k*dim:(k+1)*dim])
			if j == k {
				d--
			}
			require.InDelta(t, 0, d, 1e-5)
		}
	}
}

// TestFocusLowersQueryError: the error of inner products with queries that were not in the sample falls,
// the total error hardly grows, and nothing changes for the decoder.
func TestFocusLowersQueryError(t *testing.T) {
	ctx := context.Background()
	docs, sample, queries := clustered(1, 2000, 64, 40, 0.6), leaning(2, 500, 64), leaning(3, 100, 64)
	for _, nbits := range []int{1, 2, 4} {
		var errs, cos [2]float64
		for i, qs := range []maxsim.Matrix{{}, sample} {
			book, err := Train(ctx, docs, &TrainOptions{NBits: nbits, Centroids: 64, Queries: qs})
			require.NoError(t, err)
			require.Equal(t, i == 1, book.focus != nil)
			cos[i] = meanCosine(t, book, docs)
			enc, err := book.Encode(ctx, docs, 0)
			require.NoError(t, err)
			dec := maxsim.New(docs.Rows, 64)
			book.Decode(dec.Data, enc.Codes, enc.Residuals)
			book.Unrotate(dec.Data, dec.Data, dec.Rows)
			for j := range docs.Rows {
				for k := range queries.Rows {
					e := dot(queries.Row(k), dec.Row(j)) - dot(queries.Row(k), docs.Row(j))
					errs[i] += e * e
				}
			}
		}
		require.Less(t, errs[1], map[int]float64{1: 0.7, 2: 0.6, 4: 0.6}[nbits]*errs[0], "%d bits", nbits)
		require.Less(t, 1-cos[1], 2*(1-cos[0]), "%d bits", nbits)
	}
}

// TestFocusLowersItsOwnError: the weighted error of the decoded unit vectors, over all of them.
func TestFocusLowersItsOwnError(t *testing.T) {
	docs := clustered(1, 500, 48, 10, 0.6)
	book, err := Train(context.Background(), docs, &TrainOptions{NBits: 2, Centroids: 8, Queries: leaning(2, 300, 48)})
	require.NoError(t, err)
	f := book.focus
	weighted := func(e []float32) float64 {
		q := dot(e, e)
		for j, s := range f.strength {
			p := dot(e, f.dirs[j*48:(j+1)*48])
			q += float64(s) * p * p
		}
		return q
	}
	x := docs.Clone()
	book.Rotate(x.Data, x.Data, x.Rows)
	var sums [2]float64
	for i, fc := range []*focus{nil, f} {
		book.focus = fc
		enc, err := book.Encode(context.Background(), docs, 0)
		require.NoError(t, err)
		e := x.Clone()
		book.Decode(e.Data, enc.Codes, enc.Residuals)
		for k := range e.Data {
			e.Data[k] -= x.Data[k]
		}
		for k := range e.Rows {
			sums[i] += weighted(e.Row(k))
		}
	}
	require.Less(t, sums[1], 0.5*sums[0])
}

func TestFocusCorners(t *testing.T) {
	ctx := context.Background()
	docs := randomUnit(1, 200, 16)
	for name, c := range map[string]struct {
		queries maxsim.Matrix
		focus   bool
	}{
		"zero queries":    {maxsim.New(5, 16), false},
		"one query token": {randomUnit(4, 1, 16), true},
		"evenly spread":   {randomUnit(4, 20000, 16), false},
	} {
		book, err := Train(ctx, docs, &TrainOptions{NBits: 4, Queries: c.queries})
		require.NoError(t, err, name)
		require.Equal(t, c.focus, book.focus != nil, name)
		require.Greater(t, meanCosine(t, book, docs), 0.97, name)
	}
	_, err := Train(ctx, docs, &TrainOptions{Queries: randomUnit(4, 5, 8)})
	require.ErrorIs(t, err, maxsim.ErrDim)
	_, err = Train(ctx, docs, &TrainOptions{Queries: maxsim.Matrix{Data: []float32{float32(math.NaN())}, Rows: 1, Dim: 1}})
	require.ErrorIs(t, err, maxsim.ErrNotFinite)
	for _, dim := range []int{1, 2, 3, 4, 5} {
		book, err := Train(ctx, randomUnit(1, 50, dim), &TrainOptions{Queries: randomUnit(2, 9, dim)})
		require.NoError(t, err)
		require.Greater(t, meanCosine(t, book, randomUnit(1, 50, dim)), 0.9, "dim %d", dim)
	}
}

// TestLike: directions are taken over from another codebook, whatever the rotations of both.
func TestLike(t *testing.T) {
	ctx := context.Background()
	docs := clustered(1, 2000, 48, 40, 0.6)
	first, err := Train(ctx, docs, &TrainOptions{Centroids: 32, Seed: 1, Queries: leaning(2, 500, 48)})
	require.NoError(t, err)
	second, err := Train(ctx, docs, &TrainOptions{Centroids: 32, Seed: 2, Like: first})
	require.NoError(t, err)
	require.Equal(t, first.Directions(), second.Directions())
	require.Equal(t, first.focus.strength, second.focus.strength)
	require.NotEqual(t, first.focus.dirs, second.focus.dirs)
	n := first.Directions()
	a, b := make([]float32, n*48), make([]float32, n*48)
	first.Unrotate(a, first.focus.dirs, n)
	second.Unrotate(b, second.focus.dirs, n)
	require.InDeltaSlice(t, a, b, 1e-5)

	third, err := Train(ctx, docs, &TrainOptions{Centroids: 32, Like: &Codebook{dim: 48}})
	require.NoError(t, err)
	require.Zero(t, third.Directions())
	_, err = Train(ctx, docs, &TrainOptions{Like: &Codebook{dim: 49}})
	require.ErrorIs(t, err, maxsim.ErrDim)
	half, err := Train(ctx, docs, &TrainOptions{NBits: 16, Like: first})
	require.NoError(t, err)
	require.Zero(t, half.Directions())
}
