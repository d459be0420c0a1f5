package quant

import (
	"context"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// tokenSample makes vectors of words: word w has a direction of its own, and occurs the less often the larger w is.
func tokenSample(seed uint64, n, words, dim int) (maxsim.Matrix, []uint32) {
	r := rng{seed}
	dirs := randomUnit(seed, words, dim)
	m, ids := maxsim.New(n, dim), make([]uint32, n)
	for i := range n {
		f := r.float()
		w := int(f * f * f * float64(words))
		ids[i] = uint32(1000 + 7*w)
		for t := range dim {
			m.Row(i)[t] = dirs.Row(w)[t] + float32(r.float()-.5)*.5
		}
	}
	m.Normalize()
	return m, ids
}

func TestTrainByToken(t *testing.T) {
	ctx := context.Background()
	m, ids := tokenSample(5, 30000, 800, 16)
	plain, err := Train(ctx, m, &TrainOptions{Centroids: minTokenClusters})
	require.NoError(t, err)
	cb, err := Train(ctx, m, &TrainOptions{Centroids: minTokenClusters, TokenIDs: ids})
	require.NoError(t, err)
	require.NotEqual(t, plain.ID(), cb.ID())
	require.Equal(t, minTokenClusters, cb.K())
	sum := uint32(0)
	for _, n := range cb.Groups() {
		require.NotZero(t, n)
		sum += n
	}
	require.EqualValues(t, cb.K(), sum)
	require.Less(t, cb.MeanResidual(), 1.15*plain.MeanResidual(), "it fits about as well")

	for _, workers := range []int{1, 3} {
		got, err := Train(ctx, m, &TrainOptions{Centroids: minTokenClusters, TokenIDs: ids, Workers: workers})
		require.NoError(t, err)
		require.Equal(t, cb.ID(), got.ID(), "the same whatever the number of goroutines")
	}
	own := m.Clone()
	got, err := Train(ctx, own, &TrainOptions{Centroids: minTokenClusters, TokenIDs: ids, Consume: true})
	require.NoError(t, err)
	require.Equal(t, cb.ID(), got.ID())

	// Few centroids are clustered without ids.
	a, err := Train(ctx, m.Slice(0, 2000), &TrainOptions{Centroids: 64, TokenIDs: ids[:2000]})
	require.NoError(t, err)
	b, err := Train(ctx, m.Slice(0, 2000), &TrainOptions{Centroids: 64})
	require.NoError(t, err)
	require.Equal(t, a.ID(), b.ID())

	_, err = Train(ctx, m, &TrainOptions{TokenIDs: ids[1:]})
	require.ErrorIs(t, err, ErrOption)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Train(done, m, &TrainOptions{Centroids: minTokenClusters, TokenIDs: ids})
	require.ErrorIs(t, err, context.Canceled)
}

// Ids that say nothing: all the same, all unknown, all different, and vectors of zeros.
func TestTrainByOddTokens(t *testing.T) {
	ctx := context.Background()
	m, _ := tokenSample(6, 9000, 50, 8)
	clear(m.Data[:800])
	for name, id := range map[string]func(i int) uint32{
		"one": func(int) uint32 { return 3 }, "unknown": func(int) uint32 { return NoToken }, "all differ": func(i int) uint32 { return uint32(i) },
		"pairs": func(i int) uint32 { return uint32(i / 2) }, "fives": func(i int) uint32 { return uint32(i / 5) },
	} {
		ids := make([]uint32, m.Rows)
		for i := range ids {
			ids[i] = id(i)
		}
		cb, err := Train(ctx, m, &TrainOptions{Centroids: minTokenClusters, TokenIDs: ids})
		require.NoError(t, err, name)
		require.Equal(t, minTokenClusters, cb.K())
	}
}

func TestTokenGroups(t *testing.T) {
	ids := []uint32{9, 4, 9, NoToken, 9, 2, 9, NoToken, NoToken, NoToken, 9}
	require.Equal(t, [][]int32{{1, 3, 5, 7, 8, 9}, {0, 2, 4, 6, 10}}, tokenGroups(ids, len(ids), 2))
	require.Equal(t, []int{3, 1}, shareBy([]int{6, 5}, []float64{6, 1}, 4))
	require.Equal(t, []int{0, 5}, shareBy([]int{0, 5}, []float64{0, 1}, 5))
}

// A reservoir keeps ids beside their vectors, whether all are given or some.
func TestReservoirTokens(t *testing.T) {
	const n, dim = 5000, 2
	r := NewReservoir(300, dim, 1)
	plain := NewReservoir(300, dim, 1)
	for i := 0; i < n; i += 10 {
		m, ids := maxsim.New(10, dim), make([]uint32, 10)
		for j := range 10 {
			m.Row(j)[0] = float32(i + j)
			ids[j] = uint32(i + j)
		}
		plain.Add(m)
		if i < 100 {
			r.Add(m)
		} else {
			r.AddTokens(m, ids)
		}
	}
	require.Nil(t, plain.TokenIDs())
	s := r.Sample()
	require.Equal(t, plain.Sample(), s, "ids do not change the sample")
	require.Len(t, r.TokenIDs(), 300)
	for i, id := range r.TokenIDs() {
		if want := uint32(s.Row(i)[0]); want < 100 {
			require.Equal(t, NoToken, id)
		} else {
			require.Equal(t, want, id)
		}
	}
	require.True(t, slices.Contains(r.TokenIDs(), uint32(s.Row(0)[0])) || s.Row(0)[0] < 100)
	require.Panics(t, func() { r.AddTokens(maxsim.New(2, dim), make([]uint32, 1)) })
}
