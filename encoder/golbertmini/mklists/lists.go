package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"

	"github.com/golbert/golbert/encoder/train"
)

const (
	deepest    = 200 // the last rank that passages are drawn from
	near       = 12  // ranks that are drawn from more often
	nearest    = 3   // ranks that are always taken
	worstLabel = 30  // queries whose labelled passage has a rank beyond this are left out
	labelBonus = 1.5 // what a label adds to the teacher's score
)

// lists draws a list of passages for each query.
func (c *command) lists(ctx context.Context, p *pool, e *ensemble) ([]train.Example, error) {
	if e.n < deepest+2 {
		return nil, fmt.Errorf("%d passages: want at least %d", e.n, deepest+2)
	}
	out := make([]*train.Example, len(p.queries))
	var done atomic.Int64
	err := onWorkers(ctx, len(p.queries), func() func(i int) error {
		scores, tmp, order := make([]float32, e.n), make([]float32, e.n), make([]int, e.n)
		return func(i int) error {
			if err := e.scores(scores, tmp, i, p.queries[i].text); err != nil {
				return err
			}
			out[i] = c.list(p, i, scores, order)
			if d := done.Add(1); d%2000 == 0 {
				fmt.Fprintf(c.log, "lists %d%%\n", 100*int(d)/len(p.queries))
			}
			return nil
		}
	})
	if err != nil {
		return nil, err
	}
	var examples []train.Example
	for _, x := range out {
		if x != nil {
			examples = append(examples, *x)
		}
	}
	fmt.Fprintf(c.log, "%d lists; of %d queries teacher and label disagree\n", len(examples), len(out)-len(examples))
	return examples, nil
}

// list draws the list of query i, nil where teacher and label disagree.
func (c *command) list(p *pool, i int, scores []float32, order []int) *train.Example {
	q := &p.queries[i]
	rng := rand.New(rand.NewPCG(c.seed, uint64(i)+1))
	for j := range order {
		order[j] = j
	}
	slices.SortFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return a - b
	})
	ranked := slices.DeleteFunc(slices.Clone(order[:deepest+2]), func(d int) bool { return d == q.banned })
	first := ranked[0]
	if q.label >= 0 {
		if slices.Index(order[:worstLabel+1], q.label) < 0 {
			return nil
		}
		first = q.label
		scores[first] += labelBonus
	}
	ranked = slices.DeleteFunc(ranked, func(d int) bool { return d == first })[:deepest]
	x := &train.Example{Query: q.text, Positive: p.passages[first], Scores: []float32{scores[first]}, Group: q.group}
	for _, r := range ranks(rng, c.length-1) {
		x.Negatives = append(x.Negatives, p.passages[ranked[r]])
		x.Scores = append(x.Scores, scores[ranked[r]])
	}
	return x
}

// ranks draws n different ranks below deepest, ascending: the nearest, some of the near ones, the rest with a density that falls
// as one over the rank.
func ranks(rng *rand.Rand, n int) []int {
	n = min(n, deepest)
	taken := make([]bool, deepest)
	var out []int
	take := func(r int) {
		if !taken[r] {
			taken[r] = true
			out = append(out, r)
		}
	}
	for r := range min(nearest, n) {
		take(r)
	}
	for len(out) < min(n/2, near) {
		take(rng.IntN(near))
	}
	for tries := 0; len(out) < n; tries++ {
		r := int(near * math.Pow(float64(deepest)/near, rng.Float64()))
		if tries > 50*n { // nearly all are taken
			r = rng.IntN(deepest)
		}
		take(min(r, deepest-1))
	}
	slices.Sort(out)
	return out
}
