package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/npy"
)

// lines runs the program and parses what it prints.
func lines(t *testing.T, args ...string) []map[string]any {
	t.Helper()
	var out, log bytes.Buffer
	require.NoError(t, run(t.Context(), append(args, "-json"), &out, &log), log.String())
	var all []map[string]any
	for line := range strings.Lines(out.String()) {
		var m map[string]any
		require.NoError(t, json.Unmarshal([]byte(line), &m), line)
		all = append(all, m)
	}
	require.NotEmpty(t, all)
	return all
}

var small = []string{"-docs", "300", "-doclen", "16", "-dim", "32", "-nq", "20"}

func with(args ...string) []string { return append(args, small...) }

func TestSearch(t *testing.T) {
	svg := filepath.Join(t.TempDir(), "curve.svg")
	peers := filepath.Join(t.TempDir(), "peers.jsonl")
	require.NoError(t, os.WriteFile(peers, []byte("loading\n"+`{"bench":"search","peer":"a <b>","nbits":4,"threads":1,"p50":30.5,"recall10":0.83}`+"\n"+
		`{"bench":"build","peer":"a <b>","p50":1,"recall10":0.1}`+"\n"), 0o600))
	got := lines(t, with("-case", "search", "-points", "2:64,auto,exhaustive", "-svg", svg, "-peers", peers)...)
	require.Len(t, got, 3)
	for _, m := range got {
		for _, key := range []string{"p50", "p95", "p99", "cpu_ms", "recall10", "recall100", "success10", "mrr10", "rss_mb", "nprobe", "nfull", "topk", "nq"} {
			require.Contains(t, m, key)
		}
		require.Equal(t, "golbert", m["peer"])
	}
	require.Greater(t, got[2]["recall10"], .9, "4 bits, exhaustive")
	require.Greater(t, got[2]["success10"], .9, "queries are made of documents")
	b, err := os.ReadFile(svg)
	require.NoError(t, err)
	require.Contains(t, string(b), "a &lt;b&gt;, 4 bits, 1 threads")
	require.Contains(t, string(b), "golbert, 4 bits, 1 threads")
	for d := xml.NewDecoder(bytes.NewReader(b)); ; {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
	}
}

func TestBuildAndOpen(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "index")
	b := lines(t, with("-case", "build", "-bits", "2", "-index", dir)...)[0]
	require.EqualValues(t, 300, b["docs"])
	require.Greater(t, b["bytes_per_token"], 8.)
	require.Greater(t, b["per_token"].(map[string]any)["residuals"], 7.9)

	got := lines(t, with("-case", "open", "-bits", "2", "-index", dir)...)
	require.Equal(t, true, got[0]["fresh_process"])
	require.Greater(t, got[0]["first_query_ms"], 0.)
	var ops []string
	for _, m := range got[1:] {
		ops = append(ops, m["op"].(string))
		require.Greater(t, m["p50"], 0.)
	}
	require.Equal(t, []string{"add1000", "add1", "delete1", "add50", "delete1000"}, ops)

	q := lines(t, with("-case", "batch", "-bits", "2", "-index", dir, "-points", "auto", "-threads", "2")...)
	require.Greater(t, q[0]["qps"], 0.)

	var out bytes.Buffer
	err := run(t.Context(), with("-case", "search", "-bits", "4", "-index", dir), &out, &out)
	require.ErrorContains(t, err, "2 bits", "an index of something else")
	require.ErrorContains(t, run(t.Context(), with("-case", "build", "-index", dir), &out, &out), "exists")

	data := t.TempDir()
	writeWorkload(t, data, newSynthetic(300, 16, 32, 20, 3))
	args := []string{"-data", data, "-case", "search", "-bits", "2", "-points", "exhaustive", "-dim", "32", "-nq", "5"}
	plain, fitted := lines(t, args...)[0], lines(t, append(args, "-fit")...)[0]
	require.NotEqual(t, plain["recall100"], fitted["recall100"], "another codec")
	require.Greater(t, fitted["recall100"], plain["recall100"].(float64)-.05)
	require.ErrorContains(t, run(t.Context(), with("-case", "build", "-fit"), &out, &out), "all")
}

func TestScale(t *testing.T) {
	got := lines(t, "-case", "scale", "-sizes", "200,400", "-doclen", "12", "-dim", "32", "-nq", "10", "-points", "4:64,exhaustive", "-recall", ".5")
	require.Len(t, got, 6)
	require.Equal(t, "scale", got[5]["bench"])
	require.Equal(t, true, got[5]["reached"])
	require.Contains(t, got[5], "growth_exponent_p50")
	require.EqualValues(t, 400, got[5]["docs"])

	// Two collections of one size say nothing about growth.
	got = lines(t, "-case", "scale", "-sizes", "50,50", "-doclen", "8", "-dim", "16", "-nq", "2", "-points", "exhaustive")
	require.Len(t, got, 4)
	require.NotContains(t, got[3], "growth_exponent_p50")
}

func TestKernels(t *testing.T) {
	if testing.Short() {
		t.Skip("measures every instruction set")
	}
	got := lines(t, "-case", "kernels", "-dim", "16")
	seen := map[string]bool{}
	for _, m := range got {
		seen[m["isa"].(string)] = true
		if m["kernel"] == "maxsim_f32" {
			require.Greater(t, m["peak_fraction"], 0.)
		}
	}
	require.Len(t, seen, len(kernel.ISAs()))
}

// A workload on disk is read as it was written, and its exact order is the one that is computed.
func TestReadWorkload(t *testing.T) {
	dir := t.TempDir()
	s := newSynthetic(50, 10, 16, 5, 3)
	writeWorkload(t, dir, s)
	w, err := readWorkload(dir, 16)
	require.NoError(t, err)
	defer w.close()
	require.Equal(t, s.workload().tokens, w.tokens)
	require.Equal(t, s.rels, w.rels)
	require.Len(t, w.ids, int(w.tokens))
	for d, err := range w.documents(t.Context(), 7, 9, strconv.Itoa, func(int) {}) {
		require.NoError(t, err)
		require.Len(t, d.TokenIDs, d.Vectors.Rows)
	}
	for i := range w.docs {
		want, _ := s.doc(i, nil)
		got, err := w.doc(i, nil)
		require.NoError(t, err)
		require.Equal(t, want.Rows, got.Rows)
		require.InDeltaSlice(t, want.Data, got.Data, 1e-3)
	}
	b := &bench{threads: 2, log: io.Discard, out: &printer{w: io.Discard}}
	require.NoError(t, b.exact(t.Context(), w, []int{0, 4}))
	require.Len(t, w.truth[4], 50)
	require.Contains(t, w.truth[4][:3], 49)
	require.Nil(t, w.truth[1])

	require.NoError(t, os.WriteFile(filepath.Join(dir, "d16", "truth_ids.i32.npy"), npy.Append(nil, []int32{9, 8, 7, 6, 50}, 5, 1), 0o600))
	_, err = readWorkload(dir, 16)
	require.ErrorContains(t, err, "no document 50")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "qrels.tsv"), []byte("0\t1\t1\n9\t1\t1\n"), 0o600))
	_, err = readWorkload(dir, 16)
	require.ErrorContains(t, err, "line 2")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "doclens.i32.npy"), npy.Append(nil, []int32{3, 4}, 2), 0o600))
	require.NoError(t, os.Remove(filepath.Join(dir, "qrels.tsv")))
	_, err = readWorkload(dir, 16)
	require.ErrorContains(t, err, "ids")
	require.NoError(t, os.Remove(filepath.Join(dir, "tokens.i32.npy")))
	require.NoError(t, os.Remove(filepath.Join(dir, "d16", "truth_ids.i32.npy")))
	_, err = readWorkload(dir, 16)
	require.ErrorContains(t, err, "counts 7 tokens")
}

// writeWorkload writes a synthetic workload with vocabulary ids and without its exact order, and compares what is written
// of that with what is computed.
func writeWorkload(t *testing.T, dir string, s *synthetic) {
	t.Helper()
	got := lines(t, "-case", "write", "-to", dir, "-docs", strconv.Itoa(s.docs), "-doclen", strconv.Itoa(s.mean), "-dim", strconv.Itoa(s.dim),
		"-nq", strconv.Itoa(len(s.queries)), "-seed", strconv.FormatUint(s.seed, 10))
	rows := int(got[0]["tokens"].(float64))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tokens.i32.npy"), npy.Append(nil, make([]int32, rows), rows), 0o600))
	w, err := readWorkload(dir, s.dim)
	require.NoError(t, err)
	defer w.close()
	truth := w.truth
	require.Len(t, truth, len(s.queries))
	w.truth = nil
	b := &bench{threads: 1, log: io.Discard, out: &printer{w: io.Discard}}
	require.NoError(t, b.exact(t.Context(), w, []int{0}))
	require.Equal(t, w.truth[0][:5], truth[0][:5])
	require.NoError(t, os.Remove(filepath.Join(dir, fmt.Sprintf("d%d", s.dim), "truth_ids.i32.npy")))
}

func TestBadFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-case", "x"}, {}, {"-case", "search", "-points", "1"}, {"-case", "search", "-nq", "0"}, {"-case", "scale", "-sizes", "many"},
		{"-case", "build", "-data", t.TempDir()}, {"-case", "plot", "-svg", filepath.Join(t.TempDir(), "x.svg")}, {"-case", "plot", "-peers", "no-such-file"}, {"-case", "plot", "extra"},
		{"-case", "write"},
	} {
		var out bytes.Buffer
		require.Error(t, run(t.Context(), args, &out, &out), args)
	}
}

func TestTokenize(t *testing.T) {
	dir := t.TempDir()
	vocab := []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		vocab = append(vocab, string(c), "##"+string(c))
	}
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vocab.txt"), []byte(strings.Join(vocab, "\n")), 0o600))
	for _, threads := range []string{"1", "2"} {
		got := lines(t, "-case", "tokenize", "-model", dir, "-threads", threads, "-docs", "100")
		require.Len(t, got, 1)
		for _, key := range []string{"load_ms", "mb_per_s", "tokens_per_s"} {
			require.Greater(t, got[0][key], 0.0, key)
		}
	}
	var out bytes.Buffer
	require.ErrorContains(t, run(t.Context(), []string{"-case", "tokenize"}, &out, &out), "-model")
	require.ErrorContains(t, run(t.Context(), []string{"-case", "tokenize", "-model", t.TempDir()}, &out, &out), "no tokenizer")
	require.ErrorIs(t, run(t.Context(), []string{"-case", "tokenize", "-model", dir, "-data", dir}, &out, &out), os.ErrNotExist)
}
