package plaid

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

func seq(docs []index.Document) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func snapshot(t testing.TB, ix *index.Index) *index.Snapshot {
	t.Helper()
	s, err := ix.Snapshot()
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func segments(s *index.Snapshot) []segment {
	var out []segment
	for _, seg := range s.Segments() {
		out = append(out, seg)
	}
	return out
}

// TestIndexOnDisk runs random operations on real indexes and compares every way of searching with brute
// force over what the segments hold, and that with a model of what was added and deleted.
func TestIndexOnDisk(t *testing.T) {
	for i, nbits := range []int{1, 2, 4, 8, 16, 4} {
		t.Run(fmt.Sprintf("%d/nbits=%d", i, nbits), func(t *testing.T) {
			r := rand.New(rand.NewPCG(uint64(i), 4))
			dim := []int{16, 24, 32}[i%3]
			c := newCorpus(uint64(i), dim, 25, .7)
			ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: dim, NBits: nbits, SegmentTokens: 500, AllowEmpty: true, Workers: 1})
			require.NoError(t, err)
			defer func() { require.NoError(t, ix.Close()) }()
			live := map[string]maxsim.Matrix{}
			next := 0
			for range 4 {
				var docs []index.Document
				for range 1 + r.IntN(60) {
					id := fmt.Sprintf("doc-%03d", next)
					if next++; r.IntN(6) == 0 {
						id = fmt.Sprintf("doc-%03d", r.IntN(next)) // replace
					}
					v := c.doc(1 + r.IntN(20))
					switch r.IntN(25) {
					case 0:
						v = maxsim.Matrix{Dim: dim}
					case 1:
						clear(v.Row(0))
					}
					docs = append(docs, index.Document{ID: id, Vectors: v, Text: id})
					live[id] = v
				}
				_, err := ix.Add(bg, seq(docs), &index.AddOptions{Upsert: true})
				require.NoError(t, err)
				var gone []string
				for id := range live {
					if r.IntN(6) == 0 {
						gone = append(gone, id)
						delete(live, id)
					}
				}
				_, err = ix.Delete(bg, gone, nil)
				require.NoError(t, err)

				snap := snapshot(t, ix)
				s := NewSearcher(snap)
				for _, rows := range []int{1, 32, 45} {
					q := c.query(c.doc(10), rows)
					want := bruteForce(segments(snap), q)
					n := 0
					for id, v := range live {
						if v.Rows > 0 {
							n++
							require.Contains(t, want, id)
						}
					}
					require.Len(t, want, n)
					for _, k := range []int{1, 10, 500} {
						oracle, err := s.Search(bg, q, k, &Options{Exhaustive: true})
						require.NoError(t, err)
						requireTop(t, want, k, oracle, 3e-5*float64(rows))
						for _, o := range []*Options{nil, {NProbe: 1 << 20, NDocs: 1 << 20}, {NProbe: 1 << 20, NDocs: 1 << 20, Workers: 1}} {
							got, err := s.Search(bg, q, k, o)
							require.NoError(t, err)
							require.Equal(t, oracle, got)
						}
						few, err := s.Search(bg, q, k, &Options{NProbe: 1, NDocs: 1})
						require.NoError(t, err)
						require.Len(t, few, min(k, n))
					}
					hits, err := s.Search(bg, q, 3, nil)
					require.NoError(t, err)
					for _, h := range hits {
						text, err := h.Segment.Text(h.Ord)
						require.NoError(t, err)
						require.Equal(t, h.ID, text)
					}
				}
			}
			require.Greater(t, len(snapshot(t, ix).Segments()), 1)
		})
	}
}

func TestIndexFilter(t *testing.T) {
	c := newCorpus(1, 16, 10, .7)
	ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: 16, SegmentTokens: 200})
	require.NoError(t, err)
	defer ix.Close()
	var docs []index.Document
	for i, v := range c.docs(100, 3, 8) {
		docs = append(docs, index.Document{ID: fmt.Sprintf("%s-%02d", []string{"red", "blue"}[i%2], i), Vectors: v})
	}
	_, err = ix.Add(bg, seq(docs), nil)
	require.NoError(t, err)
	s := NewSearcher(snapshot(t, ix))
	red := FilterFunc(func(seg *index.Segment) (*roaring.Bitmap, error) {
		b := roaring.New()
		for ord := range uint32(seg.NumDocs()) {
			id, err := seg.ID(ord)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(id, "red") {
				b.Add(ord)
			}
		}
		return b, nil
	})
	hits, err := s.Search(bg, c.query(docs[1].Vectors, 4), 1000, &Options{Filter: red})
	require.NoError(t, err)
	require.Len(t, hits, 50)
	for _, h := range hits {
		require.True(t, strings.HasPrefix(h.ID, "red"))
	}
}

func TestEmptyIndexOnDisk(t *testing.T) {
	ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: 16})
	require.NoError(t, err)
	defer ix.Close()
	s := NewSearcher(snapshot(t, ix))
	q := maxsim.Matrix{Data: make([]float32, 16), Rows: 1, Dim: 16}
	hits, err := s.Search(bg, q, 3, nil)
	require.NoError(t, err)
	require.Empty(t, hits)
	_, err = s.Search(bg, maxsim.New(1, 8), 3, nil)
	require.ErrorIs(t, err, maxsim.ErrDim)
}

// TestCloseWhileSearching: a search finishes or says ErrClosed, and never touches unmapped memory.
func TestCloseWhileSearching(t *testing.T) {
	c := newCorpus(3, 16, 10, .7)
	ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: 16})
	require.NoError(t, err)
	defer ix.Close()
	var docs []index.Document
	for i, v := range c.docs(200, 3, 8) {
		docs = append(docs, index.Document{ID: fmt.Sprint(i), Vectors: v})
	}
	_, err = ix.Add(bg, seq(docs), nil)
	require.NoError(t, err)
	snap, err := ix.Snapshot()
	require.NoError(t, err)
	s := NewSearcher(snap)
	q := c.query(docs[0].Vectors, 8)
	var wg sync.WaitGroup
	var first sync.Once
	started := make(chan struct{})
	for range 4 {
		wg.Go(func() {
			for {
				hits, err := s.Search(bg, q, 5, nil)
				first.Do(func() { close(started) })
				if err != nil {
					if !strings.Contains(err.Error(), index.ErrClosed.Error()) {
						t.Errorf("%v", err)
					}
					return
				}
				if len(hits) != 5 {
					t.Errorf("%d hits", len(hits))
				}
			}
		})
	}
	<-started
	require.NoError(t, snap.Close())
	wg.Wait()
	_, err = s.Search(bg, q, 5, nil)
	require.ErrorIs(t, err, index.ErrClosed)
	_, err = s.SearchBatch(bg, []maxsim.Matrix{q}, 5, nil)
	require.ErrorIs(t, err, index.ErrClosed)
}
