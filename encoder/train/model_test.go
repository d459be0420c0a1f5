package train

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
)

func TestSequencesAreTheEncoders(t *testing.T) {
	const dir = "../testdata/layouts/stanford_bert"
	m, err := OpenModel(dir, nil)
	require.NoError(t, err)
	defer m.Close()
	ref, err := encoder.Open(dir, nil)
	require.NoError(t, err)
	defer ref.Close()
	ctx := context.Background()
	texts := []string{"how do tides work?", "the moon, (and) the sun."}
	for _, query := range []bool{true, false} {
		s, err := m.Sequences(ctx, texts, query, nil)
		require.NoError(t, err)
		encode := ref.EncodeDocuments
		if query {
			encode = ref.EncodeQueries
		}
		want, err := encode(ctx, texts, nil)
		require.NoError(t, err)
		require.Equal(t, len(texts), s.Len())
		for i, w := range want {
			var ids, kept []int32
			for j := s.Offsets[i]; j < s.Offsets[i+1]; j++ {
				if s.Keep[j] {
					ids = append(ids, s.IDs[j])
				}
			}
			for _, tok := range w.Tokens {
				kept = append(kept, tok.ID)
			}
			require.Equal(t, kept, ids)
		}
		require.Equal(t, s.Slice(1, 2), s.Select([]int{1}))
	}
	_, err = m.Sequences(ctx, []string{" "}, true, nil)
	require.ErrorIs(t, err, encoder.ErrEmptyText)
}
