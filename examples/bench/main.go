// Bench measures golbert, one command per comparison, and prints lines that lie beside those of other engines:
//
//	go run ./examples/bench -case kernels
//	go run ./examples/bench -case search -data DIR -threads 1 -bits 4 -json -peers peers.jsonl -svg curve.svg
//	go run ./examples/bench -case build|batch|open -data DIR -bits 2 -json
//	go run ./examples/bench -case scale -sizes 10000,100000,1000000
//	go run ./examples/bench -case cuda -data DIR -threads 16 -json
//	go run ./examples/bench -case write -docs 100000 -to DIR
//	go run ./examples/bench -case encode -model DIR -data DIR -precision int8 -threads 1 -json
//	go run ./examples/bench -case tokenize -model DIR -data DIR -threads 1 -json
//
// DIR holds token vectors: d<dim>/docs.f16.npy (tokens, dim), doclens.i32.npy (documents), d<dim>/queries.f16.npy
// (queries, rows, dim) and, if there, qrels.tsv (query, document, relevance), d<dim>/truth_ids.i32.npy (queries, n), the
// exact order, and tokens.i32.npy (tokens), vocabulary ids; for encode and tokenize, docs.jsonl and queries.jsonl. Without -data a
// small synthetic workload is made, so that everything runs anywhere in a minute. With -index the index is kept (and
// used again when it is there); the cases open and search then measure a process that has done nothing else.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"slices"
	"strings"
	"time"
)

// bench is one run: the flags and where output goes.
type bench struct {
	data      string
	model     string
	prec      string
	dim       int
	threads   int
	bits      int
	index     string
	points    string
	ids       bool
	reads     bool
	fit       bool
	topk      int
	exactHits int
	queries   int
	docs      int
	doclen    int
	sizes     string
	recall    float64
	batch     string
	to        string
	time      time.Duration
	seed      uint64
	out       *printer
	log       io.Writer
}

// cases are the comparisons by name. A file that adds one registers it here.
var cases = map[string]func(context.Context, *bench) error{
	"tokenize": runTokenize,
	"encode":   runEncode,
	"kernels":  runKernels,
	"build":    runBuild,
	"search":   runSearch,
	"batch":    runBatch,
	"open":     runOpen,
	"scale":    runScale,
	"write":    runWrite,
	"plot":     func(context.Context, *bench) error { return nil },
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	names := strings.Join(slices.Sorted(maps.Keys(cases)), "|")
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	fl.SetOutput(stderr)
	b := &bench{out: &printer{w: stdout}, log: stderr}
	name := fl.String("case", "", names)
	fl.StringVar(&b.data, "data", "", "`folder` of token vectors; none: a small synthetic workload")
	fl.StringVar(&b.model, "model", "", "checkpoint `path`, for encode, where none means the embedded model; or tokenizer path, for tokenize")
	fl.StringVar(&b.prec, "precision", "all", "of encode: float32, bfloat16, int8 or all")
	fl.IntVar(&b.dim, "dim", 128, "dimension: the sub-folder d<dim> of -data")
	fl.IntVar(&b.threads, "threads", 1, "threads to use")
	fl.IntVar(&b.bits, "bits", 4, "bits per dimension: 1, 2, 4, 8 or 16")
	fl.StringVar(&b.index, "index", "", "`folder` of the index, made when it is not there; none: a temporary one")
	fl.BoolVar(&b.ids, "ids", false, "cluster by the tokens' vocabulary ids, where -data has them")
	fl.StringVar(&b.points, "points", defaultPoints, "knob settings: nprobe:ndocs, nprobe:ndocs:patience, auto, exhaustive")
	fl.IntVar(&b.topk, "topk", 100, "hits per query")
	fl.IntVar(&b.exactHits, "exact", 0, "how many of the first hits get exact scores; 0: all")
	fl.BoolVar(&b.reads, "read", false, "read residuals instead of mapping them: less resident memory")
	fl.BoolVar(&b.fit, "fit", false, "fit the codec of an index that is made to the queries that -nq leaves out")
	fl.IntVar(&b.queries, "nq", 300, "queries, evenly spaced among those that there are")
	fl.IntVar(&b.docs, "docs", 5000, "documents of the synthetic workload")
	fl.IntVar(&b.doclen, "doclen", 32, "mean tokens per synthetic document")
	fl.StringVar(&b.sizes, "sizes", "10000,100000", "documents, for scale")
	fl.Float64Var(&b.recall, "recall", .9, "recall@10 against the exact top 10 at which scale compares latencies")
	fl.StringVar(&b.to, "to", "", "`folder` to write the workload to, for write")
	fl.StringVar(&b.batch, "batches", "1,32,256", "queries of a call, for cuda")
	fl.DurationVar(&b.time, "time", time.Second, "least time of a measurement, for cuda")
	fl.Uint64Var(&b.seed, "seed", 1, "of the synthetic workload")
	fl.BoolVar(&b.out.json, "json", false, "print JSON lines")
	var peers files
	fl.Var(&peers, "peers", "JSON lines of other engines for -svg; may be given several times, and patterns are expanded")
	svg := fl.String("svg", "", "write a plot of latency against recall@10 of the search lines to this `file`")
	profile := fl.String("cpuprofile", "", "write a profile of the processor's time to this `file`")
	if err := fl.Parse(args); err != nil {
		return err
	}
	f, ok := cases[*name]
	if !ok {
		return fmt.Errorf("-case %q: want %s", *name, names)
	}
	if err := b.check(); err != nil {
		return err
	}
	for _, p := range fl.Args() { // -peers a.jsonl b.jsonl
		if len(peers) == 0 {
			return fmt.Errorf("unexpected argument %q", p)
		}
		if err := peers.Set(p); err != nil {
			return err
		}
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(b.threads))
	if *profile != "" {
		out, err := os.Create(*profile)
		if err != nil {
			return err
		}
		defer out.Close()
		if err := pprof.StartCPUProfile(out); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	if err := f(ctx, b); err != nil {
		return err
	}
	if *svg == "" {
		return nil
	}
	return plot(*svg, b.out.lines, peers)
}

// check reports all flags that are out of range.
func (b *bench) check() error {
	var errs []error
	for _, c := range []struct {
		name string
		v    int
		least,
		most int
	}{
		{"dim", b.dim, 1, 1 << 16}, {"threads", b.threads, 1, 1024}, {"topk", b.topk, 1, 1 << 20}, {"nq", b.queries, 1, 1 << 20},
		{"docs", b.docs, 1, 1 << 28}, {"doclen", b.doclen, 2, 1 << 12},
	} {
		if c.v < c.least || c.v > c.most {
			errs = append(errs, fmt.Errorf("-%s %d: want %d to %d", c.name, c.v, c.least, c.most))
		}
	}
	return errors.Join(errs...)
}

// files is a flag of file names.
type files []string

func (f *files) String() string { return strings.Join(*f, " ") }

func (f *files) Set(s string) error {
	m, err := filepath.Glob(s)
	if err != nil {
		return err
	}
	if len(m) == 0 {
		return fmt.Errorf("%s: no such file", s)
	}
	*f = append(*f, m...)
	return nil
}
