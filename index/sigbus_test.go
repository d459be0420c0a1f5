//go:build unix

package index

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFaultTruncatedWhileMapped cuts a segment file short under an open index. Every call gives an error that
// names the file, and the process lives; the rest of the index goes on.
func TestFaultTruncatedWhileMapped(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, NBits: 8, Centroids: 4, SegmentTokens: 3000})
	mustAdd(t, ix, documents(1, 800)...)
	s := snapshot(t, ix)
	segs := s.Segments()
	require.Greater(t, len(segs), 1)
	bad, good := segs[0], segs[len(segs)-1]
	path := filepath.Join(dir, bad.Name())
	require.NoError(t, os.Truncate(path, 0))

	faults := 0
	requireFault := func(err error) {
		t.Helper()
		require.ErrorIs(t, err, ErrFault)
		require.ErrorIs(t, err, ErrCorrupt)
		var ce *CorruptError
		require.True(t, errors.As(err, &ce))
		require.Equal(t, bad.Name(), ce.File)
		require.GreaterOrEqual(t, ce.Offset, int64(0))
		faults++
	}
	for range 200 {
		_, err := bad.Codes(nil, 3)
		requireFault(err)
		_, err = bad.DistinctCodes(nil, 3)
		requireFault(err)
		_, err = bad.Residuals(3)
		requireFault(err)
		_, _, err = bad.ReadResiduals(nil, 3)
		requireFault(err)
		_, err = bad.InvNorms(nil, 3)
		requireFault(err)
		_, err = bad.Postings(nil, 1)
		requireFault(err)
		_, err = bad.ID(3)
		requireFault(err)
		_, err = bad.Text(3)
		requireFault(err)
		_, err = bad.Metadata(3)
		requireFault(err)
		_, _, _, err = s.Find("doc-3")
		requireFault(err)
		requireFault(Guard(func() error { _ = bad.DocTokens(3); return nil }))
	}
	_, err := good.Codes(nil, 3)
	require.NoError(t, err)
	// Writers, too; nothing stays locked or open.
	_, err = ix.Add(ctx, seq(documents(1, 3)), &AddOptions{Upsert: true})
	requireFault(err)
	_, err = ix.Delete(ctx, []string{"doc-3"}, nil)
	requireFault(err)
	_, err = ix.Compact(ctx, nil)
	requireFault(err)
	_, err = ix.Compact(ctx, &CompactOptions{Retrain: true})
	requireFault(err)
	_, err = check(ctx, ix.fs, dir)
	require.ErrorIs(t, err, ErrCorrupt) // the file is empty for who opens it now
	require.NoError(t, ix.Close())

	// What is not a fault in a mapped file is not swallowed.
	require.Panics(t, func() { _ = Guard(func() error { panic("mine") }) })
	require.Panics(t, func() {
		_ = Guard(func() error {
			var p *int
			*p = 1
			return nil
		})
	})
	t.Logf("mmap_faults=%d process_deaths=0", faults)
}
