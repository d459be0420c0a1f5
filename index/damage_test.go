package index

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/vfs"
)

// damaged makes a small index with two codebooks, several segments and deletions, and gives its directory
// and what it says.
func damaged(t testing.TB, o *Options) (dir string, want map[string]string) {
	t.Helper()
	ix, dir := create(t, o)
	mustAdd(t, ix, Document{ID: "first", Vectors: vectors(newRand(9), 2, o.Dim), Text: "the first"})
	mustAdd(t, ix, documents(1, 12)...)
	_, err := ix.Delete(context.Background(), []string{"doc-3", "doc-8"}, nil)
	require.NoError(t, err)
	s, err := ix.Snapshot()
	require.NoError(t, err)
	want, err = dump(s)
	require.NoError(t, err)
	require.NoError(t, s.Close())
	require.NoError(t, ix.Close())
	return dir, want
}

// memFS serves the files of an index from memory, so that damage costs no disk.
type memFS struct {
	vfs.OS
	files map[string][]byte
}

type memMapping []byte

func (m memMapping) Bytes() []byte { return m }
func (m memMapping) Close() error  { return nil }

func newMemFS(t testing.TB, dir string) *memFS {
	m := &memFS{files: make(map[string][]byte)}
	for _, n := range listing(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		m.files[n] = b
	}
	return m
}

func (m *memFS) ReadFile(path string, limit int64) ([]byte, error) {
	b, ok := m.files[filepath.Base(path)]
	if !ok {
		return nil, fs.ErrNotExist
	}
	if int64(len(b)) > limit {
		return nil, errors.New("too large")
	}
	return b, nil
}

func (m *memFS) Map(path string) (vfs.Mapping, error) {
	b, err := m.ReadFile(path, math.MaxInt64)
	return memMapping(b), err
}

func (m *memFS) Size(path string) (int64, error) {
	b, err := m.ReadFile(path, math.MaxInt64)
	return int64(len(b)), err
}

func (m *memFS) List(string) ([]string, error) { return slices.Sorted(maps.Keys(m.files)), nil }

// read opens an index read-only and dumps it.
func read(m *memFS) (map[string]string, error) {
	ix, err := Open(context.Background(), "mem", &OpenOptions{ReadOnly: true, fs: m})
	if err != nil {
		return nil, err
	}
	defer ix.Close()
	s, err := ix.Snapshot()
	if err != nil {
		return nil, err
	}
	defer s.Close()
	return dump(s)
}

// requireNamed makes sure that an error is about a file.
func requireNamed(t testing.TB, err error, name string) {
	t.Helper()
	require.ErrorIs(t, err, ErrCorrupt)
	var ce *CorruptError
	require.True(t, errors.As(err, &ce))
	require.Equal(t, name, ce.File)
	require.ErrorContains(t, err, name)
}

// TestHostileTruncation cuts every file at every length.
func TestHostileTruncation(t *testing.T) {
	dir, want := damaged(t, &Options{Dim: testDim, Centroids: 3, SegmentTokens: 50})
	m := newMemFS(t, dir)
	stride := 1
	if testing.Short() {
		stride = 19
	}
	cuts := 0
	for name, whole := range maps.Clone(m.files) {
		for n := 0; n < len(whole); n += stride {
			m.files[name] = whole[:n:n]
			_, err := read(m)
			requireNamed(t, err, name)
			cuts++
		}
		// And something too many.
		m.files[name] = append(whole[:len(whole):len(whole)], 0)
		_, err := read(m)
		requireNamed(t, err, name)
		delete(m.files, name)
		_, err = read(m)
		if k, _ := classify(name); k == kindManifest {
			require.ErrorIs(t, err, ErrNotFound)
		} else {
			requireNamed(t, err, name)
		}
		m.files[name] = whole
	}
	got, err := read(m)
	require.NoError(t, err)
	require.Equal(t, want, got)
	t.Logf("truncations=%d undetected=0", cuts)
}

// TestLazyVerification has damage in a block that a query does not need.
func TestLazyVerification(t *testing.T) {
	ix, dir := create(t, &Options{Dim: testDim, NBits: 8})
	mustAdd(t, ix, documents(1, 2000)...) // 13,000 tokens: residuals fill several blocks
	name := snapshot(t, ix).Segments()[0].Name()
	require.NoError(t, ix.Close())
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	b[blockSize+500] ^= 4
	require.NoError(t, os.WriteFile(path, b, 0o600))
	ro, err := Open(context.Background(), dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err, "opening does not read the residuals")
	defer ro.Close()
	seg := snapshot(t, ro).Segments()[0]
	_, err = seg.Residuals(0)
	require.NoError(t, err)
	_, err = seg.Codes(nil, 700)
	require.NoError(t, err)
	bad := 0
	for ord := range uint32(seg.NumDocs()) {
		if _, err := seg.Residuals(ord); err != nil {
			bad++
			var ce *CorruptError
			require.ErrorAs(t, err, &ce)
			require.Equal(t, CorruptError{File: name, Section: "residuals", Offset: blockSize, Got: ce.Got}, *ce)
		}
	}
	require.Greater(t, bad, 20)
	require.Less(t, bad, 100, "the other blocks are fine")

	// The same when they are read, by somebody who has looked at nothing before.
	again, err := Open(context.Background(), dir, &OpenOptions{ReadOnly: true, ReadResiduals: true})
	require.NoError(t, err)
	defer again.Close()
	require.True(t, snapshot(t, again).ReadsResiduals())
	require.False(t, snapshot(t, ro).ReadsResiduals())
	seg2 := snapshot(t, again).Segments()[0]
	var buf []byte
	require.False(t, seg2.ResidualsKnown(0))
	for range 2 {
		damaged := 0
		for ord := range uint32(seg2.NumDocs()) {
			var rows []byte
			var err error
			if rows, buf, err = seg2.ReadResiduals(buf, ord); err != nil {
				damaged++
				var ce *CorruptError
				require.ErrorAs(t, err, &ce)
				require.Equal(t, CorruptError{File: name, Section: "residuals", Offset: blockSize, Got: ce.Got}, *ce)
				continue
			}
			want, err := seg.Residuals(ord)
			require.NoError(t, err)
			require.Equal(t, want, rows)
			require.True(t, seg2.ResidualsKnown(ord))
		}
		require.Equal(t, bad, damaged)
	}
	rep, err := Check(context.Background(), dir)
	requireNamed(t, err, name)
	require.Len(t, rep.Problems, 1)
	require.Equal(t, 2000, rep.Documents)
}

// TestDamagedManifestIsNotPassedOver has an older generation beside a damaged newer one.
func TestDamagedManifestIsNotPassedOver(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	mustAdd(t, ix, documents(1, 3)...)
	require.NoError(t, ix.Close())
	newer := filepath.Join(dir, manifestName(3))
	for _, b := range []string{"", "{}", "{}\ncrc32c:00000000\n"} {
		require.NoError(t, os.WriteFile(newer, []byte(b), 0o600))
		for _, ro := range []bool{true, false} {
			_, err := Open(ctx, dir, &OpenOptions{ReadOnly: ro})
			requireNamed(t, err, manifestName(3))
		}
	}
	// A manifest under a wrong name is damage, too.
	b, err := os.ReadFile(filepath.Join(dir, manifestName(2)))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(newer, b, 0o600))
	_, err = Open(ctx, dir, nil)
	requireNamed(t, err, manifestName(3))
	require.Contains(t, listing(t, dir), manifestName(2), "a failing open removes nothing")
}

// TestSwappedCodebook puts another whole codebook in the place of the index's, once with a manifest that has its checksum
// and once, as if made for the purpose, with one that has the other's.
func TestSwappedCodebook(t *testing.T) {
	ctx := context.Background()
	books := make([]string, 2)
	for i := range books {
		ix, dir := create(t, &Options{Dim: testDim, Centroids: 2, Seed: uint64(i)})
		mustAdd(t, ix, documents(uint64(1+i), 50)...)
		require.NoError(t, ix.Close())
		m := newMemFS(t, dir)
		for n := range m.files {
			if filepath.Ext(n) == ".gbc" {
				books[i] = filepath.Join(dir, n)
			}
		}
	}
	dir := filepath.Dir(books[0])
	other, err := os.ReadFile(books[1])
	require.NoError(t, err)
	own, err := os.ReadFile(books[0])
	require.NoError(t, err)
	require.Equal(t, len(own), len(other))
	ix, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	id := snapshot(t, ix).Segments()[0].Codebook().ID()
	require.NoError(t, ix.Close())
	require.Equal(t, codebookName(id), filepath.Base(books[0]))

	require.NoError(t, os.WriteFile(books[0], other, 0o600))
	_, err = Open(ctx, dir, &OpenOptions{ReadOnly: true})
	requireNamed(t, err, filepath.Base(books[0]))
	name := filepath.Join(dir, manifestName(2))
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	man, err := parseManifest(b, manifestName(2))
	require.NoError(t, err)
	require.Equal(t, codebookCRC(own), man.Codebooks[0].CRC)
	man.Codebooks[0].CRC = codebookCRC(other)
	b, err = man.marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, b, 0o600))
	rep, err := Check(ctx, dir)
	require.ErrorIs(t, err, ErrCorrupt)
	requireNamed(t, rep.Problems[0], filepath.Base(books[0]))

	// Manifests of before have no checksum.
	require.NoError(t, os.WriteFile(books[0], own, 0o600))
	man.Codebooks[0].CRC = ""
	b, err = man.marshal()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, b, 0o600))
	_, err = Check(ctx, dir)
	require.NoError(t, err)
}

// TestSwappedFiles exchanges whole, undamaged files.
func TestSwappedFiles(t *testing.T) {
	ix, dir := create(t, &Options{Dim: testDim, Centroids: 2})
	mustAdd(t, ix, documents(1, 5)...)
	mustAdd(t, ix, Document{ID: "x", Vectors: vectors(newRand(5), 3, testDim)})
	require.NoError(t, ix.Close())
	a, b := filepath.Join(dir, segmentName(1)), filepath.Join(dir, segmentName(2))
	require.NoError(t, os.Rename(a, a+".x"))
	require.NoError(t, os.Rename(b, a))
	require.NoError(t, os.Rename(a+".x", b))
	_, err := read(newMemFS(t, dir))
	requireNamed(t, err, segmentName(1))
	rep, err := Check(context.Background(), dir)
	require.ErrorIs(t, err, ErrCorrupt)
	require.NotEmpty(t, rep.Problems)
}

// TestNewerVersions of the formats are refused as such.
func TestNewerVersions(t *testing.T) {
	dir, _ := damaged(t, &Options{Dim: testDim, Centroids: 3})
	ctx := context.Background()
	ix, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	m := *ix.cur.man
	require.NoError(t, ix.Close())
	m.Version = formatVersion + 1
	b, err := m.marshal()
	require.NoError(t, err)
	path := filepath.Join(dir, manifestName(m.Generation))
	require.NoError(t, os.WriteFile(path, b, 0o600))
	_, err = Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrVersion)
	require.NotErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, manifestName(m.Generation))

	seg, err := os.ReadFile(filepath.Join(dir, segmentName(1)))
	require.NoError(t, err)
	foot := seg[len(seg)-segFooterLen:]
	f, err := parseFooter(foot)
	require.NoError(t, err)
	f.version = formatVersion + 1
	_, err = parseSegFile(f.append(seg[:len(seg)-segFooterLen:len(seg)-segFooterLen]), "seg")
	require.ErrorIs(t, err, ErrVersion)
}
