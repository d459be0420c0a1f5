package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// some makes a small index.
func some(t *testing.T) string {
	dir := filepath.Join(t.TempDir(), "ix")
	ix, err := index.Create(context.Background(), dir, &index.Options{Dim: 32})
	require.NoError(t, err)
	defer ix.Close()
	_, err = ix.Add(context.Background(), func(yield func(index.Document, error) bool) {
		for d := range 30 {
			v := maxsim.New(4, 32)
			for i := range v.Data {
				v.Data[i] = float32((d*31+i*i*7)%17 - 8)
			}
			if !yield(index.Document{ID: fmt.Sprint("doc ", d), Text: fmt.Sprint("text ", d), Vectors: v}, nil) {
				return
			}
		}
	}, nil)
	require.NoError(t, err)
	return dir
}

// TestEveryWay goes from golbert to colbert-ai, on to PyLate, and back.
func TestEveryWay(t *testing.T) {
	ctx := context.Background()
	from, dir := some(t), t.TempDir()
	ca, fp, back := filepath.Join(dir, "ca"), filepath.Join(dir, "fp"), filepath.Join(dir, "back")
	var out bytes.Buffer
	err := run(ctx, []string{"-from", from, "-to", ca, "-format", "colbert-ai"}, &out)
	require.ErrorIs(t, err, colbert.ErrReencode)
	require.ErrorContains(t, err, "-reencode")
	require.NoError(t, run(ctx, []string{"-from", from, "-to", ca, "-format", "colbert-ai", "-reencode", "-checkpoint", "some/model"}, &out))
	require.NoError(t, run(ctx, []string{"-from", ca, "-to", fp, "-format", "fast-plaid", "-pylate"}, &out))
	require.NoError(t, run(ctx, []string{"-from", fp, "-to", back, "-strict"}, &out))
	t.Log(out.String())
	for _, s := range []string{
		"found  golbert: 30 documents, 120 tokens, dimension 32, 4 bits", "wrote  " + ca + " (colbert-ai): 30 documents",
		"found  colbert-ai, with RAGatouille: 30 documents", "made with the model some/model", "wrote  " + fp + " (fast-plaid)",
		"found  fast-plaid, with PyLate: 30 documents", "wrote  " + back + " (golbert)",
	} {
		require.Contains(t, out.String(), s)
	}
	info, own, err := golbert(ctx, back)
	require.NoError(t, err)
	require.True(t, own)
	require.Equal(t, 30, info.Documents)
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 3, "nothing is left behind")
}

func TestUsage(t *testing.T) {
	ctx := context.Background()
	require.ErrorIs(t, run(ctx, nil, &bytes.Buffer{}), flag.ErrHelp)
	require.ErrorContains(t, run(ctx, []string{"-from", "x", "-to", "y", "-format", "z"}, &bytes.Buffer{}), "-format")
	require.ErrorIs(t, run(ctx, []string{"-from", t.TempDir(), "-to", filepath.Join(t.TempDir(), "y")}, &bytes.Buffer{}), colbert.ErrForeign)
	require.ErrorContains(t, run(ctx, []string{"-from", some(t), "-to", filepath.Join(t.TempDir(), "y")}, &bytes.Buffer{}), "already")
}
