package index

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

func TestUpdate(t *testing.T) {
	ctx := context.Background()
	o := &Options{Dim: testDim, fs: &hookFS{}}
	ix, dir := create(t, o)
	docs := documents(1, 10)
	mustAdd(t, ix, docs...)
	gen := ix.Generation()
	r := newRand(5)
	again, fresh, back := document(r, "doc-1"), document(r, "new"), document(r, "doc-3")
	res, err := ix.Update(ctx, Batch{Delete: []string{"doc-2", "doc-3", "doc-2"}, Add: seq([]Document{again, fresh, back})}, nil)
	require.NoError(t, err)
	require.Equal(t, 2, res.Deleted)
	require.Equal(t, 3, res.Added)
	require.Equal(t, 1, res.Replaced, "doc-3 was gone when it came again")
	require.Equal(t, gen+1, ix.Generation(), "one commit")
	model := map[string]Document{}
	for _, d := range append(docs, again, fresh, back) {
		model[d.ID] = d
	}
	delete(model, "doc-2")
	requireModel(t, snapshot(t, ix), o, model)

	for _, tc := range []struct {
		name string
		b    Batch
		o    *UpdateOptions
		err  error
	}{
		{"unknown", Batch{Delete: []string{"doc-1", "nobody"}, Add: seq([]Document{document(r, "z")})}, nil, ErrUnknownID},
		{"duplicate", Batch{Delete: []string{"doc-1"}, Add: seq([]Document{document(r, "doc-1"), document(r, "doc-4")})}, &UpdateOptions{NoReplace: true}, ErrDuplicateID},
		{"duplicate in batch", Batch{Delete: []string{"doc-1"}, Add: seq([]Document{document(r, "doc-1"), document(r, "doc-1")})}, &UpdateOptions{NoReplace: true}, ErrDuplicateID},
		{"document", Batch{Delete: []string{"doc-1"}, Add: seq([]Document{{ID: "z"}})}, nil, ErrEmptyDocument},
	} {
		_, err := ix.Update(ctx, tc.b, tc.o)
		require.ErrorIs(t, err, tc.err, tc.name)
		requireModel(t, snapshot(t, ix), o, model)
	}
	res, err = ix.Update(ctx, Batch{Delete: []string{"doc-1", "nobody"}, Add: seq([]Document{document(newRand(8), "doc-1")})}, &UpdateOptions{IgnoreMissing: true, NoReplace: true})
	require.NoError(t, err)
	require.Equal(t, UpdateResult{AddResult: AddResult{Added: 1, Tokens: uint64(document(newRand(8), "doc-1").Vectors.Rows)}, Deleted: 1}, res)
	model["doc-1"] = document(newRand(8), "doc-1")
	requireModel(t, snapshot(t, ix), o, model)
	gen = ix.Generation()
	res, err = ix.Update(ctx, Batch{}, nil)
	require.NoError(t, err)
	require.Equal(t, UpdateResult{}, res)
	require.Equal(t, gen, ix.Generation(), "nothing to do, no commit")
	_, err = Check(ctx, dir)
	require.NoError(t, err)
}

func TestRefresh(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, fs: &hookFS{}})
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	changed, err := ro.Refresh(ctx)
	require.NoError(t, err)
	require.False(t, changed)
	for i := range 20 {
		switch i % 4 {
		case 3:
			_, err = ix.Delete(ctx, []string{fmt.Sprint("doc-", i)}, nil)
		case 2:
			_, err = ix.Compact(ctx, nil)
		default:
			_, err = ix.Add(ctx, seq(documents(uint64(i), 20+i)), &AddOptions{Upsert: true})
		}
		require.NoError(t, err)
		s, err := ro.Snapshot()
		require.NoError(t, err)
		before, err := dump(s)
		require.NoError(t, err)
		stale := ro.Generation() < ix.Generation()
		changed, err := ro.Refresh(ctx)
		require.NoError(t, err)
		require.Equal(t, stale, changed)
		require.Equal(t, ix.Generation(), ro.Generation())
		require.Equal(t, dumpNow(t, ix), dumpNow(t, ro))
		after, err := dump(s)
		require.NoError(t, err)
		require.Equal(t, before, after, "an open snapshot is fixed")
		require.NoError(t, s.Close())
	}
	// What both commits have is not opened again.
	had := ro.cur.segs[0].f
	_, err = ix.Delete(ctx, []string{"doc-1"}, nil)
	require.NoError(t, err)
	_, err = ro.Refresh(ctx)
	require.NoError(t, err)
	require.Same(t, had, ro.cur.segs[0].f)
	changed, err = ro.Refresh(ctx)
	require.NoError(t, err)
	require.False(t, changed)
	changed, err = ix.Refresh(ctx)
	require.NoError(t, err)
	require.False(t, changed, "a writer knows")

	// A reader goes on with what it has when the newest commit is damaged.
	want := dumpNow(t, ro)
	mustAdd(t, ix, documents(77, 3)...)
	name := filepath.Join(dir, manifestName(ix.Generation()))
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, b[:len(b)-9], 0o666))
	_, err = ro.Refresh(ctx)
	require.ErrorIs(t, err, ErrCorrupt)
	require.Equal(t, want, dumpNow(t, ro))
	require.NoError(t, os.WriteFile(name, b, 0o666))
	_, err = ro.Refresh(ctx)
	require.NoError(t, err)

	require.NoError(t, ro.Close())
	_, err = ro.Refresh(ctx)
	require.ErrorIs(t, err, ErrClosed)
	require.Zero(t, ro.Generation())
	require.NoError(t, ix.Close())
	_, err = ix.Refresh(ctx)
	require.ErrorIs(t, err, ErrClosed)
}

// TestManySmallAdds: segments stay few, and what that costs is bounded.
func TestManySmallAdds(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Codebook: testBook(t, 4), fs: &hookFS{}})
	r := newRand(1)
	model := map[string]Document{}
	n, most := 1000, 0
	if testing.Short() {
		n = 400
	}
	written := uint64(0)
	had := map[string]bool{}
	for i := range n {
		d := Document{ID: fmt.Sprint(i), Vectors: vectors(r, 60, testDim)}
		model[d.ID] = d
		_, err := ix.Add(ctx, seq([]Document{d}), nil)
		require.NoError(t, err)
		in := ix.Info()
		most = max(most, len(in.Segments))
		for _, s := range in.Segments {
			if !had[s.Name] {
				had[s.Name] = true
				written += s.Tokens
			}
		}
		if i%10 == 9 {
			_, err := ix.Delete(ctx, []string{fmt.Sprint(i - 5)}, nil)
			require.NoError(t, err)
			delete(model, fmt.Sprint(i-5))
		}
	}
	tokens := snapshot(t, ix).NumTokens()
	t.Logf("%d adds of 60 tokens: at most %d segments, now %d, each token written %.1f times", n, most, len(ix.Info().Segments), float64(written)/float64(tokens))
	require.LessOrEqual(t, most, 21)
	requireModel(t, snapshot(t, ix), &Options{Codebook: testBook(t, 4)}, model)
	require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
	// The dead do not pile up.
	var ids []string
	for id := range model {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids[:len(ids)*3/4] {
		_, err := ix.Delete(ctx, []string{id}, nil)
		require.NoError(t, err)
		delete(model, id)
	}
	in := ix.Info()
	require.LessOrEqual(t, in.Deleted, in.Documents+100, "documents are of equal length")
	requireModel(t, snapshot(t, ix), &Options{Codebook: testBook(t, 4)}, model)
	_, err := ix.MaybeCompact(ctx)
	require.NoError(t, err)
	_, err = Check(ctx, dir)
	require.NoError(t, err)
}

func TestTiers(t *testing.T) {
	cb := testBook(t, 4)
	segs := func(live ...uint64) (out []*Segment) {
		for i, n := range live {
			out = append(out, &Segment{cb: cb, own: cb, number: uint64(i), live: n, f: &segFile{toc: &toc{tokens: n}}})
		}
		return out
	}
	sizes := func(plan []merging) (out [][]uint64) {
		for _, g := range plan {
			var v []uint64
			for _, s := range g.segs {
				v = append(v, s.live)
			}
			out = append(out, v)
		}
		return out
	}
	const most = 1 << 20
	require.Empty(t, planTiers(nil, most))
	require.Empty(t, planTiers(segs(1, 2, 3, 4, 5, 6, 7), most))
	require.Equal(t, [][]uint64{{1, 2, 3, 4, 5, 6, 7, 8}}, sizes(planTiers(segs(1, 2, 3, 4, 5, 6, 7, 8), most)))
	require.Empty(t, planTiers(segs(5000, 5000, 5000, 1, 1), most))
	require.Equal(t, [][]uint64{{5000, 5000, 5000, 5000, 5000, 5000, 5000, 4000, 4000, 1, 1, 1, 1, 1, 1}},
		sizes(planTiers(segs(5000, 5000, 5000, 5000, 5000, 5000, 5000, 4000, 4000, 1, 1, 1, 1, 1, 1), most)), "a tier that the one below fills")
	require.Empty(t, planTiers(segs(most, most, most, most, most, most, most, most, most), most))
	require.Equal(t, [][]uint64{{400_000, 400_000}}, sizes(planTiers(segs(400_000, 400_000, 400_000, 400_000, 400_000, 400_000, 400_000, 400_000), most)))
	half := segs(100_000, 10)
	half[0].f.toc.tokens = 200_001
	require.Equal(t, [][]uint64{{100_000}}, sizes(planTiers(half, most)), "more than half dead")
}

// TestGrowsFromNothing: an index that begins with one document and grows by one at a time does not stay with
// the codebook of the first.
func TestGrowsFromNothing(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, fs: &hookFS{}})
	r := newRand(1)
	n := 400
	if testing.Short() {
		n = 100
	}
	for i := range n {
		_, err := ix.Add(ctx, seq([]Document{{ID: fmt.Sprint(i), Vectors: vectors(r, 40, testDim)}}), nil)
		require.NoError(t, err)
	}
	in := ix.Info()
	tokens := in.Tokens
	newest := in.Codebooks[len(in.Codebooks)-1]
	require.Greater(t, 4*newest.Centroids, quant.NumCentroids(tokens)/2)
	require.Len(t, in.Codebooks, 1, "nothing is left of the first ones")
	t.Logf("%d tokens: %d centroids in %d codebooks, %d segments", tokens, newest.Centroids, len(in.Codebooks), len(in.Segments))
	before := snapshot(t, ix).NumDocs()
	_, err := ix.Compact(ctx, &CompactOptions{Retrain: true})
	require.NoError(t, err)
	in = ix.Info()
	require.Len(t, in.Codebooks, 1)
	require.Len(t, in.Segments, 1)
	require.Equal(t, quant.NumCentroids(tokens), in.Codebooks[0].Centroids)
	require.Equal(t, tokens, in.Codebooks[0].TrainTokens)
	require.Equal(t, before, snapshot(t, ix).NumDocs())
	_, err = Check(ctx, dir)
	require.NoError(t, err)
	fixed, _ := create(t, &Options{Codebook: testBook(t, 4)})
	_, err = fixed.Compact(ctx, &CompactOptions{Retrain: true})
	require.ErrorIs(t, err, ErrFixedCodebook)
}

// topical gives documents about one of many topics.
func topical(seed uint64, n, dim int, prefix string, from, topics int) []Document {
	r := newRand(seed)
	docs := make([]Document, n)
	for i := range docs {
		m := maxsim.New(10+r.IntN(20), dim)
		for k := range m.Rows {
			tr := newRand(uint64(1000 + from + r.IntN(topics)))
			for j := range m.Row(k) {
				m.Row(k)[j] = float32(tr.NormFloat64()) + .6*float32(r.NormFloat64())
			}
		}
		docs[i] = Document{ID: fmt.Sprint(prefix, i), Vectors: m}
	}
	return docs
}

// TestCodebookIsExtended: a new topic brings new centroids and leaves the old numbers as they are, be it in
// one Add or in many.
func TestCodebookIsExtended(t *testing.T) {
	ctx := context.Background()
	const dim = 32
	for _, per := range []int{100, 5} {
		t.Run(fmt.Sprint("per=", per), func(t *testing.T) {
			ix, dir := create(t, &Options{Dim: dim, NBits: 4, fs: &hookFS{}})
			mustAdd(t, ix, topical(1, 200, dim, "a", 0, 300)...)
			old := ix.cur.segs[0].own
			before := dumpNow(t, ix)
			mustAdd(t, ix, topical(2, 30, dim, "b", 0, 300)...) // nothing new
			require.Len(t, ix.Info().Codebooks, 1)
			for batch := range slices.Chunk(topical(3, 100, dim, "c", 400, 200), per) {
				mustAdd(t, ix, batch...)
			}
			in := ix.Info()
			book, own := ix.cur.trained()
			if per == 100 {
				require.Nil(t, own, "enough at once")
			}
			newest := ix.cur.books[book.ID]
			require.True(t, newest.Extends(old))
			require.Greater(t, newest.K(), old.K()+old.K()/20)
			for _, s := range ix.cur.segs {
				if old.Extends(s.own) || newest.Extends(s.own) {
					require.Same(t, newest, s.cb, "one codebook to search with")
				} else {
					require.Less(t, s.live, uint64(maxGathered), "few documents wait for a codebook")
				}
			}
			after := dumpNow(t, ix)
			for id, v := range withoutNorms(before) {
				if id != "" {
					require.Equal(t, v, withoutNorms(after)[id], "coded as it was")
				}
			}
			t.Logf("%d centroids, then %d in %d versions", old.K(), newest.K(), len(in.Codebooks))
			// It survives a reopening, and a compaction makes one segment of all.
			require.NoError(t, ix.Close())
			ix, err := Open(ctx, dir, nil)
			require.NoError(t, err)
			defer ix.Close()
			require.Equal(t, after, dumpNow(t, ix))
			res, err := ix.Compact(ctx, nil)
			require.NoError(t, err)
			require.LessOrEqual(t, res.After, 2)
			require.Zero(t, res.Recoded)
			require.Equal(t, withoutNorms(after), withoutNorms(dumpNow(t, ix)))
			res, err = ix.Compact(ctx, &CompactOptions{Recode: true})
			require.NoError(t, err)
			require.Equal(t, 1, res.After)
			require.Len(t, ix.Info().Codebooks, 1)
			require.Equal(t, newest.ID(), ix.Info().Codebooks[0].ID)
			_, err = Check(ctx, dir)
			require.NoError(t, err)
		})
	}
}

func TestMergeShards(t *testing.T) {
	ctx := context.Background()
	cb := testBook(t, 2)
	var dirs []string
	want := map[string]Document{}
	for i := range 3 {
		ix, dir := create(t, &Options{Codebook: cb, AllowEmpty: true, Attributes: map[string]string{"model": "m"}})
		docs := documents(uint64(i), 30)
		for j := range docs {
			docs[j].ID = fmt.Sprint(i, "-", docs[j].ID)
			want[docs[j].ID] = docs[j]
		}
		addApart(t, ix, docs, 11)
		gone := fmt.Sprint(i, "-doc-7")
		_, err := ix.Delete(ctx, []string{gone}, nil)
		require.NoError(t, err)
		delete(want, gone)
		require.NoError(t, ix.Close())
		dirs = append(dirs, dir)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	res, err := Merge(ctx, dst, dirs, nil)
	require.NoError(t, err)
	require.Equal(t, len(want), res.Added)
	ix, err := Open(ctx, dst, nil)
	require.NoError(t, err)
	defer ix.Close()
	requireModel(t, snapshot(t, ix), &Options{Codebook: cb, AllowEmpty: true}, want)
	require.Len(t, ix.Info().Segments, 1)
	require.Equal(t, map[string]string{"model": "m"}, ix.Attributes())
	_, err = Check(ctx, dst)
	require.NoError(t, err)

	_, err = ix.Merge(ctx, dirs[:1], nil)
	require.ErrorIs(t, err, ErrDuplicateID)
	gen := ix.Generation()
	res, err = ix.Merge(ctx, dirs[1:], &MergeOptions{Upsert: true})
	require.NoError(t, err)
	require.Equal(t, 58, res.Replaced)
	require.Equal(t, gen+1, ix.Generation())
	requireModel(t, snapshot(t, ix), &Options{Codebook: cb, AllowEmpty: true}, want)

	other, odir := create(t, &Options{Dim: testDim, NBits: 4})
	docs := documents(50, 20)
	mustAdd(t, other, docs...)
	require.NoError(t, other.Close())
	before := dumpNow(t, ix)
	_, err = ix.Merge(ctx, []string{odir}, nil)
	require.ErrorIs(t, err, ErrCodebookMismatch)
	require.Equal(t, before, dumpNow(t, ix))
	res, err = ix.Merge(ctx, []string{odir}, &MergeOptions{Recode: true})
	require.NoError(t, err)
	require.Equal(t, 20, res.Added)
	require.Equal(t, len(want)+20, snapshot(t, ix).NumDocs())
	wide, wdir := create(t, &Options{Dim: 2 * testDim})
	require.NoError(t, wide.Close())
	_, err = ix.Merge(ctx, []string{wdir}, &MergeOptions{Recode: true})
	require.ErrorIs(t, err, ErrCodebookMismatch)
	_, err = ix.Merge(ctx, []string{filepath.Join(dst, "nowhere")}, nil)
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Merge(ctx, filepath.Join(t.TempDir(), "x"), nil, nil)
	require.ErrorIs(t, err, ErrInvalidOptions)
	_, err = Check(ctx, dst)
	require.NoError(t, err)
}

// TestMergeTakesOver: an index without a codebook takes its sources', and then one that extends it.
func TestMergeTakesOver(t *testing.T) {
	ctx := context.Background()
	src, sdir := create(t, &Options{Dim: 32})
	mustAdd(t, src, topical(1, 200, 32, "a", 0, 300)...)
	first, _ := create(t, &Options{Dim: 32})
	_, err := first.Merge(ctx, []string{sdir}, nil)
	require.NoError(t, err)
	require.Equal(t, dumpNow(t, src), dumpNow(t, first))
	mustAdd(t, src, topical(3, 100, 32, "c", 400, 200)...)
	require.Len(t, src.Info().Codebooks, 2)
	_, err = first.Merge(ctx, []string{sdir}, &MergeOptions{Upsert: true})
	require.NoError(t, err)
	require.Equal(t, withoutNorms(dumpNow(t, src)), withoutNorms(dumpNow(t, first)))
	_, err = first.Add(ctx, seq(topical(4, 5, 32, "d", 0, 300)), nil)
	require.NoError(t, err)
}

func TestInfoText(t *testing.T) {
	ix, _ := create(t, &Options{Codebook: testBook(t, 4), Attributes: map[string]string{"model": "m"}})
	addApart(t, ix, documents(1, 20), 10)
	text := ix.Info().String()
	for _, want := range []string{"documents", "tokens", "model", "residuals", "bytes per token", "seg-0000000000000002.gbs", "codebook", "centroids", "100.0%"} {
		require.Contains(t, text, want)
	}
	require.Equal(t, 4, strings.Count(text, "\n\n")+1)
	require.NotPanics(t, func() { _ = Info{}.String() })
	var b strings.Builder
	n, err := ix.Info().WriteTo(&b)
	require.NoError(t, err)
	require.Equal(t, int64(b.Len()), n)
	require.Equal(t, text, b.String())
	require.Equal(t, "9999 B", humanBytes(9999))
	require.Equal(t, "12.3 MB", humanBytes(12_345_678))
}
