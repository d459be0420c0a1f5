package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func collection(t *testing.T) string {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"corpus.jsonl": `{"_id":"owl","title":"Owls","text":"They hunt at night; their feathers make no sound."}
{"_id":"tea","title":"","text":"Green tea turns bitter when the water is too hot."}
{"_id":"moss","title":"","text":"Moss grows where it is damp and the sun is weak."}
{"_id":"blank","title":"","text":" "}
`,
		"queries.jsonl": `{"_id":"q1","text":"which bird is active at night"}
{"_id":"q2","text":"why does my green tea taste bitter"}
`,
		"qrels.tsv": "query-id\tcorpus-id\tscore\nq1\towl\t1\nq2\ttea\t2\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func TestEvaluate(t *testing.T) {
	dir := collection(t)
	for _, args := range [][]string{{"-bits", "0"}, {"-bits", "4"}, {"-bits", "2", "-exhaustive", "-lang", "en"}, {"-bm25"}} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			var out, errs strings.Builder
			require.NoError(t, run(t.Context(), append(args, "-data", dir, "-json"), &out, &errs), errs.String())
			lines := strings.Split(strings.TrimSpace(out.String()), "\n")
			var r map[string]any
			require.NoError(t, json.Unmarshal([]byte(lines[len(lines)-1]), &r))
			for _, m := range []string{"ndcg@10", "recall@100", "mrr@10"} {
				require.EqualValues(t, 1, r[m], "%s in %s", m, out.String())
			}
			require.EqualValues(t, 3, r["docs"])
			require.EqualValues(t, 2, r["queries"])
		})
	}
}

func TestEvaluateRefuses(t *testing.T) {
	var out strings.Builder
	dir := collection(t)
	require.ErrorContains(t, run(t.Context(), nil, &out, &out), "-data")
	require.ErrorContains(t, run(t.Context(), []string{"-data", dir, "-bits", "3"}, &out, &out), "-bits 3")
	require.ErrorContains(t, run(t.Context(), []string{"-data", dir, "extra"}, &out, &out), "extra")
	require.ErrorIs(t, run(t.Context(), []string{"-data", filepath.Join(dir, "absent")}, &out, &out), os.ErrNotExist)
	require.Error(t, run(t.Context(), []string{"-data", dir, "-model", filepath.Join(dir, "absent")}, &out, &out))
}
