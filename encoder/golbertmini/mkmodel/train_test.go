package main

import (
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

// randomCorpus has passages that hold their query's tokens, rotated into noise.
func randomCorpus(d, pairs int) *corpus {
	r := rand.New(rand.NewPCG(1, 5))
	c := &corpus{queries: vectors{d: d}, passages: vectors{d: d}, groups: make([][]int, 1)}
	for p := range pairs {
		q, t := maxsim.New(3, d), maxsim.New(7, d)
		for i := range q.Data {
			q.Data[i] = float32(r.NormFloat64())
		}
		for i := range t.Data {
			t.Data[i] = float32(r.NormFloat64())
		}
		for i := range q.Rows {
			// The first half of the dimensions is shared, the second is noise of greater size.
			copy(t.Row(i)[:d/2], q.Row(i)[:d/2])
			for j := d / 2; j < d; j++ {
				t.Row(i)[j] *= 2
			}
		}
		q.Normalize()
		t.Normalize()
		c.queries.add(encoder.Encoded{Vectors: q})
		c.passages.add(encoder.Encoded{Vectors: t})
		c.groups[0] = append(c.groups[0], p)
	}
	return c
}

// TestGradient compares the gradient with differences of the loss.
func TestGradient(t *testing.T) {
	const d, k = 12, 6
	c := randomCorpus(d, 5)
	r := rand.New(rand.NewPCG(3, 4))
	w := make([]float32, k*d)
	for i := range w {
		w[i] = float32(r.NormFloat64())
	}
	b := batch{c: c, w: w, k: k, d: d}
	pairs := []int{4, 0, 2, 1, 3}
	_, grad := b.gradient(pairs)
	const eps = 3e-3
	for i := range w {
		old := w[i]
		w[i] = old + eps
		up, _ := b.gradient(pairs)
		w[i] = old - eps
		down, _ := b.gradient(pairs)
		w[i] = old
		require.InDelta(t, (up-down)/(2*eps), grad[i], 5e-3, "weight %d", i)
	}
}

func TestTrainLearns(t *testing.T) {
	const d, k = 16, 8
	c := randomCorpus(d, 4*batchPairs)
	r := rand.New(rand.NewPCG(3, 4))
	w := make([]float32, k*d)
	for i := range w {
		w[i] = float32(r.NormFloat64() * .1)
	}
	b := batch{c: c, w: w, k: k, d: d}
	before, _ := b.gradient(c.groups[0][:batchPairs])
	c.train(w, k, 10)
	after, _ := b.gradient(c.groups[0][:batchPairs])
	// Scores of unit vectors are at most 3 here, which bounds how far the loss can fall.
	require.Less(t, after, before-.02)
}
