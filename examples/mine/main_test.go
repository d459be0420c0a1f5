package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/train"
)

func TestMine(t *testing.T) {
	dir := t.TempDir()
	data := filepath.Join(dir, "pairs.jsonl")
	var b bytes.Buffer
	for i, w := range []string{"cats", "dogs", "rivers", "mountains", "trains", "ships", "apples", "clouds"} {
		fmt.Fprintf(&b, `{"query": "tell me about %s", "positive": "some things that are known about %s", "group": "g%d"}`+"\n", w, w, i)
	}
	require.NoError(t, os.WriteFile(data, b.Bytes(), 0o644))
	ctx := context.Background()
	for _, name := range []string{"mined.jsonl", "mined.jsonl.zst"} {
		path := filepath.Join(dir, name)
		var out bytes.Buffer
		require.NoError(t, run(ctx, []string{"-data", data, "-o", path, "-negatives", "3", "-teacher", "bm25,2", "-teacher", "../../encoder/testdata/layouts/stanford_bert"}, &out, &out))
		require.Contains(t, out.String(), "8 of 8 examples with 3.0 negatives on average, of 8 documents; 0 positives not among the first 100")
		n := 0
		for e, err := range train.ReadExamples(path, nil) {
			require.NoError(t, err)
			require.Len(t, e.Negatives, 3)
			require.GreaterOrEqual(t, e.Scores[0], float32(0.66), "BM25 knows the positive: %v", e.Scores)
			n++
		}
		require.Equal(t, 8, n)
	}
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 3)
	for want, args := range map[string][]string{
		"-data":               {"-o", "x"},
		"no weight":           {"-data", data, "-o", filepath.Join(dir, "x"), "-teacher", "bm25,-1"},
		"no such file":        {"-data", "absent", "-o", filepath.Join(dir, "x")},
		"unexpected argument": {"-data", data, "-o", "x", "more"},
		"bad options":         {"-data", data, "-o", "x", "-depth", "-1"},
	} {
		require.ErrorContains(t, run(ctx, args, &bytes.Buffer{}, &bytes.Buffer{}), want)
	}
}
