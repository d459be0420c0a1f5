package plaid

import (
	"math"
	"slices"
)

// entry is a scored document. Its id is read only when a tie has to be broken or when it is a hit.
type entry struct {
	score     float32
	unit, ord uint32
	id        string
	named     bool
	approx    bool
}

// topk keeps the k best entries under the total order score descending, id ascending: a binary heap with
// the worst on top. It grows as entries come, so a huge k costs nothing.
type topk struct {
	k     int
	units []unit
	h     []entry
	err   error // first error of reading an id
}

func (t *topk) reset(units []unit, k int) {
	clear(t.h) // lets go of the ids
	t.h, t.units, t.k, t.err = t.h[:0], units, k, nil
}

// push offers an entry. NaN, which only a faulty device gives, counts as the lowest score.
func (t *topk) push(e entry) {
	if e.score != e.score {
		e.score = float32(math.Inf(-1))
	}
	if len(t.h) < t.k {
		t.h = append(t.h, e)
		for i := len(t.h) - 1; i > 0; {
			p := (i - 1) / 2
			if !t.worse(&t.h[i], &t.h[p]) {
				break
			}
			t.h[i], t.h[p] = t.h[p], t.h[i]
			i = p
		}
		return
	}
	if e.score < t.h[0].score || !t.worse(&t.h[0], &e) {
		return
	}
	t.h[0] = e
	for i := 0; ; {
		c := 2*i + 1
		if c >= len(t.h) {
			break
		}
		if c+1 < len(t.h) && t.worse(&t.h[c+1], &t.h[c]) {
			c++
		}
		if !t.worse(&t.h[c], &t.h[i]) {
			break
		}
		t.h[i], t.h[c] = t.h[c], t.h[i]
		i = c
	}
}

// worse reports whether a comes after b in the results.
func (t *topk) worse(a, b *entry) bool {
	if a.score != b.score {
		return a.score < b.score
	}
	t.name(a)
	t.name(b)
	return a.id > b.id
}

func (t *topk) name(e *entry) {
	if e.named {
		return
	}
	id, err := t.units[e.unit].seg.ID(e.ord)
	if err != nil && t.err == nil {
		t.err = err
	}
	e.id, e.named = id, true
}

// merge offers everything that o holds.
func (t *topk) merge(o *topk) {
	for _, e := range o.h {
		t.push(e)
	}
	if t.err == nil {
		t.err = o.err
	}
}

// sort brings the entries into the order of results; there can be no push after it.
func (t *topk) sort() {
	slices.SortFunc(t.h, func(a, b entry) int {
		if t.worse(&b, &a) {
			return -1
		}
		if t.worse(&a, &b) {
			return 1
		}
		return 0
	})
}

// hits makes results of the entries, best first.
func (t *topk) hits() ([]Hit, error) {
	for i := range t.h {
		t.name(&t.h[i])
	}
	t.sort()
	if t.err != nil {
		return nil, t.err
	}
	out := make([]Hit, 0, len(t.h))
	for _, e := range t.h {
		out = append(out, Hit{ID: e.id, Score: e.score, Approx: e.approx, Segment: t.units[e.unit].pub, Ord: e.ord})
	}
	return out, nil
}
