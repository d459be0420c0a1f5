package checkpoint

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAddProjection(t *testing.T) {
	// A backbone without a head: that of a Stanford checkpoint in the plain layout.
	src, err := Open("../testdata/layouts/stanford_bert")
	require.NoError(t, err)
	defer src.Close()
	plain := filepath.Join(t.TempDir(), "plain")
	require.NoError(t, newDir(plain, func(tmp string) error {
		if err := copySettings(tmp, src.Dir, "artifact.metadata", "config.json"); err != nil {
			return err
		}
		cfg := src.Config.Raw
		if err := writeJSON(filepath.Join(tmp, "config.json"), json.RawMessage(bytes.ReplaceAll(cfg, []byte("HF_ColBERT"), []byte("BertModel")))); err != nil {
			return err
		}
		return copyWeights(tmp, src.Dir)
	}))
	h := src.Config.HiddenSize
	d := Dense{In: h, Out: 8, Weight: make([]float32, 8*h), Activation: "identity"}
	for i := range d.Weight {
		d.Weight[i] = float32(i) / 7
	}
	out := filepath.Join(t.TempDir(), "out")
	require.NoError(t, AddProjection(out, plain, d, &ProjectionOptions{QueryLength: 12, DocumentLength: 24}))
	c, err := Open(out)
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, SentenceTransformers, c.Layout)
	require.Equal(t, []Dense{d}, c.Head)
	require.Equal(t, 12, c.Retrieval.QueryLength)
	require.Equal(t, 24, c.Retrieval.DocumentLength)
	require.NotEmpty(t, c.Retrieval.Skiplist)
	require.False(t, c.Retrieval.Expansion)
	again := filepath.Join(t.TempDir(), "again")
	require.NoError(t, Save(again, c), "it is saved as others are")

	require.ErrorIs(t, AddProjection(out+"2", out, d, nil), ErrUnsupported, "a second one")
	d.Weight = d.Weight[1:]
	require.ErrorIs(t, AddProjection(out+"2", plain, d, nil), ErrMismatch)
}
