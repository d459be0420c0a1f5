package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/index"
)

func (b *bench) bar(what string, total int) *progress.Bar { return progress.New(b.log, what, total) }

// head starts a line with what all lines have.
func (b *bench) head(name string) record {
	return record{}.add("bench", name, "peer", "golbert", "nbits", b.bits, "threads", b.threads, "dim", b.dim)
}

// built is an index that was made, and what it took.
type built struct {
	index.Info
	wall, cpu  float64
	trainWall  float64
	base, peak float64 // MiB
}

// build makes the index of a workload in dir.
func (b *bench) build(ctx context.Context, w *workload, dir string) (res built, err error) {
	res.base = rss()
	resetPeak()
	watch := startWatch()
	ix, err := index.Create(ctx, dir, &index.Options{Dim: w.dim, NBits: b.bits, Workers: b.threads})
	if err != nil {
		return built{}, err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	bar := b.bar(fmt.Sprintf("building, %d bits", b.bits), 2*w.docs)
	defer bar.End()
	var sample index.QuerySource
	if b.fit {
		others, err := w.others(b.queries)
		if err != nil {
			return built{}, err
		}
		sample = func(context.Context, []index.Document) (maxsim.Matrix, error) { return others, nil }
	}
	_, err = ix.Add(ctx, w.documents(ctx, 0, w.docs, strconv.Itoa, func(n int) { bar.Set(n) }), &index.AddOptions{
		Queries: sample,
		Progress: func(p index.Progress) {
			switch p.Stage {
			case "train":
				if p.Docs == p.Total {
					res.trainWall, _ = watch.seconds()
				}
			case "write":
				bar.Set(w.docs + p.Docs)
			}
		},
	})
	if err != nil {
		return built{}, err
	}
	res.wall, res.cpu = watch.seconds()
	res.peak = procStatus("VmHWM")
	res.Info = ix.Info()
	return res, nil
}

// others gives the vectors of the queries that are not measured when n are.
func (w *workload) others(n int) (m maxsim.Matrix, err error) {
	measured := map[int]bool{}
	for _, i := range spread(len(w.queries), n) {
		measured[i] = true
	}
	for i, q := range w.queries {
		if !measured[i] {
			m.Dim, m.Rows = q.Dim, m.Rows+q.Rows
			m.Data = append(m.Data, q.Data...)
		}
	}
	if m.Rows == 0 {
		return m, fmt.Errorf("-fit: all %d queries are measured", len(w.queries))
	}
	return m, nil
}

func runBuild(ctx context.Context, b *bench) error {
	w, err := b.load()
	if err != nil {
		return err
	}
	defer w.close()
	dir, remove, err := b.folder()
	if err != nil {
		return err
	}
	defer remove()
	r, err := b.build(ctx, w, dir)
	if err != nil {
		return err
	}
	return b.out.print(b.head("build").add("by_token", w.ids != nil, "docs", w.docs, "tokens", w.tokens).add(r.fields()...))
}

func (r built) fields() []any {
	n := float64(max(r.Tokens, 1))
	per := func(v int64) float64 { return round(float64(v)/n, 2) }
	p := r.Bytes
	k := 0
	for _, c := range r.Codebooks {
		k += c.Centroids
	}
	return []any{
		"centroids", k, "seconds", round(r.wall, 2), "cpu_s", round(r.cpu, 2), "until_trained_s", round(r.trainWall, 2),
		"base_rss_mb", r.base, "peak_rss_mb", r.peak, "peak_beyond_mb", round(r.peak-r.base, 1),
		"bytes", p.Total, "bytes_per_token", round(r.BytesPerToken, 2),
		"per_token", record{}.add("residuals", per(p.Residuals), "codes", per(p.Codes), "norms", per(p.Norms), "offsets", per(p.Offsets),
			"postings", per(p.Postings), "ids", per(p.IDs), "codebooks", per(p.Codebooks), "other", per(p.Other+p.Metadata+p.Deletions)),
	}
}

// folder is where a new index goes: -index, which must not be there, or a temporary one.
func (b *bench) folder() (dir string, remove func(), err error) {
	if b.index == "" {
		tmp, err := os.MkdirTemp("", "golbert-bench")
		if err != nil {
			return "", nil, err
		}
		return filepath.Join(tmp, "index"), func() { _ = os.RemoveAll(tmp) }, nil
	}
	if _, err := os.Stat(b.index); err == nil {
		return "", nil, fmt.Errorf("%s: %w; remove it to build again", b.index, fs.ErrExist)
	}
	return b.index, func() {}, nil
}

// opened gives the index of the flags, building it when it is not there. used says that it was there.
func (b *bench) opened(ctx context.Context, w *workload) (dir string, used bool, remove func(), err error) {
	if b.index != "" {
		if _, err := os.Stat(b.index); err == nil {
			return b.index, true, func() {}, nil
		}
	}
	dir, remove, err = b.folder()
	if err != nil {
		return "", false, nil, err
	}
	if _, err = b.build(ctx, w, dir); err != nil {
		remove()
		return "", false, nil, err
	}
	runtime.GC()
	return dir, false, remove, nil
}

// fits compares an index with the workload and the flags.
func (b *bench) fits(in index.Info, w *workload) error {
	if in.Dim != w.dim || in.Documents != w.docs || in.Tokens != w.tokens || in.NBits != b.bits {
		return fmt.Errorf("the index has %d documents, %d tokens, dimension %d, %d bits; the workload has %d documents, %d tokens, dimension %d, and -bits is %d",
			in.Documents, in.Tokens, in.Dim, in.NBits, w.docs, w.tokens, w.dim, b.bits)
	}
	return nil
}
