package main

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/delta"
	"github.com/golbert/golbert/encoder/japanese"
)

// layouts are the tiny checkpoints of the encoder's goldens.
const layouts = "../../encoder/testdata/layouts/"

// tuned copies a checkpoint with other numbers in two tensors of the backbone and in the projection.
func tuned(t *testing.T, name string) string {
	t.Helper()
	c, err := checkpoint.Open(layouts + name)
	require.NoError(t, err)
	defer c.Close()
	pack := filepath.Join(t.TempDir(), "p")
	d, err := checkpoint.Open(layouts + name)
	require.NoError(t, err)
	defer d.Close()
	for i := range d.Head[0].Weight {
		d.Head[0].Weight[i] += float32(i%5) / 10
	}
	require.NoError(t, delta.Diff(pack, c, d, nil))
	require.NoError(t, delta.Apply(c, pack))
	out := filepath.Join(t.TempDir(), "tuned")
	require.NoError(t, checkpoint.Save(out, c))
	return out
}

func vectors(t *testing.T, dir, text string) []float32 {
	t.Helper()
	m, err := encoder.Open(dir, nil)
	require.NoError(t, err)
	defer m.Close()
	e, err := m.EncodeDocuments(t.Context(), []string{text}, nil)
	require.NoError(t, err)
	q, err := m.EncodeQuery(t.Context(), text, nil)
	require.NoError(t, err)
	return append(e[0].Vectors.Data, q.Vectors.Data...)
}

const text = "Which planet is red? The moon and the sea, known for stars."

// TestCommands exports a fine-tuned checkpoint as a pack, applies it, averages and trims, in each layout that has
// weights of its own kind.
func TestCommands(t *testing.T) {
	for _, name := range []string{"stanford_bert", "pylate_mlp", "native_fixed", "stanford_xlmr", "xtr"} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			at := func(s string) string { return filepath.Join(dir, s) }
			base, fine := layouts+name, tuned(t, name)
			var out bytes.Buffer
			require.NoError(t, run([]string{"export", "-base", base, "-tuned", fine, "-to", at("pack")}, &out))
			require.NoError(t, run([]string{"apply", "-from", base, "-to", at("applied"), at("pack")}, &out))
			require.InDeltaSlice(t, vectors(t, fine, text), vectors(t, at("applied"), text), 1e-5)
			require.NotEqual(t, vectors(t, base, text), vectors(t, fine, text))

			require.NoError(t, run([]string{"average", "-to", at("same"), "-weights", "1,3", base, base}, &out))
			require.Equal(t, vectors(t, base, text), vectors(t, at("same"), text))
			require.NoError(t, run([]string{"average", "-to", at("mean"), base, fine}, &out))
			require.NotEqual(t, vectors(t, base, text), vectors(t, at("mean"), text))

			require.NoError(t, os.WriteFile(at("texts.txt"), []byte(text+"\n\nname\n"), 0o600))
			require.NoError(t, os.WriteFile(at("more.jsonl"), []byte(`{"_id":"1","title":"sun","text":"green"}`+"\n"), 0o600))
			require.NoError(t, run([]string{"trim", "-from", base, "-to", at("trimmed"), at("texts.txt"), at("more.jsonl")}, &out))
			require.Equal(t, vectors(t, base, text), vectors(t, at("trimmed"), text), "not a bit changes")
			require.Equal(t, vectors(t, base, "sun green name"), vectors(t, at("trimmed"), "sun green name"))

			require.NoError(t, run([]string{"info", base, at("trimmed"), at("applied")}, &out))
			require.Contains(t, out.String(), "architecture")
			require.Contains(t, out.String(), "for 3 texts")
			t.Log(out.String())

			require.ErrorIs(t, run([]string{"trim", "-from", base, "-to", at("trimmed"), at("texts.txt")}, &out), fs.ErrExist)
			require.ErrorIs(t, run([]string{"trim", "-from", base, "-to", at("x"), at("absent")}, &out), fs.ErrNotExist)
			require.ErrorIs(t, run([]string{"apply", "-from", fine, "-to", at("x"), at("pack")}, &out), delta.ErrBase)
			require.NoFileExists(t, at("x"))
		})
	}
}

func TestUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"x"}, {"info"}, {"average", "-to", "x", "one"}, {"trim", "-from", "x"}, {"export", "-base", "x"}, {"apply", "-from", "x", "-to", "y"}} {
		require.ErrorIs(t, run(args, &bytes.Buffer{}), flag.ErrHelp, "%v", args)
	}
	require.ErrorContains(t, run([]string{"average", "-to", "x", "-weights", "1,b", "a", "b"}, &bytes.Buffer{}), `"b" is not a number`)
	for _, args := range [][]string{{"info"}, {"trim", "-from", layouts + "xtr", "-to", "x"}} {
		require.ErrorIs(t, run(append(args, "-dictionary", t.TempDir(), layouts+"xtr"), &bytes.Buffer{}), japanese.ErrNotFound)
	}
}
