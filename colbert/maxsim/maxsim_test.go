package maxsim

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(r *rand.Rand, rows, dim int) Matrix {
	m := New(rows, dim)
	for i := range m.Data {
		m.Data[i] = float32(r.NormFloat64())
	}
	m.Normalize()
	return m
}

// naive is the definition in float64.
func naive(q, d Matrix) float64 {
	var sum float64
	for i := range q.Rows {
		best := math.Inf(-1)
		for j := range d.Rows {
			var s float64
			for k := range q.Dim {
				s += float64(q.Row(i)[k]) * float64(d.Row(j)[k])
			}
			best = max(best, s)
		}
		sum += best
	}
	return sum
}

func TestScoreMatchesDefinition(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ q, d, dim int }{{1, 1, 1}, {1, 7, 8}, {32, 300, 128}, {5, 2, 96}, {48, 61, 48}, {33, 13, 384}, {130, 9, 20}} {
		q, d := random(r, s.q, s.dim), random(r, s.d, s.dim)
		got, err := Score(q, d)
		require.NoError(t, err)
		require.InDelta(t, naive(q, d), got, 1e-4, "%v", s)
		a, err := Align(q, d)
		require.NoError(t, err)
		require.InDelta(t, got, a.Score, 1e-4)
		all, err := Scores(q, []Matrix{d, q})
		require.NoError(t, err)
		require.InDelta(t, got, all[0], 1e-5)
		require.InDelta(t, s.q, all[1], 1e-3, "a text of unit rows scores its own length")
	}
}

func TestScoreKeepsNegativeMaxima(t *testing.T) {
	q := Matrix{Data: []float32{1, 0}, Rows: 1, Dim: 2}
	d := Matrix{Data: []float32{-1, 0}, Rows: 1, Dim: 2}
	s, err := Score(q, d)
	require.NoError(t, err)
	require.Equal(t, float32(-1), s)
}

func TestErrorsNameTheOffender(t *testing.T) {
	ok := Matrix{Data: []float32{1, 0}, Rows: 1, Dim: 2}
	nan := Matrix{Data: []float32{1, 0, 0, float32(math.NaN())}, Rows: 2, Dim: 2}
	_, err := Score(ok, nan)
	require.ErrorIs(t, err, ErrNotFinite)
	require.ErrorContains(t, err, "token 1, dimension 1")
	_, err = Score(nan, ok)
	require.ErrorContains(t, err, "query")
	_, err = Score(ok, Matrix{Data: make([]float32, 3), Rows: 1, Dim: 3})
	require.ErrorIs(t, err, ErrDim)
	_, err = Score(ok, Matrix{Data: make([]float32, 3), Rows: 2, Dim: 2})
	require.ErrorIs(t, err, ErrDim)
	_, err = Score(Matrix{}, ok)
	require.ErrorIs(t, err, ErrEmpty)
	_, err = Scores(ok, []Matrix{ok, {}})
	require.ErrorIs(t, err, ErrEmpty)
	require.ErrorContains(t, err, "document 1")
	_, err = FromRows([][]float32{{1}, {1, 2}})
	require.ErrorIs(t, err, ErrDim)
	inf := Matrix{Data: []float32{float32(math.Inf(1))}, Rows: 1, Dim: 1}
	require.ErrorIs(t, inf.Validate(), ErrNotFinite)
}

func TestNormalizeKeepsZeroRows(t *testing.T) {
	m := Matrix{Data: []float32{0, 0, 3, 4}, Rows: 2, Dim: 2}
	m.Normalize()
	require.Equal(t, []float32{0, 0}, m.Row(0))
	require.InDeltaSlice(t, []float32{0.6, 0.8}, m.Row(1), 1e-6)
}

func ExampleScore() {
	q, _ := FromRows([][]float32{{1, 0}, {0, 1}})
	d, _ := FromRows([][]float32{{0.6, 0.8}, {1, 0}})
	s, err := Score(q, d)
	fmt.Printf("%.2f %v\n", s, err)
	// Output: 1.80 <nil>
}
