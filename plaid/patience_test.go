package plaid

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// requireExact checks that the first hits have the scores of an exhaustive search, that the others say that theirs are
// approximate and are, by no more than off, and that all are in order.
func requireExact(t *testing.T, oracle, hits []Hit, exact int, off float64) {
	t.Helper()
	scores := map[string]float32{}
	for _, h := range oracle {
		scores[h.ID] = h.Score
	}
	for i, h := range hits {
		want, ok := scores[h.ID]
		require.True(t, ok, h.ID)
		if i < exact {
			require.False(t, h.Approx)
		}
		if h.Approx {
			require.InDelta(t, want, h.Score, off)
		} else {
			require.Equal(t, want, h.Score)
		}
		if i > 0 {
			require.LessOrEqual(t, h.Score, hits[i-1].Score)
		}
	}
}

func TestExact(t *testing.T) {
	for _, nbits := range []int{1, 2, 4, 8} {
		seg := newFlatSegment(t, scaled(4000, 2500), 24, 1024, 32, nbits)
		s := newSearcher([]unit{{seg: seg}}, 32)
		r := rand.New(rand.NewPCG(1, 5))
		for range 5 {
			q := seg.query(r, uint32(r.IntN(seg.NumDocs())), 16)
			oracle, err := s.Search(bg, q, seg.NumDocs(), &Options{Exhaustive: true})
			require.NoError(t, err)
			all, err := s.Search(bg, q, 100, &Options{NProbe: 16, NDocs: 600})
			require.NoError(t, err)
			requireExact(t, oracle, all, 100, 0)
			for _, exact := range []int{1, 10, 99, 100, 1000} {
				var st Stats
				hits, err := s.Search(bg, q, 100, &Options{NProbe: 16, NDocs: 600, Exact: exact, Stats: &st})
				require.NoError(t, err)
				require.Len(t, hits, 100)
				requireExact(t, oracle, hits, exact, .2)
				require.LessOrEqual(t, st.Decoded, rescoreDocs(min(exact, 100)))
				require.Equal(t, all[:min(exact, 100)], hits[:min(exact, 100)])
				require.Equal(t, exact < 90, hits[99].Approx)
			}
		}
	}
}

// TestApproxAmongExact puts documents that were not decoded before those that were.
func TestApproxAmongExact(t *testing.T) {
	seg := newFlatSegment(t, 2500, 24, 1024, 32, 4)
	s := newSearcher([]unit{{seg: seg}}, 32)
	q := seg.query(rand.New(rand.NewPCG(1, 6)), 7, 16)
	oracle, err := s.Search(bg, q, seg.NumDocs(), &Options{Exhaustive: true})
	require.NoError(t, err)
	st, pl := s.state(), new(plan)
	defer s.release(st)
	require.NoError(t, s.plan(bg, 6, &Options{NProbe: 4, NDocs: 600, Exact: 3, Workers: 1}, pl))
	st.begin(bg, q, pl, 1)
	st.beginScoring(bg)
	var tail []candidate
	for i, h := range oracle[:8] {
		if i%2 == 0 {
			require.NoError(t, st.load(0, 0, h.Ord))
			_, err := st.offer(0, 0, h.Ord)
			require.NoError(t, err)
			continue
		}
		// The more the approximate score claims, the less it is.
		tail = append(tail, candidate{ord: oracle[i*200].Ord, approx: oracle[0].Score + float32(i)})
	}
	tail = append(tail, candidate{ord: oracle[1].Ord, approx: float32(math.Inf(-1))})
	hits, err := st.endScoring(tail)
	require.NoError(t, err)
	require.Len(t, hits, 6)
	require.Equal(t, oracle[0], hits[0])
	require.Equal(t, oracle[2], hits[1])
	requireExact(t, oracle, hits, 3, 0)
}

func TestPatience(t *testing.T) {
	seg := newFlatSegment(t, scaled(8000, 3000), 24, 1024, 32, 4)
	s := newSearcher([]unit{{seg: seg}}, 32)
	r := rand.New(rand.NewPCG(1, 7))
	var queries []maxsim.Matrix
	for range 40 {
		queries = append(queries, seg.query(r, uint32(r.IntN(seg.NumDocs())), 16))
	}
	// More of it scores more and finds no less, up to all of the shortlist.
	run := func(o Options) (scored int, recall float64) {
		var st Stats
		o.Stats = &st
		_, err := s.SearchBatch(bg, queries, 10, &o)
		require.NoError(t, err)
		o.Stats = nil
		return st.Scored, meanRecall(t, s, queries, 10, &o)
	}
	all, best := run(Options{NProbe: 16, NDocs: 1500})
	last, found := 0, 0.
	for _, p := range []float32{.5, 1, 2, 3, 100} {
		scored, recall := run(Options{NProbe: 16, NDocs: 1500, Patience: p})
		require.GreaterOrEqual(t, scored, last)
		require.GreaterOrEqual(t, recall, found)
		last, found = scored, recall
		if p == 3 {
			require.Less(t, scored, all)
		}
	}
	require.Equal(t, all, last)
	require.Equal(t, best, found)

	// It makes no worse use of as many documents, but for a few hits of the 400.
	scored, recall := run(Options{NProbe: 16, NDocs: 1500, Patience: 2})
	_, fixed := run(Options{NProbe: 16, NDocs: scored / len(queries)})
	require.GreaterOrEqual(t, recall, fixed-.01)
}

func TestExpectation(t *testing.T) {
	var e expectation
	require.Equal(t, math.Inf(1), e.most(3, 1))
	for i := range 100 {
		e.add(&candidate{sum: float32(i), approx: float32(2*i + 1 + i%2*2 - 1)}) // 2x + 1 +- 1
		e.add(&candidate{sum: float32(i), approx: float32(math.Inf(-1))})
	}
	require.InDelta(t, 2*200+1, e.most(200, 0), .3)
	require.InDelta(t, 2*200+1+3, e.most(200, 3), .3)

	e = expectation{} // sums that say nothing, or the opposite
	for i := range 10 {
		e.add(&candidate{sum: 5, approx: float32(i % 2)})
	}
	require.InDelta(t, .5, e.most(5, 0), 1e-9)
	require.InDelta(t, 1, e.most(5, 1), 1e-9)
	e = expectation{}
	for i := range 10 {
		e.add(&candidate{sum: float32(i), approx: float32(-i)})
	}
	require.InDelta(t, -4.5, e.most(100, 0), 1e-9)
}
