package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/examples/internal/stdlib"
	"github.com/golbert/golbert/index"
)

// library is the documentation of one version of Go and the index over it.
type library struct {
	dir    string // of the index; dir + ".exact.json" holds what exhaustive search finds
	root   string // GOROOT
	bits   int
	enc    *encoder.Model
	stderr io.Writer

	passages []stdlib.Passage // read when first needed
}

func (l *library) exactFile() string { return filepath.Clean(l.dir) + ".exact.json" }

func (l *library) read() (_ []stdlib.Passage, err error) {
	if l.passages == nil {
		l.passages, err = stdlib.Read(l.root)
	}
	return l.passages, err
}

// open opens the index for searching and builds it where there is none.
func (l *library) open(ctx context.Context) (*colbert.Index, error) {
	for built := false; ; built = true {
		ix, err := colbert.Open(ctx, l.dir, l.enc, &colbert.OpenOptions{ReadOnly: true})
		if err == nil {
			info, err := ix.Info()
			if err == nil && (built || info.Documents > 0) {
				return ix, nil
			}
			ix.Close()
			if err != nil {
				return nil, err
			}
		}
		switch {
		case errors.Is(err, colbert.ErrModelMismatch), errors.Is(err, colbert.ErrCorrupt):
			return nil, fmt.Errorf("%w\nremove %s to have it built anew", err, l.dir)
		case err != nil && (built || !errors.Is(err, colbert.ErrNotFound)):
			return nil, err
		}
		if err := l.build(ctx); err != nil {
			return nil, err
		}
	}
}

// build reads, encodes and indexes the passages. While their float32 vectors are at hand, the built-in
// questions are scored against them, so that the evaluation need not keep them or make them again.
//
// Add is one atomic commit: an interruption leaves an empty index, and the next run starts over.
func (l *library) build(ctx context.Context) error {
	passages, err := l.read()
	if err != nil {
		return err
	}
	fmt.Fprintf(l.stderr, "%d passages of documentation from %s\n", len(passages), filepath.Join(l.root, "src"))
	ex, err := newExact(ctx, l.enc, passages)
	if err != nil {
		return err
	}
	ix, err := colbert.Open(ctx, l.dir, ex, nil)
	if errors.Is(err, colbert.ErrNotFound) {
		ix, err = colbert.Create(ctx, l.dir, ex, &colbert.Options{Index: index.Options{NBits: l.bits}})
	}
	if errors.Is(err, colbert.ErrLocked) {
		return fmt.Errorf("%w: another run is building it", err)
	}
	if err != nil {
		return err
	}
	defer ix.Close()

	encoding := progress.New(l.stderr, "encoding", len(passages))
	var writing *progress.Bar
	res, err := ix.Add(ctx, documents(passages), &colbert.AddOptions{Progress: func(p colbert.Progress) {
		encoding.Set(p.Documents)
		if p.Documents == len(passages) && writing == nil {
			encoding.End()
			writing = progress.New(l.stderr, "quantising and writing", 1)
		}
	}})
	if err != nil {
		return err
	}
	if writing != nil {
		writing.End()
	}
	fmt.Fprintf(l.stderr, "indexed %d passages, %d tokens; %d were longer than the model reads and lost their ends\n",
		res.Added, res.Tokens, res.Truncated)
	if err := ex.result().save(l.exactFile()); err != nil {
		return err
	}
	return ix.Close()
}

func documents(passages []stdlib.Passage) func(yield func(colbert.Document) bool) {
	return func(yield func(colbert.Document) bool) {
		for _, p := range passages {
			if !yield(colbert.Document{ID: p.ID, Text: p.Text}) {
				return
			}
		}
	}
}
