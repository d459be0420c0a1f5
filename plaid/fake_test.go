package plaid

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// memSegment is a segment in memory.
type memSegment struct {
	cb       *quant.Codebook
	ids      []string
	enc      []quant.Encoded
	postings map[uint32][]uint32
	deleted  *roaring.Bitmap
	tokens   uint64
	idErr    error
}

func newMemSegment(t testing.TB, cb *quant.Codebook, ids []string, docs []maxsim.Matrix) *memSegment {
	s := &memSegment{cb: cb, ids: ids, postings: map[uint32][]uint32{}}
	for i, d := range docs {
		e, err := cb.Encode(context.Background(), d, 1)
		require.NoError(t, err)
		s.add(i, e)
	}
	return s
}

func (s *memSegment) add(i int, e quant.Encoded) {
	s.enc = append(s.enc, e)
	s.tokens += uint64(len(e.Codes))
	dc := slices.Clone(e.Codes)
	slices.Sort(dc)
	dc = slices.Compact(dc)
	for _, c := range dc {
		s.postings[c] = append(s.postings[c], uint32(i))
	}
}

func (s *memSegment) delete(ords ...uint32) {
	if s.deleted == nil {
		s.deleted = roaring.New()
	}
	s.deleted.AddMany(ords)
}

func (s *memSegment) NumDocs() int              { return len(s.enc) }
func (s *memSegment) NumTokens() uint64         { return s.tokens }
func (s *memSegment) Codebook() *quant.Codebook { return s.cb }
func (s *memSegment) Deleted() *roaring.Bitmap  { return s.deleted }
func (s *memSegment) Codes(dst []uint32, ord uint32) ([]uint32, error) {
	return append(dst[:0], s.enc[ord].Codes...), nil
}
func (s *memSegment) Residuals(ord uint32) ([]byte, error) { return s.enc[ord].Residuals, nil }
func (s *memSegment) InvNorms(dst []float32, ord uint32) ([]float32, error) {
	return append(dst[:0], s.enc[ord].InvNorms...), nil
}
func (s *memSegment) NormError() float32 { return 0 }
func (s *memSegment) LeastNorm() float32 {
	least := float32(math.Inf(1))
	for i := range s.enc {
		for _, v := range s.enc[i].InvNorms {
			if v != 0 {
				least = min(least, v)
			}
		}
	}
	return least
}
func (s *memSegment) Postings(dst []uint32, c uint32) ([]uint32, error) {
	return append(dst[:0], s.postings[c]...), nil
}
func (s *memSegment) ID(ord uint32) (string, error) { return s.ids[ord], s.idErr }

func searcherOf(dim int, segs ...*memSegment) *Searcher {
	units := make([]unit, len(segs))
	for i, s := range segs {
		units[i] = unit{seg: s}
	}
	return newSearcher(units, dim)
}

// corpus makes documents that look a little like text: each is about a few topics out of many, its tokens
// lie around its topics' directions, and some tokens are common to all. Queries are noisy tokens of one
// document each.
type corpus struct {
	r      *rand.Rand
	dim    int
	topics [][]float32
	noise  float64
}

func newCorpus(seed uint64, dim, topics int, noise float64) *corpus {
	c := &corpus{r: rand.New(rand.NewPCG(seed, 1)), dim: dim, noise: noise}
	for range topics {
		c.topics = append(c.topics, unitVector(c.r, dim))
	}
	return c
}

func unitVector(r *rand.Rand, dim int) []float32 {
	v := maxsim.New(1, dim)
	for i := range v.Data {
		v.Data[i] = float32(r.NormFloat64())
	}
	v.Normalize()
	return v.Data
}

func (c *corpus) around(dst, centre []float32, noise float64) {
	s := noise / math.Sqrt(float64(c.dim))
	for i := range dst {
		dst[i] = centre[i] + float32(c.r.NormFloat64()*s)
	}
}

func (c *corpus) doc(tokens int) maxsim.Matrix {
	m := maxsim.New(tokens, c.dim)
	about := make([]int, 1+c.r.IntN(6))
	for i := range about {
		about[i] = c.r.IntN(len(c.topics))
	}
	for i := range tokens {
		t := about[c.r.IntN(len(about))]
		if c.r.IntN(4) == 0 {
			t = c.r.IntN(min(len(c.topics), 20))
		}
		c.around(m.Row(i), c.topics[t], c.noise)
	}
	m.Normalize()
	return m
}

func (c *corpus) docs(n, lo, hi int) []maxsim.Matrix {
	out := make([]maxsim.Matrix, n)
	for i := range out {
		out[i] = c.doc(lo + c.r.IntN(hi-lo+1))
	}
	return out
}

func (c *corpus) query(d maxsim.Matrix, tokens int) maxsim.Matrix {
	m := maxsim.New(tokens, c.dim)
	for i := range tokens {
		c.around(m.Row(i), d.Row(c.r.IntN(d.Rows)), c.noise)
	}
	m.Normalize()
	return m
}

func ids(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("%s%05d", prefix, i)
	}
	return out
}

func concat(docs []maxsim.Matrix) maxsim.Matrix {
	var m maxsim.Matrix
	for _, d := range docs {
		m.Data = append(m.Data, d.Data...)
		m.Rows += d.Rows
		m.Dim = d.Dim
	}
	return m
}

func train(t testing.TB, docs []maxsim.Matrix, nbits, centroids int, seed uint64) *quant.Codebook {
	t.Helper()
	cb, err := quant.Train(context.Background(), concat(docs), &quant.TrainOptions{NBits: nbits, Centroids: centroids, Seed: seed})
	require.NoError(t, err)
	return cb
}

// bruteForce is the definition in float64 over the decoded vectors, in the input space.
func bruteForce(segs []segment, q maxsim.Matrix) map[string]float64 {
	out := map[string]float64{}
	for _, s := range segs {
		cb, dim := s.Codebook(), s.Codebook().Dim()
		for ord := range uint32(s.NumDocs()) {
			if del := s.Deleted(); del != nil && del.Contains(ord) {
				continue
			}
			codes, _ := s.Codes(nil, ord)
			if len(codes) == 0 {
				continue
			}
			res, _ := s.Residuals(ord)
			inv, _ := s.InvNorms(nil, ord)
			vec := make([]float32, len(codes)*dim)
			cb.Decode(vec, codes, res)
			cb.Unrotate(vec, vec, len(codes))
			sum := 0.0
			for i := range q.Rows {
				best := math.Inf(-1)
				for j := range codes {
					dot := 0.0
					for x, v := range q.Row(i) {
						dot += float64(v) * float64(vec[j*dim+x])
					}
					if inv[j] == 0 {
						dot = 0
					}
					best = max(best, dot)
				}
				sum += best
			}
			id, _ := s.ID(ord)
			out[id] = sum
		}
	}
	return out
}

// requireTop checks hits against brute force: right scores, right order, and nothing left out that is
// clearly better than what is there.
func requireTop(t testing.TB, want map[string]float64, k int, hits []Hit, tol float64) {
	t.Helper()
	require.Len(t, hits, min(k, len(want)))
	seen := map[string]bool{}
	for i, h := range hits {
		w, ok := want[h.ID]
		require.True(t, ok, "%q is not a live document", h.ID)
		require.InDelta(t, w, h.Score, tol, "%q", h.ID)
		require.False(t, seen[h.ID], "%q twice", h.ID)
		seen[h.ID] = true
		if i > 0 {
			p := hits[i-1]
			require.True(t, p.Score > h.Score || (p.Score == h.Score && p.ID < h.ID), "order at %d: %v %v", i, p, h)
		}
	}
	if len(hits) == 0 {
		return
	}
	last := float64(hits[len(hits)-1].Score)
	for id, w := range want {
		if !seen[id] {
			require.LessOrEqual(t, w, last+2*tol, "%q left out", id)
		}
	}
}

// scaled is n, or short under -short: the race detector and pure Go are slow.
func scaled(n, short int) int {
	if testing.Short() {
		return short
	}
	return n
}
