package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// The input contract, row by row, and the tests of each:
//
//	no documents                        TestEmptyIndex; plaid TestEmptyIndexes
//	one document, one token             TestOneDocumentOneToken; plaid the same
//	a document without tokens           TestEmptyDocument
//	a huge document                     TestHugeDocument; plaid TestLongDocument
//	wrong dimension, ragged             TestBadVectors; plaid TestBadInput
//	NaN, Inf, beyond float16            TestBadVectors; plaid TestBadInput
//	vectors of zeros, denormals         TestZeroVectorsAndExtremeLengths; plaid TestZeroVectorsAndHugeQueries
//	not of unit length                  TestNormPolicyIsStored, TestBadVectors
//	ids twice, upsert                   TestDuplicateIDs, TestWholeSegmentReplacedInOneAdd
//	ids of any content                  TestIDs
//	k of 0, below, above the documents  plaid TestBadInput, TestNeverCutShort
//	queries without tokens, too long    plaid TestBadInput, TestLongestQuery
//	all deleted, nothing fits a filter  TestDelete; plaid TestEmptyFilterIsEmpty
//	equal scores                        plaid TestTiesOrderByID; TestMergeShards
//	too many documents                  TestTooManyDocuments
//	Close beside a search               TestSnapshotIsFixed, TestCloseDuringAdd; plaid TestCloseWhileSearching
//	read-only, no locks, Windows        TestReadOnlyWritesNothing, TestCrashRandomWorkloads (one seed in seven)

func TestEmptyIndex(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	res, err := ix.Add(ctx, seq(nil), nil)
	require.NoError(t, err)
	require.Equal(t, AddResult{}, res)
	require.NoError(t, ix.Close())
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	s := snapshot(t, ix)
	require.Zero(t, s.NumDocs())
	require.Zero(t, s.NumTokens())
	require.Empty(t, s.Segments())
	require.Equal(t, testDim, s.Dim())
	_, _, ok := s.Lookup("x")
	require.False(t, ok)
	rep, err := Check(ctx, dir)
	require.NoError(t, err)
	require.Zero(t, rep.Documents)
	require.NoError(t, ix.Close())
}

func TestOneDocumentOneToken(t *testing.T) {
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		ix, dir := create(t, &Options{Dim: testDim, NBits: nbits})
		d := Document{ID: "only", Vectors: vectors(newRand(1), 1, testDim)}
		require.Equal(t, AddResult{Added: 1, Tokens: 1}, mustAdd(t, ix, d))
		s := snapshot(t, ix)
		seg := s.Segments()[0]
		require.Equal(t, 1, seg.Codebook().K())
		requireModel(t, s, &Options{Dim: testDim, NBits: nbits}, map[string]Document{"only": d})
		codes, err := seg.Codes(nil, 0)
		require.NoError(t, err)
		res, err := seg.Residuals(0)
		require.NoError(t, err)
		vec := make([]float32, testDim)
		seg.Codebook().Decode(vec, codes, res)
		for _, v := range vec {
			require.False(t, math.IsNaN(float64(v)))
		}
		in := ix.Info()
		require.Less(t, in.Bytes.Total, int64(5000), "a segment of one document is small")
		require.NoError(t, ix.Close())
		_, err = Check(context.Background(), dir)
		require.NoError(t, err)
	}
}

func TestEmptyDocument(t *testing.T) {
	ctx := context.Background()
	ix, _ := create(t, nil)
	_, err := ix.Add(ctx, seq([]Document{document(newRand(1), "a"), {ID: "void"}}), nil)
	require.ErrorIs(t, err, ErrEmptyDocument)
	require.ErrorContains(t, err, `"void" (number 1 of the batch)`)
	require.Zero(t, snapshot(t, ix).NumDocs())

	o := &Options{Dim: testDim, AllowEmpty: true}
	ix, dir := create(t, o)
	model := map[string]Document{"void": {ID: "void", Text: "t"}, "none": {ID: "none"}}
	mustAdd(t, ix, model["void"], model["none"]) // nothing to train a codebook on
	requireModel(t, snapshot(t, ix), o, model)
	d := document(newRand(1), "full")
	model["full"] = d
	mustAdd(t, ix, d)
	s := snapshot(t, ix)
	requireModel(t, s, o, model)
	require.NotEqual(t, s.Segments()[0].Codebook().ID(), s.Segments()[1].Codebook().ID(), "a codebook is trained once there are tokens")
	require.NoError(t, ix.Close())
	_, err = Check(ctx, dir)
	require.NoError(t, err)
}

func TestHugeDocument(t *testing.T) {
	ctx := context.Background()
	o := &Options{Dim: 4, MaxDocTokens: 30_000}
	ix, _ := create(t, o)
	big := Document{ID: "big", Vectors: vectors(newRand(1), 30_000, 4), Text: strings.Repeat("long text ", 20_000)}
	mustAdd(t, ix, big)
	requireModel(t, snapshot(t, ix), o, map[string]Document{"big": big})
	_, err := ix.Add(ctx, seq([]Document{{ID: "bigger", Vectors: vectors(newRand(1), 30_001, 4)}}), nil)
	require.ErrorIs(t, err, ErrTooManyTokens)
	require.ErrorContains(t, err, "30001 tokens, at most 30000")

	_, err = Create(ctx, t.TempDir(), &Options{Dim: 4, MaxDocTokens: HardMaxDocTokens + 1})
	require.ErrorIs(t, err, ErrInvalidOptions)
	ix, _ = create(t, &Options{Dim: 4})
	require.Equal(t, 65535, ix.opts.MaxDocTokens)
}

func TestBadVectors(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	with := func(v float32) maxsim.Matrix {
		m := vectors(newRand(3), 3, testDim)
		m.Row(2)[5] = v
		return m
	}
	for _, c := range []struct {
		name string
		o    Options
		m    maxsim.Matrix
		is   error
		says string
	}{
		{"dimension", Options{}, vectors(newRand(1), 2, testDim+1), maxsim.ErrDim, "dimension 17, the index has 16"},
		{"ragged", Options{}, maxsim.Matrix{Data: make([]float32, 2*testDim-1), Rows: 2, Dim: testDim}, maxsim.ErrDim, "31 values"},
		{"overflowing shape", Options{}, maxsim.Matrix{Data: nil, Rows: 1 << 62, Dim: 4}, maxsim.ErrDim, ""},
		{"negative rows", Options{}, maxsim.Matrix{Rows: -1, Dim: testDim}, maxsim.ErrDim, ""},
		{"NaN", Options{}, with(nan), maxsim.ErrNotFinite, "token 2, dimension 5"},
		{"Inf", Options{}, with(inf), maxsim.ErrNotFinite, "token 2, dimension 5"},
		{"-Inf", Options{}, with(-inf), maxsim.ErrNotFinite, "token 2, dimension 5"},
		{"float16 overflow", Options{NBits: 16, Normalize: AsIs}, with(70000), maxsim.ErrNotFinite, "token 2: dimension 5"},
		{"not normalised", Options{Normalize: RequireNormalized}, with(9), ErrNotNormalized, "token 0: length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Dim = testDim
			ix, dir := create(t, &c.o)
			good := document(newRand(1), "good")
			good.Vectors.Normalize()
			mustAdd(t, ix, good)
			before := listing(t, dir)
			other := document(newRand(2), "other")
			other.Vectors.Normalize()
			_, err := ix.Add(context.Background(), seq([]Document{other, {ID: "bad", Vectors: c.m}, other}), nil)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.says)
			var de *DocumentError
			require.ErrorAs(t, err, &de)
			require.Equal(t, "bad", de.ID)
			require.Equal(t, 1, de.Position)
			// The whole batch is refused.
			require.Equal(t, 1, snapshot(t, ix).NumDocs())
			require.Equal(t, before, listing(t, dir))
		})
	}
}

func TestZeroVectorsAndExtremeLengths(t *testing.T) {
	m := vectors(newRand(1), 6, testDim)
	clear(m.Row(0))
	for j := range testDim {
		m.Row(1)[j] *= 1e30 // squares overflow float32
		m.Row(2)[j] *= 1e-30
		m.Row(3)[j] = math.SmallestNonzeroFloat32 // denormal
	}
	for _, nbits := range []int{1, 4, 16} {
		ix, _ := create(t, &Options{Dim: testDim, NBits: nbits})
		mustAdd(t, ix, Document{ID: "a", Vectors: m})
		seg := snapshot(t, ix).Segments()[0]
		codes, err := seg.Codes(nil, 0)
		require.NoError(t, err)
		res, err := seg.Residuals(0)
		require.NoError(t, err)
		inv, err := seg.InvNorms(nil, 0)
		require.NoError(t, err)
		vec := make([]float32, 6*testDim)
		seg.Codebook().Decode(vec, codes, res)
		for i := range 6 {
			var sum float64
			for _, v := range vec[i*testDim : (i+1)*testDim] {
				sum += float64(v) * float64(v)
			}
			if i == 0 && nbits < 16 {
				require.Zero(t, inv[0], "the mark of a vector of zeros")
			} else if i == 0 {
				require.Zero(t, sum)
			} else {
				require.InDelta(t, 1, sum, 2e-3, "row %d", i)
			}
		}
	}
	// All zeros.
	ix, _ := create(t, nil)
	mustAdd(t, ix, Document{ID: "a", Vectors: maxsim.New(3, testDim)})
	inv, err := snapshot(t, ix).Segments()[0].InvNorms(nil, 0)
	require.NoError(t, err)
	require.Equal(t, []float32{0, 0, 0}, inv)
}

func TestNormPolicyIsStored(t *testing.T) {
	ctx := context.Background()
	unit := vectors(newRand(1), 3, testDim)
	unit.Normalize()
	long := unit.Clone()
	for i := range long.Data {
		long.Data[i] *= 3
	}
	for _, p := range []NormPolicy{Normalize, RequireNormalized, AsIs} {
		ix, dir := create(t, &Options{Dim: testDim, NBits: 16, Normalize: p})
		require.NoError(t, ix.Close())
		ix, err := Open(ctx, dir, nil)
		require.NoError(t, err)
		_, err = ix.Add(ctx, seq([]Document{{ID: "a", Vectors: long}}), nil)
		if p == RequireNormalized {
			require.ErrorIs(t, err, ErrNotNormalized)
			mustAdd(t, ix, Document{ID: "a", Vectors: unit})
			require.NoError(t, ix.Close())
			continue
		}
		require.NoError(t, err)
		seg := snapshot(t, ix).Segments()[0]
		res, err := seg.Residuals(0)
		require.NoError(t, err)
		vec := make([]float32, 3*testDim)
		seg.Codebook().Decode(vec, []uint32{0, 0, 0}, res)
		want := unit
		if p == AsIs {
			want = long
		}
		require.InDeltaSlice(t, want.Data, vec, 2e-3)
		require.NoError(t, ix.Close())
	}
	m := unit.Clone()
	ix, _ := create(t, nil)
	mustAdd(t, ix, Document{ID: "a", Vectors: m})
	require.Equal(t, unit, m, "the caller's rows are not written to")
}

func TestDuplicateIDs(t *testing.T) {
	ctx := context.Background()
	r := newRand(1)
	for _, fixed := range []bool{false, true} {
		o := &Options{Dim: testDim, SegmentTokens: 20}
		if fixed {
			cb, err := quant.Train(ctx, vectors(r, 200, testDim), &quant.TrainOptions{Centroids: 8})
			require.NoError(t, err)
			o.Codebook = cb
		}
		ix, dir := create(t, o)
		_, err := ix.Add(ctx, seq([]Document{document(r, "a"), document(r, "b"), document(r, "a")}), nil)
		require.ErrorIs(t, err, ErrDuplicateID)
		require.ErrorContains(t, err, `"a" (number 2 of the batch): it came earlier in this batch`)
		many := documents(1, 60) // several segments
		_, err = ix.Add(ctx, seq(append(many, document(r, "doc-1"))), nil)
		require.ErrorIs(t, err, ErrDuplicateID)
		require.Zero(t, snapshot(t, ix).NumDocs())
		require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()), "nothing is left behind")

		_, err = ix.Add(ctx, seq(many), nil)
		require.NoError(t, err)
		_, err = ix.Add(ctx, seq([]Document{document(r, "doc-7")}), nil)
		require.ErrorIs(t, err, ErrDuplicateID)
		require.ErrorContains(t, err, `"doc-7" (number 0 of the batch): it is in the index`)

		last := document(r, "doc-7")
		res := mustAdd(t, ix, document(r, "doc-7"), document(r, "new"), last)
		require.Equal(t, 2, res.Added)
		require.Equal(t, 1, res.Replaced)
		s := snapshot(t, ix)
		require.Equal(t, 61, s.NumDocs())
		seg, ord, ok := s.Lookup("doc-7")
		require.True(t, ok)
		text, err := seg.Text(ord)
		require.NoError(t, err)
		require.Equal(t, last.Text, text)
		_, err = Check(ctx, dir)
		require.NoError(t, err)
	}
}

// TestWholeSegmentReplacedInOneAdd has every document of a finished segment replaced before the commit.
func TestWholeSegmentReplacedInOneAdd(t *testing.T) {
	ix, dir := create(t, &Options{Dim: testDim, SegmentTokens: 1})
	r := newRand(1)
	last := document(r, "a")
	res := mustAdd(t, ix, document(r, "a"), document(r, "a"), document(r, "b"), last)
	require.Equal(t, 2, res.Added)
	seg, ord, ok := snapshot(t, ix).Lookup("a")
	require.True(t, ok)
	text, err := seg.Text(ord)
	require.NoError(t, err)
	require.Equal(t, last.Text, text)
	require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
	_, err = Check(context.Background(), dir)
	require.NoError(t, err)
}

func TestIDs(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	r := newRand(1)
	good := []string{"a", " ", "\x00", "a\nb", "../../etc/passwd", "日本語", strings.Repeat("x", 512), "A"}
	var docs []Document
	for _, id := range good {
		docs = append(docs, document(r, id))
	}
	mustAdd(t, ix, docs...)
	s := snapshot(t, ix)
	for _, id := range good {
		seg, ord, ok := s.Lookup(id)
		require.True(t, ok)
		got, err := seg.ID(ord)
		require.NoError(t, err)
		require.Equal(t, id, got)
	}
	_, _, ok := s.Lookup("")
	require.False(t, ok)
	for _, id := range []string{"", strings.Repeat("x", 513), "\xff", "a\xc0\xafb"} {
		_, err := ix.Add(ctx, seq([]Document{document(r, id)}), nil)
		require.ErrorIs(t, err, ErrInvalidID)
		var de *DocumentError
		require.ErrorAs(t, err, &de)
		require.Equal(t, id, de.ID)
	}
	_, err := Check(ctx, dir)
	require.NoError(t, err)
}

func TestDelete(t *testing.T) {
	ctx := context.Background()
	o := &Options{Dim: testDim, SegmentTokens: 40}
	ix, dir := create(t, o)
	docs := documents(1, 30)
	mustAdd(t, ix, docs...)
	model := map[string]Document{}
	for _, d := range docs {
		model[d.ID] = d
	}
	_, err := ix.Delete(ctx, []string{"doc-1", "nobody", "no one"}, nil)
	require.ErrorIs(t, err, ErrUnknownID)
	require.ErrorContains(t, err, `"nobody", "no one"`)
	require.Equal(t, 30, ix.Info().Documents)
	n, err := ix.Delete(ctx, []string{"doc-1", "nobody", "doc-1", ""}, &DeleteOptions{IgnoreMissing: true})
	require.NoError(t, err)
	require.Equal(t, 1, n, "an id that is named twice counts once")
	delete(model, "doc-1")
	held := snapshot(t, ix)
	requireModel(t, held, o, model)
	_, err = ix.Delete(ctx, []string{"doc-1"}, nil)
	require.ErrorIs(t, err, ErrUnknownID, "deleted ones are unknown")
	gen := ix.Info().Generation
	n, err = ix.Delete(ctx, nil, nil)
	require.NoError(t, err)
	require.Zero(t, n)
	require.Equal(t, gen, ix.Info().Generation, "nothing to do is no commit")

	// A deleted id may be added again, and all may be deleted.
	mustAdd(t, ix, docs[1])
	var all []string
	for _, d := range docs {
		all = append(all, d.ID)
	}
	n, err = ix.Delete(ctx, all, nil)
	require.NoError(t, err)
	require.Equal(t, 30, n)
	s := snapshot(t, ix)
	require.Zero(t, s.NumDocs())
	require.Empty(t, s.Segments(), "dead segments leave the index")
	require.Greater(t, len(listing(t, dir)), 2, "a snapshot is open")
	requireModel(t, held, o, model)
	require.NoError(t, held.Close())
	require.Len(t, listing(t, dir), 2, "the manifest and the codebook")
	mustAdd(t, ix, docs...)
	require.Equal(t, 30, snapshot(t, ix).NumDocs())
}

func TestTooManyDocuments(t *testing.T) {
	o := &Options{Dim: testDim, maxDocs: 3}
	ix, _ := create(t, o)
	r := newRand(1)
	mustAdd(t, ix, document(r, "a"), document(r, "b"))
	_, err := ix.Add(context.Background(), seq([]Document{document(r, "c"), document(r, "d")}), nil)
	require.ErrorIs(t, err, ErrTooManyDocuments)
	require.ErrorContains(t, err, "build several indexes (shards)")
	require.Equal(t, 2, snapshot(t, ix).NumDocs())
}

func TestMetadataAndText(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	m := vectors(newRand(1), 1, testDim)
	for name, c := range map[string]struct {
		meta Metadata
		text string
		is   error
	}{
		"type":       {Metadata{"x": []string{"a"}}, "", ErrInvalidMetadata},
		"nil":        {Metadata{"x": nil}, "", ErrInvalidMetadata},
		"uint64":     {Metadata{"x": uint64(math.MaxUint64)}, "", ErrInvalidMetadata},
		"name":       {Metadata{"": 1}, "", ErrInvalidMetadata},
		"name bytes": {Metadata{"\xff": 1}, "", ErrInvalidMetadata},
		"value":      {Metadata{"x": "\xff"}, "", ErrInvalidMetadata},
		"text":       {nil, "a\xffb", ErrInvalidText},
	} {
		_, err := ix.Add(ctx, seq([]Document{{ID: "a", Vectors: m, Meta: c.meta, Text: c.text}}), nil)
		require.ErrorIs(t, err, c.is, name)
	}
	var docs []Document
	for i := range 1500 { // sparse, dense and complete columns
		d := Document{ID: fmt.Sprint(i), Vectors: m, Meta: Metadata{"all": i, "u": uint16(i), "f32": float32(.5)}}
		if i%3 > 0 {
			d.Meta["most"] = fmt.Sprint("k", i%7)
		}
		if i%400 == 5 {
			d.Meta["few"] = time.Date(1, 1, 1, 0, 0, 0, i, time.FixedZone("x", 3600))
		}
		docs = append(docs, d)
	}
	docs[7].Meta["nan"] = math.NaN()
	docs[8].Text = strings.Repeat("0123456789", 10_000) // over several blocks
	docs[9].Text = "after"
	mustAdd(t, ix, docs...)
	seg := snapshot(t, ix).Segments()[0]
	for i := range docs {
		got, err := seg.Metadata(uint32(i))
		require.NoError(t, err)
		want := Metadata{"all": int64(i), "u": int64(i), "f32": .5}
		if i%3 > 0 {
			want["most"] = fmt.Sprint("k", i%7)
		}
		if i%400 == 5 {
			want["few"] = docs[i].Meta["few"].(time.Time).UTC()
		}
		if i == 7 {
			require.True(t, math.IsNaN(got["nan"].(float64)))
			delete(got, "nan")
		}
		require.Equal(t, want, got)
		text, err := seg.Text(uint32(i))
		require.NoError(t, err)
		require.Equal(t, docs[i].Text, text)
	}
	_, err := Check(ctx, dir)
	require.NoError(t, err)
}

func TestIteratorErrorAborts(t *testing.T) {
	ix, dir := create(t, &Options{Dim: testDim, SegmentTokens: 10})
	before := listing(t, dir)
	boom := errors.New("boom")
	_, err := ix.Add(context.Background(), func(yield func(Document, error) bool) {
		for _, d := range documents(1, 20) {
			if !yield(d, nil) {
				return
			}
		}
		yield(Document{}, boom)
	}, nil)
	require.ErrorIs(t, err, boom)
	require.ErrorContains(t, err, "number 20")
	require.Equal(t, before, listing(t, dir))
	// A panic in the iterator is the caller's, and leaves nothing behind either.
	require.PanicsWithValue(t, "iterator", func() {
		_, _ = ix.Add(context.Background(), func(yield func(Document, error) bool) { panic("iterator") }, nil)
	})
	require.Equal(t, before, listing(t, dir))
	mustAdd(t, ix, documents(1, 3)...)
}

func TestCancelAborts(t *testing.T) {
	for _, fixed := range []bool{false, true} {
		o := &Options{Dim: testDim, SegmentTokens: 5000, fs: &hookFS{}}
		if fixed {
			var err error
			o.Codebook, err = quant.Train(context.Background(), vectors(newRand(1), 100, testDim), nil)
			require.NoError(t, err)
		}
		ix, dir := create(t, o)
		before := listing(t, dir)
		for _, at := range []string{"read", "train", "write", "commit", "iterator"} {
			ctx, cancel := context.WithCancel(context.Background())
			hit := false
			_, err := ix.Add(ctx, func(yield func(Document, error) bool) {
				for i, d := range documents(1, 3000) {
					if i == 2999 && (at == "iterator" || fixed && (at == "read" || at == "train")) {
						hit = true
						cancel()
					}
					if !yield(d, nil) {
						return
					}
				}
			}, &AddOptions{Progress: func(p Progress) {
				if p.Stage == at {
					hit = true
					cancel()
				}
			}})
			require.True(t, hit, at)
			require.ErrorIs(t, err, context.Canceled, at)
			require.Equal(t, before, listing(t, dir), at)
			cancel()
		}
		mustAdd(t, ix, documents(1, 3)...)
	}
}

func TestOptions(t *testing.T) {
	ctx := context.Background()
	_, err := Create(ctx, t.TempDir(), &Options{NBits: 3, MaxDocTokens: -1, SegmentTokens: -1, Normalize: 9, Attributes: map[string]string{"\xff": ""}})
	require.ErrorIs(t, err, ErrInvalidOptions)
	for _, s := range []string{"Dim is 0", "NBits is 3", "MaxDocTokens is -1", "SegmentTokens is -1", "NormPolicy(9)", "attribute"} {
		require.ErrorContains(t, err, s, "all faults at once")
	}
	_, err = Create(ctx, t.TempDir(), nil)
	require.ErrorIs(t, err, ErrInvalidOptions)
	cb, err := quant.Train(ctx, vectors(newRand(1), 100, testDim), &quant.TrainOptions{NBits: 2})
	require.NoError(t, err)
	_, err = Create(ctx, t.TempDir(), &Options{Dim: 3, Codebook: cb})
	require.ErrorIs(t, err, ErrInvalidOptions)

	ix, dir := create(t, &Options{Codebook: cb, Attributes: map[string]string{"model": "m<1>"}, Seed: 1 << 63})
	require.Equal(t, testDim, ix.Dim())
	require.NoError(t, ix.Close())
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"model": "m<1>"}, ix.Attributes())
	mustAdd(t, ix, documents(1, 300)...)
	require.Equal(t, cb.ID(), snapshot(t, ix).Segments()[0].Codebook().ID())
	require.Len(t, ix.Info().Codebooks, 1, "a codebook that was given is used for ever")
	require.NoError(t, ix.Close())
}

func TestCodebookPolicy(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	books := func() int { return len(ix.Info().Codebooks) }
	mustAdd(t, ix, Document{ID: "first", Vectors: vectors(newRand(1), 4, testDim)})
	first := ix.cur.segs[0].Codebook()
	require.Equal(t, 4, first.K(), "every vector is a centroid")
	mustAdd(t, ix, Document{ID: "second", Vectors: vectors(newRand(2), 4, testDim)})
	require.Equal(t, 2, books())
	newest, _ := ix.cur.newestBook()
	require.Equal(t, 8, newest.K())
	require.True(t, newest.Extends(first))
	mustAdd(t, ix, documents(3, 300)...) // some 2,000 tokens: enough to train on, and all is coded again
	require.Equal(t, 1, books())
	require.Len(t, ix.Info().Segments, 1)
	// With NoCompact the old segments stay, and keep their codebook.
	other, _ := create(t, nil)
	for i := range 3 {
		_, err := other.Add(ctx, seq([]Document{document(newRand(uint64(i)), fmt.Sprint(i))}), &AddOptions{NoCompact: true})
		require.NoError(t, err)
	}
	_, err := other.Add(ctx, seq(documents(3, 300)), &AddOptions{NoCompact: true})
	require.NoError(t, err)
	segs := snapshot(t, other).Segments()
	require.Len(t, segs, 4)
	require.Same(t, segs[0].Codebook(), segs[2].Codebook())
	require.NotSame(t, segs[0].Codebook(), segs[3].Codebook())
	require.Greater(t, segs[3].Codebook().K(), 4*segs[0].Codebook().K()-1)
	// A codebook that no segment needs goes with the last of them.
	_, err = other.Delete(ctx, []string{"0", "1", "2"}, nil)
	require.NoError(t, err)
	require.Len(t, other.Info().Codebooks, 1)
	require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
	for _, d := range []string{dir, other.Dir()} {
		_, err = Check(ctx, d)
		require.NoError(t, err)
	}
}

func TestCreateAndOpenErrors(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	_, err := Create(ctx, dir, &Options{Dim: 4})
	require.ErrorIs(t, err, ErrExists)
	other := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(other, "mine.txt"), nil, 0o600))
	_, err = Create(ctx, other, &Options{Dim: 4})
	require.ErrorIs(t, err, ErrExists)
	require.ErrorContains(t, err, "mine.txt")
	for _, ro := range []bool{false, true} {
		_, err = Open(ctx, other, &OpenOptions{ReadOnly: ro})
		require.ErrorIs(t, err, ErrNotFound)
		_, err = Open(ctx, filepath.Join(other, "absent"), &OpenOptions{ReadOnly: ro})
		require.ErrorIs(t, err, ErrNotFound)
	}
	require.Equal(t, []string{"mine.txt"}, listing(t, other), "no lock file where there is no index")
	_, err = Check(ctx, other)
	require.ErrorIs(t, err, ErrNotFound)

	// Files of others in the directory are left alone.
	require.NoError(t, os.WriteFile(filepath.Join(dir, "notes.tmp"), nil, 0o600))
	require.NoError(t, ix.Close())
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	require.Contains(t, listing(t, dir), "notes.tmp")
	require.NoError(t, ix.Close())

	// What an interrupted Create leaves behind is in nobody's way.
	half := t.TempDir()
	for _, n := range []string{lockName, manifestName(1) + ".tmp", codebookName(strings.Repeat("0", 32))} {
		require.NoError(t, os.WriteFile(filepath.Join(half, n), []byte("x"), 0o600))
	}
	_, err = Open(ctx, half, nil)
	require.ErrorIs(t, err, ErrNotFound)
	ix, err = Create(ctx, half, &Options{Dim: 4})
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	ctx2, cancel := context.WithCancel(ctx)
	cancel()
	_, err = Create(ctx2, t.TempDir(), &Options{Dim: 4})
	require.ErrorIs(t, err, context.Canceled)
	_, err = Open(ctx2, dir, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestReadOnlyWritesNothing(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	mustAdd(t, ix, documents(1, 5)...)
	require.NoError(t, ix.Close())
	require.NoError(t, os.WriteFile(filepath.Join(dir, segmentName(77)), []byte("leftover"), 0o600))
	before := listing(t, dir)
	deny := &hookFS{before: func(op, name string) error { return fmt.Errorf("%s %s on a read-only directory", op, name) }}
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true, fs: deny, Verify: true})
	require.NoError(t, err)
	require.Equal(t, 5, snapshot(t, ro).NumDocs())
	_, err = ro.Add(ctx, seq(documents(1, 1)), nil)
	require.ErrorIs(t, err, ErrReadOnly)
	_, err = ro.Delete(ctx, []string{"doc-1"}, nil)
	require.ErrorIs(t, err, ErrReadOnly)
	require.Equal(t, before, listing(t, dir), "leftovers are not the readers' to remove")
	require.NoError(t, ro.Close())

	// A file system without locks is reported as such.
	_, err = Open(ctx, dir, &OpenOptions{fs: deny})
	require.ErrorContains(t, err, "no lock, which writing needs")
	require.NotErrorIs(t, err, ErrLocked)

	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	require.NotContains(t, listing(t, dir), segmentName(77))
	require.NoError(t, ix.Close())
	if runtime.GOOS != "windows" && os.Getuid() != 0 {
		require.NoError(t, os.Chmod(dir, 0o500))
		defer os.Chmod(dir, 0o700)
		ro, err = Open(ctx, dir, &OpenOptions{ReadOnly: true})
		require.NoError(t, err)
		require.NoError(t, ro.Close())
	}
}

func TestProgressStages(t *testing.T) {
	ix, _ := create(t, nil)
	stages := map[string]int{}
	_, err := ix.Add(context.Background(), seq(documents(1, 2000)), &AddOptions{Progress: func(p Progress) { stages[p.Stage] = max(stages[p.Stage], p.Docs) }})
	require.NoError(t, err)
	require.Equal(t, 2000, stages["read"])
	require.Positive(t, stages["train"])
	require.Positive(t, stages["write"])
	require.Contains(t, stages, "commit")
}
