package index

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/vfs"
)

const testDim = 16

func newRand(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 7)) }

// vectors gives rows of roughly clustered directions.
func vectors(r *rand.Rand, rows, dim int) maxsim.Matrix {
	m := maxsim.New(rows, dim)
	for i := range rows {
		row := m.Row(i)
		c := r.IntN(20)
		for j := range row {
			row[j] = float32(math.Sin(float64(c*31+j*7))) + 0.3*float32(r.NormFloat64())
		}
	}
	return m
}

func document(r *rand.Rand, id string) Document {
	d := Document{ID: id, Vectors: vectors(r, 1+r.IntN(12), testDim)}
	if r.IntN(4) > 0 {
		d.Text = fmt.Sprintf("text of %s: ", id)
		for range r.IntN(40) {
			d.Text += []string{"late ", "interaction ", "größe ", "検索 ", "x"}[r.IntN(5)]
		}
	}
	if r.IntN(3) > 0 {
		d.Meta = metadata(r)
	}
	return d
}

func metadata(r *rand.Rand) Metadata {
	m := Metadata{}
	if r.IntN(2) == 0 {
		m["lang"] = []string{"de", "en", "", "日本語"}[r.IntN(4)]
	}
	if r.IntN(2) == 0 {
		m["year"] = int64(1990 + r.IntN(40))
	}
	if r.IntN(9) == 0 {
		m["year"] = "unknown" // another type under the same name
	}
	if r.IntN(2) == 0 {
		m["score"] = r.NormFloat64()
	}
	if r.IntN(2) == 0 {
		m["ok"] = r.IntN(2) == 0
	}
	if r.IntN(2) == 0 {
		m["when"] = time.Unix(r.Int64N(4e9), r.Int64N(1e9)).UTC()
	}
	if r.IntN(12) == 0 {
		m["edge"] = []int64{math.MinInt64, math.MaxInt64, -1, 0}[r.IntN(4)]
	}
	if len(m) == 0 {
		return nil
	}
	return m
}

func documents(seed uint64, n int) []Document {
	r := newRand(seed)
	docs := make([]Document, n)
	for i := range docs {
		docs[i] = document(r, fmt.Sprintf("doc-%d", i))
	}
	return docs
}

// seq streams documents.
func seq(docs []Document) iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for _, d := range docs {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func create(t testing.TB, o *Options) (*Index, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "ix")
	if o == nil {
		o = &Options{Dim: testDim}
	}
	ix, err := Create(context.Background(), dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = ix.Close() })
	return ix, dir
}

func mustAdd(t testing.TB, ix *Index, docs ...Document) AddResult {
	t.Helper()
	res, err := ix.Add(context.Background(), seq(docs), &AddOptions{Upsert: true})
	require.NoError(t, err)
	return res
}

func snapshot(t testing.TB, ix *Index) *Snapshot {
	t.Helper()
	s, err := ix.Snapshot()
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// dump reads everything that a snapshot says, as a comparable value, or the first error.
func dump(s *Snapshot) (map[string]string, error) {
	out := map[string]string{"": fmt.Sprint(s.NumDocs(), s.NumTokens())}
	for _, seg := range s.Segments() {
		for ord := range uint32(seg.NumDocs()) {
			if seg.Deleted() != nil && seg.Deleted().Contains(ord) {
				continue
			}
			id, err := seg.ID(ord)
			if err != nil {
				return nil, err
			}
			text, err := seg.Text(ord)
			if err != nil {
				return nil, err
			}
			meta, err := seg.Metadata(ord)
			if err != nil {
				return nil, err
			}
			codes, err := seg.Codes(nil, ord)
			if err != nil {
				return nil, err
			}
			distinct, err := seg.DistinctCodes(nil, ord)
			if err != nil {
				return nil, err
			}
			res, err := seg.Residuals(ord)
			if err != nil {
				return nil, err
			}
			norms, err := seg.InvNorms(nil, ord)
			if err != nil {
				return nil, err
			}
			at, o, ok, err := s.Find(id)
			if err != nil {
				return nil, err
			}
			if !ok || at != seg || o != ord {
				return nil, fmt.Errorf("%s is not found", id)
			}
			out[id] = fmt.Sprint(text, meta, codes, distinct, res, norms)
		}
		for c := range uint32(seg.Codebook().K()) {
			list, err := seg.Postings(nil, c)
			if err != nil {
				return nil, err
			}
			for _, ord := range list {
				if seg.Deleted() != nil && seg.Deleted().Contains(ord) {
					continue
				}
				id, err := seg.ID(ord)
				if err != nil {
					return nil, err
				}
				out[id] += fmt.Sprint(" @", c)
			}
		}
	}
	return out, nil
}

// requireModel compares a snapshot with the documents that should be in it.
func requireModel(t testing.TB, s *Snapshot, o *Options, model map[string]Document) {
	t.Helper()
	require.Equal(t, len(model), s.NumDocs())
	seen, tokens := 0, uint64(0)
	for _, seg := range s.Segments() {
		postings := make(map[uint32][]uint32)
		for ord := range uint32(seg.NumDocs()) {
			distinct, err := seg.DistinctCodes(nil, ord)
			require.NoError(t, err)
			for _, c := range distinct {
				postings[c] = append(postings[c], ord)
			}
			if seg.Deleted() != nil && seg.Deleted().Contains(ord) {
				continue
			}
			seen++
			id, err := seg.ID(ord)
			require.NoError(t, err)
			want, ok := model[id]
			require.True(t, ok, id)
			at, o2, ok := s.Lookup(id)
			require.True(t, ok, id)
			require.True(t, at == seg && o2 == ord, id)
			text, err := seg.Text(ord)
			require.NoError(t, err)
			require.Equal(t, want.Text, text)
			meta, err := seg.Metadata(ord)
			require.NoError(t, err)
			require.Equal(t, want.Meta, meta, id)
			tokens += uint64(want.Vectors.Rows)
			requireVectors(t, seg, ord, o, want.Vectors, distinct)
		}
		for c := range uint32(seg.Codebook().K()) {
			list, err := seg.Postings(nil, c)
			require.NoError(t, err)
			require.Equal(t, postings[c], append([]uint32(nil), list...))
		}
		list, err := seg.Postings(nil, uint32(seg.Codebook().K()))
		require.NoError(t, err)
		require.Empty(t, list)
	}
	require.Equal(t, len(model), seen)
	require.Equal(t, tokens, s.NumTokens())
}

func requireVectors(t testing.TB, seg *Segment, ord uint32, o *Options, m maxsim.Matrix, distinct []uint32) {
	t.Helper()
	require.Equal(t, m.Rows, seg.DocTokens(ord))
	m = m.Clone()
	full, err := o.complete()
	require.NoError(t, err)
	for i := range m.Rows {
		require.NoError(t, full.acceptRow(m.Row(i)))
	}
	enc, err := seg.own.Encode(context.Background(), m, 1)
	require.NoError(t, err)
	codes, err := seg.Codes(nil, ord)
	require.NoError(t, err)
	stored, err := seg.Residuals(ord)
	require.NoError(t, err)
	if o.Centroids == 0 && o.Codebook == nil && !(slices.Equal(enc.Codes, codes) && bytes.Equal(enc.Residuals, stored)) {
		// Coded before by a codebook that the index has outgrown, or extended.
		var b vectorBuf
		dec, err := b.vectors(seg, ord)
		require.NoError(t, err)
		var cos, n float64
		for i := range m.Rows {
			if isZero(m.Row(i)) {
				require.True(t, full.NBits == 16 || isZero(dec.Row(i)))
				continue
			}
			var x, y, xy float64
			for j, v := range m.Row(i) {
				w := dec.Row(i)[j]
				x, y, xy = x+float64(v*v), y+float64(w*w), xy+float64(v*w)
			}
			cos += xy / math.Sqrt(x*y)
			n++
		}
		if n > 0 {
			require.Greater(t, cos/n, map[int]float64{1: .6, 2: .7, 4: .8, 8: .9, 16: .999}[full.NBits])
		}
		return
	}
	require.Equal(t, append([]uint32{}, enc.Codes...), append([]uint32{}, codes...))
	slices.Sort(enc.Codes)
	require.Equal(t, append([]uint32{}, slices.Compact(enc.Codes)...), append([]uint32{}, distinct...))
	res, err := seg.Residuals(ord)
	require.NoError(t, err)
	require.Equal(t, append([]byte{}, enc.Residuals...), append([]byte{}, res...))
	norms, err := seg.InvNorms(nil, ord)
	require.NoError(t, err)
	require.Len(t, norms, m.Rows)
	for i, v := range norms {
		if isZero(m.Row(i)) && full.NBits < 16 {
			require.Zero(t, v)
			continue
		}
		require.InDelta(t, enc.InvNorms[i], v, float64(seg.NormError())*1.001+1e-7)
	}
}

// hookFS calls back before every operation that changes the disk.
type hookFS struct {
	vfs.OS
	before func(op, name string) error
}

func (h *hookFS) hook(op, path string) error {
	if h.before == nil {
		return nil
	}
	return h.before(op, filepath.Base(path))
}

type hookFile struct {
	vfs.File
	h    *hookFS
	path string
}

func (h *hookFS) Create(path string) (vfs.File, error) {
	if err := h.hook("create", path); err != nil {
		return nil, err
	}
	f, err := h.OS.Create(path)
	if err != nil {
		return nil, err
	}
	return &hookFile{f, h, path}, nil
}

func (f *hookFile) Write(p []byte) (int, error) {
	if err := f.h.hook("write", f.path); err != nil {
		return 0, err
	}
	return f.File.Write(p)
}

func (f *hookFile) Sync() error {
	if err := f.h.hook("sync", f.path); err != nil {
		return err
	}
	return nil // speed: these tests do not cut the power
}

func (h *hookFS) Rename(from, to string) error {
	if err := h.hook("rename", to); err != nil {
		return err
	}
	return h.OS.Rename(from, to)
}

func (h *hookFS) Remove(path string) error {
	if err := h.hook("remove", path); err != nil {
		return err
	}
	return h.OS.Remove(path)
}

func (h *hookFS) Mkdir(path string) error {
	if err := h.hook("mkdir", path); err != nil {
		return err
	}
	return h.OS.Mkdir(path)
}

func (h *hookFS) SyncDir(dir string) error { return h.hook("syncdir", dir) }

func (h *hookFS) Lock(path, info string) (vfs.Lock, error) {
	if err := h.hook("lock", path); err != nil {
		return nil, err
	}
	return h.OS.Lock(path, info)
}

// listing gives the names in a directory but LOCK.
func listing(t testing.TB, dir string) []string {
	t.Helper()
	es, err := os.ReadDir(dir)
	require.NoError(t, err)
	var names []string
	for _, e := range es {
		if e.Name() != lockName {
			names = append(names, e.Name())
		}
	}
	return names
}
