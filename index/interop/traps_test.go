package interop

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/npy"
	"github.com/golbert/golbert/internal/torchpt"
	"github.com/golbert/golbert/quant"
)

// TestSmall: what the tests below start from is sound in both forms.
func TestSmall(t *testing.T) {
	var first []Document
	for _, f := range []Format{ColBERTAI, FastPLAID} {
		s := opened(t, smallIndex(t, f), &Options{Lists: ListsRefuse})
		require.Empty(t, s.Notes())
		require.Equal(t, 7, s.NumDocs())
		require.Equal(t, uint64(14), s.NumTokens())
		require.Equal(t, 4, s.MaxDocTokens())
		require.Len(t, s.chunks, 3)
		docs := all(t, s)
		require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6"}, idsOf(docs))
		if first == nil {
			first = docs
		}
		require.Equal(t, first, docs)
	}
}

// TestBitLayout: bits lie reversed in their fields; the fixtures are the peers' (torch, run).
func TestBitLayout(t *testing.T) {
	for _, c := range []struct {
		nbits int
		idx   []uint8
		want  byte
	}{{4, []uint8{1, 2}, 0x84}, {2, []uint8{1, 2, 3, 0}, 0x9c}, {1, []uint8{1, 0, 0, 0, 0, 0, 0, 1}, 0x81}} {
		b := []byte{0}
		quant.PackBits(b, c.idx, c.nbits)
		require.Equal(t, c.want, b[0])
	}
}

// TestCaches: merged files, locks and pickles are never opened, be they whatever they are.
func TestCaches(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	for _, f := range []string{"merged_codes.npy", "merged_residuals.npy", "merged_codes.manifest.json", "plaid.lock", "0.inv_norms.npy"} {
		put(t, dir, f, []byte("rubbish"))
	}
	for _, f := range []string{"buffer.npy", "embeddings.npy"} {
		// A directory, which nobody can read as a file.
		require.NoError(t, os.Mkdir(filepath.Join(dir, f), 0o755))
	}
	s := opened(t, dir, nil)
	require.Equal(t, NextPLAID, s.Format(), "inv_norms are next-plaid's")
	require.Equal(t, 7, s.NumDocs())
	noteWith(t, s, "buffer.npy")
	noteWith(t, s, "embeddings.npy")
}

// TestElementTypes: next-plaid converts fast-plaid's files in place, and updates change types.
func TestElementTypes(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	want := all(t, opened(t, dir, nil))
	for _, f := range []string{"0.codes.npy", "1.codes.npy", "2.codes.npy", "ivf.npy", "ivf_lengths.npy"} {
		a, err := npy.Parse(read(t, dir, f))
		require.NoError(t, err)
		v, err := a.Int64s()
		require.NoError(t, err)
		if f == "ivf_lengths.npy" {
			putNpy(t, dir, f, v, len(v)) // int64 after a delete
			continue
		}
		w := make([]int32, len(v))
		for i := range v {
			w[i] = int32(v[i])
		}
		putNpy(t, dir, f, w, len(w))
	}
	a, err := npy.Parse(read(t, dir, "0.residuals.npy"))
	require.NoError(t, err)
	putNpy(t, dir, "0.residuals.npy", a.Data, a.Shape...) // "|u1", padded to 64
	a, err = npy.Parse(read(t, dir, "centroids.npy"))
	require.NoError(t, err)
	require.Equal(t, npy.Float16, a.DType)
	v, err := a.Float32s()
	require.NoError(t, err)
	putNpy(t, dir, "centroids.npy", v, a.Shape...)
	editJSON(t, dir, "metadata.json", func(m map[string]any) {
		// Keys that vanish, and those that next-plaid adds.
		delete(m, "compress_only")
		delete(m, "num_embeddings")
		m["next_plaid_compatible"], m["embedding_dim"], m["binary"] = true, 16, false
	})
	s := opened(t, dir, &Options{Lists: ListsRefuse})
	require.Equal(t, NextPLAID, s.Format())
	require.Empty(t, s.Notes())
	require.Equal(t, want, all(t, s))
}

// TestMetadataTraps: plan.json in place of metadata.json, wrong counts, chunks beyond the count.
func TestMetadataTraps(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	editJSON(t, dir, "metadata.json", func(m map[string]any) { m["num_embeddings"] = 1000 }) // colbert-ai's own add
	noteWith(t, opened(t, dir, nil), "num_embeddings 1000")
	require.NoError(t, os.Remove(filepath.Join(dir, "metadata.json")))
	require.Equal(t, 7, opened(t, dir, nil).NumDocs())
	editJSON(t, dir, "plan.json", func(m map[string]any) { m["num_chunks"] = 2 })
	s := opened(t, dir, &Options{Lists: ListsIgnore})
	require.Equal(t, "none", s.Checkpoint())
	noteWith(t, s, "doclens.2.json")
	_, err := Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrCorrupt, "the lists name documents that are not there")
}

// TestLists: padding, differences by policy, old lists of tokens, no lists.
func TestLists(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	v, err := torchpt.Parse(read(t, dir, "ivf.pid.pt"))
	require.NoError(t, err)
	l := v.(torchpt.List)
	flat, lengths := l[0].(*torchpt.Tensor), l[1].(*torchpt.Tensor)
	padded := &torchpt.Tensor{DType: torchpt.Int, Shape: []int{flat.Shape[0] + 27}, Data: append(bytes.Clone(flat.Data), make([]byte, 4*27)...)}
	putPT(t, dir, "ivf.pid.pt", padded, lengths)
	require.Empty(t, opened(t, dir, &Options{Lists: ListsRefuse}).Notes(), "padding is colbert-ai's habit")

	wrong := &torchpt.Tensor{DType: torchpt.Int, Shape: flat.Shape, Data: bytes.Clone(flat.Data)}
	wrong.Data[0] = 1 // the first list holds document 0
	putPT(t, dir, "ivf.pid.pt", wrong, lengths)
	_, err = Open(ctx, dir, &Options{Lists: ListsRefuse})
	require.ErrorIs(t, err, ErrLists)
	require.ErrorIs(t, err, ErrCorrupt)
	noteWith(t, opened(t, dir, nil), "1 of 4 inverted lists differ")
	require.Empty(t, opened(t, dir, &Options{Lists: ListsIgnore}).Notes())

	// Lists of tokens, in any order.
	old := make([][]int32, 4)
	for i, c := range smallCodes() {
		old[c] = append([]int32{int32(i)}, old[c]...)
	}
	var ids, lens []int32
	for _, o := range old {
		ids, lens = append(ids, o...), append(lens, int32(len(o)))
	}
	require.NoError(t, os.Remove(filepath.Join(dir, "ivf.pid.pt")))
	putPT(t, dir, "ivf.pt", intTensor(ids...), longTensor(lens...))
	require.Empty(t, opened(t, dir, &Options{Lists: ListsRefuse}).Notes())
	ids[0]++
	putPT(t, dir, "ivf.pt", intTensor(ids...), longTensor(lens...))
	_, err = Open(ctx, dir, &Options{Lists: ListsRefuse})
	require.ErrorIs(t, err, ErrLists)
	require.NoError(t, os.Remove(filepath.Join(dir, "ivf.pt")))
	noteWith(t, opened(t, dir, nil), "no inverted lists")

	// fast-plaid with compress_only has none either; ids behind its last list are no habit.
	dir = smallIndex(t, FastPLAID)
	a, err := npy.Parse(read(t, dir, "ivf.npy"))
	require.NoError(t, err)
	w, err := a.Int64s()
	require.NoError(t, err)
	putNpy(t, dir, "ivf.npy", append(w, 0, 0), len(w)+2)
	_, err = Open(ctx, dir, &Options{Lists: ListsRefuse})
	require.ErrorIs(t, err, ErrLists)
	noteWith(t, opened(t, dir, nil), "2 ids behind the last list")
	require.NoError(t, os.Remove(filepath.Join(dir, "ivf.npy")))
	noteWith(t, opened(t, dir, nil), "no inverted lists")
}

// TestRemoved: colbert-ai's IndexUpdater sets the length of a removed document to 0, or, before it persists
// that, only takes it out of the lists. Positions stay.
func TestRemoved(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	want := all(t, opened(t, dir, nil))
	// Chunk 0 holds documents 0 to 2: document 1 (one token) goes as persist_to_disk does it.
	putJSON(t, dir, "doclens.0.json", []int{2, 0, 3})
	v, err := torchpt.Parse(read(t, dir, "0.codes.pt"))
	require.NoError(t, err)
	c := v.(*torchpt.Tensor)
	putPT(t, dir, "0.codes.pt", &torchpt.Tensor{DType: c.DType, Shape: []int{5}, Data: append(bytes.Clone(c.Data[:8]), c.Data[12:]...)})
	v, err = torchpt.Parse(read(t, dir, "0.residuals.pt"))
	require.NoError(t, err)
	r := v.(*torchpt.Tensor)
	putPT(t, dir, "0.residuals.pt", &torchpt.Tensor{DType: r.DType, Shape: []int{5, 4}, Data: append(bytes.Clone(r.Data[:8]), r.Data[12:]...)})
	// Document 5 is only out of the lists.
	v, err = torchpt.Parse(read(t, dir, "ivf.pid.pt"))
	require.NoError(t, err)
	flat, err := v.(torchpt.List)[0].(*torchpt.Tensor).Int64s()
	require.NoError(t, err)
	lens, err := v.(torchpt.List)[1].(*torchpt.Tensor).Int64s()
	require.NoError(t, err)
	var ids, kept []int32
	for _, n := range lens {
		k := 0
		for _, id := range flat[:n] {
			if id != 1 && id != 5 {
				ids = append(ids, int32(id))
				k++
			}
		}
		kept = append(kept, int32(k))
		flat = flat[n:]
	}
	putPT(t, dir, "ivf.pid.pt", intTensor(ids...), longTensor(kept...))
	for _, p := range []ListsPolicy{ListsRefuse, ListsNote, ListsIgnore} {
		s := opened(t, dir, &Options{Lists: p})
		require.Equal(t, 2, s.NumRemoved())
		require.Equal(t, 5, s.NumDocs())
		require.Equal(t, uint64(9), s.NumTokens())
		noteWith(t, s, "1 documents are in no inverted list")
		require.Equal(t, []Document{want[0], want[2], want[3], want[4], want[6]}, all(t, s))
	}
	// Lists that know nobody are not a collection whose documents were all removed.
	putPT(t, dir, "ivf.pid.pt", intTensor(), longTensor(0, 0, 0, 0))
	_, err = Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrLists)
}

// TestArchiveTraps: torch files whose entries are compressed, whose root has any name, and whose payload begins
// at other places than colbert-ai's mapping loader expects.
func TestArchiveTraps(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	want := all(t, opened(t, dir, nil))
	for _, f := range []string{"0.codes.pt", "centroids.pt", "ivf.pid.pt"} {
		in := read(t, dir, f)
		z, err := zip.NewReader(bytes.NewReader(in), int64(len(in)))
		require.NoError(t, err)
		var out bytes.Buffer
		w := zip.NewWriter(&out)
		for _, e := range z.File {
			r, err := e.Open()
			require.NoError(t, err)
			_, name, _ := strings.Cut(e.Name, "/")
			x, err := w.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: zip.Deflate})
			require.NoError(t, err)
			var b bytes.Buffer
			_, err = b.ReadFrom(r)
			require.NoError(t, err)
			_, err = x.Write(b.Bytes())
			require.NoError(t, err)
		}
		require.NoError(t, w.Close())
		put(t, dir, f, out.Bytes())
	}
	require.Equal(t, want, all(t, opened(t, dir, &Options{Lists: ListsRefuse})))
}

// TestMisaligned: next-plaid's merged files begin at odd bytes; so may any array.
func TestMisaligned(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	want := all(t, opened(t, dir, nil))
	b := read(t, dir, "0.codes.npy")
	a, err := npy.Parse(b)
	require.NoError(t, err)
	head := len(b) - len(a.Data)
	odd := append(bytes.Clone(b[:head-1]), ' ', '\n')
	odd[8]++
	put(t, dir, "0.codes.npy", append(odd, a.Data...))
	require.Equal(t, want, all(t, opened(t, dir, nil)))
}

func TestUnsupported(t *testing.T) {
	_, err := Open(ctx, filepath.Join(t.TempDir(), "absent"), nil)
	require.ErrorIs(t, err, os.ErrNotExist)
	_, err = Open(ctx, t.TempDir(), nil)
	require.ErrorIs(t, err, ErrUnknown)
	dir := smallIndex(t, FastPLAID)
	editJSON(t, dir, "metadata.json", func(m map[string]any) { m["binary"] = true })
	_, err = Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrUnsupported)
	put(t, dir, "codes.compacted.pt", nil)
	_, err = Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "WARP")
	dir = smallIndex(t, ColBERTAI)
	put(t, dir, "centroids.pt", []byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."))
	_, err = Open(ctx, dir, nil)
	require.ErrorContains(t, err, "protocol version")
	require.ErrorIs(t, err, ErrCorrupt)
}
