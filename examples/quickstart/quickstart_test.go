package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/golbertmini"
	"github.com/golbert/golbert/examples/internal/stdlib"
)

// smallLibrary is a source tree of two packages.
func smallLibrary(t *testing.T) *library {
	root := t.TempDir()
	for name, content := range map[string]string{
		"VERSION": "go1.99.1\ntime 2030-01-01\n",
		"src/kitchen/kitchen.go": `// Package kitchen is about food.
package kitchen

// Boil heats the water until bubbles rise.
func Boil() {}

// Wash removes the dirt from plates.
func Wash() {}
`,
		"src/kitchen/kitchen_windows.go": `package kitchen

// Boil heats the water until windows are foggy.
func Boil2() {}
`,
		"src/garden/garden.go": `// Package garden is about plants.
package garden

// A Bird sits in the trees and sings at dawn.
type Bird struct {
	// Wings says how many wings the animal has.
	Wings int
	age   int // not exported, whatever the comment
}

// Sing wakes the neighbours before they like it.
func (Bird) Sing() {}
`,
		"src/internal/hidden/hidden.go": "// Package hidden is not for the public to see.\npackage hidden\n",
	} {
		file := filepath.Join(root, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(file), 0o755))
		require.NoError(t, os.WriteFile(file, []byte(content), 0o600))
	}
	enc, err := golbertmini.Open()
	require.NoError(t, err)
	t.Cleanup(func() { enc.Close() })
	return &library{dir: filepath.Join(t.TempDir(), "index"), root: root, bits: 4, enc: enc, stderr: io.Discard}
}

func TestCorpusOfASmallTree(t *testing.T) {
	l := smallLibrary(t)
	require.Equal(t, "go1.99.1", stdlib.Version(l.root))
	got, err := l.read()
	require.NoError(t, err)
	var ids []string
	for _, p := range got {
		ids = append(ids, p.ID)
	}
	require.Equal(t, []string{"garden", "garden.Bird", "garden.Bird.Wings", "garden.Bird.Sing", "kitchen", "kitchen.Boil", "kitchen.Wash"}, ids)
	require.Equal(t, "package garden: field Bird.Wings int\nWings says how many wings the animal has.", got[2].Text)
}

func TestBuildAskReopen(t *testing.T) {
	l := smallLibrary(t)
	ix, err := l.open(t.Context())
	require.NoError(t, err)
	var out, errs strings.Builder
	require.NoError(t, ask(t.Context(), ix, "how do I clean the dishes", 2, true, &out, &errs))
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, lines, 2)
	var first hitJSON
	require.NoError(t, json.Unmarshal([]byte(lines[0]), &first))
	require.Equal(t, "kitchen.Wash", first.ID)
	require.Equal(t, 1, first.Rank)
	require.Contains(t, first.Text, "removes the dirt")

	out.Reset()
	require.NoError(t, ask(t.Context(), ix, "which animal makes music early in the morning", 1, false, &out, &errs))
	require.Contains(t, out.String(), "garden.Bird")
	require.Contains(t, out.String(), "*")

	// The exhaustive result was made on the way and is of every passage.
	ex, err := l.exact(t.Context())
	require.NoError(t, err)
	qs, err := questions()
	require.NoError(t, err)
	require.Len(t, ex.Hits, len(qs))
	require.Len(t, ex.Hits[0], 7)
	require.NoError(t, os.Remove(l.exactFile()))
	again, err := l.exact(t.Context())
	require.NoError(t, err)
	require.Equal(t, ex.Tokens, again.Tokens)
	for i := range ex.Hits {
		for j := range ex.Hits[i] {
			require.InDelta(t, ex.Hits[i][j].Score, again.Hits[i][j].Score, 1e-3)
		}
	}
	require.NoError(t, ix.Close())

	l.root = t.TempDir() // no source any more: the index is all that is needed
	l.passages = nil
	ix, err = l.open(t.Context())
	require.NoError(t, err)
	require.NoError(t, ix.Close())
}

func TestInterruptedBuildStartsOver(t *testing.T) {
	l := smallLibrary(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.open(ctx)
	require.ErrorIs(t, err, context.Canceled)
	ix, err := l.open(t.Context())
	require.NoError(t, err)
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, 7, info.Documents)
	require.NoError(t, ix.Close())
}

func TestFlags(t *testing.T) {
	for _, args := range [][]string{{"-k", "0", "x"}, {"-bits", "3", "x"}, {"-nonsense"}} {
		err := run(t.Context(), args, io.Discard, io.Discard)
		require.Error(t, err, "%q", args)
		require.False(t, errors.Is(err, context.Canceled))
	}
}
