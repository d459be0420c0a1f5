package main

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder"
)

const tiny = "../../encoder/testdata/layouts/stanford_bert"

// pairs writes training data about a few animals.
func pairs(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	animals := []string{"cat", "dog", "moon", "sun", "tide", "water", "river", "house"}
	for i, a := range animals {
		for j, other := range animals {
			if a == other {
				continue
			}
			require.NoError(t, json.NewEncoder(&b).Encode(map[string]any{
				"query": "what is a " + a + " with " + other, "positive": "the " + a + " is near the " + other, "group": a + other,
				"negatives": []string{"the " + animals[(i+3)%8] + " is here", "no " + animals[(j+5)%8]}, "scores": []float32{3, 1, 0},
			}))
		}
	}
	path := filepath.Join(t.TempDir(), "pairs.jsonl")
	require.NoError(t, os.WriteFile(path, b.Bytes(), 0o644))
	return path
}

func TestTrainAndResume(t *testing.T) {
	data, dir := pairs(t), t.TempDir()
	args := func(out string, more ...string) []string {
		return append([]string{"-model", tiny, "-data", data + ",2", "-data", data, "-loss", "contrastive:1,softmax:0.5,kl", "-schedule", "constant", "-warmup", "2", "-batch", "4", "-lr", "1e-3",
			"-held-out", "0.2", "-eval", "5", "-checkpoint", "5", "-print", "5", "-keep", "5", "-tokens", "60", "-out", filepath.Join(dir, out)}, more...)
	}
	var whole, half bytes.Buffer
	ctx := context.Background()
	require.NoError(t, run(ctx, args("whole", "-steps", "10", "-export", filepath.Join(dir, "model")), &whole, os.Stderr))
	require.Contains(t, whole.String(), "step 10/10  loss ")
	require.Contains(t, whole.String(), "tokens/s")
	require.Contains(t, whole.String(), "held out: nDCG@10 ")

	require.NoError(t, run(ctx, args("half", "-steps", "5", "-resume"), &half, os.Stderr))
	require.Contains(t, half.String(), "starting anew")
	require.ErrorContains(t, run(ctx, args("half", "-steps", "10"), &half, os.Stderr), "-resume")
	require.NoError(t, run(ctx, args("half", "-steps", "10", "-resume"), &half, os.Stderr))
	require.Contains(t, half.String(), "going on from")
	for _, file := range []string{"model.safetensors", "training/state.safetensors", "training/state.json"} {
		a, err := os.ReadFile(filepath.Join(dir, "whole", "step-00000010", file))
		require.NoError(t, err)
		b, err := os.ReadFile(filepath.Join(dir, "half", "step-00000010", file))
		require.NoError(t, err)
		require.True(t, bytes.Equal(a, b), file)
	}
	for _, model := range []string{"model", "half/step-00000010"} {
		m, err := encoder.Open(filepath.Join(dir, model), nil)
		require.NoError(t, err)
		require.NoError(t, m.Close())
	}
}

// TestDocumentation: without data, it is Go's.
func TestDocumentation(t *testing.T) {
	all, err := documentation()
	if err != nil {
		t.Skip(err)
	}
	require.Greater(t, len(all), 1000)
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), []string{"-model", tiny, "-steps", "2", "-batch", "2", "-eval", "-1", "-document-tokens", "24", "-part", "head", "-optimizer", "schedulefree"}, &out, os.Stderr))
	require.Contains(t, out.String(), "2 steps")
}

func TestBadFlags(t *testing.T) {
	data := pairs(t)
	for want, args := range map[string][]string{
		"none of contrastive":  {"-loss", "mse"},
		"weight":               {"-loss", "kl:x"},
		"none of adamw":        {"-optimizer", "sgd"},
		"none of linear":       {"-schedule", "step"},
		"none of whole":        {"-part", "tail"},
		"-resume needs -out":   {"-resume"},
		"-warmup":              {"-warmup", "1.5"},
		"unexpected argument":  {"more"},
		"is no weight":         {"-data", data + ",0"},
		"left to train on":     {"-held-out", "0.999999"},
		"no part of the":       {"-held-out", "1"},
		"-held-out NaN":        {"-held-out", "NaN"},
		"LikeLanguage":         {"-like", "de"},
		"no such file":         {"-data", "absent.jsonl"},
		"option Languages":     {"-languages", "de_DE"},
		"distillation":         {"-loss", "kl", "-data", "PAIRS"},
		"no tensor's name beg": {"-freeze", "nothing."},
	} {
		if args[len(args)-1] == "PAIRS" {
			path := filepath.Join(t.TempDir(), "x.jsonl")
			require.NoError(t, os.WriteFile(path, []byte(`{"query": "a", "positive": "b"}`), 0o644))
			args = []string{"-loss", "kl", "-data", path, "-held-out", "0"}
		}
		var out bytes.Buffer
		err := run(context.Background(), append([]string{"-model", tiny, "-data", data, "-steps", "1"}, args...), &out, &out)
		require.ErrorContains(t, err, want)
	}
}

// TestNewLanguage: an XMOD checkpoint gets the adapters of a language, and a delta pack has nothing else.
func TestNewLanguage(t *testing.T) {
	dir := t.TempDir()
	pack := filepath.Join(dir, "pack")
	var out bytes.Buffer
	require.NoError(t, run(context.Background(), []string{"-model", "../../encoder/testdata/layouts/stanford_xmod", "-data", pairs(t), "-lang", "ja", "-part", "adapters", "-languages", "ja_XX", "-like", "zh",
		"-steps", "3", "-batch", "4", "-lr", "1e-3", "-held-out", "0", "-delta", pack, "-export", filepath.Join(dir, "model")}, &out, os.Stderr))
	b, err := os.ReadFile(filepath.Join(pack, "delta.json"))
	require.NoError(t, err)
	require.Contains(t, string(b), "ja_XX")
	m, err := encoder.Open(filepath.Join(dir, "model"), nil)
	require.NoError(t, err)
	defer m.Close()
	require.Contains(t, m.Languages(), "ja")
}
