package encoder

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
)

// TestScore counts scores in plain loops for each similarity that checkpoints name.
func TestScore(t *testing.T) {
	l2, _, _ := stanfordDir(t, map[string]any{"query_maxlen": 9, "doc_maxlen": 12, "dim": 8, "similarity": "l2"})
	cosine, _, _ := stanfordDir(t, map[string]any{"query_maxlen": 9, "doc_maxlen": 12, "dim": 8, "similarity": "cosine"})
	for _, tc := range []struct {
		dir, similarity, query, document string
	}{
		{"testdata/layouts/bge_m3", "mean", "which planet is red", "the sea and the moon"},
		{l2, "l2", "red sky", "the blue sea a b c"},
		{cosine, "cosine", "red sky", "the blue sea a b c"},
	} {
		m := open(t, tc.dir, nil)
		require.Equal(t, tc.similarity, m.Info().Similarity)
		q, err := m.EncodeQuery(t.Context(), tc.query, nil)
		require.NoError(t, err)
		d, err := m.EncodeDocuments(t.Context(), []string{tc.document}, nil)
		require.NoError(t, err)
		want := 0.0
		for i := range q.Vectors.Rows {
			best := math.Inf(-1)
			for j := range d[0].Vectors.Rows {
				s := 0.0
				for k, v := range q.Vectors.Row(i) {
					w := float64(d[0].Vectors.Row(j)[k])
					if tc.similarity == "l2" {
						s -= (float64(v) - w) * (float64(v) - w)
					} else {
						s += float64(v) * w
					}
				}
				best = max(best, s)
			}
			want += best
		}
		if tc.similarity == "mean" {
			want /= float64(q.Vectors.Rows)
		}
		got, err := m.Score(q, d[0])
		require.NoError(t, err)
		require.InDelta(t, want, got, 1e-4)
		_, err = m.Score(q, Encoded{Vectors: maxsim.New(1, 3)})
		require.ErrorIs(t, err, maxsim.ErrDim)
	}
}

// TestDim cuts vectors to their first values: the result is the full vector's beginning, normalised again.
func TestDim(t *testing.T) {
	const dir = "testdata/layouts/pylate_modernbert"
	full := open(t, dir, nil)
	text := []string{"The sea (blue) - the moon; the stars", "a"}
	want, err := full.EncodeDocuments(t.Context(), text, nil)
	require.NoError(t, err)
	require.Equal(t, 8, full.Dim())
	for _, dim := range []int{1, 5, 8} {
		m, err := full.With(&Options{Dim: dim})
		require.NoError(t, err)
		defer m.Close()
		require.Equal(t, dim, m.Dim())
		require.Equal(t, dim, m.Info().Dim)
		got, err := m.EncodeDocuments(t.Context(), text, nil)
		require.NoError(t, err)
		for i, e := range got {
			require.Equal(t, want[i].Tokens, e.Tokens)
			require.Equal(t, dim, e.Vectors.Dim)
			for r := range e.Vectors.Rows {
				n := 0.0
				for _, v := range want[i].Vectors.Row(r)[:dim] {
					n += float64(v) * float64(v)
				}
				for k, v := range e.Vectors.Row(r) {
					require.InDelta(t, float64(want[i].Vectors.Row(r)[k])/math.Sqrt(n), v, 1e-6)
				}
			}
		}
	}
	for _, dim := range []int{-1, 9} {
		_, err := full.With(&Options{Dim: dim})
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, "option Dim is")
	}
}
