package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// runOpen measures what a program waits for at its start, what it then holds in memory, and small changes. They are
// made to a copy of the index. Memory and the time of the first query are those of a fresh process when the index was
// there before; the line says so.
func runOpen(ctx context.Context, b *bench) error {
	w, err := b.load()
	if err != nil {
		return err
	}
	defer w.close()
	if len(w.queries) == 0 {
		return errors.New("no queries")
	}
	dir, used, remove, err := b.opened(ctx, w)
	if err != nil {
		return err
	}
	defer remove()
	if err := b.firstQueries(ctx, w, dir, used); err != nil {
		return err
	}
	return b.changes(ctx, w, dir)
}

func (b *bench) firstQueries(ctx context.Context, w *workload, dir string, fresh bool) (err error) {
	base := rss()
	t := time.Now()
	ix, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: true, ReadResiduals: b.reads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	snap, err := ix.Snapshot()
	if err != nil {
		return err
	}
	defer snap.Close()
	s := plaid.NewSearcher(snap)
	opening := time.Since(t)
	rssOpen := procStatus("VmRSS")
	o := &plaid.Options{Workers: b.threads}
	t = time.Now()
	if _, err := s.Search(ctx, w.queries[0], 10, o); err != nil {
		return err
	}
	first := time.Since(t)
	rssFirst := procStatus("VmRSS")
	if err := b.fits(ix.Info(), w); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for i := range 50 {
		if _, err := s.Search(ctx, w.queries[(1+i)%len(w.queries)], 10, o); err != nil {
			return err
		}
	}
	return b.out.print(b.head("open").add("fresh_process", fresh, "read", b.reads, "open_ms", ms(opening), "first_query_ms", ms(first),
		"open_and_first_ms", ms(opening+first), "base_rss_mb", base, "rss_open_mb", rssOpen, "rss_first_mb", rssFirst,
		"rss_after50_mb", procStatus("VmRSS"), "anon50_mb", procStatus("RssAnon"), "file50_mb", procStatus("RssFile")))
}

// changes adds and deletes documents, each durably, in a copy of the index.
func (b *bench) changes(ctx context.Context, w *workload, dir string) (err error) {
	parent := filepath.Dir(dir) // the same disk
	tmp, err := os.MkdirTemp(parent, "golbert-bench-copy")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := os.CopyFS(filepath.Join(tmp, "index"), os.DirFS(dir)); err != nil {
		return err
	}
	ix, err := index.Open(ctx, filepath.Join(tmp, "index"), &index.OpenOptions{Workers: b.threads})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	thousand := min(1000, w.docs)
	id := func(op string) func(int) string {
		return func(i int) string { return op + strconv.Itoa(i) }
	}
	add := func(op string, n int) func() error {
		return func() error {
			_, err := ix.Add(ctx, w.documents(ctx, 0, n, id(op), func(int) {}), nil)
			return err
		}
	}
	one := func(i int) func() error {
		return func() error { _, err := ix.Delete(ctx, []string{strconv.Itoa(i)}, nil); return err }
	}
	var many []string
	for _, i := range spread(w.docs, thousand) {
		many = append(many, strconv.Itoa(i))
	}
	type op struct {
		name string
		f    func() error
	}
	ops := []op{{"add1000", add("a", thousand)}}
	for i := range 5 { // small ones vary: the median of five
		ops = append(ops, op{"add1", add(fmt.Sprint("b", i, "-"), 1)})
	}
	for i := range 5 {
		ops = append(ops, op{"delete1", one(w.docs - 2 - i)})
	}
	ops = append(ops, op{"add50", add("c", min(50, w.docs))},
		op{"delete1000", func() error {
			_, err := ix.Delete(ctx, many, &index.DeleteOptions{IgnoreMissing: true})
			return err
		}})
	for i := 0; i < len(ops); {
		var took []time.Duration
		name := ops[i].name
		resetPeak()
		start := cpuTime()
		for ; i < len(ops) && ops[i].name == name; i++ {
			t := time.Now()
			if err := ops[i].f(); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			took = append(took, time.Since(t))
		}
		cpu := cpuTime() - start
		r := b.head("update").add("op", name, "runs", len(took))
		r = append(r, percentiles(took)...)
		if err := b.out.print(r.add("cpu_ms", ms(cpu/time.Duration(len(took))), "peak_rss_mb", procStatus("VmHWM"), "bytes", ix.Info().Bytes.Total)); err != nil {
			return err
		}
	}
	return nil
}
