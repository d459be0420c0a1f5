package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/eval"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/bm25"
	"github.com/golbert/golbert/plaid"
)

// throughIndex searches a temporary index.
func (s *setup) throughIndex(ctx context.Context, enc *encoder.Model, docs []colbert.Document, queries []encoder.Encoded) (report, [][]eval.Scored, error) {
	tmp, err := os.MkdirTemp("", "golbert-evaluate")
	if err != nil {
		return report{}, nil, err
	}
	defer os.RemoveAll(tmp)
	start := time.Now()
	ix, err := colbert.Create(ctx, filepath.Join(tmp, "index"), enc, &colbert.Options{
		Index: index.Options{NBits: s.bits}, Language: s.lang,
	})
	if err != nil {
		return report{}, nil, err
	}
	defer ix.Close()
	bar := progress.New(s.stderr, "encoding and indexing", len(docs))
	if _, err := ix.Add(ctx, slices.Values(docs), &colbert.AddOptions{Progress: func(p colbert.Progress) { bar.Set(p.Documents) }}); err != nil {
		return report{}, nil, err
	}
	bar.End()
	info, err := ix.Info()
	if err != nil {
		return report{}, nil, err
	}
	r := report{
		System: fmt.Sprintf("%s, index of %d bits", enc.Name(), s.bits), PrepSeconds: time.Since(start).Seconds(),
		Tokens: info.Tokens, IndexBytes: info.Index.Bytes.Total - info.Index.Bytes.Text,
	}
	if s.exhaustive {
		r.System += ", every document scored"
	}
	start = time.Now()
	out := make([][]eval.Scored, len(queries))
	for i, q := range queries {
		hits, err := ix.SearchVectors(ctx, q.Vectors, depth, &colbert.SearchOptions{
			IDsOnly: true, Plaid: plaid.Options{Exhaustive: s.exhaustive},
		})
		if err != nil {
			return report{}, nil, err
		}
		for _, h := range hits {
			out[i] = append(out[i], eval.Scored{ID: h.ID, Score: float64(h.Score)})
		}
	}
	r.RunSeconds = time.Since(start).Seconds()
	return r, out, nil
}

// exactly scores every document's float32 vectors, with no index and no quantisation.
func (s *setup) exactly(ctx context.Context, enc *encoder.Model, docs []colbert.Document, queries []encoder.Encoded) (report, [][]eval.Scored, error) {
	start := time.Now()
	texts := make([]string, len(docs))
	for i, d := range docs {
		texts[i] = d.Text
	}
	bar := progress.New(s.stderr, "encoding", len(docs))
	encoded, err := enc.EncodeDocuments(ctx, texts, &encoder.TextOptions{
		Language: s.lang, Progress: func(done, _ int) { bar.Set(done) },
	})
	if err != nil {
		return report{}, nil, err
	}
	bar.End()
	r := report{System: enc.Name() + ", exhaustive float32", PrepSeconds: time.Since(start).Seconds()}
	vectors := make([]maxsim.Matrix, len(docs))
	for i, e := range encoded {
		vectors[i] = e.Vectors
		r.Tokens += uint64(e.Vectors.Rows)
	}
	start = time.Now()
	out := make([][]eval.Scored, len(queries))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, q := range queries {
		g.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			scores, err := maxsim.Scores(q.Vectors, vectors)
			if err != nil {
				return err
			}
			all := make([]eval.Scored, len(scores))
			for j, v := range scores {
				all[j] = eval.Scored{ID: docs[j].ID, Score: float64(v)}
			}
			out[i] = slices.Clone(best(all))
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return report{}, nil, err
	}
	r.RunSeconds = time.Since(start).Seconds()
	return r, out, nil
}

// best sorts a ranking as an index does and cuts it at depth.
func best(all []eval.Scored) []eval.Scored {
	slices.SortFunc(all, func(a, b eval.Scored) int { return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID)) })
	return all[:min(depth, len(all))]
}

// keywords measures BM25.
func (s *setup) keywords(c *eval.Collection) (report, eval.Run, error) {
	start := time.Now()
	docs, err := documents(c)
	if err != nil {
		return report{}, nil, err
	}
	b := bm25.Builder{Language: s.lang}
	for _, d := range docs {
		b.Add(d.ID, d.Text)
	}
	ix := b.Build()
	r := report{System: "BM25", Docs: len(docs), Queries: len(c.Queries), PrepSeconds: time.Since(start).Seconds()}
	start = time.Now()
	run := eval.Run{}
	for _, q := range c.Queries {
		for _, h := range ix.Search(q.Text, depth) {
			run[q.ID] = append(run[q.ID], eval.Scored{ID: h.ID, Score: h.Score})
		}
	}
	r.RunSeconds = time.Since(start).Seconds()
	return r, run, nil
}
