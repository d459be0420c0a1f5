package index

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// sick makes an index of several segments and gives its directory, its content and its file names.
func sick(t *testing.T) (dir string, want map[string]string, names []string) {
	t.Helper()
	o := &Options{Dim: 64, Centroids: 16, fs: &hookFS{}, Attributes: map[string]string{"k": "v"}}
	ix, dir := create(t, o)
	r := newRand(4)
	var docs []Document
	for i := range 60 {
		d := document(r, "")
		d.ID = strings.Repeat("x", i%5) + string(rune('a'+i%26)) + string(rune('a'+i/26))
		d.Vectors = vectors(r, 400, 64)
		docs = append(docs, d)
	}
	addApart(t, ix, docs, 20)
	_, err := ix.Delete(context.Background(), []string{docs[3].ID, docs[4].ID, docs[25].ID}, &DeleteOptions{NoCompact: true})
	require.NoError(t, err)
	want = dumpNow(t, ix)
	require.NoError(t, ix.Close())
	return dir, want, listing(t, dir)
}

// repaired runs Repair, checks its report and gives what is in the new index.
func repaired(t *testing.T, dir string) (*RepairReport, map[string]string, *Index) {
	t.Helper()
	before := map[string]string{}
	for _, n := range listing(t, dir) {
		b, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		before[n] = string(b)
	}
	dst := filepath.Join(t.TempDir(), "dst")
	rep, err := repair(context.Background(), &hookFS{}, dir, dst)
	require.NoError(t, err)
	for n, b := range before {
		now, err := os.ReadFile(filepath.Join(dir, n))
		require.NoError(t, err)
		require.Equal(t, b, string(now), "nothing is changed in place")
	}
	require.Len(t, listing(t, dir), len(before))
	ix, err := Open(context.Background(), dst, &OpenOptions{ReadOnly: true, Verify: true})
	require.NoError(t, err)
	t.Cleanup(func() { _ = ix.Close() })
	got := dumpNow(t, ix)
	require.Equal(t, len(got)-1, rep.Saved)
	return rep, got, ix
}

// requireSubset makes sure that what was saved is what was there, and the rest is reported.
func requireSubset(t *testing.T, rep *RepairReport, got, want map[string]string) {
	t.Helper()
	got, want = withoutNorms(got), withoutNorms(want)
	lost := 0
	for id, v := range want {
		if g, ok := got[id]; id != "" && ok {
			require.Equal(t, v, g, id)
		} else if id != "" {
			lost++
		}
	}
	for id := range got {
		require.Contains(t, want, id)
	}
	require.Equal(t, lost, rep.Lost)
	for _, id := range rep.LostIDs {
		require.Contains(t, want, id)
		require.NotContains(t, got, id)
	}
}

func flipAt(t *testing.T, dir, name string, at int) {
	t.Helper()
	p := filepath.Join(dir, name)
	b, err := os.ReadFile(p)
	require.NoError(t, err)
	b[at] ^= 0x10
	require.NoError(t, os.WriteFile(p, b, 0o666))
}

func TestRepair(t *testing.T) {
	ctx := context.Background()
	with := func(names []string, ext string) (out []string) {
		for _, n := range names {
			if filepath.Ext(n) == ext {
				out = append(out, n)
			}
		}
		return out
	}
	t.Run("sound", func(t *testing.T) {
		dir, want, _ := sick(t)
		rep, got, ix := repaired(t, dir)
		require.Equal(t, withoutNorms(want), withoutNorms(got))
		require.Zero(t, rep.Lost)
		require.Empty(t, rep.Problems)
		require.Equal(t, map[string]string{"k": "v"}, ix.Attributes())
		require.Contains(t, rep.String(), "saved 57 documents, lost 0")
		_, err := Repair(ctx, dir, dir)
		require.ErrorIs(t, err, ErrExists)
		_, err = Repair(ctx, t.TempDir(), filepath.Join(t.TempDir(), "x"))
		require.ErrorIs(t, err, ErrNotFound)
	})
	t.Run("residuals", func(t *testing.T) { // a block of 64 KiB holds some five documents
		dir, want, names := sick(t)
		seg := with(names, ".gbs")[1]
		flipAt(t, dir, seg, 100_000)
		_, err := Check(ctx, dir)
		require.ErrorIs(t, err, ErrCorrupt)
		rep, got, _ := repaired(t, dir)
		requireSubset(t, rep, got, want)
		require.Positive(t, rep.Lost)
		require.Len(t, rep.LostIDs, rep.Lost)
		require.ErrorContains(t, rep.Problems[0], seg)
		require.Contains(t, rep.String(), seg)
		t.Logf("saved %d, lost %d", rep.Saved, rep.Lost)
	})
	t.Run("everywhere", func(t *testing.T) { // one byte of any file, many times
		dir, want, names := sick(t)
		r := newRand(6)
		saved := 0
		rounds := 60
		if testing.Short() {
			rounds = 10
		}
		for range rounds {
			name := names[r.IntN(len(names))]
			if strings.HasPrefix(name, "MANIFEST") {
				continue
			}
			b, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			at := r.IntN(len(b))
			flipAt(t, dir, name, at)
			rep, err := repair(ctx, &hookFS{}, dir, filepath.Join(t.TempDir(), "dst"))
			require.NoError(t, err, name)
			if filepath.Ext(name) != ".gbd" {
				require.Equal(t, 57, rep.Saved+rep.Lost, name)
			}
			if _, cerr := Check(ctx, dir); cerr != nil {
				require.NotEmpty(t, rep.Problems, "%s at %d", name, at)
			}
			saved += rep.Saved
			require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o666))
		}
		rep, got, _ := repaired(t, dir)
		requireSubset(t, rep, got, want)
		t.Logf("%d documents saved in all", saved)
	})
	t.Run("segment gone", func(t *testing.T) {
		dir, want, names := sick(t)
		require.NoError(t, os.Remove(filepath.Join(dir, with(names, ".gbs")[0])))
		rep, got, _ := repaired(t, dir)
		requireSubset(t, rep, got, want)
		require.Equal(t, 18, rep.Lost)
		require.Empty(t, rep.LostIDs, "nobody knows them")
	})
	t.Run("swapped segments", func(t *testing.T) {
		dir, want, names := sick(t)
		segs := with(names, ".gbs")
		b, err := os.ReadFile(filepath.Join(dir, segs[2]))
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, segs[1]), b, 0o666))
		rep, got, _ := repaired(t, dir)
		requireSubset(t, rep, got, want)
	})
	t.Run("deletions", func(t *testing.T) {
		dir, want, names := sick(t)
		flipAt(t, dir, with(names, ".gbd")[0], 66)
		rep, got, _ := repaired(t, dir)
		require.Equal(t, 57, rep.Saved, "one flipped bit is undone")
		require.NotEmpty(t, rep.Problems)
		requireSubset(t, rep, got, want)
		flipAt(t, dir, with(names, ".gbd")[0], 67)
		rep, got, _ = repaired(t, dir)
		require.Equal(t, 59, rep.Saved, "two are back")
		require.True(t, slices.ContainsFunc(rep.Segments, func(s SegmentRepair) bool { return s.Returned }))
		for id, v := range withoutNorms(want) {
			if id != "" {
				require.Equal(t, v, withoutNorms(got)[id])
			}
		}
	})
	t.Run("codebook", func(t *testing.T) {
		dir, want, names := sick(t)
		flipAt(t, dir, with(names, ".gbc")[0], 200)
		rep, got, _ := repaired(t, dir)
		requireSubset(t, rep, got, want)
		require.Zero(t, rep.Lost, "one flipped bit is undone")
		require.NotEmpty(t, rep.Problems)
		flipAt(t, dir, with(names, ".gbc")[0], 300)
		rep, got, _ = repaired(t, dir)
		require.Len(t, got, 1)
		require.Equal(t, 57, rep.Lost)
		require.Len(t, rep.LostIDs, 57)
	})
	t.Run("manifest", func(t *testing.T) {
		for _, gone := range []bool{true, false} {
			dir, want, names := sick(t)
			name := names[slices.IndexFunc(names, func(n string) bool { return strings.HasPrefix(n, "MANIFEST") })]
			if gone {
				require.NoError(t, os.Remove(filepath.Join(dir, name)))
			} else {
				flipAt(t, dir, name, 100)
			}
			rep, got, ix := repaired(t, dir)
			require.True(t, rep.ManifestLost)
			require.Equal(t, withoutNorms(want), withoutNorms(got))
			require.Empty(t, ix.Attributes())
			require.Contains(t, rep.String(), "manifest is lost")
		}
	})
	t.Run("cancel", func(t *testing.T) {
		dir, _, _ := sick(t)
		cancelled, cancel := context.WithCancel(ctx)
		cancel()
		_, err := Repair(cancelled, dir, filepath.Join(t.TempDir(), "dst"))
		require.ErrorIs(t, err, context.Canceled)
	})
}

// TestRepairFlipEverywhere damages each part of a segment file that used to cost all of it: the tail, where the
// contents are listed, its copy, the directory of columns, and a sector of every section. What is lost is what
// lies in the sector.
func TestRepairFlipEverywhere(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Codebook: testBook(t, 4), fs: &hookFS{}})
	r := newRand(1)
	docs := documents(1, 1000)
	for i := range docs {
		docs[i].Vectors = vectors(r, 20, testDim)
	}
	mustAdd(t, ix, docs...)
	want := dumpNow(t, ix)
	f := ix.cur.segs[0].f
	foot, secs, size, name := *f.foot, f.secs, len(f.data), f.name
	require.NoError(t, ix.Close())
	whole, err := os.ReadFile(filepath.Join(dir, name))
	require.NoError(t, err)
	require.Greater(t, size, 200<<10)

	type damage struct {
		what     string
		from, to uint64
		lost     int // at most
	}
	sector := func(at uint64) (uint64, uint64) { return at / 4096 * 4096, at/4096*4096 + 4096 }
	zero := func(what string, at uint64, lost int) damage {
		from, to := sector(at)
		return damage{what, from, to, lost}
	}
	all := []damage{
		{"the footer", foot.fileLen - segFooterLen, foot.fileLen, 0},
		{"the table of contents", foot.tableOff + foot.tableLen, foot.tableOff + foot.tableLen + 8, 0},
		{"the checksum table", foot.tableOff, foot.tableOff + 4, 0},
		{"the whole tail", foot.tableOff, foot.fileLen, 0},
		{"the copy of the tail", foot.copyOff, foot.copyOff + foot.tail(), 0},
		{"everything behind the copy of the tail", foot.copyOff + foot.tail(), foot.fileLen, 0},
		// The same sector of a disk never holds one part of both.
		{"the footer, and the copy's contents", 0, 0, 0},
		zero("the header", 0, 30),
	}
	for _, kind := range []uint32{secTokens, secResiduals, secCodes, secNorms, secPostings, secIDs, secColumns, secText} {
		most := 1000 // an offset is a few bits: those of many documents lie in one sector
		switch kind {
		case secResiduals: // 160 bytes for each
			most = 30
		case secCodes, secNorms, secIDs:
			most = 600
		case secPostings: // made anew
			most = 0
		}
		all = append(all, zero("a sector of the "+sectionName(kind), secs[kind].off+secs[kind].len/2, most))
	}
	if testing.Short() {
		all = all[:9]
	}
	for _, d := range all {
		b := slices.Clone(whole)
		if d.to == 0 {
			b[len(b)-3] ^= 1
			b[foot.copyOff+foot.tableLen+9] ^= 1
		} else {
			clear(b[d.from:min(d.to, uint64(len(b)))])
		}
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o666))
		_, err := Check(ctx, dir)
		requireNamed(t, err, name)
		rep, got, _ := repaired(t, dir)
		requireSubset(t, rep, got, want)
		require.LessOrEqual(t, rep.Lost, d.lost, d.what)
		require.NotEmpty(t, rep.Problems, d.what)
		t.Logf("%s: saved %d, lost %d", d.what, rep.Saved, rep.Lost)
	}
	// Cut short behind the copy of the tail.
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), whole[:foot.copyOff+foot.tail()+5], 0o666))
	rep, got, _ := repaired(t, dir)
	requireSubset(t, rep, got, want)
	require.Zero(t, rep.Lost)
	// And without a manifest.
	require.NoError(t, os.Remove(filepath.Join(dir, manifestName(2))))
	rep, got, _ = repaired(t, dir)
	requireSubset(t, rep, got, want)
	require.Zero(t, rep.Lost)
	require.True(t, rep.ManifestLost)
}

// TestRepairOneFlip flips bits of files that end in a checksum, and finds each of them again.
func TestRepairOneFlip(t *testing.T) {
	r := newRand(5)
	for _, n := range []int{4, 5, 100, 5000} {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		b = binary.LittleEndian.AppendUint32(b[:n-4], crc32c(b[:n-4]))
		want := slices.Clone(b)
		asked := 0
		whole := func(b []byte) bool { asked++; return slices.Equal(b, want) }
		stride := max(1, n*8/4000)
		for bit := 0; bit < 8*n; bit += stride {
			b[bit/8] ^= 1 << (bit % 8)
			require.True(t, unflip(b, whole), "%d of %d", bit, 8*n)
			require.Equal(t, want, b)
		}
		require.LessOrEqual(t, asked, (8*n+stride-1)/stride+40, "the checksum tells which")
		if n > 5 {
			b[7] ^= 3
			require.False(t, unflip(b, whole))
		}
	}
	require.False(t, unflip(nil, nil))
}

// TestRepairFlipTokenOffsets: what was not verified is not used.
func TestRepairFlipTokenOffsets(t *testing.T) {
	whole := seedSegment(t, 4)
	f, err := parseSegFile(whole, "s")
	require.NoError(t, err)
	require.NoError(t, f.checkDoc(0))
	b := slices.Clone(whole)
	b[f.secs[secTokens].off] ^= 1
	_, err = parseSegFile(b, "s")
	requireNamed(t, err, "s")
	f, err = parseDamaged(b, "s")
	require.NoError(t, err)
	requireNamed(t, f.checkDoc(0), "s")
}
