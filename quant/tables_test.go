package quant

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// TestTables rotates by what Tables says, and weighs errors by its matrix.
func TestTables(t *testing.T) {
	r := rng{3}
	x := maxsim.New(200, 44)
	for i := range x.Data {
		x.Data[i] = float32(r.float() - .5)
	}
	x.Normalize()
	cb, err := Train(context.Background(), x, &TrainOptions{NBits: 2, Centroids: 8, Queries: x.Slice(0, 100)})
	require.NoError(t, err)
	tab := cb.Tables()
	want := make([]float32, 44)
	cb.Rotate(want, x.Row(0), 1)
	got, next := append([]float32(nil), x.Row(0)...), make([]float32, 44)
	for i, perm := range tab.Perms {
		for j, p := range perm {
			next[j] = got[p] * tab.Signs[i][p]
		}
		hadamard(next[:32])
		hadamard(next[32:40])
		hadamard(next[40:])
		got, next = next, got
	}
	require.Equal(t, want, got)
	if cb.Directions() > 0 {
		require.Len(t, tab.Moment, 44*44)
		require.Equal(t, 3, tab.Passes)
		for i, s := range tab.Steps {
			require.Equal(t, 1/tab.Moment[i*44+i], s)
		}
	}
	plain, err := NewCodebook(2, 16, []float32{1, 0}, nil, nil)
	require.NoError(t, err)
	require.Equal(t, Tables{}, plain.Tables())
}

// TestTrainElsewhere: clustering by another program gives a codebook as good as it is; nonsense from there is refused.
func TestTrainElsewhere(t *testing.T) {
	ctx := context.Background()
	r := rng{5}
	x := maxsim.New(6000, 12)
	for i := range x.Data {
		x.Data[i] = float32(r.float() - .5)
	}
	x.Normalize()
	for _, k := range []int{20, 1100} {
		want, err := Train(ctx, x, &TrainOptions{NBits: 2, Centroids: k})
		require.NoError(t, err)
		asked := 0
		got, err := Train(ctx, x, &TrainOptions{NBits: 2, Centroids: k, PointsPerCentroid: 4, Cluster: func(ctx context.Context, v maxsim.Matrix, k int, o *KMeansOptions) (maxsim.Matrix, error) {
			asked = v.Rows
			c, err := KMeans(ctx, v.Data, v.Rows, v.Dim, k, o)
			return maxsim.Matrix{Data: c, Rows: k, Dim: v.Dim}, err
		}})
		require.NoError(t, err)
		require.Equal(t, k*4, asked)
		require.Equal(t, k, got.K())
		require.Equal(t, want.Groups() == nil, got.Groups() == nil)
		require.Less(t, got.MeanResidual(), 1.1*want.MeanResidual())
	}
	for name, c := range map[string]struct {
		m    maxsim.Matrix
		want error
	}{
		"none":      {maxsim.Matrix{Dim: 12}, ErrOption},
		"dimension": {maxsim.New(3, 11), ErrOption},
		"many":      {maxsim.New(30, 12), ErrOption},
	} {
		_, err := Train(ctx, x, &TrainOptions{NBits: 2, Centroids: 20, Cluster: func(context.Context, maxsim.Matrix, int, *KMeansOptions) (maxsim.Matrix, error) {
			return c.m, nil
		}})
		require.ErrorIs(t, err, c.want, name)
	}
	_, err := Train(ctx, x, &TrainOptions{NBits: 2, Centroids: 20, Cluster: func(context.Context, maxsim.Matrix, int, *KMeansOptions) (maxsim.Matrix, error) {
		return maxsim.Matrix{}, context.Canceled
	}})
	require.ErrorIs(t, err, context.Canceled)
}
