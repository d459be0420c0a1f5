package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/eval"
	"github.com/golbert/golbert/examples/internal/stdlib"
	"github.com/golbert/golbert/internal/bm25"
	"github.com/golbert/golbert/plaid"
)

// A row is one system of the evaluation's table.
type row struct {
	System  string  `json:"system"`
	NDCG    float64 `json:"ndcg@10"`
	Success float64 `json:"success@5"`
	// Millis is the time per question; 0 where it was not measured.
	Millis float64 `json:"ms_per_question,omitempty"`
	// Bytes is what the system keeps of the passages to search them, without their text.
	Bytes int64 `json:"bytes,omitempty"`
}

// evaluate runs the built-in questions and prints how well each way of searching answers them.
func evaluate(ctx context.Context, l *library, ix *colbert.Index, asJSON bool, stdout io.Writer) error {
	start := time.Now()
	qs, err := questions()
	if err != nil {
		return err
	}
	passages, err := l.read()
	if err != nil {
		return err
	}
	qrels := judgements(qs, passages)
	info, err := ix.Info()
	if err != nil {
		return err
	}
	measure := func(system string, run eval.Run, took time.Duration, bytes int64) row {
		r := eval.Evaluate(qrels, run, nil, eval.NDCG(10), eval.Success(5))
		return row{system, r.Mean[0], r.Mean[1], ms(took) / float64(len(qs)), bytes}
	}
	texts := make([]string, len(qs))
	for i, q := range qs {
		texts[i] = q.Text
	}
	encodeStart := time.Now()
	vectors, err := l.enc.EncodeQueries(ctx, texts, nil)
	if err != nil {
		return err
	}
	encodeTime := time.Since(encodeStart)

	var rows []row
	for _, exhaustive := range []bool{false, true} {
		run, t := eval.Run{}, time.Now()
		for i, q := range vectors {
			hits, err := ix.SearchVectors(ctx, q.Vectors, 100, &colbert.SearchOptions{
				IDsOnly: true, Plaid: plaid.Options{Exhaustive: exhaustive},
			})
			if err != nil {
				return err
			}
			for _, h := range hits {
				run[strconv.Itoa(i)] = append(run[strconv.Itoa(i)], eval.Scored{ID: h.ID, Score: float64(h.Score)})
			}
		}
		name := fmt.Sprintf("golbert index, %d bits", info.Index.NBits)
		if exhaustive {
			name += ", every passage scored"
		}
		rows = append(rows, measure(name, run, time.Since(t), info.Index.Bytes.Total-info.Index.Bytes.Text))
	}

	ex, err := l.exact(ctx)
	if err != nil {
		return err
	}
	run := eval.Run{}
	for i, hits := range ex.Hits {
		for _, h := range hits {
			run[strconv.Itoa(i)] = append(run[strconv.Itoa(i)], eval.Scored{ID: h.ID, Score: float64(h.Score)})
		}
	}
	rows = append(rows, measure("exhaustive float32 MaxSim", run, 0, int64(ex.Tokens)*int64(info.Dim)*4))

	run, took := bm25Run(texts, passages)
	rows = append(rows, measure("BM25", run, took, 0))

	if asJSON {
		enc := json.NewEncoder(stdout)
		for _, r := range rows {
			if err := enc.Encode(r); err != nil {
				return err
			}
		}
	} else if err := table(stdout, rows); err != nil {
		return err
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	fmt.Fprintf(l.stderr, "%d questions over %d passages; encoding a question takes %.1f ms; evaluated in %.1f s; %d MB of memory from the system\n",
		len(qs), len(passages), ms(encodeTime)/float64(len(qs)), time.Since(start).Seconds(), mem.Sys>>20)
	return nil
}

// judgements maps questions (by position) to their answers, without those that this version of Go lacks.
func judgements(qs []question, passages []stdlib.Passage) eval.Qrels {
	have := map[string]bool{}
	for _, p := range passages {
		have[p.ID] = true
	}
	qrels := eval.Qrels{}
	for i, q := range qs {
		for _, id := range q.Answers {
			if have[id] {
				qrels.Add(strconv.Itoa(i), id, 1)
			}
		}
	}
	return qrels
}

func table(w io.Writer, rows []row) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "system\tnDCG@10\tSuccess@5\tms/question\tsize\t")
	for _, r := range rows {
		millis, size := "-", "-"
		if r.Millis > 0 {
			millis = fmt.Sprintf("%.1f", r.Millis)
		}
		if r.Bytes > 0 {
			size = fmt.Sprintf("%.1f MB", float64(r.Bytes)/1e6)
		}
		fmt.Fprintf(tw, "%s\t%.4f\t%.4f\t%s\t%s\t\n", r.System, r.NDCG, r.Success, millis, size)
	}
	return tw.Flush()
}

// bm25Run searches with the keyword baseline; the time is that of the searches alone.
func bm25Run(texts []string, passages []stdlib.Passage) (eval.Run, time.Duration) {
	b := bm25.Builder{}
	for _, p := range passages {
		b.Add(p.ID, p.Text)
	}
	ix := b.Build()
	run, t := eval.Run{}, time.Now()
	for i, text := range texts {
		for _, h := range ix.Search(text, 100) {
			run[strconv.Itoa(i)] = append(run[strconv.Itoa(i)], eval.Scored{ID: h.ID, Score: h.Score})
		}
	}
	return run, time.Since(t)
}
