package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/eval"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/index"
)

// collection is a folder in BEIR's format with passages and queries of one language.
type collection struct {
	lang    string
	docs    []colbert.Document // ids are language/id
	has     map[string]bool    // the folder's own ids
	queries []eval.Query
	qrels   eval.Qrels
}

// load reads a folder, and no more than so many passages and queries of it; 0 means all.
func load(lang, folder string, passages, queries int) (*collection, error) {
	b, err := eval.ReadBEIR(folder)
	if err != nil {
		return nil, err
	}
	c := &collection{lang: lang, has: map[string]bool{}, queries: b.Queries, qrels: b.Qrels}
	for d, err := range b.Docs() {
		if err != nil {
			return nil, err
		}
		if text := d.Contents(); strings.TrimSpace(text) != "" {
			c.docs = append(c.docs, colbert.Document{ID: lang + "/" + d.ID, Text: text, Language: lang})
			c.has[d.ID] = true
		}
		if passages > 0 && len(c.docs) == passages {
			break
		}
	}
	if queries > 0 && len(c.queries) > queries {
		c.queries = c.queries[:queries]
	}
	return c, nil
}

// build indexes the passages of all languages together.
func (s *setup) build(ctx context.Context, enc *encoder.Model) (*colbert.Index, error) {
	var docs []colbert.Document
	for _, c := range s.collections {
		docs = append(docs, c.docs...)
	}
	if s.detect {
		for i := range docs {
			docs[i].Language = ""
		}
	}
	ix, err := colbert.Create(ctx, s.dir, enc, nil)
	if err != nil {
		return nil, err
	}
	bar := progress.New(s.stderr, "indexing", len(docs))
	start := time.Now()
	res, err := ix.AddFrom(ctx, colbert.Documents(docs...), &colbert.AddOptions{
		PoolFactor: s.pool,
		Progress:   func(p colbert.Progress) { bar.Set(p.Documents) },
	})
	bar.End()
	if err != nil {
		ix.Close()
		return nil, err
	}
	fmt.Fprintf(s.stderr, "%d passages, %d vectors, indexed in %.1f s; %d passages were longer than the model takes\n",
		res.Added, res.Tokens, time.Since(start).Seconds(), res.Truncated)
	if s.detect {
		right := 0
		for _, c := range s.collections {
			for _, d := range c.docs {
				if got, err := ix.Get(ctx, d.ID); err == nil && got.Language == c.lang {
					right++
				}
			}
		}
		fmt.Fprintf(s.stderr, "the languages of %d of %d passages were detected as their folders say\n", right, len(docs))
	}
	return ix, nil
}

// measure prints nDCG@10 for every pair of languages, and for the search in all languages at once, where a passage
// counts in each of its translations.
func (s *setup) measure(ctx context.Context, ix *colbert.Index) error {
	w := tabwriter.NewWriter(s.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "nDCG@10: query \\ passages\t")
	for _, c := range s.collections {
		fmt.Fprintf(w, "%s\t", c.lang)
	}
	fmt.Fprint(w, "all\t\n")
	for _, q := range s.collections {
		fmt.Fprintf(w, "%s\t", q.lang)
		for _, d := range s.collections {
			if err := s.cell(ctx, w, ix, q, []*collection{d}, index.Eq(colbert.LanguageKey, d.lang)); err != nil {
				return err
			}
		}
		if err := s.cell(ctx, w, ix, q, s.collections, nil); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func (s *setup) cell(ctx context.Context, w *tabwriter.Writer, ix *colbert.Index, q *collection, in []*collection, f index.Filter) error {
	v, n, err := s.pair(ctx, ix, q, in, f)
	switch {
	case err != nil:
		return fmt.Errorf("queries in %s: %w", q.lang, err)
	case n == 0:
		fmt.Fprint(w, "-\t") // folders that do not judge each other's passages
	default:
		fmt.Fprintf(w, "%.3f\t", v)
	}
	return nil
}

// pair measures the queries of one language on passages of others. Only queries count that have a relevant passage
// there; n is their number.
func (s *setup) pair(ctx context.Context, ix *colbert.Index, q *collection, in []*collection, f index.Filter) (mean float64, n int, err error) {
	qrels := eval.Qrels{}
	var ids, texts []string
	for _, query := range q.queries {
		found := false
		for id, rel := range q.qrels[query.ID] {
			for _, c := range in {
				if c.has[id] {
					qrels.Add(query.ID, c.lang+"/"+id, rel)
					found = found || rel > 0
				}
			}
		}
		if !found {
			delete(qrels, query.ID)
			continue
		}
		ids, texts = append(ids, query.ID), append(texts, query.Text)
	}
	if len(ids) == 0 {
		return 0, 0, nil
	}
	o := &colbert.SearchOptions{Language: q.lang, Filter: f, IDsOnly: true}
	if s.detect {
		o.Language = ""
	}
	res, err := ix.SearchBatch(ctx, texts, 10, o)
	if err != nil {
		return 0, 0, err
	}
	run := eval.Run{}
	for i, r := range res {
		if r.Err != nil {
			return 0, 0, fmt.Errorf("query %q: %w", ids[i], r.Err)
		}
		for _, h := range r.Hits {
			run[ids[i]] = append(run[ids[i]], eval.Scored{ID: h.ID, Score: float64(h.Score)})
		}
	}
	return eval.Evaluate(qrels, run, nil, eval.NDCG(10)).Mean[0], len(ids), nil
}
