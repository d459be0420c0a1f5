package plaid

import (
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

// flatSegment is a big segment made directly of codes and random residuals, in a second or two, where
// encoding vectors would take minutes. Documents are made of a few topics, a topic being a group of
// neighbouring centroids, and of centroids common to all; levels are the quantiles of a normal
// distribution, so that random bits are residuals of the right spread.
type flatSegment struct {
	cb        *quant.Codebook
	at        []int // first token of each document
	codes     []uint32
	residuals []byte
	invNorms  []float32
	postings  [][]uint32
}

const flatTopic = 32 // centroids per topic

func newFlatSegment(t testing.TB, docs, tokens, centroids, dim, nbits int) *flatSegment {
	r := rand.New(rand.NewPCG(1, uint64(docs)))
	topics := max(centroids/flatTopic, 1)
	cents := make([]float32, 0, centroids*dim)
	for i := range centroids {
		if i%flatTopic == 0 {
			cents = append(cents, unitVector(r, dim)...)
			continue
		}
		m := maxsim.New(1, dim)
		topic := cents[i/flatTopic*flatTopic*dim:][:dim]
		for j := range m.Data {
			m.Data[j] = topic[j] + float32(r.NormFloat64()*.8/math.Sqrt(float64(dim)))
		}
		m.Normalize()
		cents = append(cents, m.Data...)
	}
	// |residual| = .57 on average: cosine .837 to the centroid, as measured on real passages.
	levels := 1 << nbits
	sigma := .57 / math.Sqrt(float64(dim))
	var cutoffs, weights []float32
	for i := range levels {
		weights = append(weights, float32(sigma*math.Sqrt2*math.Erfinv(2*(float64(i)+.5)/float64(levels)-1)))
		if i > 0 {
			cutoffs = append(cutoffs, float32(sigma*math.Sqrt2*math.Erfinv(2*float64(i)/float64(levels)-1)))
		}
	}
	cb, err := quant.NewCodebook(dim, nbits, cents, cutoffs, weights)
	require.NoError(t, err)
	s := &flatSegment{cb: cb, at: []int{0}, postings: make([][]uint32, centroids)}
	for d := range docs {
		about := make([]int, 2+r.IntN(8))
		for i := range about {
			about[i] = r.IntN(topics)
		}
		n := tokens/2 + r.IntN(tokens+1)
		for range n {
			topic := about[r.IntN(len(about))]
			if r.IntN(3) == 0 {
				topic = r.IntN(min(topics, 24))
			}
			s.codes = append(s.codes, uint32(topic*flatTopic+r.IntN(min(flatTopic, centroids))))
		}
		s.at = append(s.at, len(s.codes))
		dc := slices.Clone(s.codes[s.at[d]:])
		slices.Sort(dc)
		dc = slices.Compact(dc)
		for _, c := range dc {
			s.postings[c] = append(s.postings[c], uint32(d))
		}
	}
	s.residuals = make([]byte, len(s.codes)*cb.RowBytes())
	for i := 0; i+8 <= len(s.residuals); i += 8 {
		x := r.Uint64()
		for j := range 8 {
			s.residuals[i+j] = byte(x >> (8 * j))
		}
	}
	s.setNorms()
	return s
}

// setNorms derives the inverse norms, 1/|c+w|.
func (s *flatSegment) setNorms() {
	dim, rb, nbits := s.cb.Dim(), s.cb.RowBytes(), s.cb.NBits()
	idx := make([]uint8, dim)
	weights := s.cb.Weights()
	for t, c := range s.codes {
		quant.UnpackBits(idx, s.residuals[t*rb:(t+1)*rb], nbits)
		cent := s.cb.Centroids()[int(c)*dim:][:dim]
		sum := float32(0)
		for j, b := range idx {
			v := cent[j] + s.cb.Scale(c)*weights[b]
			sum += v * v
		}
		s.invNorms = append(s.invNorms, float32(1/math.Sqrt(float64(sum))))
	}
}

func (s *flatSegment) NumDocs() int              { return len(s.at) - 1 }
func (s *flatSegment) NumTokens() uint64         { return uint64(len(s.codes)) }
func (s *flatSegment) Codebook() *quant.Codebook { return s.cb }
func (s *flatSegment) Deleted() *roaring.Bitmap  { return nil }
func (s *flatSegment) Codes(dst []uint32, ord uint32) ([]uint32, error) {
	return append(dst[:0], s.codes[s.at[ord]:s.at[ord+1]]...), nil
}
func (s *flatSegment) Residuals(ord uint32) ([]byte, error) {
	rb := s.cb.RowBytes()
	return s.residuals[s.at[ord]*rb : s.at[ord+1]*rb], nil
}
func (s *flatSegment) InvNorms(dst []float32, ord uint32) ([]float32, error) {
	return append(dst[:0], s.invNorms[s.at[ord]:s.at[ord+1]]...), nil
}
func (s *flatSegment) NormError() float32 { return 0 }
func (s *flatSegment) LeastNorm() float32 { return 0 }
func (s *flatSegment) Postings(dst []uint32, c uint32) ([]uint32, error) {
	return append(dst[:0], s.postings[c]...), nil
}
func (s *flatSegment) ID(ord uint32) (string, error) { return fmt.Sprintf("d%07d", ord), nil }

// query is made of noisy decoded tokens of a document and, for a quarter, of nothing in particular, as
// expansion tokens are.
func (s *flatSegment) query(r *rand.Rand, ord uint32, rows int) maxsim.Matrix {
	dim := s.cb.Dim()
	codes, _ := s.Codes(nil, ord)
	res, _ := s.Residuals(ord)
	vec := make([]float32, len(codes)*dim)
	s.cb.Decode(vec, codes, res)
	m := maxsim.New(rows, dim)
	for i := range rows {
		row := m.Row(i)
		if i%4 < 3 {
			copy(row, vec[r.IntN(len(codes))*dim:][:dim])
		} else {
			c := r.IntN(min(s.cb.K(), 24*flatTopic))
			copy(row, s.cb.Centroids()[c*dim:(c+1)*dim])
		}
		for j := range row {
			row[j] += float32(r.NormFloat64() * .7 / math.Sqrt(float64(dim)))
		}
	}
	m.Normalize()
	return m
}

func recallAt(k int, got, want []Hit) float64 {
	in := map[string]bool{}
	for _, h := range want[:min(k, len(want))] {
		in[h.ID] = true
	}
	n := 0
	for _, h := range got[:min(k, len(got))] {
		if in[h.ID] {
			n++
		}
	}
	return float64(n) / float64(len(in))
}

func BenchmarkSearch(b *testing.B) {
	const docs, centroids, dim, rows = 20000, 16384, 128, 32
	seg := newFlatSegment(b, docs, 120, centroids, dim, 4)
	s := newSearcher([]unit{{seg: seg}}, dim)
	r := rand.New(rand.NewPCG(7, 7))
	qs := make([]maxsim.Matrix, 16)
	oracle := make([][]Hit, len(qs))
	for i := range qs {
		qs[i] = seg.query(r, uint32(r.IntN(docs)), rows)
		var err error
		oracle[i], err = s.Search(bg, qs[i], 10, &Options{Exhaustive: true})
		require.NoError(b, err)
	}
	for _, o := range []Options{{}, {NProbe: 1, NDocs: 256}, {NProbe: 4, NDocs: 256}, {NProbe: 4, NDocs: 1024}, {NProbe: 8, NDocs: 1024}, {NProbe: 8, NDocs: 1024, CentroidThreshold: .5}, {NProbe: 8, NDocs: 4096}} {
		name := fmt.Sprintf("docs=%d/q=%d/dim=%d/nprobe=%d/ndocs=%d/t=%v", docs, rows, dim, o.NProbe, o.NDocs, o.CentroidThreshold)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			var st, sum Stats
			o.Stats, o.Workers = &st, 1
			recall := 0.0
			n := 0
			for b.Loop() {
				hits, err := s.Search(bg, qs[n%len(qs)], 10, &o)
				if err != nil {
					b.Fatal(err)
				}
				recall += recallAt(10, hits, oracle[n%len(qs)])
				sum.add(&st)
				n++
			}
			f := float64(n)
			b.ReportMetric(recall/f, "recall@10")
			b.ReportMetric(sum.CentroidTime.Seconds()*1000/f, "ms-stage1")
			b.ReportMetric(sum.CandidateTime.Seconds()*1000/f, "ms-stage2")
			b.ReportMetric(sum.InteractionTime.Seconds()*1000/f, "ms-stage3")
			b.ReportMetric(sum.ScoringTime.Seconds()*1000/f, "ms-stage4")
			b.ReportMetric(sum.DecodingTime.Seconds()*1000/f, "ms-decode")
			b.ReportMetric(float64(sum.Candidates)/f, "candidates")
		})
	}
}

// TestDefaultRecall: the default knobs find what an exhaustive search finds, in each of the regimes that
// Options describes, whole and filtered.
func TestDefaultRecall(t *testing.T) {
	for _, tc := range []struct {
		docs, centroids int
		mode            string
	}{{1500, 512, "scan"}, {6000, 2048, "plaid"}, {35000, 4096, "plaid"}} {
		if testing.Short() && tc.docs > 2000 {
			continue
		}
		seg := newFlatSegment(t, tc.docs, 24, tc.centroids, 32, 4)
		s := newSearcher([]unit{{seg: seg}}, 32)
		tenth := roaring.New()
		tenth.AddRange(0, uint64(tc.docs/10))
		for name, f := range map[string]Filter{"all": nil, "tenth": perUnit(tenth)} {
			r := rand.New(rand.NewPCG(7, 7))
			const queries = 10
			recall := map[int]float64{}
			var st Stats
			for range queries {
				q := seg.query(r, uint32(r.IntN(tc.docs/10)), 32)
				oracle, err := s.Search(bg, q, 100, &Options{Exhaustive: true, Filter: f})
				require.NoError(t, err)
				for _, k := range []int{1, 10, 100} {
					hits, err := s.Search(bg, q, k, &Options{Filter: f, Stats: &st})
					require.NoError(t, err)
					recall[k] += recallAt(k, hits, oracle) / queries
					if f == nil && k == 10 {
						require.Equal(t, tc.mode, st.Mode)
					}
				}
			}
			t.Logf("%d documents, %s: recall %v; %v", tc.docs, name, recall, st)
			for k, f := range recall {
				require.GreaterOrEqual(t, f, .97, "recall@%d", k)
			}
		}
	}
}
