package tokenizer

import (
	"fmt"
	"math"
	"unicode/utf8"
)

// unigram is the Unigram language model (Kudo 2018): of all ways to spell a word it takes the one with the
// largest sum of log probabilities. Sums are float64, and a later candidate must be better, not equal, so that of
// two equal ways the one with the longer last piece wins; both as in the reference.
type unigram struct {
	vocab  *vocab
	dat    *dat
	scores []float64 // by id
	unk    int32     // -1: characters that no piece has are dropped
	// unkScore is that of one unknown character.
	unkScore float64
	// bytes are the tokens <0x00> to <0xFF> that spell unknown characters; nil for none.
	bytes *[256]int32
	// single keeps sums in float32 and never takes a run of unknown characters for a piece, as the
	// SentencePiece library does.
	single bool
}

// unkPenalty is how much less likely than the least likely piece an unknown character is.
const unkPenalty = 10

// newUnigram builds the model; scores has one element per id of the vocabulary.
func newUnigram(v *vocab, scores []float64, unk int32, byteFallback bool) (*unigram, error) {
	if len(scores) != len(v.tokens) || unk >= int32(len(scores)) {
		return nil, fmt.Errorf("%w: unigram model: %d scores, %d pieces, unknown token %d", ErrCorrupt, len(scores), len(v.tokens), unk)
	}
	d, err := newDAT(v)
	if err != nil {
		return nil, err
	}
	m := &unigram{vocab: v, dat: d, scores: scores, unk: unk, unkScore: math.Inf(1)}
	for _, s := range scores {
		m.unkScore = min(m.unkScore, s)
	}
	m.unkScore -= unkPenalty
	if byteFallback {
		m.bytes = v.byteTokens()
	}
	return m, nil
}

// byteTokens looks up <0x00> to <0xFF>; -1 stands for those that are missing.
func (v *vocab) byteTokens() *[256]int32 {
	var t [256]int32
	for b := range t {
		id, ok := v.id(fmt.Appendf(nil, "<0x%02X>", b))
		if t[b] = id; !ok {
			t[b] = -1
		}
	}
	return &t
}

// cell is the best way to spell a word up to some byte: the last piece on it.
type cell struct {
	score float64
	start int32 // where the last piece starts; -1 for nothing yet
	id    int32
}

// tokenize implements model.
func (m *unigram) tokenize(dst []piece, word []byte, s *scratch) []piece {
	n := len(word)
	if cap(s.cells) <= n {
		s.cells = make([]cell, n+1+n/4)
	}
	cells := s.cells[:n+1]
	for i := range cells {
		cells[i].start = -1
	}
	cells[0].score = 0
	units, scores := m.dat.units, m.scores
	root := uint32(units[0]) & datBase
	for at := 0; at < n; {
		till := cells[at].score
		size := 1
		if word[at] >= utf8.RuneSelf {
			_, size = utf8.DecodeRune(word[at:])
		}
		single := false
		base := root
		for i := at; i < n; i++ {
			c := uint32(word[i])
			u := units[base^c]
			if uint32(u>>31)&datLabel != c+1 {
				break
			}
			base = uint32(u) & datBase
			if id := u >> 40; id != 0 {
				score := scores[id-1] + till
				if m.single {
					score = float64(float32(score))
				}
				if t := &cells[i+1]; t.start < 0 || score > t.score {
					t.score, t.start, t.id = score, int32(at), int32(id-1)
				}
				if i+1-at == size {
					single = true
				}
			}
		}
		if !single {
			score := m.unkScore + till
			if m.single {
				score = float64(float32(score))
			}
			if t := &cells[at+size]; t.start < 0 || score > t.score {
				t.score, t.start, t.id = score, int32(at), m.unk
			}
		}
		at += size
	}

	// Back along the best way, then turn it round.
	first := len(dst)
	for end := int32(n); end > 0; {
		c := cells[end]
		start := c.start
		if c.id == m.unk {
			for start > 0 && cells[start].id == m.unk {
				start = cells[start].start
			}
			dst = m.unknown(dst, word[start:end], span{start, end})
		} else {
			dst = append(dst, piece{c.id, span{start, end}})
		}
		end = start
	}
	for i, j := first, len(dst)-1; i < j; i, j = i+1, j-1 {
		dst[i], dst[j] = dst[j], dst[i]
	}
	return dst
}

// unknown appends what stands for a run of unknown characters, last piece first.
func (m *unigram) unknown(dst []piece, run []byte, at span) []piece {
	if !m.single {
		if id, ok := m.vocab.id(run); ok {
			return append(dst, piece{id, at})
		}
	}
	if m.unk < 0 {
		return dst
	}
	if m.bytes != nil {
		all := true
		for _, b := range run {
			all = all && m.bytes[b] >= 0
		}
		if all {
			for i := len(run) - 1; i >= 0; i-- {
				dst = append(dst, piece{m.bytes[run[i]], at})
			}
			return dst
		}
	}
	return append(dst, piece{m.unk, at})
}
