package tokenizer

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCluster: ends of first grapheme clusters, of those for which they matter.
func TestCluster(t *testing.T) {
	for text, want := range map[string]int{
		"ab": 1, "a\u0301b": 3, "\r\na": 2, "\n\u0301": 1, "\u200b\u0301": 3, "\u0600a": 3, "\uac00\u11a8": 6, "\u1100\u1161\u11a8": 9,
		"\u00a9\u200d\u00a9": 7, "a\u200d\u00a9": 4,
		// Control and format characters outside the basic plane are clusters of their own.
		"\U00013430\u0340\u0301": 4, "\U000e0001\u0301": 4, "\U0001d173\u0301": 4, "\U000e0fff\u0301": 4,
		// Variation selectors and emoji are not.
		"\U000e0100\u0301": 6, "\U0001f600\u0301": 6,
	} {
		require.Equal(t, want, cluster([]byte(text), 0), "%+q", text)
	}
}

// TestClusterReplacement: what tokenizers 0.23.3 makes of marks behind characters outside the basic plane. U+0340 is
// in XLM-R's charsmap: in a short cluster of its own it swallows the mark that follows, in a long one it does not.
func TestClusterReplacement(t *testing.T) {
	tok := sharedTokenizer(t, "xlm-roberta/tokenizer.json.gz")
	for text, want := range map[string][]int32{
		"\U00013430\u0340\u0301x":          {6, 3, 10565, 425},
		"\U000e0001\u0344\u0301x":          {6, 3, 246635, 4868, 425},
		"\U0001d173\u0343\u0313x":          {6, 3, 244403, 425},
		"\U0001f600\u0340\u0301x":          {21119, 10565, 4868, 425},
		"\U000e0100\u0340\u0301":           {6, 3, 10565, 4868},
		"\U0001f1eb\U0001f1f7\u0340\u0301": {6, 247414, 245080, 10565, 4868},
		"\u0915\u094d\u0915\u0340\u0301":   {6, 42120, 10565, 4868},
	} {
		require.Equal(t, want, tok.Encode(text, EncodeOptions{}).IDs, "%+q", text)
	}
}
