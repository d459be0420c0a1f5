package train

import (
	"cmp"
	"fmt"
	"slices"
)

// batch is sequences as the network takes them: texts of one language side by side.
type batch struct {
	ragged
	ids, positions []int32
	languages      []language
	keep           []int32 // rows of kept tokens, in the order in which the texts were given
}

// language is the rows of one language.
type language struct {
	from, to int
	part     int
}

// newBatch lays out sequences, which check has seen.
func (n *network) newBatch(parts ...*Sequences) (*batch, error) {
	type text struct {
		s    *Sequences
		i    int
		part int
		row  int
	}
	var texts []text
	for _, s := range parts {
		for i := range s.Len() {
			t := text{s: s, i: i, part: -1}
			if n.adapters != nil {
				t.part = s.Parts[i]
			}
			texts = append(texts, t)
		}
	}
	order := make([]int, len(texts))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(texts[a].part, texts[b].part) })
	b := &batch{ragged: ragged{offsets: []int{0}}}
	for _, o := range order {
		t := &texts[o]
		t.row = len(b.ids)
		ids := t.s.IDs[t.s.Offsets[t.i]:t.s.Offsets[t.i+1]]
		// RoBERTa's first token has the position after the padding token's number; padding has that number itself and
		// is not counted. BERT has no such rule: -1 + 1 is 0.
		next := int32(n.padding + 1)
		for _, id := range ids {
			p := next
			if int(id) == n.padding {
				p = int32(n.padding)
			} else {
				next++
			}
			b.positions = append(b.positions, p)
		}
		b.ids = append(b.ids, ids...)
		b.offsets, b.attended = append(b.offsets, len(b.ids)), append(b.attended, t.s.Attended[t.i])
		if t.part < 0 {
			continue
		}
		if k := len(b.languages); k > 0 && b.languages[k-1].part == t.part {
			b.languages[k-1].to = len(b.ids)
		} else {
			b.languages = append(b.languages, language{t.row, len(b.ids), t.part})
		}
	}
	for _, t := range texts {
		for j := t.s.Offsets[t.i]; j < t.s.Offsets[t.i+1]; j++ {
			if t.s.Keep[j] {
				b.keep = append(b.keep, int32(t.row+j-t.s.Offsets[t.i]))
			}
		}
	}
	for _, r := range b.languages {
		if err := n.adapters.load(r.part); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// check refuses what the network cannot take.
func (n *network) check(s *Sequences) error {
	if s == nil || len(s.Offsets) < 2 {
		return fmt.Errorf("%w: no texts", ErrBatch)
	}
	k := s.Len()
	if s.Offsets[0] != 0 || s.Offsets[k] != len(s.IDs) || len(s.Keep) != len(s.IDs) || len(s.Attended) != k || n.languages > 0 && len(s.Parts) != k {
		return fmt.Errorf("%w: %d texts with %d tokens, offsets from %d to %d, %d flags, %d attended lengths, %d languages", ErrBatch,
			k, len(s.IDs), s.Offsets[0], s.Offsets[k], len(s.Keep), len(s.Attended), len(s.Parts))
	}
	for i := range k {
		a, b := s.Offsets[i], s.Offsets[i+1]
		switch {
		case b <= a || b > len(s.IDs):
			return fmt.Errorf("%w: text %d has the tokens %d to %d of %d", ErrBatch, i, a, b, len(s.IDs))
		case b-a > n.most:
			return fmt.Errorf("%w: text %d has %d tokens, the model takes %d", ErrBatch, i, b-a, n.most)
		case s.Attended[i] < 1 || s.Attended[i] > b-a:
			return fmt.Errorf("%w: text %d has %d tokens of which %d are attended to", ErrBatch, i, b-a, s.Attended[i])
		case !slices.Contains(s.Keep[a:b], true):
			return fmt.Errorf("%w: text %d has no token whose vector is kept", ErrBatch, i)
		}
		if n.languages > 0 && (s.Parts[i] < 0 || s.Parts[i] >= n.languages) {
			return fmt.Errorf("%w: text %d has language number %d, the model has %d", ErrBatch, i, s.Parts[i], n.languages)
		}
		for j := a; j < b; j++ {
			if s.IDs[j] < 0 || int(s.IDs[j]) >= n.vocab {
				return fmt.Errorf("%w: text %d has token %d, the vocabulary has %d", ErrBatch, i, s.IDs[j], n.vocab)
			}
		}
	}
	return nil
}

// spans gives the rows of each language with its adapters of a layer.
func (b *batch) spans(a *adapters, layer int) (down, up []span) {
	for _, r := range b.languages {
		d := a.of(r.part)[layer]
		down, up = append(down, span{r.from, r.to, d.down}), append(up, span{r.from, r.to, d.up})
	}
	return down, up
}
