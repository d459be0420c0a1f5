package main

import (
	"math"
	"math/rand/v2"
	"sort"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// synthetic is a collection of clustered token vectors of any size that needs no file: a document is made from its
// number when it is read. Each document draws 3 topics; each token is the direction of .75 word + .35 topic + .45
// noise, words from a Zipf distribution (exponent 1.07) over unit vectors, lengths uniform from half the mean to one
// and a half times it. Queries have 12 tokens of one document (its number is the judgement), with other noise, and 20
// that are mostly noise, as expansion tokens are.
type synthetic struct {
	seed            uint64
	docs, mean, dim int
	nWords, nTopics int
	words, topics   []float32
	cdf             []float64 // of the words, not normalised
	noise           float64   // standard deviation per dimension
	queries         []maxsim.Matrix
	rels            []map[int]bool
}

func newSynthetic(docs, mean, dim, queries int, seed uint64) *synthetic {
	s := &synthetic{seed: seed, docs: docs, mean: mean, dim: dim, nWords: 30000, nTopics: 4000, noise: .45 / math.Sqrt(float64(dim))}
	r := rand.New(rand.NewPCG(seed, 0))
	s.words, s.topics = units(r, s.nWords, dim), units(r, s.nTopics, dim)
	var sum float64
	for i := range s.nWords {
		sum += math.Pow(float64(i+1), -1.07)
		s.cdf = append(s.cdf, sum)
	}
	for _, d := range spread(docs, queries) {
		q := maxsim.New(32, dim)
		base := s.fill(rand.New(rand.NewPCG(seed, uint64(d)+1)), nil)
		r := rand.New(rand.NewPCG(seed+1, uint64(d)+1))
		for i := range q.Rows {
			keep, noise := float32(1), .6/math.Sqrt(float64(dim))
			j := r.IntN(len(base) / dim)
			if i >= 12 {
				keep, noise = .6, .8/math.Sqrt(float64(dim))
				copy(q.Row(i), q.Row(j%12))
			} else {
				copy(q.Row(i), base[j*dim:(j+1)*dim])
			}
			row := q.Row(i)
			for t := range row {
				row[t] = keep*row[t] + float32(r.NormFloat64()*noise)
			}
		}
		q.Normalize()
		s.queries = append(s.queries, q)
		s.rels = append(s.rels, map[int]bool{d: true})
	}
	return s
}

func units(r *rand.Rand, n, dim int) []float32 {
	v := make([]float32, n*dim)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	for i := range n {
		kernel.Normalize(v[i*dim : (i+1)*dim])
	}
	return v
}

// rows is the length of a document; it is the first number that its generator gives.
func (s *synthetic) rows(r *rand.Rand) int { return s.mean/2 + r.IntN(s.mean+1) }

// fill makes the token vectors of a document without noise, in buf's memory if it is large enough.
func (s *synthetic) fill(r *rand.Rand, buf []float32) []float32 {
	n, d := max(s.rows(r), 1), s.dim
	if cap(buf) < n*d {
		buf = make([]float32, n*d)
	}
	buf = buf[:n*d]
	topics := [3]int{r.IntN(s.nTopics), r.IntN(s.nTopics), r.IntN(s.nTopics)}
	for i := range n {
		w := sort.SearchFloat64s(s.cdf, r.Float64()*s.cdf[s.nWords-1])
		t := topics[r.IntN(3)]
		word, topic, row := s.words[w*d:(w+1)*d], s.topics[t*d:(t+1)*d], buf[i*d:(i+1)*d]
		for j := range row {
			row[j] = .75*word[j] + .35*topic[j]
		}
	}
	return buf
}

func (s *synthetic) doc(i int, buf []float32) (maxsim.Matrix, error) {
	r := rand.New(rand.NewPCG(s.seed, uint64(i)+1))
	v := s.fill(r, buf)
	// Noise that is as good as normal and cheap enough for 100 million vectors: the sum of four bytes.
	scale := float32(s.noise / math.Sqrt(4*(256*256-1)/12))
	for j := 0; j+2 <= len(v); j += 2 {
		x := r.Uint64()
		v[j] += scale * float32(int32(x&255)+int32(x>>8&255)+int32(x>>16&255)+int32(x>>24&255)-510)
		v[j+1] += scale * float32(int32(x>>32&255)+int32(x>>40&255)+int32(x>>48&255)+int32(x>>56)-510)
	}
	m := maxsim.Matrix{Data: v, Rows: len(v) / s.dim, Dim: s.dim}
	m.Normalize()
	return m, nil
}

func (s *synthetic) workload() *workload {
	w := &workload{name: "synthetic", dim: s.dim, docs: s.docs, queries: s.queries, rels: s.rels, doc: s.doc, close: func() error { return nil }}
	for i := range s.docs {
		w.tokens += uint64(max(s.rows(rand.New(rand.NewPCG(s.seed, uint64(i)+1))), 1))
	}
	return w
}
