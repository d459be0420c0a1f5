package quant

import (
	"math"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/stretchr/testify/require"
)

// numbered returns rows first..first+n-1, each holding its own number.
func numbered(first, n int) maxsim.Matrix {
	m := maxsim.New(n, 2)
	for i := range n {
		m.Row(i)[0], m.Row(i)[1] = float32(first+i), float32(first+i)
	}
	return m
}

func TestReservoirKeepsAllThatFits(t *testing.T) {
	r := NewReservoir(10, 2, 1)
	require.Zero(t, r.Sample().Rows)
	r.Add(maxsim.Matrix{})
	r.Add(numbered(0, 4))
	r.Add(numbered(4, 6))
	require.Equal(t, numbered(0, 10).Data, r.Sample().Data)
	require.NoError(t, r.Sample().Validate())
	require.EqualValues(t, 10, r.Seen())
	r.Add(numbered(10, 1000))
	require.Equal(t, 10, r.Sample().Rows)
	require.EqualValues(t, 1010, r.Seen())
}

// TestReservoirIgnoresBatching: the sample depends on the stream, not on how it is cut.
func TestReservoirIgnoresBatching(t *testing.T) {
	whole := NewReservoir(50, 2, 3)
	whole.Add(numbered(0, 20000))
	for _, step := range []int{1, 7, 50, 333} {
		r := NewReservoir(50, 2, 3)
		for i := 0; i < 20000; i += step {
			r.Add(numbered(i, min(step, 20000-i)))
		}
		require.Equal(t, whole.Sample().Data, r.Sample().Data, "step %d", step)
		require.EqualValues(t, 20000, r.Seen())
	}
	other := NewReservoir(50, 2, 4)
	other.Add(numbered(0, 20000))
	require.NotEqual(t, whole.Sample().Data, other.Sample().Data)
}

// TestReservoirIsUniform counts, over many seeds, how often each tenth of the stream is kept.
func TestReservoirIsUniform(t *testing.T) {
	const n, size, runs = 500, 20, 2000
	var tenth [10]float64
	stream := numbered(0, n)
	for seed := range runs {
		r := NewReservoir(size, 2, uint64(seed))
		r.Add(stream)
		seen := map[float32]bool{}
		for i := range size {
			v := r.Sample().Row(i)[0]
			require.False(t, seen[v], "kept twice")
			seen[v] = true
			tenth[int(v)/(n/10)]++
		}
	}
	want := float64(runs*size) / 10
	for i, got := range tenth {
		require.Less(t, math.Abs(got-want), 5*math.Sqrt(want), "tenth %d: %v, want about %v", i, got, want)
	}
}

func TestReservoirPanics(t *testing.T) {
	require.Panics(t, func() { NewReservoir(0, 8, 1) })
	require.Panics(t, func() { NewReservoir(5, 3, 1).Add(numbered(0, 1)) })
}

func BenchmarkReservoirAdd(b *testing.B) {
	m := randomUnit(1, 300, 128)
	r := NewReservoir(10000, 128, 1)
	b.SetBytes(int64(4 * len(m.Data)))
	for b.Loop() {
		r.Add(m)
	}
}
