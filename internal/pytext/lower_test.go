package pytext

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLower(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "Tides": "tides", "ΟΔΟΣ ΣΑΣ": "οδος σας", "Σ": "σ", "İstanbul": "i\u0307stanbul", "GRÖẞE": "größe", "ＡＢ": "ａｂ",
	} {
		got, at := Lower(s)
		require.Equal(t, want, got)
		if at != nil {
			require.Len(t, at, len(got))
		}
	}
	_, at := Lower("plain")
	require.Nil(t, at)
	_, at = Lower("aİb")
	require.Equal(t, []int32{0, 1, 1, 1, 3}, at)
}
