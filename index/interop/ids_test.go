package interop

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/torchpt"
)

func TestRAGatouille(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	putJSON(t, dir, ragDocIDs, map[string]any{"0": "a", "1": "b", "2": "b", "3": "c", "4": "b#0", "5": 17, "6": "d"})
	texts := []string{"t0", "t1", "t2", "t3 \u2028", "", "t5", "t6"}
	putJSON(t, dir, ragCollection, texts)
	put(t, dir, ragMetadata, []byte(`{"b": {"year": 1998, "score": 0.5, "ok": true, "none": null, "list": [1, "x"], "big": 12345678901234567890}, "zz": {}, "c": {}}`))
	s := opened(t, dir, nil)
	require.Equal(t, RAGatouille, s.Wrapper())
	docs := all(t, s)
	require.Equal(t, []string{"a", "b##0", "b#1", "c", "b#0", "17", "d"}, idsOf(docs))
	noteWith(t, s, "1 ids name several documents")
	for i, d := range docs {
		require.Equal(t, texts[i], d.Text)
		require.Equal(t, i, d.Position)
	}
	meta := map[string]any{"year": int64(1998), "score": .5, "ok": true, "list": `[1,"x"]`, "big": 12345678901234567890.0, MetaDocument: "b", MetaPassage: int64(0)}
	require.Equal(t, meta, docs[1].Meta)
	require.Equal(t, int64(1), docs[2].Meta[MetaPassage])
	require.Nil(t, docs[3].Meta)

	// All of it survives the way through an index and back.
	_, snap, _ := imported(t, dir, nil)
	back := filepath.Join(t.TempDir(), "back")
	_, err := WriteColBERTAI(ctx, back, snap, nil)
	require.NoError(t, err)
	require.JSONEq(t, `{"0":"a","1":"b","2":"b","3":"c","4":"b#0","5":"17","6":"d"}`, string(read(t, back, ragDocIDs)))
	require.JSONEq(t, `{"b":{"year":1998,"score":0.5,"ok":true,"list":"[1,\"x\"]","big":12345678901234567000}}`, string(read(t, back, ragMetadata)))
	require.Equal(t, docs, all(t, opened(t, back, nil)))

	bare := opened(t, dir, &Options{PositionIDs: true, NoText: true, NoMetadata: true})
	require.Equal(t, []string{"0", "1", "2", "3", "4", "5", "6"}, idsOf(all(t, bare)))
	require.Empty(t, all(t, bare)[0].Text)
	require.Nil(t, all(t, bare)[1].Meta)
}

// TestRAGatouilleAfterDelete: the library takes a deleted document's text out of the collection, and its pid out
// of the map, while the pids of the others stay.
func TestRAGatouilleAfterDelete(t *testing.T) {
	dir := smallIndex(t, ColBERTAI)
	editLens := func(name string, lens []int) { putJSON(t, dir, name, lens) }
	editLens("doclens.0.json", []int{2, 0, 3})
	drop := func(name string, size int, from, to int) {
		v, err := torchpt.Parse(read(t, dir, name))
		require.NoError(t, err)
		x := v.(*torchpt.Tensor)
		shape := append([]int{x.Shape[0] - (to - from)}, x.Shape[1:]...)
		putPT(t, dir, name, &torchpt.Tensor{DType: x.DType, Shape: shape, Data: append(bytes.Clone(x.Data[:from*size]), x.Data[to*size:]...)})
	}
	drop("0.codes.pt", 4, 2, 3)
	drop("0.residuals.pt", 4, 2, 3)
	require.NoError(t, os.Remove(filepath.Join(dir, "ivf.pid.pt")))
	putJSON(t, dir, ragDocIDs, map[string]string{"0": "a", "2": "c", "3": "d", "4": "e", "5": "f", "6": "g"})
	putJSON(t, dir, ragCollection, []string{"ta", "tc", "td", "te", "tf", "tg"})
	s := opened(t, dir, nil)
	noteWith(t, s, "after deletions")
	for _, d := range all(t, s) {
		require.Equal(t, "t"+d.ID, d.Text)
	}
	// Lengths that fit nothing: better no text than a wrong one.
	putJSON(t, dir, ragCollection, []string{"ta", "tc"})
	s = opened(t, dir, nil)
	noteWith(t, s, "none was taken")
	require.Empty(t, all(t, s)[0].Text)
}

func pickleOf(t testing.TB, pairs ...any) []byte {
	t.Helper()
	var b bytes.Buffer
	i := -2
	require.NoError(t, torchpt.WriteDict(&b, func() (any, any, bool) {
		if i += 2; i >= len(pairs) {
			return nil, nil, false
		}
		return pairs[i], pairs[i+1], true
	}))
	return b.Bytes()
}

func TestPyLate(t *testing.T) {
	dir := t.TempDir()
	inner := filepath.Join(dir, "fast_plaid_index")
	require.NoError(t, os.Rename(smallIndex(t, FastPLAID), inner))
	var to, back []any
	for i := range int64(7) {
		to, back = append(to, i, fmt.Sprint("id", i)), append(back, fmt.Sprint("id", i), i)
	}
	to[3] = int64(42) // ids may be numbers
	back[2] = int64(42)
	put(t, dir, pylateToDoc, pickleOf(t, to...))
	put(t, dir, pylateToPlad, pickleOf(t, back...))
	for _, d := range []string{dir, inner} {
		s := opened(t, d, nil)
		require.Equal(t, PyLate, s.Wrapper())
		require.Equal(t, FastPLAID, s.Format())
		require.Empty(t, s.Notes())
		require.Equal(t, []string{"id0", "42", "id2", "id3", "id4", "id5", "id6"}, idsOf(all(t, s)))
	}
	// The same id again (PyLate keeps both documents), one missing, one beyond the end.
	put(t, dir, pylateToDoc, pickleOf(t, int64(0), "x", int64(1), "x", int64(2), "y", int64(3), "4", int64(5), "z", int64(6), "w", int64(7), "v"))
	s := opened(t, dir, nil)
	require.Equal(t, []string{"x#0", "x#1", "y", "4", "#4", "z", "w"}, idsOf(all(t, s)))
	noteWith(t, s, "beyond")
	noteWith(t, s, "no id in the source")
	noteWith(t, s, "do not agree")
	// As Python's pickle writes it: protocol 4, memo, frames. pickle.dumps({0: "a", 1: "b", 2: 3})
	put(t, dir, pylateToDoc, []byte("\x80\x04\x95\x13\x00\x00\x00\x00\x00\x00\x00}\x94(K\x00\x8c\x01a\x94K\x01\x8c\x01b\x94K\x02K\x03u."))
	require.Equal(t, []string{"a", "b", "3", "#3"}, idsOf(all(t, opened(t, dir, nil)))[:4])

	for name, p := range map[string]string{
		"system": "\x80\x02}(K\x00cos\nsystem\n(X\x02\x00\x00\x00idtRu.",
		"numpy":  "\x80\x02}(K\x00cnumpy.core.multiarray\nscalar\nu.",
	} {
		put(t, dir, pylateToDoc, []byte(p))
		_, err := Open(ctx, dir, nil)
		require.ErrorIs(t, err, ErrForbidden, name)
		require.ErrorIs(t, err, ErrCorrupt, name)
		require.ErrorContains(t, err, pylateToDoc)
		require.Equal(t, 7, opened(t, dir, &Options{PositionIDs: true}).NumDocs(), "positions are the way round")
	}
	for _, p := range [][]byte{nil, []byte("\x80\x02]."), pickleOf(t, "0", "x"), pickleOf(t, int64(1), "x")[:9]} {
		put(t, dir, pylateToDoc, p)
		_, err := Open(ctx, dir, nil)
		require.ErrorIs(t, err, ErrCorrupt)
	}
}

func TestBadIDFiles(t *testing.T) {
	for _, c := range []struct{ file, content string }{
		{ragDocIDs, `{"x": "a"}`}, {ragDocIDs, `["a"]`}, {ragDocIDs, `{"0": 1.5}`}, {ragDocIDs, `{"0": {}}`}, {ragDocIDs, `{"0": "a"`},
		{ragCollection, `{"a": 1}`}, {ragCollection, `["a", 5]`}, {ragCollection, `["a", "b"`}, {ragCollection, ``},
		{ragMetadata, `[]`}, {ragMetadata, `{"0": 5}`}, {golbertIDs, `{}`}, {golbertIDs, `[1]`},
	} {
		dir := smallIndex(t, ColBERTAI)
		putJSON(t, dir, ragCollection, []string{"0", "1", "2", "3", "4", "5", "6"})
		put(t, dir, c.file, []byte(c.content))
		s, err := Open(ctx, dir, nil)
		if err == nil {
			for _, e := range s.Documents(ctx) {
				if err = e; err != nil {
					break
				}
			}
			require.NoError(t, s.Close())
		}
		require.ErrorIs(t, err, ErrCorrupt, "%s %s", c.file, c.content)
		require.ErrorContains(t, err, c.file)
	}
}
