package tokenizer

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPipelines: random tokenizers of all supported components and flags (see _gen/pipelines.py and
// _gen/components.py), and small ones of the shape of well-known tokenizers (_gen/shapes.py). GOLBERT_PIPELINES names a further file of the same form.
func TestPipelines(t *testing.T) {
	files := []string{"testdata/pipelines.json", "testdata/components.json", "testdata/shapes.json"}
	if more := os.Getenv("GOLBERT_PIPELINES"); more != "" {
		files = append(files, more)
	}
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) { testPipelines(t, name) })
	}
}

// pipelines is the form of these files.
type pipelines struct {
	Pipelines []struct {
		Tokenizer json.RawMessage
		Size      int
		Cases     []struct {
			Text    string
			IDs     []int32
			Offsets []int
			Special []int
			Plain   []int32
		}
	}
}

func readPipelines(t testing.TB, name string) (file pipelines) {
	t.Helper()
	b, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(b, &file))
	require.NotEmpty(t, file.Pipelines)
	return file
}

func testPipelines(t *testing.T, name string) {
	file := readPipelines(t, name)
	for i, p := range file.Pipelines {
		tok, err := FromJSON(p.Tokenizer)
		require.NoError(t, err, "pipeline %d", i)
		require.Equal(t, p.Size, tok.VocabSize(), "pipeline %d", i)
		for _, c := range p.Cases {
			e := tok.Encode(c.Text, EncodeOptions{AddSpecial: true})
			require.Equal(t, c.IDs, append([]int32{}, e.IDs...), "pipeline %d: %q in %.3000s", i, c.Text, p.Tokenizer)
			for j := range e.IDs {
				at := points(c.Text, e.Offsets[j])
				require.Equal(t, c.Offsets[2*j:2*j+2], at[:], "pipeline %d: %q token %d in %.3000s", i, c.Text, j, p.Tokenizer)
				require.Equal(t, c.Special[j] == 1, e.Special[j], "pipeline %d: %q token %d", i, c.Text, j)
			}
			plain := tok.Encode(c.Text, EncodeOptions{NoSpecialInText: true})
			require.Equal(t, c.Plain, append([]int32{}, plain.IDs...), "pipeline %d: %q plain in %.3000s", i, c.Text, p.Tokenizer)

			// MaxLen keeps the first tokens and all special ones.
			n, special := len(e.IDs), tok.NumSpecial()
			for limit := special + 1; limit <= n+1; limit++ {
				cut := tok.Encode(c.Text, EncodeOptions{AddSpecial: true, MaxLen: limit})
				want := append([]int32{}, e.IDs...)
				if limit < n {
					after := len(tok.after)
					want = append(append([]int32{}, e.IDs[:limit-after]...), e.IDs[n-after:]...)
				}
				require.Equal(t, want, append([]int32{}, cut.IDs...))
				require.Equal(t, limit < n, cut.Truncated)
			}
		}
	}
}
