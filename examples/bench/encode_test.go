package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/golbertmini"
)

func TestEncode(t *testing.T) {
	got := lines(t, "-case", "encode", "-docs", "3", "-nq", "2")
	require.Len(t, got, 3)
	for i, p := range []string{"float32", "bfloat16", "int8"} {
		m := got[i]
		require.Equal(t, p, m["precision"])
		require.Equal(t, golbertmini.Name, m["model"])
		for _, key := range []string{"threads", "isa", "docs_per_s", "tokens_per_s", "gflops", "query_ms", "open_ms"} {
			require.Contains(t, m, key)
		}
		require.Equal(t, got[0]["tokens"], m["tokens"])
		if p == "float32" {
			require.NotContains(t, m, "mean_cosine")
			continue
		}
		require.Greater(t, m["mean_cosine"], .99)
		require.Less(t, m["min_cosine"], 1.)
	}
	require.Greater(t, got[1]["mean_cosine"], .999, "bfloat16")
}

func TestEncodeTexts(t *testing.T) {
	dir := t.TempDir()
	b := &bench{data: dir, docs: 2, queries: 1}
	_, _, err := b.encodeTexts()
	require.ErrorIs(t, err, os.ErrNotExist)
	file := filepath.Join(dir, "docs.jsonl")
	require.NoError(t, os.WriteFile(file, []byte("{\"text\":\"one\"}\n{\"text\":\"two\"}\n{\"text\":\"three\"}\n"), 0o600))
	docs, queries, err := b.encodeTexts()
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two", "three"}, docs, "fewer than the peers leave out")
	require.Equal(t, docs, queries)
	require.NoError(t, os.WriteFile(file, []byte("{\"text\":\"one\"}\nnonsense\n"), 0o600))
	_, _, err = b.encodeTexts()
	require.ErrorContains(t, err, "line 2")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, _, err = b.encodeTexts()
	require.ErrorContains(t, err, "no texts")
	require.ErrorContains(t, run(t.Context(), []string{"-case", "encode", "-precision", "float16", "-docs", "1"}, io.Discard, io.Discard), "float16")
}
