package index

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/RoaringBitmap/roaring/v2"
	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// The fuzz targets seal what the fuzzer made with right checksums, because nothing else gets past the first
// check. The seeds in testdata/fuzz are written by
//
//	GOLBERT_WRITE_SEEDS=1 go test -run TestWriteSeeds ./index

// requireTyped makes sure that an error of a parser is one of the two kinds that callers are told of.
func requireTyped(t testing.TB, err error) {
	t.Helper()
	if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
		t.Fatalf("untyped error: %v", err)
	}
}

func FuzzManifest(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if i := bytes.LastIndex(b, []byte(manifestTrailer)); i >= 0 {
			b = fmt.Appendf(b[:i:i], "%s%08x\n", manifestTrailer, crc32c(b[:i]))
		}
		m, err := parseManifest(b, "m")
		requireTyped(t, err)
		if err != nil {
			return
		}
		again, err := m.marshal()
		require.NoError(t, err)
		require.Equal(t, b, again, "the form is canonical")
		_, err = m.next().marshal()
		require.NoError(t, err)
	})
}

func FuzzDeletions(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b) - 4; n >= 0 {
			b = binary.LittleEndian.AppendUint32(b[:n:n], crc32c(b[:n]))
		}
		d, err := parseDeletions(b, "d")
		requireTyped(t, err)
		if err != nil {
			return
		}
		again, err := parseDeletions(marshalDeletions(d.segment, d.generation, d.docs, d.set), "d")
		require.NoError(t, err)
		require.True(t, d.set.Equals(again.set))
	})
}

func FuzzSegment(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		sealed := seal(bytes.Clone(b))
		sf, err := parseSegFile(sealed, "s")
		requireTyped(t, err)
		if err == nil {
			exercise(t, sf)
		}
		for _, b := range [][]byte{b, sealed, sealed[:len(sealed)*3/4]} {
			if sf, err := parseDamaged(b, "s"); err == nil {
				exerciseDamaged(t, sf)
			} else {
				requireTyped(t, err)
			}
		}
	})
}

// exerciseDamaged reads what Repair reads.
func exerciseDamaged(t testing.TB, f *segFile) {
	s := &Segment{f: f}
	text := textReader{f: f}
	for ord := range uint32(min(f.toc.docs, 1000)) {
		if err := f.checkDoc(ord); err != nil {
			requireTyped(t, err)
			_, err = f.id(uint64(ord))
			requireTyped(t, err)
			continue
		}
		codes, err := s.Codes(nil, ord)
		requireTyped(t, err)
		for _, c := range codes {
			require.Less(t, c, f.toc.k)
		}
		_, err = s.Residuals(ord)
		requireTyped(t, err)
		_, err = s.InvNorms(nil, ord)
		requireTyped(t, err)
		_, err = text.text(ord)
		requireTyped(t, err)
		_, err = s.Metadata(ord)
		requireTyped(t, err)
		_, err = s.ID(ord)
		requireTyped(t, err)
	}
}

// seal makes the checksums of a segment file right, as far as its footer makes sense, and the copy of its tail.
func seal(b []byte) []byte {
	if len(b) < segHeaderLen+segFooterLen {
		return b
	}
	le := binary.LittleEndian
	foot := b[len(b)-segFooterLen:]
	end := uint64(len(b) - segFooterLen)
	table, tableLen, copied, tocLen := le.Uint64(foot), le.Uint64(foot[8:]), le.Uint64(foot[16:]), le.Uint64(foot[24:])
	if copied <= table && table <= end && tableLen <= end-table && tableLen == 4*((copied+blockSize-1)/blockSize) {
		for i := range tableLen / 4 {
			le.PutUint32(b[table+4*i:], crc32c(b[i*blockSize:min((i+1)*blockSize, copied)]))
		}
		le.PutUint32(foot[32:], crc32c(b[table:table+tableLen]))
	}
	if toc := table + tableLen; table <= end && tableLen <= end && toc <= end && tocLen <= end-toc {
		le.PutUint32(foot[36:], crc32c(b[toc:toc+tocLen]))
	}
	le.PutUint32(foot[52:], crc32c(foot[:52]))
	if tail := b[min(table, end):]; copied <= table && table <= end && uint64(len(tail)) <= table-copied {
		copy(b[copied:], tail)
	}
	return b
}

// exercise reads all there is, and checks it.
func exercise(t testing.TB, f *segFile) {
	s := &Segment{f: f}
	for ord := range uint32(min(s.NumDocs(), 1000)) {
		s.Prefetch(ord)
		codes, err := s.Codes(nil, ord)
		requireTyped(t, err)
		for _, c := range codes {
			require.Less(t, c, f.toc.k)
		}
		_, err = s.DistinctCodes(nil, ord)
		requireTyped(t, err)
		_, err = s.Residuals(ord)
		requireTyped(t, err)
		_, err = s.InvNorms(nil, ord)
		requireTyped(t, err)
		_, err = s.Text(ord)
		requireTyped(t, err)
		_, err = s.Metadata(ord)
		requireTyped(t, err)
		id, err := s.ID(ord)
		requireTyped(t, err)
		ords, err := f.lookup(id)
		requireTyped(t, err)
		for _, o := range ords {
			require.Less(t, int(o), s.NumDocs())
		}
	}
	var list []uint32
	var err error
	for c := range min(f.toc.k+1, 1000) {
		s.PrefetchPostings(c)
		list, err = s.Postings(list, c)
		requireTyped(t, err)
		for i, o := range list {
			require.Less(t, int(o), s.NumDocs())
			require.True(t, i == 0 || list[i-1] < o)
		}
	}
	r := new(Report)
	require.NoError(t, checkSegment(context.Background(), &state{segs: []*Segment{s}}, 0, r))
	requireTyped(t, r.Err())
}

// TestHostileSegment changes each byte of a small segment file in several ways and seals it: whatever it
// says then, reading it must not panic, and every error must be typed.
func TestHostileSegment(t *testing.T) {
	whole := seedSegment(t, 4)
	stride := 1
	if testing.Short() {
		stride = 13
	}
	accepted, refused := 0, 0
	for at := 0; at < len(whole); at += stride {
		for _, v := range []byte{0, 1, 0x7f, 0x80, 0xff, whole[at] + 1, whole[at] - 1} {
			if v == whole[at] {
				continue
			}
			b := bytes.Clone(whole)
			b[at] = v
			f, err := parseSegFile(seal(b), "s")
			requireTyped(t, err)
			if err != nil {
				refused++
				continue
			}
			accepted++
			exercise(t, f)
		}
	}
	t.Logf("hostile_segments=%d refused_at_open=%d panics=0", accepted+refused, refused)
}

// seedSegment builds a segment file in memory.
func seedSegment(t testing.TB, nbits int) []byte {
	t.Helper()
	cb, err := quant.Train(context.Background(), vectors(newRand(1), 60, 8), &quant.TrainOptions{NBits: nbits, Centroids: 6})
	require.NoError(t, err)
	w := new(memFile)
	b, err := newSegBuilder(w, 7, cb)
	require.NoError(t, err)
	r := newRand(2)
	for i := range 9 {
		m := vectors(r, 1+i, 8)
		if i == 4 {
			m = maxsim.Matrix{}
		}
		enc, err := cb.Encode(context.Background(), m, 1)
		require.NoError(t, err)
		text := ""
		if i%2 == 0 {
			text = fmt.Sprint("some text, some text, some text and the number ", i)
		}
		var meta Metadata
		if i%3 > 0 {
			meta = metadata(r)
		}
		require.NoError(t, b.add(fmt.Sprint("id", i), text, meta, enc.Codes, enc.Residuals, enc.InvNorms, 1))
	}
	_, _, err = b.finish()
	require.NoError(t, err)
	return w.Bytes()
}

type memFile struct{ bytes.Buffer }

func (*memFile) Sync() error                       { return nil }
func (*memFile) Close() error                      { return nil }
func (*memFile) ReadAt([]byte, int64) (int, error) { return 0, errors.New("not needed") }

func TestWriteSeeds(t *testing.T) {
	if os.Getenv("GOLBERT_WRITE_SEEDS") == "" {
		t.Skip("set GOLBERT_WRITE_SEEDS to write the fuzz seeds again")
	}
	put := func(target, name string, b []byte) {
		dir := filepath.Join("testdata", "fuzz", target)
		require.NoError(t, os.MkdirAll(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), fmt.Appendf(nil, "go test fuzz v1\n[]byte(%q)\n", b), 0o644))
	}
	for _, nbits := range []int{1, 4, 16} {
		put("FuzzSegment", fmt.Sprint("bits", nbits), seedSegment(t, nbits))
	}
	dir, _ := damaged(t, &Options{Dim: testDim, Centroids: 3, SegmentTokens: 50})
	for _, n := range listing(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		if k, _ := classify(n); k == kindManifest {
			put("FuzzManifest", "segments", b)
		}
	}
	m, err := newManifest(&Options{Dim: 1}).next().marshal()
	require.NoError(t, err)
	put("FuzzManifest", "empty", m)
	put("FuzzDeletions", "list", marshalDeletions(1, 2, 1000, roaring.BitmapOf(1, 5, 999)))
	dense := roaring.New()
	dense.AddRange(3, 900)
	put("FuzzDeletions", "bitmap", marshalDeletions(1, 2, 1000, dense))
	dense.AddRange(0, 1000)
	put("FuzzDeletions", "all", marshalDeletions(1, 2, 1000, dense))
}
