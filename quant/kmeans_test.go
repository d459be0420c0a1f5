package quant

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/stretchr/testify/require"
)

func TestKMeansFindsClusters(t *testing.T) {
	m := clustered(1, 2000, 32, 20, 0.1)
	cent, err := KMeans(context.Background(), m.Data, m.Rows, m.Dim, 40, &KMeansOptions{Iterations: 8})
	require.NoError(t, err)
	require.Len(t, cent, 40*32)
	for c := range 40 {
		require.InDelta(t, 1, dot(cent[c*32:(c+1)*32], cent[c*32:(c+1)*32]), 1e-5)
	}
	worst := 1.0
	for i := range m.Rows {
		best := -1.0
		for c := range 40 {
			best = max(best, dot(m.Row(i), cent[c*32:(c+1)*32]))
		}
		worst = min(worst, best)
	}
	require.Greater(t, worst, 0.9, "every vector has a centroid near it")
}

// TestKMeansIsDeterministic: the same bytes for any GOMAXPROCS and number of workers, other bytes for
// another seed.
func TestKMeansIsDeterministic(t *testing.T) {
	m := clustered(2, 3000, 48, 50, 0.5)
	run := func(procs, workers int, seed uint64) []float32 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		c, err := KMeans(context.Background(), m.Data, m.Rows, m.Dim, 100, &KMeansOptions{Seed: seed, Workers: workers, PointsPerCentroid: 20})
		require.NoError(t, err)
		return c
	}
	want := run(1, 1, 7)
	for _, procs := range []int{1, 2, 8} {
		for _, workers := range []int{0, 1, 3, 16} {
			require.Equal(t, want, run(procs, workers, 7), "GOMAXPROCS %d, %d workers", procs, workers)
		}
	}
	require.NotEqual(t, want, run(2, 0, 8))
}

func TestKMeansCorners(t *testing.T) {
	ctx := context.Background()
	one := randomUnit(3, 1, 8)
	zeros := maxsim.New(10, 8)
	same := maxsim.New(10, 8)
	for i := range 10 {
		same.Row(i)[2] = 1
	}
	mixed := maxsim.New(12, 8)
	copy(mixed.Data, randomUnit(4, 6, 8).Data)
	for _, c := range []struct {
		name    string
		m       maxsim.Matrix
		k, want int
	}{
		{"one vector, one cluster", one, 1, 1},
		{"more clusters than vectors", one, 100, 1},
		{"one cluster", randomUnit(5, 100, 8), 1, 1},
		{"a cluster for every vector", randomUnit(6, 50, 8), 50, 50},
		{"zero rows alone", zeros, 4, 4},
		{"zero rows among others", mixed, 12, 12},
		{"equal rows", same, 4, 4},
		{"dimension 1", randomUnit(7, 20, 1), 2, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			cent, err := KMeans(ctx, c.m.Data, c.m.Rows, c.m.Dim, c.k, nil)
			require.NoError(t, err)
			require.Len(t, cent, c.want*c.m.Dim)
			for _, v := range cent {
				require.False(t, math.IsNaN(float64(v)))
			}
		})
	}
	all := randomUnit(6, 50, 8)
	cent, err := KMeans(ctx, all.Data, 50, 8, 50, nil)
	require.NoError(t, err)
	require.InDeltaSlice(t, all.Data, cent, 1e-6, "as many clusters as vectors: the vectors themselves")
}

func TestKMeansReseedsEmptyClusters(t *testing.T) {
	// All first centroids are likely to come from the crowd of equal vectors; the few others must still
	// get centroids of their own.
	m := maxsim.New(1000, 16)
	for i := range m.Rows {
		m.Row(i)[0] = 1
	}
	copy(m.Data[500*16:], randomUnit(9, 6, 16).Data)
	cent, err := KMeans(context.Background(), m.Data, m.Rows, m.Dim, 8, &KMeansOptions{Iterations: 12, PointsPerCentroid: -1})
	require.NoError(t, err)
	for i := 500; i < 506; i++ {
		best := -1.0
		for c := range 8 {
			best = max(best, dot(m.Row(i), cent[c*16:(c+1)*16]))
		}
		require.Greater(t, best, 0.999, "vector %d", i)
	}
}

func TestKMeansErrors(t *testing.T) {
	ctx := context.Background()
	m := randomUnit(1, 10, 8)
	_, err := KMeans(ctx, m.Data, 10, 8, 0, nil)
	require.ErrorIs(t, err, ErrOption)
	_, err = KMeans(ctx, m.Data, 9, 8, 1, nil)
	require.ErrorIs(t, err, maxsim.ErrDim)
	_, err = KMeans(ctx, nil, 0, 8, 1, nil)
	require.ErrorIs(t, err, ErrEmpty)
	bad := m.Clone()
	bad.Data[13] = float32(math.NaN())
	_, err = KMeans(ctx, bad.Data, 10, 8, 1, nil)
	require.ErrorIs(t, err, maxsim.ErrNotFinite)
	require.ErrorContains(t, err, "token 1, dimension 5")
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	_, err = KMeans(ctx, m.Data, 10, 8, 2, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestKMeansProgressAndCancel(t *testing.T) {
	m := randomUnit(1, 500, 8)
	ctx, cancel := context.WithCancel(context.Background())
	var seen []string
	_, err := KMeans(ctx, m.Data, m.Rows, m.Dim, 10, &KMeansOptions{Iterations: 5, Progress: func(done, total int) {
		seen = append(seen, fmt.Sprintf("%d/%d", done, total))
		if done == 3 {
			cancel()
		}
	}})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, []string{"1/5", "2/5", "3/5"}, seen)
}

func BenchmarkKMeans(b *testing.B) {
	for _, k := range []int{256, 1024} {
		b.Run(fmt.Sprintf("n=%d/k=%d/dim=128", 16*k, k), func(b *testing.B) {
			m := clustered(1, 16*k, 128, k, 0.6)
			for b.Loop() {
				_, err := KMeans(context.Background(), m.Data, m.Rows, m.Dim, k, &KMeansOptions{Iterations: 1, Workers: 1})
				require.NoError(b, err)
			}
			b.ReportMetric(float64(b.N*m.Rows)/b.Elapsed().Seconds(), "vectors/s")
		})
	}
}
