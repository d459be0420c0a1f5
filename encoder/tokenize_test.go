package encoder

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestTokenize: the tokens are those that encoding gives vectors, also of models without their weights.
func TestTokenize(t *testing.T) {
	texts := []string{"how do tides work?", "the moon, (and) the sun."}
	for _, layout := range []string{"stanford_bert", "stanford_xmod", "native_min"} {
		dir := "testdata/layouts/" + layout
		full, err := Open(dir, nil)
		require.NoError(t, err)
		defer full.Close()
		light, err := Open(dir, &Options{TokensOnly: true})
		require.NoError(t, err)
		defer light.Close()
		require.Equal(t, full.Info(), light.Info())
		for _, query := range []bool{true, false} {
			encode, tokenize, other := full.EncodeDocuments, full.TokenizeDocuments, light.TokenizeDocuments
			if query {
				encode, tokenize, other = full.EncodeQueries, full.TokenizeQueries, light.TokenizeQueries
			}
			want, err := encode(ctx, texts, nil)
			require.NoError(t, err)
			got, err := tokenize(ctx, texts, nil)
			require.NoError(t, err)
			for i, w := range want {
				require.Equal(t, w.Tokens, got[i].Tokens)
				require.Equal(t, w.Language, got[i].Language)
				require.LessOrEqual(t, got[i].Attended, len(got[i].IDs))
				for j, k := range got[i].Keep {
					require.Equal(t, got[i].Tokens[j].ID, got[i].IDs[k])
				}
			}
			again, err := other(ctx, texts, nil)
			require.NoError(t, err)
			require.Equal(t, got, again)
			_, err = tokenize(ctx, []string{"a", " "}, nil)
			require.ErrorIs(t, err, ErrEmptyText)
		}
		_, err = light.EncodeQueries(ctx, texts, nil)
		require.ErrorIs(t, err, ErrUnsupported)
	}
}
