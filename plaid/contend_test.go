package plaid

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// roundedSegment has inverse norms that are off by as much as it says.
type roundedSegment struct{ *memSegment }

func (s roundedSegment) NormError() float32 { return 2e-3 }
func (s roundedSegment) LeastNorm() float32 { return s.memSegment.LeastNorm() - 2e-3 }
func (s roundedSegment) InvNorms(dst []float32, ord uint32) ([]float32, error) {
	dst, err := s.memSegment.InvNorms(dst, ord)
	r := rand.New(rand.NewPCG(uint64(ord), 9))
	for i := range dst {
		if dst[i] != 0 {
			dst[i] += 2e-3 * (2*r.Float32() - 1)
		}
	}
	return dst, err
}

// Scores are in every bit those of all tokens decoded, whether contenders are told apart or not, and what the compressed domain
// says wrongly is noticed.
func TestContendersKeepScores(t *testing.T) {
	for _, dim := range []int{32, 128} {
		for _, nbits := range []int{1, 2, 4, 8} {
			t.Run(fmt.Sprintf("%d dimensions, %d bits", dim, nbits), func(t *testing.T) {
				c := newCorpus(uint64(71+nbits), dim, 60, .6)
				docs := c.docs(80, 1, 200)
				docs = append(docs, c.doc(1), c.doc(1500)) // in pieces: 2,048 tokens of 32 values, 512 of 128
				docs[3].Data = append(docs[3].Data[:0], make([]float32, len(docs[3].Data))...)
				m := newMemSegment(t, train(t, docs, nbits, 256, 3), ids("d", len(docs)), docs)
				s := newSearcher([]unit{{seg: roundedSegment{m}}}, dim)
				q := c.query(docs[1], 45)
				pl := &plan{}
				require.NoError(t, s.plan(bg, 5, &Options{NProbe: 4, NDocs: 40, Workers: 1}, pl))
				st := s.state()
				st.begin(bg, q, pl, 1)
				require.NoError(t, st.group().scoreCentroids(bg, 1, 4))

				st.beginScoring(bg)
				w, cb := &st.workers[0], s.spaces[0].cb
				count := func() (tokens, contenders int) {
					for i := range docs {
						require.NoError(t, w.load(&s.units[0], uint32(i), cb.RowBytes()))
						got, err := st.exact(w, 0)
						require.NoError(t, err)
						vec := make([]float32, len(w.codes)*dim)
						cb.Decode(vec, w.codes, w.residuals)
						for j, v := range w.invNorms {
							if v == 0 {
								clear(vec[j*dim:][:dim])
							}
						}
						require.Equal(t, st.spaces[0].query.MaxSim(vec, len(w.codes)), got, "document %d", i)
						if n := len(w.codes); n > 40 && n < 300 {
							tokens += n
							if st.contenders(w, 0, 0, n) {
								contenders += len(w.some.codes)
							} else {
								contenders += n
							}
						}
					}
					return tokens, contenders
				}
				tokens, contenders := count()
				if kernel.FastContenders() && dim == 128 && nbits >= 2 {
					require.Less(t, contenders, tokens/2)
				}
				// A table of centroid scores that is wrong: the maxima tell.
				r := rand.New(rand.NewPCG(1, 2))
				base := &st.spaces[0].base
				for i := range base.Scores {
					unit := float64(base.Unit[i%len(base.Unit)])
					base.Scores[i] = int16(max(min(float64(base.Scores[i])+.3*r.NormFloat64()/unit, 32767), -32767))
				}
				count()
				// Scores that overflow.
				big := maxsim.Matrix{Rows: q.Rows, Dim: q.Dim, Data: append([]float32(nil), q.Data...)}
				for i := range big.Data {
					big.Data[i] *= 1e37
				}
				st.begin(bg, big, pl, 1)
				require.NoError(t, st.group().scoreCentroids(bg, 1, 4))
				st.beginScoring(bg)
				count()
			})
		}
	}
}
