package main

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/internal/npy"
)

// runWrite writes the workload with its exact order as files, so that other engines get the same vectors.
func runWrite(ctx context.Context, b *bench) (err error) {
	if b.to == "" {
		return errors.New("-to: want a folder to write to")
	}
	w, err := b.load()
	if err != nil {
		return err
	}
	defer w.close()
	all := make([]int, len(w.queries))
	for i, q := range w.queries {
		if all[i] = i; q.Rows != w.queries[0].Rows {
			return fmt.Errorf("query %d has %d rows, others %d: they do not make an array", i, q.Rows, w.queries[0].Rows)
		}
	}
	if len(all) == 0 {
		return errors.New("no queries")
	}
	if err := b.exact(ctx, w, all); err != nil {
		return err
	}
	sub := filepath.Join(b.to, fmt.Sprintf("d%d", w.dim))
	if err := os.MkdirAll(sub, 0o777); err != nil {
		return err
	}
	lens, err := w.writeDocs(ctx, filepath.Join(sub, "docs.f16.npy"))
	if err != nil {
		return err
	}
	queries := npy.Header(npy.Float16, len(w.queries), w.queries[0].Rows, w.dim)
	var rels strings.Builder
	var truth []int32
	deep := truthDepth
	for _, t := range w.truth {
		deep = min(deep, len(t))
	}
	for i, q := range w.queries {
		queries = appendHalf(queries, q.Data)
		for _, id := range w.truth[i][:deep] {
			truth = append(truth, int32(id))
		}
		judged := make([]int, 0, len(w.rels[i]))
		for d := range w.rels[i] {
			judged = append(judged, d)
		}
		slices.Sort(judged)
		for _, d := range judged {
			fmt.Fprintf(&rels, "%d\t%d\t1\n", i, d)
		}
	}
	for name, data := range map[string][]byte{
		filepath.Join(b.to, "doclens.i32.npy"):  npy.Append(nil, lens, len(lens)),
		filepath.Join(sub, "queries.f16.npy"):   queries,
		filepath.Join(sub, "truth_ids.i32.npy"): npy.Append(nil, truth, len(w.queries), deep),
		filepath.Join(b.to, "qrels.tsv"):        []byte(rels.String()),
	} {
		if err := os.WriteFile(name, data, 0o666); err != nil {
			return err
		}
	}
	return b.out.print(b.head("write").add("docs", w.docs, "tokens", w.tokens, "queries", len(w.queries), "folder", b.to))
}

// writeDocs writes the vectors of all documents and returns their lengths.
func (w *workload) writeDocs(ctx context.Context, name string) (lens []int32, err error) {
	f, err := os.Create(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	out := bufio.NewWriterSize(f, 1<<20)
	if _, err := out.Write(npy.Header(npy.Float16, int(w.tokens), w.dim)); err != nil {
		return nil, err
	}
	var row []float32
	var half []byte
	for i := range w.docs {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		m, err := w.doc(i, row)
		if err != nil {
			return nil, err
		}
		row, lens = m.Data, append(lens, int32(m.Rows))
		half = appendHalf(half[:0], m.Data)
		if _, err := out.Write(half); err != nil {
			return nil, err
		}
	}
	return lens, out.Flush()
}

// appendHalf appends values in float16.
func appendHalf(b []byte, v []float32) []byte {
	h := make([]uint16, len(v))
	kernel.F32ToF16(h, v)
	for _, x := range h {
		b = binary.LittleEndian.AppendUint16(b, x)
	}
	return b
}
