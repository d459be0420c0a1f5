package index

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// TestTokenIDs: ids of the tokens shape the codebook that is trained, from memory and from a spool file alike, and
// nothing else.
func TestTokenIDs(t *testing.T) {
	ctx := context.Background()
	const docs, rows, dim = 1400, 50, 4 // enough for 4,096 centroids
	build := func(withIDs bool, spoolMem int) string {
		ix, err := Create(ctx, filepath.Join(t.TempDir(), "ix"), &Options{Dim: dim, NBits: 2, spoolMem: spoolMem})
		require.NoError(t, err)
		defer ix.Close()
		r := rand.New(rand.NewPCG(1, 2))
		_, err = ix.Add(ctx, func(yield func(Document, error) bool) {
			for i := range docs {
				m, ids := maxsim.New(rows, dim), make([]uint32, rows)
				for j := range m.Data {
					m.Data[j] = float32(r.NormFloat64())
				}
				for j := range ids {
					ids[j] = uint32(r.IntN(300))
				}
				d := Document{ID: string(rune('a'+i%26)) + string(rune('0'+i/26)), Vectors: m}
				if withIDs && i%10 > 0 { // some documents come without
					d.TokenIDs = ids
				}
				if !yield(d, nil) {
					return
				}
			}
		}, nil)
		require.NoError(t, err)
		books := ix.Info().Codebooks
		require.Len(t, books, 1)
		require.GreaterOrEqual(t, books[0].Centroids, 4096)
		return books[0].ID
	}
	plain, byToken := build(false, 0), build(true, 0)
	require.NotEqual(t, plain, byToken)
	require.Equal(t, byToken, build(true, 100))

	ix, err := Create(ctx, filepath.Join(t.TempDir(), "ix"), &Options{Dim: 2})
	require.NoError(t, err)
	defer ix.Close()
	_, err = ix.Add(ctx, func(yield func(Document, error) bool) {
		yield(Document{ID: "x", Vectors: maxsim.Matrix{Data: []float32{1, 0}, Rows: 1, Dim: 2}, TokenIDs: []uint32{1, 2}}, nil)
	}, nil)
	var de *DocumentError
	require.ErrorAs(t, err, &de)
	require.Equal(t, "x", de.ID)
	require.ErrorIs(t, err, maxsim.ErrDim)
}
