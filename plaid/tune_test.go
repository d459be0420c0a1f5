package plaid

import (
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// meanRecall searches every query with o and with everything.
func meanRecall(t *testing.T, s *Searcher, queries []maxsim.Matrix, k int, o *Options) float64 {
	sum := 0.0
	for _, q := range queries {
		oracle, err := s.Search(bg, q, k, &Options{Exhaustive: true})
		require.NoError(t, err)
		hits, err := s.Search(bg, q, k, o)
		require.NoError(t, err)
		sum += recallAt(k, hits, oracle)
	}
	return sum / float64(len(queries))
}

func TestTune(t *testing.T) {
	seg := newFlatSegment(t, scaled(8000, 3000), 24, 1024, 32, 4)
	s := newSearcher([]unit{{seg: seg}}, 32)
	r := rand.New(rand.NewPCG(11, 11))
	var sample, held []maxsim.Matrix
	for i := range 80 {
		q := seg.query(r, uint32(r.IntN(seg.NumDocs())), 16)
		if i%2 == 0 {
			sample = append(sample, q)
		} else {
			held = append(held, q)
		}
	}
	last := 0
	for _, wanted := range []float64{.6, .85, .97} {
		measured := 0
		got, err := s.Tune(bg, sample, &TuneOptions{K: 10, Recall: wanted, Progress: func(index.Tuning) { measured++ }})
		require.NoError(t, err)
		require.GreaterOrEqual(t, got.Recall, wanted)
		require.Equal(t, index.Tuning{K: 10, NProbe: got.NProbe, NDocs: got.NDocs, Patience: got.Patience, Wanted: wanted, Recall: got.Recall, Queries: 40, Docs: seg.NumDocs()}, got)
		require.Greater(t, measured, 3)
		require.GreaterOrEqual(t, got.NProbe*got.NDocs, last, "more recall costs more")
		last = got.NProbe * got.NDocs

		o := &Options{NProbe: got.NProbe, NDocs: got.NDocs, Patience: got.Patience}
		require.InDelta(t, got.Recall, meanRecall(t, s, sample, 10, o), 1e-9)
		require.GreaterOrEqual(t, meanRecall(t, s, held, 10, o), wanted-.06, "queries that were not in the sample")
		if wanted == .85 {
			again, err := s.Tune(bg, sample, &TuneOptions{K: 10, Recall: wanted, Workers: 1})
			require.NoError(t, err)
			require.Equal(t, got, again, "deterministic")
		}

		// Stored knobs are used where the caller sets none.
		s.tuned = []index.Tuning{got}
		var st Stats
		_, err = s.Search(bg, held[0], 10, &Options{Stats: &st})
		require.NoError(t, err)
		require.Equal(t, got.NProbe, st.NProbe)
		require.Equal(t, got.NDocs, st.NDocs)
		_, err = s.Search(bg, held[0], 11, &Options{Stats: &st})
		require.NoError(t, err)
		require.NotEqual(t, got.NDocs, st.NDocs, "they are for 10 hits at most")
		_, err = s.Search(bg, held[0], 10, &Options{NDocs: 50, Stats: &st})
		require.NoError(t, err)
		require.Equal(t, 50, st.NDocs)
		s.tuned = nil
	}
	_, err := s.Tune(bg, sample, &TuneOptions{Recall: 1, MaxNProbe: 1, MaxNDocs: 12})
	require.ErrorIs(t, err, ErrRecall)
	var re *RecallError
	require.ErrorAs(t, err, &re)
	require.Less(t, re.Best.Recall, 1.)
	require.Equal(t, 12, re.Best.NDocs)
	require.ErrorContains(t, err, "NProbe 1 and NDocs 12 on 40 queries")
}

func TestTuneBadInput(t *testing.T) {
	c := randomCollection(t, 3, 4, 16)
	q := c.c.query(c.docs[0], 3)
	_, err := c.s.Tune(bg, nil, nil)
	require.ErrorIs(t, err, ErrEmptyQuery)
	_, err = c.s.Tune(bg, []maxsim.Matrix{q}, &TuneOptions{K: -1, Recall: 2, MaxNProbe: -1, MaxNDocs: -1, Workers: -1})
	require.ErrorIs(t, err, ErrInvalidOptions)
	for _, name := range []string{"K", "Recall", "MaxNProbe", "MaxNDocs", "Workers"} {
		require.ErrorContains(t, err, name)
	}
	_, err = c.s.Tune(bg, []maxsim.Matrix{q}, &TuneOptions{K: 1 + c.s.live/2})
	require.ErrorIs(t, err, ErrInvalidOptions, "every such search is exhaustive")
	_, err = c.s.Tune(bg, []maxsim.Matrix{q, maxsim.New(2, 8)}, &TuneOptions{K: 1})
	require.ErrorIs(t, err, maxsim.ErrDim)
	require.ErrorContains(t, err, "query 1")
	_, err = newSearcher(nil, 16).Tune(bg, []maxsim.Matrix{q}, nil)
	require.ErrorIs(t, err, ErrRecall)
}

// TestTuneStores: the knobs are in the manifest, survive reopening and further commits, and show in Info.
func TestTuneStores(t *testing.T) {
	ctx := t.Context()
	c := newCorpus(5, 16, 12, .5)
	docs := c.docs(400, 3, 8)
	dir := t.TempDir()
	ix, err := index.Create(ctx, dir, &index.Options{Dim: 16})
	require.NoError(t, err)
	add := func(from, to int) {
		_, err := ix.Add(ctx, iter.Seq2[index.Document, error](func(yield func(index.Document, error) bool) {
			for i := from; i < to; i++ {
				if !yield(index.Document{ID: fmt.Sprint("d", i), Vectors: docs[i]}, nil) {
					return
				}
			}
		}), nil)
		require.NoError(t, err)
	}
	add(0, 300)
	var queries []maxsim.Matrix
	for i := range 20 {
		queries = append(queries, c.query(docs[i], 5))
	}
	_, err = Tune(ctx, ix, queries, &TuneOptions{K: 5, Recall: .9})
	require.NoError(t, err)
	three, err := Tune(ctx, ix, queries, &TuneOptions{K: 3, Recall: .9})
	require.NoError(t, err)
	five, err := Tune(ctx, ix, queries, &TuneOptions{K: 5, Recall: .8})
	require.NoError(t, err)
	_, err = Tune(ctx, ix, nil, nil)
	require.Error(t, err)
	add(300, 400)
	require.NoError(t, ix.Close())

	ix, err = index.Open(ctx, dir, nil)
	require.NoError(t, err)
	defer ix.Close()
	require.Equal(t, []index.Tuning{three, five}, ix.Info().Tunings)
	require.ErrorIs(t, ix.SetTuning(ctx, index.Tuning{K: 1}), index.ErrInvalidTuning)
	snap, err := ix.Snapshot()
	require.NoError(t, err)
	defer snap.Close()
	var st Stats
	_, err = NewSearcher(snap).Search(ctx, queries[0], 4, &Options{Stats: &st})
	require.NoError(t, err)
	require.Equal(t, five.NProbe, st.NProbe)
	require.NoError(t, ix.ClearTunings(ctx))
	require.Empty(t, ix.Info().Tunings)
	require.Len(t, snap.Tunings(), 2, "a snapshot stays what it was")
}

func TestDefaultNProbe(t *testing.T) {
	for _, c := range []struct{ k, centroids, want int }{
		{1, 1, 64}, {100, 16384, 64}, {101, 100, 128}, {10, 65536, 128}, {100, 32768, 90}, {1000, 1 << 30, 32768},
	} {
		require.Equal(t, c.want, defaultNProbe(c.k, c.centroids), "k %d of %d centroids", c.k, c.centroids)
	}
}

func TestSortBySum(t *testing.T) {
	r := rand.New(rand.NewPCG(81, 82))
	for _, most := range []int{1, 100, 255 * 32, 255 * MaxQueryTokens} {
		for _, n := range []int{0, 1, 2, 50, 3000} {
			c := make([]candidate, n)
			for i := range c {
				c[i] = candidate{sum: float32(r.IntN(most + 1)), ord: uint32(i)}
			}
			want := slices.Clone(c)
			slices.SortStableFunc(want, func(a, b candidate) int { return cmp.Compare(b.sum, a.sum) })
			new(state).sortBySum(c)
			require.Equal(t, want, c, "%d sums of up to %d", n, most)
		}
	}
}
