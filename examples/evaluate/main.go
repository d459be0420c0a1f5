// Evaluate measures a model and an index on a test collection in BEIR's format (corpus.jsonl, queries.jsonl
// and qrels.tsv, compressed or not).
//
//	go run ./examples/evaluate -data DIR                 # the embedded model, an index of 4 bits
//	go run ./examples/evaluate -data DIR -bits 0         # no index: exact MaxSim over float32 vectors
//	go run ./examples/evaluate -data DIR -model PATH     # a checkpoint (Hugging Face, PyLate, Stanford layout)
//	go run ./examples/evaluate -data DIR -bm25           # keywords
//
// With -json the last line of standard output is an object with ndcg@10, recall@100 and mrr@10.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/eval"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/golbertmini"
)

// depth is the number of hits per query, that of the deepest measure.
const depth = 100

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "evaluate:", err)
		os.Exit(1)
	}
}

// A setup is what the flags say.
type setup struct {
	data, model, lang string
	bits              int
	exhaustive, bm25  bool
	asJSON            bool
	stderr            io.Writer
}

// A report is the last line of -json.
type report struct {
	NDCG        float64 `json:"ndcg@10"`
	Recall      float64 `json:"recall@100"`
	MRR         float64 `json:"mrr@10"`
	Docs        int     `json:"docs"`
	Queries     int     `json:"queries"`
	Tokens      uint64  `json:"tokens,omitempty"`
	IndexBytes  int64   `json:"index_bytes,omitempty"` // without the text
	PrepSeconds float64 `json:"prepare_seconds"`       // reading, encoding and indexing documents
	EncSeconds  float64 `json:"encode_query_seconds"`
	RunSeconds  float64 `json:"search_seconds"`
	System      string  `json:"system"`
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	s := setup{stderr: stderr}
	fl := flag.NewFlagSet("evaluate", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&s.data, "data", "", "folder of the collection")
	fl.StringVar(&s.model, "model", golbertmini.Name, "name of an embedded model, or folder of a checkpoint")
	fl.StringVar(&s.lang, "lang", "", "language of queries and documents, for models that want to know")
	fl.IntVar(&s.bits, "bits", 4, "bits per dimension of the index: 1, 2, 4 or 8; 0 scores unquantised float32 vectors")
	fl.BoolVar(&s.exhaustive, "exhaustive", false, "score every document of the index")
	fl.BoolVar(&s.bm25, "bm25", false, "measure BM25 in place of a model")
	fl.BoolVar(&s.asJSON, "json", false, "print the result as JSON")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fl.Arg(0))
	}
	if s.data == "" {
		return errors.New("say where the collection is with -data")
	}
	if !slices.Contains([]int{0, 1, 2, 4, 8}, s.bits) {
		return fmt.Errorf("-bits %d: want 0, 1, 2, 4 or 8", s.bits)
	}
	c, err := eval.ReadBEIR(s.data)
	if err != nil {
		return err
	}
	res, ranked, err := s.measure(ctx, c)
	if err != nil {
		return err
	}
	m := eval.Evaluate(c.Qrels, ranked, nil, eval.NDCG(10), eval.Recall(depth), eval.MRR(10))
	res.NDCG, res.Recall, res.MRR = m.Mean[0], m.Mean[1], m.Mean[2]
	if s.asJSON {
		return json.NewEncoder(stdout).Encode(res)
	}
	_, err = fmt.Fprintf(stdout, "%s on %s: %s\n%d documents, %d queries, prepared in %.1f s, searched in %.2f s\n",
		res.System, s.data, m, res.Docs, res.Queries, res.PrepSeconds, res.RunSeconds)
	return err
}

func (s *setup) measure(ctx context.Context, c *eval.Collection) (report, eval.Run, error) {
	if s.bm25 {
		return s.keywords(c)
	}
	enc, err := s.open()
	if err != nil {
		return report{}, nil, err
	}
	defer enc.Close()
	docs, err := documents(c)
	if err != nil {
		return report{}, nil, err
	}
	fmt.Fprintf(s.stderr, "%d documents, %d queries, model %s with %d dimensions\n", len(docs), len(c.Queries), enc.Name(), enc.Dim())
	texts := make([]string, len(c.Queries))
	for i, q := range c.Queries {
		texts[i] = q.Text
	}
	start := time.Now()
	queries, err := enc.EncodeQueries(ctx, texts, &encoder.TextOptions{Language: s.lang})
	if err != nil {
		return report{}, nil, err
	}
	encoding := time.Since(start).Seconds()
	search := s.throughIndex
	if s.bits == 0 {
		search = s.exactly
	}
	r, ranked, err := search(ctx, enc, docs, queries)
	if err != nil {
		return report{}, nil, err
	}
	r.Docs, r.Queries, r.EncSeconds = len(docs), len(queries), encoding
	run := eval.Run{}
	for i, q := range c.Queries {
		run[q.ID] = ranked[i]
	}
	return r, run, nil
}

func (s *setup) open() (*encoder.Model, error) {
	if s.model == golbertmini.Name {
		return golbertmini.Open()
	}
	return encoder.Open(s.model, nil)
}

// documents reads the corpus; what has no text has no vectors and is left out.
func documents(c *eval.Collection) ([]colbert.Document, error) {
	var docs []colbert.Document
	for d, err := range c.Docs() {
		if err != nil {
			return nil, err
		}
		if text := d.Contents(); strings.TrimSpace(text) != "" {
			docs = append(docs, colbert.Document{ID: d.ID, Text: text})
		}
	}
	return docs, nil
}
