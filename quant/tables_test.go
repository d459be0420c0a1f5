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
