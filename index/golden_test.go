package index

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// goldenDir holds an index of every file kind and section, as the first version that is released writes it. Its
// files are never made again after that: every later version must open them, or a copy of them in an upgrade. Until
// then
//
//	GOLBERT_WRITE_GOLDEN=1 go test -run TestGoldenIndex ./index
//
// writes them.
var goldenDir = filepath.Join("testdata", "golden")

func writeGolden(t *testing.T) {
	ctx := context.Background()
	dir := filepath.Join(t.TempDir(), "ix")
	ix, err := Create(ctx, dir, &Options{Dim: 8, NBits: 4, Seed: 11, AllowEmpty: true, Attributes: map[string]string{"model": "golden", "<&>": "日本語"}})
	require.NoError(t, err)
	r := newRand(12)
	docs := documents(13, 40)
	for i := range docs {
		docs[i].Vectors = vectors(r, 1+i%7, 8)
	}
	docs[3].Meta = Metadata{"lang": "de", "year": int64(2020), "score": 1.5, "ok": true, "when": time.Unix(1e9, 5).UTC(), "edge": int64(-1)}
	docs[4].Vectors.Data, docs[4].Vectors.Rows = nil, 0
	clear(docs[5].Vectors.Row(1))
	for _, part := range [][]Document{docs[:2], docs[2:30], docs[30:]} { // every vector a centroid, and two trained codebooks
		_, err := ix.Add(ctx, seq(part), &AddOptions{NoCompact: true})
		require.NoError(t, err)
	}
	_, err = ix.Compact(ctx, &CompactOptions{Retrain: true, SegmentTokens: 60})
	require.NoError(t, err)
	late := documents(14, 44)[40:]
	for i := range late {
		late[i].Vectors = vectors(r, 3, 8)
	}
	_, err = ix.Update(ctx, Batch{Delete: []string{"doc-7", "doc-31"}, Add: seq(late)}, &UpdateOptions{NoCompact: true})
	require.NoError(t, err)
	want, err := json.MarshalIndent(dumpNow(t, ix), "", " ")
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	require.NoError(t, os.RemoveAll(goldenDir))
	require.NoError(t, os.CopyFS(filepath.Join(goldenDir, "ix"), os.DirFS(dir)))
	require.NoError(t, os.Remove(filepath.Join(goldenDir, "ix", lockName)))
	require.NoError(t, os.WriteFile(filepath.Join(goldenDir, "content.json"), append(want, '\n'), 0o644))
}

// TestGoldenIndex opens the committed index. Where it fails, the change breaks the indexes that people have: a new
// field of the manifest needs omitempty, a new section of segments the bit that says that readers may pass it over.
func TestGoldenIndex(t *testing.T) {
	if os.Getenv("GOLBERT_WRITE_GOLDEN") != "" {
		writeGolden(t)
	}
	ctx := context.Background()
	b, err := os.ReadFile(filepath.Join(goldenDir, "content.json"))
	require.NoError(t, err)
	var want map[string]string
	require.NoError(t, json.Unmarshal(b, &want))
	src := filepath.Join(goldenDir, "ix")
	ro, err := Open(ctx, src, &OpenOptions{ReadOnly: true, Verify: true})
	require.NoError(t, err)
	require.Equal(t, want, dumpNow(t, ro))
	require.Equal(t, map[string]string{"model": "golden", "<&>": "日本語"}, ro.Attributes())
	kinds := map[string]bool{}
	for _, s := range ro.cur.segs {
		for k, sec := range s.f.secs {
			kinds[sectionName(uint32(k))] = kinds[sectionName(uint32(k))] || sec.len > 0
		}
	}
	delete(kinds, "")
	require.Len(t, kinds, numSections-1)
	for k, there := range kinds {
		require.True(t, there, k)
	}
	require.Greater(t, len(ro.cur.segs), 2)
	require.NoError(t, ro.Close())
	_, err = Check(ctx, src)
	require.NoError(t, err)

	// It can be written to.
	dir := filepath.Join(t.TempDir(), "ix")
	require.NoError(t, os.CopyFS(dir, os.DirFS(src)))
	ix, err := Open(ctx, dir, nil)
	require.NoError(t, err)
	mustAdd(t, ix, Document{ID: "new", Vectors: vectors(newRand(1), 4, 8)})
	_, err = ix.Compact(ctx, &CompactOptions{Recode: true})
	require.NoError(t, err)
	require.Equal(t, len(want), snapshot(t, ix).NumDocs())
	require.NoError(t, ix.Close())
	_, err = Check(ctx, dir)
	require.NoError(t, err)
}
