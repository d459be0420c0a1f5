package interop

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestMetadataDB: testdata/metadb/fastplaid.db was made by fast_plaid 1.4.6 (filtering.create and update; two
// columns were added later), fastplaid.json is what its filtering.get says; nextplaid.db was made by SQLite in
// the form of next-plaid 1.8 (user_version 2), with pages of 512 bytes.
func TestMetadataDB(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	put(t, dir, metaDB, read(t, "testdata", "metadb", "fastplaid.db"))
	var want []map[string]any
	require.NoError(t, json.Unmarshal(read(t, "testdata", "metadb", "fastplaid.json"), &want))
	require.Len(t, want, 7)
	s := opened(t, dir, nil)
	require.Empty(t, s.Notes())
	for i, d := range all(t, s) {
		require.Equal(t, fmt.Sprint(i), d.ID)
		for k, v := range want[i] {
			switch {
			case k == subsetColumn || v == nil:
				require.NotContains(t, d.Meta, k)
			default:
				require.EqualValues(t, v, d.Meta[k], "document %d, %s", i, k)
			}
		}
	}
	require.IsType(t, int64(0), all(t, s)[0].Meta["year"])
	require.IsType(t, float64(0), all(t, s)[0].Meta["score"])

	s = opened(t, dir, &Options{IDColumn: "name", TextColumn: "body"})
	docs := all(t, s)
	require.Equal(t, []string{"doc 0", "doc 1", "doc 2", "doc 3", "doc 4", "late", "last ✓"}, idsOf(docs))
	require.Equal(t, strings.Repeat("long text 3 ", 900), docs[3].Text)
	require.NotContains(t, docs[3].Meta, "body")
	_, snap, _ := imported(t, dir, &Options{IDColumn: "name", TextColumn: "body"})
	seg, ord, ok := snap.Lookup("last ✓")
	require.True(t, ok)
	m, err := seg.Metadata(ord)
	require.NoError(t, err)
	require.Equal(t, int64(1)<<40, m["year"])

	_, err = Open(ctx, dir, &Options{IDColumn: "nope"})
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "nope")
	require.Nil(t, all(t, opened(t, dir, &Options{NoMetadata: true}))[0].Meta)

	put(t, dir, metaDB+"-wal", []byte("something"))
	s = opened(t, dir, nil)
	noteWith(t, s, "metadata.db-wal")
	require.Nil(t, all(t, s)[0].Meta)
}

// TestMetadataDBBlobs: testdata/metadb/blobs.db was made by SQLite 3.40, with a blob column.
func TestMetadataDBBlobs(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	put(t, dir, metaDB, read(t, "testdata", "metadb", "blobs.db"))
	s := opened(t, dir, nil)
	docs := all(t, s)
	require.Equal(t, map[string]any{"name": "n1"}, map[string]any(docs[1].Meta))
	noteWith(t, s, "thumb")
	require.Len(t, s.Notes(), 1, "one note, not one per document")
}

func TestMetadataDBOfNextPLAID(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	put(t, dir, metaDB, read(t, "testdata", "metadb", "nextplaid.db"))
	for p, d := range all(t, opened(t, dir, nil)) {
		i := 299 - p
		require.Equal(t, map[string]any{
			"file": fmt.Sprintf("file%d.go", p), "line": int64(p) * 1000003, "complexity": float64(i), "has_loops": int64(1),
			`code "x"`: strings.Repeat(fmt.Sprintf("func f%d() ", i%7), i%7*50+1),
		}, d.Meta)
	}
}

func TestMetadataDBDamaged(t *testing.T) {
	dir := smallIndex(t, FastPLAID)
	whole := read(t, "testdata", "metadb", "fastplaid.db")
	for n := 0; n < len(whole); n += len(whole) / 23 {
		put(t, dir, metaDB, whole[:n])
		err := readAll(dir, nil)
		require.ErrorIs(t, err, ErrCorrupt)
		require.ErrorContains(t, err, metaDB)
	}
}
