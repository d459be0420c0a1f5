package interop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/npy"
	"github.com/golbert/golbert/internal/torchpt"
	"github.com/golbert/golbert/quant"
)

// smallIndex copies an index of seven documents in three chunks, dimension 16, 2 bits, 4 centroids, which tests
// change. It is made once per format, through an index of golbert's own.
func smallIndex(t testing.TB, format Format) string {
	t.Helper()
	files, err := smallFiles[format]()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), string(format))
	require.NoError(t, os.Mkdir(dir, 0o755))
	for name, b := range files {
		put(t, dir, name, b)
	}
	return dir
}

var smallLens = []int{2, 1, 3, 1, 1, 4, 2}

func smallCodes() (codes []uint32) {
	for i := range 14 {
		codes = append(codes, uint32(i*i)%4)
	}
	return codes
}

var smallFiles = map[Format]func() (map[string][]byte, error){
	ColBERTAI: sync.OnceValues(func() (map[string][]byte, error) { return makeSmall(ColBERTAI) }),
	FastPLAID: sync.OnceValues(func() (map[string][]byte, error) { return makeSmall(FastPLAID) }),
}

func makeSmall(format Format) (map[string][]byte, error) {
	var cent []float32
	for i := range 4 * 16 {
		cent = append(cent, float32(i%7-3)/8)
	}
	cb, err := quant.NewCodebook(16, 2, cent, []float32{-.1, 0, .1}, []float32{-.2, -.05, .05, .2})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "interop")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	ix, err := index.Create(ctx, filepath.Join(dir, "ix"), &index.Options{Codebook: cb})
	if err != nil {
		return nil, err
	}
	defer ix.Close()
	codes, at := smallCodes(), 0
	if _, err = ix.AddEncoded(ctx, func(yield func(index.EncodedDocument, error) bool) {
		for n, l := range smallLens {
			d := index.EncodedDocument{ID: fmt.Sprint(n), Codes: codes[at : at+l]}
			for i := range 4 * l {
				d.Residuals = append(d.Residuals, byte(37*(4*at+i)))
			}
			at += l
			if !yield(d, nil) {
				return
			}
		}
	}, nil); err != nil {
		return nil, err
	}
	snap, err := ix.Snapshot()
	if err != nil {
		return nil, err
	}
	defer snap.Close()
	to := filepath.Join(dir, string(format))
	if _, err := writers[format](to, snap, &ExportOptions{ChunkTokens: 6}); err != nil {
		return nil, err
	}
	names, err := os.ReadDir(to)
	files := map[string][]byte{}
	for _, n := range names {
		// But for what the other programs do not write.
		if f := n.Name(); f != golbertIDs && f != ragCollection && f != ragDocIDs && err == nil {
			files[f], err = os.ReadFile(filepath.Join(to, f))
		}
	}
	return files, err
}

func put(t testing.TB, dir, name string, b []byte) {
	t.Helper()
	require.NoError(t, os.WriteFile(filepath.Join(dir, name), b, 0o644))
}

func putJSON(t testing.TB, dir, name string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	put(t, dir, name, b)
}

func putPT(t testing.TB, dir, name string, tensors ...*torchpt.Tensor) {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, torchpt.Write(&b, strings.TrimSuffix(name, ".pt"), tensors...))
	put(t, dir, name, b.Bytes())
}

func intTensor(v ...int32) *torchpt.Tensor {
	var b bytes.Buffer
	_ = writeInts(&b, v, 4)
	return &torchpt.Tensor{DType: torchpt.Int, Shape: []int{len(v)}, Data: b.Bytes()}
}

func longTensor(v ...int32) *torchpt.Tensor {
	var b bytes.Buffer
	_ = writeInts(&b, v, 8)
	return &torchpt.Tensor{DType: torchpt.Long, Shape: []int{len(v)}, Data: b.Bytes()}
}

func putNpy[T npy.Number](t testing.TB, dir, name string, v []T, shape ...int) {
	t.Helper()
	put(t, dir, name, npy.Append(nil, v, shape...))
}

// editJSON changes a JSON object.
func editJSON(t testing.TB, dir, name string, change func(m map[string]any)) {
	t.Helper()
	var m map[string]any
	require.NoError(t, json.Unmarshal(read(t, dir, name), &m))
	change(m)
	putJSON(t, dir, name, m)
}

func opened(t testing.TB, dir string, o *Options) *Source {
	t.Helper()
	s, err := Open(ctx, dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func idsOf(docs []Document) []string {
	var out []string
	for _, d := range docs {
		out = append(out, d.ID)
	}
	return out
}

func noteWith(t testing.TB, s *Source, part string) {
	t.Helper()
	require.Contains(t, strings.Join(s.Notes(), "\n"), part)
}
