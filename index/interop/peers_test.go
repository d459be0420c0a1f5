package interop

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/testdata"
)

// TestWriteForPeers writes exports and what our exhaustive search finds in them, for testdata/check_exports.py
// to open and search with the other programs. It runs when GOLBERT_EXPORTS names a folder.
func TestWriteForPeers(t *testing.T) {
	out := os.Getenv("GOLBERT_EXPORTS")
	if out == "" {
		t.Skip("skipped: set GOLBERT_EXPORTS to a folder")
	}
	require.NoError(t, os.MkdirAll(out, 0o755))
	// An index of golbert's own: rotated, two segments, a deletion.
	lens := testdata.ReadNpy(t, golden(t, "doclens.i32.npy")).I64
	vec := testdata.ReadNpy(t, golden(t, "d64", "docs.f16.npy")).F32
	ix, err := index.Create(ctx, filepath.Join(t.TempDir(), "ix"), &index.Options{Dim: 64, SegmentTokens: 2000})
	require.NoError(t, err)
	defer ix.Close()
	_, err = ix.Add(ctx, func(yield func(index.Document, error) bool) {
		for i, n := range lens {
			v := maxsim.Matrix{Data: vec[:n*64], Rows: int(n), Dim: 64}
			vec = vec[n*64:]
			if !yield(index.Document{ID: fmt.Sprintf("doc-%03d", i), Text: fmt.Sprint("text ", i), Vectors: v}, nil) {
				return
			}
		}
	}, nil)
	require.NoError(t, err)
	_, err = ix.Delete(ctx, []string{"doc-007"}, nil)
	require.NoError(t, err)
	own, err := ix.Snapshot()
	require.NoError(t, err)
	defer own.Close()

	type expected struct {
		Name      string   `json:"name"`
		Format    Format   `json:"format"`
		PyLate    bool     `json:"pylate"`
		Source    string   `json:"source"` // golden index whose codes these are, "" when coded anew
		Positions []string `json:"positions"`
		Top       [][]any  `json:"top"`     // per query: ids and scores of our exhaustive search on the export
		Clamped   [][]any  `json:"clamped"` // the same as colbert-ai scores on the CPU
	}
	var all []expected
	for _, from := range []string{"ca_n2", "ca_n4", "fp_n2", "fp_n4", "fp_n4_add20", "fp_n4_del", "np_n4", "own"} {
		for _, format := range []Format{ColBERTAI, FastPLAID} {
			e := expected{Name: fmt.Sprint(from, "-to-", format), Format: format, Source: from}
			snap := own
			o := &ExportOptions{ChunkTokens: 1000, RoundCentroids: true}
			if from == "own" {
				o.Reencode, e.Source, e.PyLate = true, "", format == FastPLAID
				o.PyLate = e.PyLate
			} else {
				_, snap, _ = imported(t, golden(t, from), nil)
			}
			to := filepath.Join(out, e.Name)
			require.NoError(t, os.RemoveAll(to))
			res, err := writers[format](to, snap, o)
			require.NoError(t, err)
			t.Logf("%s: %+v", e.Name, *res)
			src, back, _ := imported(t, to, &Options{Lists: ListsRefuse})
			for p, err := range src.positions(ctx) {
				require.NoError(t, err)
				e.Positions = append(e.Positions, src.id(p))
			}
			for _, q := range queries(t) {
				var top []any
				for _, h := range exhaustive(t, back, q)[:20] {
					top = append(top, []any{h.ID, h.Score})
				}
				e.Top = append(e.Top, top)
				var cl []any
				for id, s := range clamped(t, back, q) {
					cl = append(cl, []any{id, s})
				}
				e.Clamped = append(e.Clamped, cl)
			}
			all = append(all, e)
		}
	}
	b, err := json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(out, "expected.json"), b, 0o644))
}
