package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestComponents fits vectors whose principal axes are known.
func TestComponents(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	m := newMoments(4)
	spread := []float64{1, 4, .5, 2}
	for range 20_000 {
		x := make([]float32, 4)
		for i := range x {
			x[i] = float32(spread[i] * r.NormFloat64())
		}
		m.add(x, 1)
	}
	for _, power := range []float64{0, .5, 1} {
		w, kept, err := m.components(2, power)
		require.NoError(t, err)
		require.InDelta(t, 20/21.25, kept, .01)
		// The axes by size: the second (16) and the fourth (4), scaled by (4/16)^(-power/2).
		second := math.Pow(4./16, -power/2)
		for i, want := range []float64{0, 1, 0, 0, 0, 0, 0, second} {
			require.InDelta(t, want, w[i], .05, "power %v, value %d", power, i)
		}
	}
	_, _, err := m.components(5, 0)
	require.Error(t, err)
}

func TestInt8s(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	v := make([]float32, 3*200)
	for i := range v[:400] { // the third row is zero
		v[i] = float32(r.NormFloat64())
	}
	ts := int8s("w", v, 3, 200)
	require.Equal(t, "w_scale", ts[1].Name)
	scale := ts[1].Float32s(nil)
	require.Zero(t, scale[2])
	for i, b := range ts[0].Data {
		require.InDelta(t, v[i], float32(int8(b))*scale[i/200], .25)
	}
}
