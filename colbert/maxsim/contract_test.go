package maxsim

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAlignByHand(t *testing.T) {
	q, err := FromRows([][]float32{{1, 0}, {0, -1}})
	require.NoError(t, err)
	d, err := FromRows([][]float32{{0, 1}, {0.5, 0.5}, {0.5, 0.5}})
	require.NoError(t, err)
	a, err := Align(q, d)
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0.5, 0.5, -1, -0.5, -0.5}, a.Sim)
	require.Equal(t, []int{1, 1}, a.Best, "the first of equals")
	require.Equal(t, []float32{0.5, -0.5}, a.Max)
	require.Zero(t, a.Score)
}

func TestZeroRowsScoreZero(t *testing.T) {
	q, d := New(3, 8), New(2, 8)
	q.Normalize()
	s, err := Score(q, d)
	require.NoError(t, err)
	require.Zero(t, s)
}

// MaxSim does not depend on the order of rows, adds up over query tokens, and never falls when the document grows.
func TestProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 50 {
		dim := 1 + r.IntN(40)
		q, d := random(r, 1+r.IntN(20), dim), random(r, 2+r.IntN(40), dim)
		s, err := Score(q, d)
		require.NoError(t, err)

		perm, shuffled := r.Perm(d.Rows), New(d.Rows, dim)
		for i, p := range perm {
			copy(shuffled.Row(i), d.Row(p))
		}
		got, err := Score(q, shuffled)
		require.NoError(t, err)
		require.InDelta(t, s, got, 1e-4)

		part, err := Score(q, d.Slice(0, d.Rows-1))
		require.NoError(t, err)
		require.LessOrEqual(t, part, s+1e-4)

		var sum float32
		for i := range q.Rows {
			one, err := Score(q.Slice(i, i+1), d)
			require.NoError(t, err)
			sum += one
		}
		require.InDelta(t, s, sum, 1e-3)
	}
}

func TestValidateShapes(t *testing.T) {
	for _, m := range []Matrix{
		{Rows: 1}, {Dim: -1}, {Rows: -1}, {Rows: 2, Dim: 2, Data: make([]float32, 3)},
		{Rows: math.MaxInt, Dim: 2, Data: make([]float32, 4)}, {Rows: math.MaxInt/2 + 1, Dim: 2}, {Data: make([]float32, 1)},
	} {
		require.ErrorIs(t, m.Validate(), ErrDim, "%+v", m)
	}
	for _, m := range []Matrix{{}, {Dim: 3}, New(0, 5), New(2, 2)} {
		require.NoError(t, m.Validate(), "%+v", m)
	}
	scores, err := Scores(New(1, 2), nil)
	require.NoError(t, err)
	require.Empty(t, scores)
}
