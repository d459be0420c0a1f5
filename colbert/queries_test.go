package colbert

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestPiece(t *testing.T) {
	long := strings.Join(strings.Fields(strings.Repeat("one two three four five six seven eight nine ten ", 20)), " ")
	seen := map[string]bool{}
	for n := range 50 {
		p := piece(long, n)
		require.Equal(t, p, piece(long, n))
		words := len(strings.Fields(p))
		require.True(t, words >= minPieceWords && words <= maxPieceWords, p)
		require.Contains(t, long, p)
		seen[p] = true

		kanji := strings.Repeat("検索とは情報を探すことである。", 40)
		p = piece(kanji, n)
		require.True(t, utf8.ValidString(p))
		runes := utf8.RuneCountInString(p)
		require.True(t, runes >= minPieceRunes && runes <= maxPieceRunes, p)
		require.Contains(t, kanji, p)
	}
	require.Greater(t, len(seen), 20)
	require.Equal(t, "two words", piece("  two\n words ", 3))
	require.Empty(t, piece(" \n", 0))
	require.Empty(t, piece("", 0))
}
