package index_test

import (
	"context"
	"fmt"
	"iter"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
	"github.com/golbert/golbert/quant"
)

// world draws token vectors: each of many words has a direction, words of one topic lean the same way, and
// every use of a word differs a little.
type world struct {
	dim   int
	words [][]float32 // of all topics, perTopic each
}

const perTopic = 400

func newWorld(seed uint64, dim, topics int) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{dim: dim}
	for range topics {
		lean := gauss(r, dim)
		for range perTopic {
			v := gauss(r, dim)
			for i := range v {
				v[i] += .7 * lean[i]
			}
			w.words = append(w.words, v)
		}
	}
	return w
}

func gauss(r *rand.Rand, dim int) []float32 {
	v := make([]float32, dim)
	for i := range v {
		v[i] = float32(r.NormFloat64())
	}
	return v
}

// doc is about a topic: about 40 uses of some 25 of its words.
func (w *world) doc(r *rand.Rand, topic int) maxsim.Matrix {
	m := maxsim.New(30+r.IntN(20), w.dim)
	own := make([]int, 25)
	for i := range own {
		own[i] = topic*perTopic + r.IntN(perTopic)
	}
	for i := range m.Rows {
		w.use(r, m.Row(i), own[r.IntN(len(own))])
	}
	m.Normalize()
	return m
}

func (w *world) use(r *rand.Rand, row []float32, word int) {
	for i, v := range w.words[word] {
		row[i] = v + .5*float32(r.NormFloat64())
	}
}

// query asks for a document: its vectors, changed, and a few that have nothing to do with it.
func (w *world) query(r *rand.Rand, doc maxsim.Matrix, topic int) maxsim.Matrix {
	q := maxsim.New(16, w.dim)
	for i := range q.Rows {
		if i%4 == 3 {
			w.use(r, q.Row(i), topic*perTopic+r.IntN(perTopic))
			continue
		}
		for j, v := range doc.Row(r.IntN(doc.Rows)) {
			q.Row(i)[j] = v + .08*float32(r.NormFloat64())
		}
	}
	q.Normalize()
	return q
}

// recall is the share of the exact ten best that a search finds among its ten.
func recall(t testing.TB, ix *index.Index, docs []index.Document, queries []maxsim.Matrix) float64 {
	t.Helper()
	s, err := ix.Snapshot()
	require.NoError(t, err)
	defer s.Close()
	sr := plaid.NewSearcher(s)
	const k = 10
	found := 0
	for _, q := range queries {
		type scored struct {
			id    string
			score float32
		}
		exact := make([]scored, len(docs))
		for i, d := range docs {
			v, err := maxsim.Score(q, d.Vectors)
			require.NoError(t, err)
			exact[i] = scored{d.ID, v}
		}
		slices.SortFunc(exact, func(a, b scored) int {
			if a.score > b.score {
				return -1
			}
			return 1
		})
		hits, err := sr.Search(context.Background(), q, k, &plaid.Options{NProbe: 4, NDocs: 64})
		require.NoError(t, err)
		for _, h := range hits {
			if slices.ContainsFunc(exact[:k], func(e scored) bool { return e.id == h.ID }) {
				found++
			}
		}
	}
	return float64(found) / float64(k*len(queries))
}

// TestLateTopic adds a topic that the codebook was not trained for to an index, at once and in small Adds,
// and compares recall against exact MaxSim with that of an index built afresh of everything.
func TestLateTopic(t *testing.T) {
	ctx := context.Background()
	const dim, early = 64, 3
	docsPer, queriesPer := 250, 50
	if testing.Short() {
		docsPer, queriesPer = 150, 25
	}
	w := newWorld(1, dim, early+1)
	r := rand.New(rand.NewPCG(2, 2))
	var old, late []index.Document
	for topic := range early + 1 {
		for i := range docsPer {
			d := index.Document{ID: fmt.Sprintf("%d-%03d", topic, i), Vectors: w.doc(r, topic)}
			if topic < early {
				old = append(old, d)
			} else {
				late = append(late, d)
			}
		}
	}
	all := append(slices.Clone(old), late...)
	var oldQ, lateQ []maxsim.Matrix
	for i := range queriesPer {
		oldQ = append(oldQ, w.query(r, old[i*7%len(old)].Vectors, i*7%len(old)/docsPer))
		lateQ = append(lateQ, w.query(r, late[i*3%len(late)].Vectors, early))
	}
	build := func(cb *quant.Codebook, batches ...[]index.Document) *index.Index {
		ix, err := index.Create(ctx, filepath.Join(t.TempDir(), "ix"), &index.Options{Dim: dim, NBits: 2, Codebook: cb})
		require.NoError(t, err)
		t.Cleanup(func() { _ = ix.Close() })
		for _, b := range batches {
			_, err := ix.Add(ctx, seq(b), nil)
			require.NoError(t, err)
		}
		return ix
	}
	fresh := build(nil, all)
	freshOld, freshLate := recall(t, fresh, all, oldQ), recall(t, fresh, all, lateQ)
	first := build(nil, old)
	s, err := first.Snapshot()
	require.NoError(t, err)
	stale := build(s.Segments()[0].Codebook(), old, late)
	require.NoError(t, s.Close())
	staleLate := recall(t, stale, all, lateQ)
	t.Logf("fresh build: recall@10 %.3f of old topics, %.3f of the late one, %d centroids", freshOld, freshLate, fresh.Info().Codebooks[0].Centroids)
	t.Logf("codebook never changed: %.3f of the late one", staleLate)
	for _, per := range []int{len(late), 10} {
		ix := build(nil, append([][]index.Document{old}, slices.Collect(slices.Chunk(late, per))...)...)
		in := ix.Info()
		centroids := 0
		for _, c := range in.Codebooks {
			centroids = max(centroids, c.Centroids)
		}
		gotOld, gotLate := recall(t, ix, all, oldQ), recall(t, ix, all, lateQ)
		t.Logf("late topic in Adds of %d: %.3f of old topics, %.3f of the late one, %d centroids, %d segments", per, gotOld, gotLate, centroids, len(in.Segments))
		require.Greater(t, centroids, in.Codebooks[0].Centroids)
		require.GreaterOrEqual(t, gotOld, freshOld-.03)
		margin := .02
		if per < len(late) {
			margin = .04 // what came first had only itself to learn centroids from
		}
		require.GreaterOrEqual(t, gotLate, freshLate-margin)
		_, err := ix.Compact(ctx, nil)
		require.NoError(t, err)
		require.InDelta(t, gotLate, recall(t, ix, all, lateQ), .01)
		_, err = ix.Compact(ctx, &index.CompactOptions{Retrain: true})
		require.NoError(t, err)
		again := recall(t, ix, all, lateQ)
		t.Logf("  trained anew from decoded vectors: %.3f of the late one", again)
		require.GreaterOrEqual(t, again, freshLate-.06)
	}
}

func seq(docs []index.Document) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

// TestKnownWideTopic: documents of a topic that the codebook was trained for and whose words differ more from use
// to use than those of others have long residuals. That is no reason to extend it: it has wide clusters for them.
func TestKnownWideTopic(t *testing.T) {
	ctx := context.Background()
	w := newWorld(3, 64, 2)
	r := rand.New(rand.NewPCG(4, 4))
	// Half of the first documents have a wide word in eight, and all of the later ones.
	docs := func(name string, n, wide int) (out []index.Document) {
		for i := range n {
			m := maxsim.New(60, w.dim)
			for j := range m.Rows {
				topic, noise := 0, float32(.5)
				if i < wide && j%8 == 0 {
					topic, noise = 1, 0.9
				}
				for at, v := range w.words[topic*perTopic+r.IntN(perTopic/4)] {
					m.Row(j)[at] = v + noise*float32(r.NormFloat64())
				}
			}
			m.Normalize()
			out = append(out, index.Document{ID: fmt.Sprint(name, i), Vectors: m})
		}
		return out
	}
	for _, nbits := range []int{2, 4} { // 16 bits have no scales
		ix, err := index.Create(ctx, filepath.Join(t.TempDir(), "ix"), &index.Options{Dim: w.dim, NBits: nbits})
		require.NoError(t, err)
		defer ix.Close()
		_, err = ix.Add(ctx, seq(docs("a", 1200, 600)), nil)
		require.NoError(t, err)
		before := ix.Info().Codebooks
		_, err = ix.Add(ctx, seq(docs("b", 40, 40)), nil)
		require.NoError(t, err)
		require.Equal(t, before, ix.Info().Codebooks)
	}
}
