package plaid

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/quant"
)

var bg = context.Background()

// collection is a random index in memory: several segments, codebooks and deletions.
type collection struct {
	segs []*memSegment
	docs []maxsim.Matrix
	s    *Searcher
	c    *corpus
}

func (c *collection) segments() []segment {
	var out []segment
	for _, s := range c.segs {
		out = append(out, s)
	}
	return out
}

func randomCollection(t testing.TB, seed uint64, nbits, dim int) *collection {
	r := rand.New(rand.NewPCG(seed, 2))
	c := &collection{c: newCorpus(seed, dim, 30, .8)}
	var books []*quant.Codebook
	for i := range 1 + r.IntN(3) {
		docs := c.c.docs(1+r.IntN(60), 1, 30)
		c.docs = append(c.docs, docs...)
		if i == 0 || r.IntN(2) == 0 {
			books = append(books, train(t, docs, nbits, 0, seed+uint64(i)))
		}
		seg := newMemSegment(t, books[r.IntN(len(books))], ids(string(rune('a'+r.IntN(3)))+fmt.Sprint(i), len(docs)), docs)
		for ord := range docs {
			if r.IntN(5) == 0 {
				seg.delete(uint32(ord))
			}
		}
		c.segs = append(c.segs, seg)
	}
	c.s = searcherOf(dim, c.segs...)
	return c
}

func TestExhaustiveIsBruteForce(t *testing.T) {
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		for seed := range uint64(scaled(6, 2)) {
			dim := []int{8, 24, 48, 64}[seed%4]
			c := randomCollection(t, seed+100*uint64(nbits), nbits, dim)
			for _, rows := range []int{1, 2, 31, 33} {
				q := c.c.query(c.docs[0], rows)
				want := bruteForce(c.segments(), q)
				for _, k := range []int{1, 3, 10, 1000} {
					for _, workers := range []int{1, 3} {
						hits, err := c.s.Search(bg, q, k, &Options{Exhaustive: true, Workers: workers})
						require.NoError(t, err)
						requireTop(t, want, k, hits, 2e-5*float64(rows))
					}
				}
			}
		}
	}
}

func TestFullProbesAreExhaustive(t *testing.T) {
	for seed := range uint64(scaled(10, 5)) {
		c := randomCollection(t, seed, []int{1, 2, 4, 8, 16}[seed%5], 32)
		for _, rows := range []int{1, 17, 32, 200} {
			q := c.c.query(c.docs[len(c.docs)-1], rows)
			for _, k := range []int{1, 5, 10} {
				want, err := c.s.Search(bg, q, k, &Options{Exhaustive: true})
				require.NoError(t, err)
				var st Stats
				got, err := c.s.Search(bg, q, k, &Options{NProbe: 1 << 20, NDocs: 1 << 20, Stats: &st})
				require.NoError(t, err)
				require.Equal(t, want, got)
				if k*2 <= st.Allowed {
					require.Equal(t, "plaid", st.Mode)
					require.Equal(t, st.Allowed, st.Candidates)
				}
				def, err := c.s.Search(bg, q, k, nil)
				require.NoError(t, err)
				require.Equal(t, want, def, "small collections are searched exhaustively")
			}
		}
	}
}

// TestNeverCutShort: whatever the knobs, min(k, live) hits with exact scores in order.
func TestNeverCutShort(t *testing.T) {
	for seed := range uint64(scaled(8, 3)) {
		c := randomCollection(t, seed, 4, 16)
		q := c.c.query(c.docs[0], 5)
		want := bruteForce(c.segments(), q)
		for k := 1; k <= len(want)+2; k += 1 + k/4 {
			for _, o := range []*Options{{NProbe: 1, NDocs: 1}, {NProbe: 1, NDocs: 1, CentroidThreshold: 1}, {NProbe: 2}, {NDocs: 7}} {
				hits, err := c.s.Search(bg, q, k, o)
				require.NoError(t, err)
				require.Len(t, hits, min(k, len(want)))
				for i, h := range hits {
					require.InDelta(t, want[h.ID], h.Score, 1e-4)
					require.True(t, i == 0 || hits[i-1].Score >= h.Score)
				}
			}
		}
	}
}

func TestTiesOrderByID(t *testing.T) {
	c := newCorpus(1, 16, 10, .5)
	d := c.doc(8)
	docs := make([]maxsim.Matrix, 50)
	names := make([]string, 50)
	for i := range docs {
		docs[i], names[i] = d, fmt.Sprintf("doc-%02d", (i*37)%50)
	}
	cb := train(t, docs, 4, 0, 1)
	s := searcherOf(16, newMemSegment(t, cb, names[:20], docs[:20]), newMemSegment(t, cb, names[20:], docs[20:]))
	q := c.query(d, 4)
	for _, o := range []*Options{nil, {Exhaustive: true}, {Workers: 4}, {NProbe: 100, NDocs: 100}} {
		for _, k := range []int{1, 7, 24, 50, 60} {
			hits, err := s.Search(bg, q, k, o)
			require.NoError(t, err)
			require.Len(t, hits, min(k, 50))
			for i, h := range hits {
				require.Equal(t, fmt.Sprintf("doc-%02d", i), h.ID)
			}
		}
	}
}

// TestManyCopies: the order of ids holds among more copies than any shortlist has room for.
func TestManyCopies(t *testing.T) {
	c := newCorpus(6, 16, 10, .5)
	docs := c.docs(1000, 2, 4)
	d := c.doc(4)
	names := make([]string, len(docs))
	for i := range docs {
		names[i] = fmt.Sprintf("other-%03d", i)
		if i%2 == 0 {
			docs[i], names[i] = d, fmt.Sprintf("copy-%03d", (i/2*37)%500)
		}
	}
	cb := train(t, docs, 4, 64, 1)
	s := searcherOf(16, newMemSegment(t, cb, names[:300], docs[:300]), newMemSegment(t, cb, names[300:], docs[300:]))
	for _, o := range []*Options{nil, {Exhaustive: true}, {NProbe: 1, NDocs: 5}, {NProbe: 2, NDocs: 20}} {
		hits, err := s.Search(bg, d, 7, o)
		require.NoError(t, err)
		for i, h := range hits {
			require.Equal(t, fmt.Sprintf("copy-%03d", i), h.ID)
		}
	}
}

func TestBadInput(t *testing.T) {
	c := randomCollection(t, 3, 4, 16)
	q := c.c.query(c.docs[0], 3)
	nan := q.Clone()
	nan.Data[20] = float32(math.NaN())
	for _, tc := range []struct {
		name string
		q    maxsim.Matrix
		k    int
		o    *Options
		err  error
		text string
	}{
		{"k 0", q, 0, nil, ErrInvalidK, "k is 0"},
		{"k negative", q, -5, nil, ErrInvalidK, "-5"},
		{"no tokens", maxsim.Matrix{}, 1, nil, ErrEmptyQuery, ""},
		{"no tokens with a dimension", maxsim.Matrix{Dim: 16}, 1, nil, ErrEmptyQuery, ""},
		{"nan", nan, 1, nil, maxsim.ErrNotFinite, "token 1, dimension 4"},
		{"dimension", c.c.query(c.docs[0], 1).Slice(0, 0), 1, nil, ErrEmptyQuery, ""},
		{"other dimension", maxsim.New(2, 8), 1, nil, maxsim.ErrDim, "dimension 8, the index 16"},
		{"shape", maxsim.Matrix{Data: make([]float32, 30), Rows: 2, Dim: 16}, 1, nil, maxsim.ErrDim, ""},
		{"too long", maxsim.Matrix{Data: make([]float32, 16*(MaxQueryTokens+1)), Rows: MaxQueryTokens + 1, Dim: 16}, 1, nil, ErrTooManyTokens, "65537"},
		{"knobs", q, 1, &Options{NProbe: -1, NDocs: -2, Workers: -3, CentroidThreshold: 2}, ErrInvalidOptions, "NDocs is -2"},
		{"exact", q, 1, &Options{Exact: -1}, ErrInvalidOptions, "Exact is -1"},
		{"nan patience", q, 1, &Options{Patience: float32(math.NaN())}, ErrInvalidOptions, "Patience"},
		{"no patience", q, 1, &Options{Patience: -1}, ErrInvalidOptions, "Patience"},
		{"nan threshold", q, 1, &Options{CentroidThreshold: float32(math.NaN())}, ErrInvalidOptions, "CentroidThreshold"},
		{"filter", q, 1, &Options{Filter: FilterFunc(func(*index.Segment) (*roaring.Bitmap, error) { return nil, errTest })}, errTest, "filter"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			hits, err := c.s.Search(bg, tc.q, tc.k, tc.o)
			require.ErrorIs(t, err, tc.err)
			require.ErrorContains(t, err, tc.text)
			require.Nil(t, hits)
			res, err := c.s.SearchBatch(bg, []maxsim.Matrix{q, tc.q, q}, tc.k, tc.o)
			if err != nil { // concerns the whole call
				require.ErrorIs(t, err, tc.err)
				return
			}
			require.ErrorIs(t, res[1].Err, tc.err)
			require.ErrorContains(t, res[1].Err, "query 1")
			for _, i := range []int{0, 2} {
				require.NoError(t, res[i].Err)
				require.Len(t, res[i].Hits, tc.k)
			}
		})
	}
}

var errTest = errors.New("test")

func TestEmptyIndexes(t *testing.T) {
	s := newSearcher(nil, 16)
	q := maxsim.New(2, 16)
	q.Data[0] = 1
	for _, o := range []*Options{nil, {Exhaustive: true}, {NProbe: 3}} {
		hits, err := s.Search(bg, q, 10, o)
		require.NoError(t, err)
		require.Empty(t, hits)
	}
	// All deleted; and documents without tokens.
	c := newCorpus(5, 16, 4, .5)
	docs := c.docs(3, 2, 4)
	seg := newMemSegment(t, train(t, docs, 4, 0, 1), ids("x", 4), append(docs, maxsim.Matrix{Dim: 16}))
	hits, err := searcherOf(16, seg).Search(bg, q, 10, nil)
	require.NoError(t, err)
	require.Len(t, hits, 3, "a document without tokens is never returned")
	seg.delete(0, 1, 2)
	for _, o := range []*Options{nil, {Exhaustive: true}, {NProbe: 1, NDocs: 1}} {
		hits, err = searcherOf(16, seg).Search(bg, q, 10, o)
		require.NoError(t, err)
		require.Empty(t, hits)
	}
}

func TestOneDocumentOneToken(t *testing.T) {
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		d := maxsim.Matrix{Data: unitVector(rand.New(rand.NewPCG(1, 1)), 8), Rows: 1, Dim: 8}
		seg := newMemSegment(t, train(t, []maxsim.Matrix{d}, nbits, 0, 1), []string{"only"}, []maxsim.Matrix{d})
		for _, o := range []*Options{nil, {Exhaustive: true}, {NProbe: 1, NDocs: 1, CentroidThreshold: 1}} {
			hits, err := searcherOf(8, seg).Search(bg, d, 3, o)
			require.NoError(t, err)
			require.Len(t, hits, 1)
			require.InDelta(t, 1, hits[0].Score, .02)
		}
	}
}

// TestOverflow: scores that overflow to NaN do not make hits disappear, whatever the rows are.
func TestOverflow(t *testing.T) {
	c := newCorpus(9, 16, 10, .6)
	docs := c.docs(60, 1, 2)
	q := maxsim.New(4, 16)
	for i := range q.Data {
		q.Data[i] = math.MaxFloat32 * float32(1-2*(i/16%2))
	}
	for _, nbits := range []int{4, 16} {
		s := searcherOf(16, newMemSegment(t, train(t, docs, nbits, 0, 1), ids("x", len(docs)), docs))
		for _, o := range []*Options{nil, {Exhaustive: true}, {NProbe: 1000, NDocs: 50}} {
			hits, err := s.Search(bg, q, 5, o)
			require.NoError(t, err)
			require.Len(t, hits, 5, "%d bits, %+v", nbits, o)
		}
	}
}

func TestZeroVectorsAndHugeQueries(t *testing.T) {
	c := newCorpus(9, 16, 10, .6)
	docs := c.docs(40, 3, 9)
	clear(docs[7].Row(1))
	docs = append(docs, maxsim.New(2, 16)) // nothing but zeros
	seg := newMemSegment(t, train(t, docs, 4, 0, 1), ids("z", len(docs)), docs)
	for i := range seg.enc { // as the index stores them
		for j := range docs[i].Rows {
			if slices.Max(docs[i].Row(j)) == 0 && slices.Min(docs[i].Row(j)) == 0 {
				seg.enc[i].InvNorms[j] = 0
			}
		}
	}
	s := searcherOf(16, seg)
	q := c.query(docs[7], 4)
	hits, err := s.Search(bg, q, 100, nil)
	require.NoError(t, err)
	requireTop(t, bruteForce([]segment{seg}, q), 100, hits, 1e-4)
	for _, h := range hits {
		if h.ID == "z00040" {
			require.Zero(t, h.Score)
		}
	}
	zero := maxsim.New(3, 16)
	for _, o := range []*Options{nil, {NProbe: 1, NDocs: 5}, {NProbe: 1, NDocs: 5, CentroidThreshold: .5}} {
		hits, err = s.Search(bg, zero, 5, o)
		require.NoError(t, err)
		require.Len(t, hits, 5)
		require.Zero(t, hits[0].Score)
	}
	// Finite values whose products overflow must not disturb more than the scores.
	for _, v := range []float32{3e38, 1e30, 1e-38} {
		huge := maxsim.New(2, 16)
		for i := range huge.Data {
			huge.Data[i] = v
			if i%2 == 1 {
				huge.Data[i] = -v
			}
		}
		for _, o := range []*Options{nil, {NProbe: 1, NDocs: 5, CentroidThreshold: .5}} {
			hits, err = s.Search(bg, huge, 5, o)
			require.NoError(t, err)
			require.Len(t, hits, 5)
		}
	}
}

func TestLongDocument(t *testing.T) {
	c := newCorpus(4, 64, 30, .7)
	docs := append(c.docs(5, 2, 20), c.doc(decodeValues/64*2+77))
	seg := newMemSegment(t, train(t, docs, 4, 64, 1), ids("d", len(docs)), docs)
	for _, rows := range []int{1, 33} {
		q := c.query(docs[5], rows)
		hits, err := searcherOf(64, seg).Search(bg, q, 10, nil)
		require.NoError(t, err)
		requireTop(t, bruteForce([]segment{seg}, q), 10, hits, 1e-3)
	}
}

// TestLongDocumentCompressed has enough documents for the compressed pass.
func TestLongDocumentCompressed(t *testing.T) {
	c := newCorpus(4, 16, 30, .7)
	docs := append(c.docs(100, 2, 20), c.doc(2*compressedTokens+77))
	s := searcherOf(16, newMemSegment(t, train(t, docs, 4, 64, 1), ids("d", len(docs)), docs))
	for _, rows := range []int{1, 33} {
		q := c.query(docs[100], rows)
		want, err := s.Search(bg, q, 5, &Options{Exhaustive: true})
		require.NoError(t, err)
		var st Stats
		hits, err := s.Search(bg, q, 5, &Options{Stats: &st})
		require.NoError(t, err)
		require.Equal(t, want, hits)
		require.Equal(t, "d00100", hits[0].ID)
		require.Less(t, st.Decoded, st.Scored)
	}
}

// TestLongestQuery needs tables beyond what the compressed pass is given.
func TestLongestQuery(t *testing.T) {
	if testing.Short() {
		t.Skip("slow without assembly")
	}
	c := newCorpus(4, 8, 30, .7)
	docs := c.docs(200, 4, 8)
	s := searcherOf(8, newMemSegment(t, train(t, docs, 4, 600, 1), ids("d", len(docs)), docs))
	q := c.query(docs[50], MaxQueryTokens)
	want, err := s.Search(bg, q, 3, &Options{Exhaustive: true})
	require.NoError(t, err)
	hits, err := s.Search(bg, q, 3, &Options{NProbe: 1, NDocs: 100})
	require.NoError(t, err)
	require.Equal(t, want, hits)
	require.Equal(t, "d00050", hits[0].ID)
}

func TestBatchIsBitIdentical(t *testing.T) {
	c := newCorpus(21, 48, 60, .8)
	docs := c.docs(450, 3, 10)
	cb1, cb2 := train(t, docs[:250], 2, 128, 1), train(t, docs[250:], 2, 64, 2)
	s := searcherOf(48, newMemSegment(t, cb1, ids("a", 200), docs[:200]), newMemSegment(t, cb2, ids("b", 150), docs[200:350]), newMemSegment(t, cb1, ids("c", 100), docs[350:]))
	var qs []maxsim.Matrix
	for i := range 19 {
		qs = append(qs, c.query(docs[i*20], 1+(i*13)%70))
	}
	for _, o := range []Options{{NProbe: 2, NDocs: 50}, {NProbe: 1, NDocs: 20, CentroidThreshold: .4}, {Exhaustive: true}, {},
		{NProbe: 4, NDocs: 300, Patience: 1}, {NProbe: 2, NDocs: 60, Exact: 3}, {NProbe: 4, NDocs: 300, Exact: 1, Patience: 1.5}} {
		var want []Result
		o.Workers = 1
		for _, q := range qs {
			h, err := s.Search(bg, q, 10, &o)
			require.NoError(t, err)
			want = append(want, Result{Hits: h})
		}
		for _, w := range []int{1, 2, 5, 64} {
			s.shared = w % 2 * sharedValues // queries share stage 1, or not
			o.Workers = w
			got, err := s.SearchBatch(bg, qs, 10, &o)
			require.NoError(t, err)
			require.Equal(t, want, got)
			h, err := s.Search(bg, qs[0], 10, &o)
			require.NoError(t, err)
			require.Equal(t, want[0].Hits, h)
		}
	}
	res, err := s.SearchBatch(bg, nil, 10, nil)
	require.NoError(t, err)
	require.Empty(t, res)
}

func TestConcurrentSearches(t *testing.T) {
	c := randomCollection(t, 77, 4, 32)
	q := c.c.query(c.docs[0], 20)
	o := &Options{NProbe: 2, NDocs: 20, Workers: 2}
	want, err := c.s.Search(bg, q, 5, o)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 10 {
				got, err := c.s.Search(bg, q, 5, o)
				if err != nil || len(got) != len(want) {
					t.Errorf("%v %v", got, err)
					return
				}
				for i := range got {
					if got[i] != want[i] {
						t.Errorf("hit %d: %v, want %v", i, got[i], want[i])
					}
				}
				if _, err := c.s.SearchBatch(bg, []maxsim.Matrix{q, q, q}, 5, o); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// slowSegment takes its time, so that a search is under way when it is cancelled.
type slowSegment struct {
	*memSegment
	d time.Duration
}

func (s slowSegment) Codes(dst []uint32, ord uint32) ([]uint32, error) {
	time.Sleep(s.d)
	return s.memSegment.Codes(dst, ord)
}

func TestCancellation(t *testing.T) {
	c := randomCollection(t, 5, 4, 16)
	q := c.c.query(c.docs[0], 3)
	done, cancel := context.WithCancel(bg)
	cancel()
	_, err := c.s.Search(done, q, 1, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = c.s.SearchBatch(done, []maxsim.Matrix{q}, 1, nil)
	require.ErrorIs(t, err, context.Canceled)

	docs := c.c.docs(2000, 2, 3)
	slow := slowSegment{newMemSegment(t, c.segs[0].cb, ids("s", len(docs)), docs), time.Millisecond}
	s := newSearcher([]unit{{seg: slow}}, 16)
	for _, o := range []*Options{nil, {Workers: 1}, {NProbe: 100, NDocs: 2000, Workers: 1}} {
		ctx, cancel := context.WithTimeout(bg, 30*time.Millisecond)
		start := time.Now()
		_, err = s.Search(ctx, q, 1, o)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Less(t, time.Since(start), 500*time.Millisecond)
		_, err = s.SearchBatch(ctx, []maxsim.Matrix{q, q}, 1, o)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		cancel()
	}
}

// badSegment fails for one document.
type badSegment struct {
	*memSegment
	bad uint32
}

func (s badSegment) Residuals(ord uint32) ([]byte, error) {
	if ord == s.bad {
		return nil, errTest
	}
	return s.memSegment.Residuals(ord)
}

func TestDamageIsAnError(t *testing.T) {
	c := newCorpus(2, 16, 8, .5)
	docs := c.docs(30, 3, 6)
	seg := newMemSegment(t, train(t, docs, 4, 0, 1), ids("d", len(docs)), docs)
	s := newSearcher([]unit{{seg: badSegment{seg, 11}}}, 16)
	q := c.query(docs[11], 3)
	_, err := s.Search(bg, q, 30, nil)
	require.ErrorIs(t, err, errTest)
	require.ErrorContains(t, err, "document 11")
	res, err := s.SearchBatch(bg, []maxsim.Matrix{q}, 30, nil)
	require.NoError(t, err)
	require.ErrorIs(t, res[0].Err, errTest)

	seg.enc[3].Residuals = seg.enc[3].Residuals[1:]
	_, err = searcherOf(16, seg).Search(bg, q, 30, nil)
	require.ErrorIs(t, err, index.ErrCorrupt)
	seg.idErr = errTest
	seg.delete(3)
	_, err = searcherOf(16, seg).Search(bg, q, 3, nil)
	require.ErrorIs(t, err, errTest)
}

func TestStats(t *testing.T) {
	c := randomCollection(t, 12, 4, 16)
	q := c.c.query(c.docs[0], 4)
	st := Stats{Scored: 99}
	_, err := c.s.Search(bg, q, 2, &Options{NProbe: 1, NDocs: 3, Stats: &st})
	require.NoError(t, err)
	require.Equal(t, 1, st.Queries)
	require.Positive(t, st.Centroids)
	require.Positive(t, st.ProbedCentroids)
	require.GreaterOrEqual(t, st.Postings, st.Candidates)
	require.Less(t, st.Scored, st.Allowed)
	require.Contains(t, st.String(), "plaid queries=1")
	_, err = c.s.SearchBatch(bg, []maxsim.Matrix{q, q, q}, 2, &Options{Exhaustive: true, Stats: &st})
	require.NoError(t, err)
	require.Equal(t, 3, st.Queries)
	require.Equal(t, 3*st.Allowed, st.Scored)
}
