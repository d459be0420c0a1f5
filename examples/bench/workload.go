package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unsafe"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/mmapfile"
	"github.com/golbert/golbert/internal/npy"
)

// workload is a collection with queries. Documents are read when they are needed; their ids are their numbers.
type workload struct {
	name    string
	dim     int
	docs    int
	tokens  uint64
	queries []maxsim.Matrix
	rels    []map[int]bool // per query; nil: not judged
	truth   [][]int        // per query, the exact order; nil until it is asked for

	ids   []uint32 // vocabulary id of every token vector, or nil
	start []int64  // with ids: the first token of each document

	// doc gives the vectors of a document, in buf's memory if it is large enough. Safe for concurrent use.
	doc   func(i int, buf []float32) (maxsim.Matrix, error)
	close func() error
}

// load opens the workload of the flags.
func (b *bench) load() (*workload, error) {
	if b.data == "" {
		return newSynthetic(b.docs, b.doclen, b.dim, min(b.queries, 100), b.seed).workload(), nil
	}
	w, err := readWorkload(b.data, b.dim)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", b.data, err)
	}
	if !b.ids {
		w.ids = nil
	}
	return w, nil
}

func readWorkload(dir string, dim int) (_ *workload, err error) {
	sub := filepath.Join(dir, fmt.Sprintf("d%d", dim))
	lens, err := readInts(filepath.Join(dir, "doclens.i32.npy"), 1)
	if err != nil {
		return nil, err
	}
	w := &workload{name: filepath.Base(dir), dim: dim, docs: len(lens.data)}
	off := make([]int64, 1, len(lens.data)+1)
	for i, n := range lens.data {
		if n < 0 {
			return nil, fmt.Errorf("doclens.i32.npy: document %d has %d tokens", i, n)
		}
		off = append(off, off[i]+int64(n))
	}
	w.tokens = uint64(off[w.docs])
	if w.queries, err = readQueries(filepath.Join(sub, "queries.f16.npy"), dim); err != nil {
		return nil, err
	}
	if w.rels, err = readRels(filepath.Join(dir, "qrels.tsv"), len(w.queries)); err != nil {
		return nil, err
	}
	if ids, err := readInts(filepath.Join(dir, "tokens.i32.npy"), 1); err == nil {
		if len(ids.data) != int(w.tokens) {
			return nil, fmt.Errorf("tokens.i32.npy has %d ids, doclens.i32.npy counts %d tokens", len(ids.data), w.tokens)
		}
		w.ids, w.start = make([]uint32, len(ids.data)), off
		for i, id := range ids.data {
			w.ids[i] = uint32(id)
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	truth, err := readInts(filepath.Join(sub, "truth_ids.i32.npy"), 2)
	if err == nil {
		err = w.setTruth(truth)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}

	// Documents are read with ReadAt, so that the input takes no memory of this process.
	name := filepath.Join(sub, "docs.f16.npy")
	shape, start, err := npyHeader(name)
	if err != nil {
		return nil, err
	}
	if len(shape) != 2 || uint64(shape[0]) != w.tokens || shape[1] != dim {
		return nil, fmt.Errorf("%s has shape %v, doclens.i32.npy counts %d tokens of dimension %d", name, shape, w.tokens, dim)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	w.close = f.Close
	w.doc = func(i int, buf []float32) (maxsim.Matrix, error) {
		n := int(off[i+1]-off[i]) * dim
		half := make([]uint16, n)
		if _, err := f.ReadAt(bytesOf(half), start+2*off[i]*int64(dim)); err != nil {
			return maxsim.Matrix{}, fmt.Errorf("%s: document %d: %w", name, i, err)
		}
		if cap(buf) < n {
			buf = make([]float32, n)
		}
		kernel.F16ToF32(buf[:n], half)
		return maxsim.Matrix{Data: buf[:n], Rows: n / dim, Dim: dim}, nil
	}
	return w, nil
}

// bytesOf looks at numbers as the bytes of a little-endian machine, which is what Go runs on here.
func bytesOf(v []uint16) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(v))), 2*len(v))
}

// npyHeader gives the shape of an array of float16 and where its data starts.
func npyHeader(name string) (shape []int, start int64, err error) {
	f, err := mmapfile.Open(name)
	if err != nil {
		return nil, 0, err
	}
	defer f.Close()
	a, err := npy.Parse(f.Bytes())
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", name, err)
	}
	if a.DType != npy.Float16 {
		return nil, 0, fmt.Errorf("%s holds %v, want float16", name, a.DType)
	}
	return a.Shape, int64(len(f.Bytes()) - len(a.Data)), nil
}

type ints struct {
	shape []int
	data  []int64
}

func readInts(name string, dims int) (ints, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return ints{}, err
	}
	a, err := npy.Parse(b)
	if err != nil {
		return ints{}, fmt.Errorf("%s: %w", name, err)
	}
	v, err := a.Int64s()
	if err != nil {
		return ints{}, fmt.Errorf("%s: %w", name, err)
	}
	if len(a.Shape) != dims {
		return ints{}, fmt.Errorf("%s has shape %v, want %d dimensions", name, a.Shape, dims)
	}
	return ints{a.Shape, v}, nil
}

func readQueries(name string, dim int) ([]maxsim.Matrix, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	a, err := npy.Parse(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(a.Shape) != 3 || a.Shape[1] < 1 || a.Shape[2] != dim {
		return nil, fmt.Errorf("%s has shape %v, want queries x rows x %d", name, a.Shape, dim)
	}
	v, err := a.Float32s()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out := make([]maxsim.Matrix, a.Shape[0])
	for i := range out {
		n := a.Shape[1] * dim
		out[i] = maxsim.Matrix{Data: v[i*n : (i+1)*n], Rows: a.Shape[1], Dim: dim}
	}
	return out, nil
}

// readRels reads the judgements, if there are any.
func readRels(name string, queries int) ([]map[int]bool, error) {
	rels := make([]map[int]bool, queries)
	b, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return rels, nil
	}
	if err != nil {
		return nil, err
	}
	s := bufio.NewScanner(bytes.NewReader(b))
	for line := 1; s.Scan(); line++ {
		var v [3]int
		f := strings.Fields(s.Text())
		ok := len(f) == 3
		for i := range v {
			if ok {
				v[i], err = strconv.Atoi(f[i])
				ok = err == nil
			}
		}
		if !ok || v[0] < 0 || v[0] >= queries {
			return nil, fmt.Errorf("%s: line %d is %q, want the numbers of a query and a document and a relevance", name, line, s.Text())
		}
		if v[2] <= 0 {
			continue
		}
		if rels[v[0]] == nil {
			rels[v[0]] = map[int]bool{}
		}
		rels[v[0]][v[1]] = true
	}
	return rels, s.Err()
}

func (w *workload) setTruth(t ints) error {
	if t.shape[0] != len(w.queries) || t.shape[1] < 1 {
		return fmt.Errorf("truth_ids.i32.npy has shape %v for %d queries", t.shape, len(w.queries))
	}
	w.truth = make([][]int, t.shape[0])
	for i, id := range t.data {
		if id < 0 || id >= int64(w.docs) {
			return fmt.Errorf("truth_ids.i32.npy: query %d: there is no document %d", i/t.shape[1], id)
		}
		q := i / t.shape[1]
		w.truth[q] = append(w.truth[q], int(id))
	}
	return nil
}

// documents gives the documents from i to j (exclusive) as an index takes them; id makes their ids.
func (w *workload) documents(ctx context.Context, i, j int, id func(int) string, done func(int)) iter.Seq2[index.Document, error] {
	return func(yield func(index.Document, error) bool) {
		var buf []float32
		for d := i; d < j; d++ {
			err := ctx.Err()
			var m maxsim.Matrix
			if err == nil {
				m, err = w.doc(d, buf)
			}
			buf = m.Data
			doc := index.Document{ID: id(d), Vectors: m}
			if w.ids != nil {
				doc.TokenIDs = w.ids[w.start[d]:w.start[d+1]]
			}
			if !yield(doc, err) || err != nil {
				return
			}
			done(d + 1 - i)
		}
	}
}
