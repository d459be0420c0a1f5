package transformer

import "math"

// DeleteGate decides which tokens an encoder goes on without: MrT5's gate (Kallini et al., "MrT5: Dynamic Token Merging
// for Efficient Byte-level Language Models", ICLR 2025, section 3.1). A token's value lies between 0, keep, and
// Scale, a negative number, delete:
//
//	value = Scale * sigmoid(-(Weight . norm(h) + Bias))
//
// The original adds the values to the attention scores of the tokens in training (soft deletion) and takes the tokens
// with values up to Threshold out of the sequence at inference (hard deletion), which is what an Encoder does. The
// same formula, learned on another encoder's hidden states, prunes the vectors of documents.
type DeleteGate struct {
	// Norm holds the weights of a root-mean-square norm, one per hidden value, or is nil for none.
	Norm []float32
	Eps  float32 // of the norm
	// Weight and Bias are the linear layer.
	Weight []float32
	Bias   float32
	// Scale is the value of a token that is deleted for certain.
	Scale float32
	// Threshold parts the tokens: those with larger values stay.
	Threshold float32
}

// Values writes the gate's value of every row of hidden, rows of len(Weight) values, to dst. It panics when hidden is
// shorter than len(dst) rows.
func (g *DeleteGate) Values(dst, hidden []float32) {
	h := len(g.Weight)
	for i := range dst {
		row := hidden[i*h : (i+1)*h]
		inv := 1.0
		if g.Norm != nil {
			sq := 0.0
			for _, v := range row {
				sq += float64(v) * float64(v)
			}
			inv = 1 / math.Sqrt(sq/float64(h)+float64(g.Eps))
		}
		sum := 0.0
		for j, v := range row {
			if g.Norm != nil {
				v *= g.Norm[j]
			}
			sum += float64(v) * float64(g.Weight[j])
		}
		dst[i] = g.Scale * float32(1/(1+math.Exp(sum*inv+float64(g.Bias))))
	}
}

// Gated is an Encoder that deletes tokens on the way; see Batch.Kept.
type Gated interface {
	Encoder
	// DeleteGate returns the gate, which must not be changed, and the number of layers before it. It returns nil
	// when the model has none.
	DeleteGate() (*DeleteGate, int)
}

// DeleteGate returns the model's gate and the number of layers before it.
func (m *prenorm) DeleteGate() (*DeleteGate, int) { return m.gate, m.gateLayer }

// delete takes the tokens that the gate does not keep out of x and of the batch b, whose new slices are the
// scratch's, and adds the numbers of those that stay to kept. Padding tokens go. Of every sequence at least the
// attended token with the largest value stays: a text always has a vector. (The original fails where nothing is
// left.)
func (s *scratch) delete(g *DeleteGate, pad int32, x []float32, b *Batch, kept []int32) []int32 {
	h := len(g.Weight)
	s.gates = grow(s.gates, len(b.IDs))
	g.Values(s.gates, x)
	s.ids, s.lens, s.attend, s.positions = s.ids[:0], s.lens[:0], s.attend[:0], s.positions[:0]
	attended := func(i int) bool { return b.Attend == nil || b.Attend[i] }
	at := 0
	for _, n := range b.Lens {
		best, seen := -1, false
		for i := at; i < at+n; i++ {
			if b.IDs[i] == pad {
				s.gates[i] = g.Scale
			}
			if !attended(i) {
				continue
			}
			seen = seen || s.gates[i] > g.Threshold
			if best < 0 || s.gates[i] > s.gates[best] {
				best = i
			}
		}
		before := len(s.ids)
		for i := at; i < at+n; i++ {
			if !(s.gates[i] > g.Threshold || !seen && i == best) {
				continue
			}
			copy(x[len(s.ids)*h:(len(s.ids)+1)*h], x[i*h:(i+1)*h])
			s.ids = append(s.ids, b.IDs[i])
			s.attend = append(s.attend, attended(i))
			s.positions = append(s.positions, int32(i-at))
			kept = append(kept, int32(i))
		}
		s.lens = append(s.lens, len(s.ids)-before)
		at += n
	}
	b.IDs, b.Lens = s.ids, s.lens
	if b.Attend != nil {
		b.Attend = s.attend
	}
	// The biases stay those of the original distances.
	for i := range s.relative {
		s.relative[i].all = s.positions
	}
	return kept
}
