//go:build unix

package plaid

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// TestFaultDuringSearch cuts the segment files short under open searchers: a search gives an error that names
// a file, on one goroutine and on several, and the process lives.
func TestFaultDuringSearch(t *testing.T) {
	ctx := context.Background()
	const dim = 16
	row := func(i, n int) maxsim.Matrix {
		m := maxsim.New(n, dim)
		for j := range m.Data {
			m.Data[j] = float32((i*7+j*j*3+j)%23) - 11
		}
		return m
	}
	dir := filepath.Join(t.TempDir(), "ix")
	ix, err := index.Create(ctx, dir, &index.Options{Dim: dim, NBits: 8, SegmentTokens: 5000})
	require.NoError(t, err)
	defer ix.Close()
	_, err = ix.Add(ctx, func(yield func(index.Document, error) bool) {
		for i := range 1500 {
			if !yield(index.Document{ID: fmt.Sprint(i), Vectors: row(i, 8), Meta: index.Metadata{"n": int64(i)}}, nil) {
				return
			}
		}
	}, nil)
	require.NoError(t, err)
	snap, err := ix.Snapshot()
	require.NoError(t, err)
	defer snap.Close()
	s := NewSearcher(snap)
	qs := []maxsim.Matrix{row(3, 4), row(9, 5)}
	_, err = s.Search(ctx, qs[0], 10, nil)
	require.NoError(t, err)
	for _, seg := range snap.Segments() {
		require.NoError(t, os.Truncate(filepath.Join(dir, seg.Name()), 4096))
	}
	faults := 0
	for i := range 200 {
		o := &Options{Workers: 1 + i%4, Exhaustive: i%3 == 0}
		_, err = s.Search(ctx, qs[0], 10, o)
		require.ErrorIs(t, err, index.ErrFault)
		require.ErrorIs(t, err, index.ErrCorrupt)
		require.ErrorContains(t, err, "seg-")
		res, err := s.SearchBatch(ctx, qs, 10, o)
		if err == nil {
			for _, r := range res {
				require.ErrorIs(t, r.Err, index.ErrFault)
			}
		} else {
			require.ErrorIs(t, err, index.ErrFault)
		}
		faults += 2
	}
	t.Logf("mmap_faults=%d process_deaths=0", faults)
}
