package index

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/quant"
)

// testBook trains a codebook on vectors like those of documents.
func testBook(t testing.TB, nbits int) *quant.Codebook {
	t.Helper()
	cb, err := quant.Train(context.Background(), vectors(newRand(99), 800, testDim), &quant.TrainOptions{NBits: nbits, Centroids: 32})
	require.NoError(t, err)
	return cb
}

// addApart adds documents in several commits that are not merged.
func addApart(t testing.TB, ix *Index, docs []Document, per int) {
	t.Helper()
	for len(docs) > 0 {
		n := min(per, len(docs))
		_, err := ix.Add(context.Background(), seq(docs[:n]), &AddOptions{Upsert: true, NoCompact: true})
		require.NoError(t, err)
		docs = docs[n:]
	}
}

func dumpNow(t testing.TB, ix *Index) map[string]string {
	t.Helper()
	s, err := ix.Snapshot()
	require.NoError(t, err)
	defer s.Close()
	d, err := dump(s)
	require.NoError(t, err)
	return d
}

// withoutNorms drops the inverse norms, which are stored in 8 bits of each segment's own range.
func withoutNorms(d map[string]string) map[string]string {
	out := make(map[string]string, len(d))
	for id, v := range d {
		if i := strings.LastIndex(v, "] ["); i >= 0 {
			v = v[:i]
		}
		out[id] = v
	}
	return out
}

// TestCompactIsOneAdd: a compacted index is, byte for byte, what one Add of the live documents makes.
func TestCompactIsOneAdd(t *testing.T) {
	ctx := context.Background()
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		t.Run(fmt.Sprint("nbits=", nbits), func(t *testing.T) {
			cb := testBook(t, nbits)
			o := &Options{Codebook: cb, AllowEmpty: true, fs: &hookFS{}}
			docs := documents(uint64(nbits), 90)
			docs[5].Vectors.Data, docs[5].Vectors.Rows = nil, 0
			clear(docs[7].Vectors.Row(0))
			ix, dir := create(t, o)
			addApart(t, ix, docs, 7)
			var gone []string
			var live []Document
			for i, d := range docs {
				if i%4 == 1 && i != 5 {
					gone = append(gone, d.ID)
				} else {
					live = append(live, d)
				}
			}
			_, err := ix.Delete(ctx, gone, &DeleteOptions{NoCompact: true})
			require.NoError(t, err)
			before := dumpNow(t, ix)
			res, err := ix.Compact(ctx, nil)
			require.NoError(t, err)
			require.Equal(t, CompactResult{Before: 13, After: 1, Merged: 13, Dropped: len(gone), Written: snapshot(t, ix).NumTokens()}, res)
			require.Equal(t, withoutNorms(before), withoutNorms(dumpNow(t, ix)))
			_, err = Check(ctx, dir)
			require.NoError(t, err)
			require.Len(t, listing(t, dir), 3, "manifest, codebook, segment")

			one, _ := create(t, o)
			mustAdd(t, one, live...)
			a, b := ix.cur.segs[0].f, one.cur.segs[0].f
			for kind := range a.secs {
				x, y := a.secs[kind], b.secs[kind]
				require.Equal(t, x.width, y.width, sectionName(uint32(kind)))
				require.True(t, bytes.Equal(a.data[x.off:x.off+x.len], b.data[y.off:y.off+y.len]), sectionName(uint32(kind)))
			}
			require.Equal(t, a.toc.normLo, b.toc.normLo)
			require.Equal(t, a.toc.normHi, b.toc.normHi)
			require.InDelta(t, a.toc.residual, b.toc.residual, .05)

			res, err = ix.Compact(ctx, nil)
			require.NoError(t, err)
			require.Equal(t, 1, res.After)
		})
	}
}

// TestCompactSizes: outputs keep to the size asked for, and what is large and whole is left alone.
func TestCompactSizes(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Codebook: testBook(t, 4), fs: &hookFS{}})
	docs := documents(1, 200)
	addApart(t, ix, docs, 5)
	before := dumpNow(t, ix)
	res, err := ix.Compact(ctx, &CompactOptions{SegmentTokens: 300})
	require.NoError(t, err)
	require.Equal(t, 40, res.Merged)
	require.Equal(t, withoutNorms(before), withoutNorms(dumpNow(t, ix)))
	in := ix.Info()
	for _, s := range in.Segments[:len(in.Segments)-1] {
		require.GreaterOrEqual(t, s.Tokens, uint64(300))
		require.Less(t, s.Tokens, uint64(300+12))
	}
	res, err = ix.Compact(ctx, &CompactOptions{SegmentTokens: 300})
	require.NoError(t, err)
	require.Zero(t, res.Merged)
	_, err = ix.Compact(ctx, &CompactOptions{SegmentTokens: -1})
	require.ErrorIs(t, err, ErrInvalidOptions)

	// Everything deleted: nothing is left, be it merged or not.
	var all []string
	for _, d := range docs[1:] {
		all = append(all, d.ID)
	}
	_, err = ix.Delete(ctx, all, nil)
	require.NoError(t, err)
	_, err = ix.Compact(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, 1, snapshot(t, ix).NumDocs())
	_, err = ix.Delete(ctx, []string{"doc-0"}, nil)
	require.NoError(t, err)
	res, err = ix.Compact(ctx, nil)
	require.NoError(t, err)
	require.Equal(t, CompactResult{}, res)
	_, err = Check(ctx, dir)
	require.NoError(t, err)

	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	_, err = ro.Compact(ctx, nil)
	require.ErrorIs(t, err, ErrReadOnly)
	require.NoError(t, ro.Close())
	_, err = ro.Compact(ctx, nil)
	require.ErrorIs(t, err, ErrClosed)
	require.NoError(t, ix.Close())
	_, err = ix.MaybeCompact(ctx)
	require.ErrorIs(t, err, ErrClosed)
}

// TestCompactAndWriters has a compaction find, when it comes to commit, that documents were added, replaced
// and deleted meanwhile.
func TestCompactAndWriters(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Codebook: testBook(t, 4), fs: &hookFS{}})
	docs := documents(1, 60)
	addApart(t, ix, docs, 6)
	s, err := ix.Snapshot()
	require.NoError(t, err)
	old, err := dump(s)
	require.NoError(t, err)
	var first []string // all of the first segment
	for _, d := range docs[:6] {
		first = append(first, d.ID)
	}
	done := false
	res, err := ix.Compact(ctx, &CompactOptions{SegmentTokens: 100, Progress: func(p Progress) {
		if done || p.Stage != "write" {
			return
		}
		done = true
		_, err := ix.Delete(ctx, append(first, "doc-20", "doc-59"), nil)
		require.NoError(t, err)
		again := documents(7, 45)[40:]
		again = append(again, document(newRand(3), "new"))
		_, err = ix.Add(ctx, seq(again), &AddOptions{Upsert: true})
		require.NoError(t, err)
		now, err := dump(s)
		require.NoError(t, err)
		require.Equal(t, old, now, "a snapshot is fixed")
	}})
	require.NoError(t, err)
	require.True(t, done)
	require.Equal(t, 8, res.Merged, "two were large enough")
	model := map[string]Document{}
	for _, d := range docs[6:59] {
		model[d.ID] = d
	}
	delete(model, "doc-20")
	for _, d := range documents(7, 45)[40:] {
		model[d.ID] = d
	}
	model["new"] = document(newRand(3), "new")
	requireModel(t, snapshot(t, ix), &Options{Dim: testDim, Codebook: testBook(t, 4)}, model)
	now, err := dump(s)
	require.NoError(t, err)
	require.Equal(t, old, now)
	require.NoError(t, s.Close())
	_, err = Check(ctx, dir)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	requireModel(t, snapshot(t, ix), &Options{Dim: testDim, Codebook: testBook(t, 4)}, model)
	require.NoError(t, ix.Close())
}

// TestCompactCancel: wherever it is stopped, nothing has happened.
func TestCompactCancel(t *testing.T) {
	for _, stage := range []string{"train", "write", "commit"} {
		ctx, cancel := context.WithCancel(context.Background())
		ix, dir := create(t, &Options{Dim: testDim, fs: &hookFS{}})
		addApart(t, ix, documents(1, 60), 10)
		before, files := dumpNow(t, ix), listing(t, dir)
		_, err := ix.Compact(ctx, &CompactOptions{Retrain: true, Progress: func(p Progress) {
			if p.Stage == stage {
				cancel()
			}
		}})
		require.ErrorIs(t, err, context.Canceled, stage)
		require.Equal(t, before, dumpNow(t, ix))
		require.Equal(t, files, listing(t, dir))
		_, err = ix.Compact(context.Background(), nil)
		require.NoError(t, err)
		require.Equal(t, withoutNorms(before), withoutNorms(dumpNow(t, ix)))
		// Close stops it, too.
		addApart(t, ix, documents(2, 30), 10)
		_, err = ix.Compact(context.Background(), &CompactOptions{Progress: func(Progress) { _ = ix.Close() }})
		require.ErrorIs(t, err, ErrClosed)
		ix, err = Open(context.Background(), dir, nil)
		require.NoError(t, err)
		require.NoError(t, ix.Close())
	}
}

// workload changes an index in all ways. It stops at the first error.
func workload(ix *Index, step int) error {
	ctx := context.Background()
	r := newRand(uint64(step))
	switch step {
	case 0, 1, 2:
		_, err := ix.Add(ctx, seq(documents(uint64(step), 8+8*step)), &AddOptions{Upsert: true, NoCompact: true})
		return err
	case 3:
		_, err := ix.Delete(ctx, []string{"doc-3", "doc-11"}, nil)
		return err
	case 4:
		_, err := ix.Update(ctx, Batch{Delete: []string{"doc-4", "doc-5"}, Add: seq([]Document{document(r, "doc-4"), document(r, "doc-9"), document(r, "x")})}, nil)
		return err
	case 5:
		_, err := ix.Compact(ctx, nil)
		return err
	case 6:
		for i := range 9 { // the last merges
			if _, err := ix.Add(ctx, seq([]Document{document(r, fmt.Sprint("y", i))}), nil); err != nil {
				return err
			}
		}
		return nil
	case 7:
		_, err := ix.Compact(ctx, &CompactOptions{Retrain: true})
		return err
	}
	return nil
}

// TestCrashOfMaintenance looks at the directory as a killed process leaves it, at every call that changes
// the disk: the last acknowledged commit is there, or the one under way.
func TestCrashOfMaintenance(t *testing.T) {
	ctx := context.Background()
	h := &hookFS{}
	ix, dir := create(t, &Options{Dim: testDim, Seed: 1, fs: h})
	known := map[uint64]string{} // by generation
	points := 0
	name := func(d map[string]string) string { return fmt.Sprint(d) }
	type image struct {
		files map[string][]byte
		gen   uint64
		at    string
	}
	var images []image
	var busy atomic.Bool
	h.before = func(op, what string) error {
		if !busy.CompareAndSwap(false, true) {
			return nil
		}
		defer busy.Store(false)
		m := &memFS{files: map[string][]byte{}}
		for _, n := range listing(t, dir) {
			b, err := os.ReadFile(filepath.Join(dir, n))
			require.NoError(t, err)
			m.files[n] = b
		}
		images = append(images, image{m.files, ix.Generation(), op + " " + what})
		return nil
	}
	known[ix.Generation()] = name(dumpNow(t, ix))
	for step := range 8 {
		require.NoError(t, workload(ix, step), step)
		known[ix.Generation()] = name(dumpNow(t, ix))
	}
	for _, im := range images {
		m := &memFS{files: im.files}
		got, err := Open(ctx, "mem", &OpenOptions{ReadOnly: true, fs: m})
		require.NoError(t, err, im.at)
		s, err := got.Snapshot()
		require.NoError(t, err)
		d, err := dump(s)
		require.NoError(t, err, im.at)
		gen := s.Generation()
		require.True(t, gen == im.gen || gen == im.gen+1, im.at)
		if want, ok := known[gen]; ok { // some generations are between two steps
			require.Equal(t, want, name(d), im.at)
		}
		require.NoError(t, s.Close())
		require.NoError(t, got.Close())
		points++
	}
	require.Greater(t, points, 100)
	t.Logf("crash_points=%d lost=0", points)
}

// TestFaultOfMaintenance fails each call that changes the disk in turn.
func TestFaultOfMaintenance(t *testing.T) {
	ctx := context.Background()
	boom := errors.New("disk on fire")
	stride := 1
	if testing.Short() {
		stride = 7
	}
	faults := 0
	for at := 0; ; at += stride {
		n, hit := 0, ""
		h := &hookFS{}
		ix, dir := create(t, &Options{Dim: testDim, Seed: 1, fs: h})
		h.before = func(op, name string) error {
			if op == "remove" { // covered elsewhere: does no harm
				return nil
			}
			if n++; n-1 == at {
				hit = op + " " + name
				return boom
			}
			return nil
		}
		want := dumpNow(t, ix)
		for step := range 8 {
			err := workload(ix, step)
			if hit != "" {
				require.ErrorIs(t, err, boom, hit)
				if step != 6 { // several commits
					require.Equal(t, want, dumpNow(t, ix), "after %s", hit)
				}
				break
			}
			require.NoError(t, err)
			want = dumpNow(t, ix)
		}
		h.before = nil
		require.NoError(t, ix.Close())
		if hit == "" {
			break
		}
		faults++
		ix, err := Open(ctx, dir, &OpenOptions{fs: h})
		require.NoError(t, err, hit)
		require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()), hit)
		_, err = ix.Compact(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, ix.Close())
		_, err = Check(ctx, dir)
		require.NoError(t, err, hit)
	}
	t.Logf("faults=%d lost=0", faults)
}

// TestCompactUnderReaders compacts beside readers and writers; run it with -race.
func TestCompactUnderReaders(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Codebook: testBook(t, 4), SegmentTokens: 200, fs: &hookFS{}})
	addApart(t, ix, documents(1, 40), 8)
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	var wg sync.WaitGroup
	stop := make(chan struct{})
	var looks atomic.Int64
	for w := range 3 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				from := ix
				if w == 2 {
					from = ro
					if _, err := ro.Refresh(ctx); err != nil {
						t.Error(err)
						return
					}
				}
				s, err := from.Snapshot()
				if err != nil {
					t.Error(err)
					return
				}
				if d, err := dump(s); err != nil || len(d) != s.NumDocs()+1 {
					t.Error(len(d), s.NumDocs(), err)
				}
				_ = s.Close()
				looks.Add(1)
			}
		})
	}
	model := map[string]Document{}
	for _, d := range documents(1, 40) {
		model[d.ID] = d
	}
	var compactions atomic.Int64
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			var err error
			if compactions.Add(1)%2 == 0 {
				_, err = ix.Compact(ctx, &CompactOptions{SegmentTokens: 150})
			} else {
				_, err = ix.MaybeCompact(ctx)
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	r := rand.New(rand.NewPCG(1, 1))
	for i := range 60 {
		next := maps.Clone(model)
		b := Batch{}
		for range r.IntN(4) {
			id := fmt.Sprint("doc-", r.IntN(60))
			if _, ok := next[id]; ok {
				delete(next, id)
				b.Delete = append(b.Delete, id)
			}
		}
		var add []Document
		for range r.IntN(4) {
			d := document(newRand(uint64(1000+i)), fmt.Sprint("doc-", r.IntN(60)))
			next[d.ID] = d
			add = append(add, d)
		}
		b.Add = seq(add)
		_, err := ix.Update(ctx, b, nil)
		require.NoError(t, err)
		model = next
	}
	close(stop)
	wg.Wait()
	require.Positive(t, looks.Load())
	requireModel(t, snapshot(t, ix), &Options{Dim: testDim, Codebook: testBook(t, 4)}, model)
	_, err = ro.Refresh(ctx)
	require.NoError(t, err)
	requireModel(t, snapshot(t, ro), &Options{Dim: testDim, Codebook: testBook(t, 4)}, model)
	require.NoError(t, ro.Close())
	_, err = Check(ctx, dir)
	require.NoError(t, err)
	t.Logf("looks=%d compactions=%d", looks.Load(), compactions.Load())
}
