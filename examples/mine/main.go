// Mine finds hard negatives for training data with an index of its own positives, and asks teachers for scores.
//
//	go run ./examples/mine -model runs/a/step-00002000 -data pairs.jsonl.zst -o mined.jsonl.zst
//	go run ./examples/mine -model DIR -data pairs.jsonl -negatives 15 -teacher BIG,2 -teacher bm25,1 -o lists.jsonl
//	go run ./examples/train -model DIR -data mined.jsonl.zst -loss contrastive,softmax -out runs/b
//
// A teacher is the folder of a checkpoint, which scores by late interaction, or bm25. Several make an ensemble: their scores
// are scaled to [0, 1] on each list and averaged. Without one, the scores are those of the search, the model's own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/golbertmini"
	"github.com/golbert/golbert/encoder/train"
	"github.com/golbert/golbert/encoder/train/mine"
	"github.com/golbert/golbert/examples/internal/progress"
	"github.com/golbert/golbert/internal/bm25"
	"github.com/golbert/golbert/internal/lines"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "mine:", err)
		os.Exit(1)
	}
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var model, out, lang string
	var data, teachers list
	var limit int
	var titles bool
	var o mine.Options
	fl := flag.NewFlagSet("mine", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&model, "model", "", "folder of the checkpoint that searches; empty for the embedded model")
	fl.Var(&data, "data", "`FILE` of JSON lines, perhaps .zst or .gz; may be repeated")
	fl.StringVar(&out, "o", "", "file to write, compressed if its name ends in .zst")
	fl.IntVar(&o.Negatives, "negatives", 7, "negatives for each query")
	fl.IntVar(&o.Depth, "depth", 100, "documents that are looked at for each query")
	fl.IntVar(&o.Skip, "skip", 0, "first documents of each ranking that are left out")
	fl.Float64Var(&o.Margin, "margin", 0.95, "highest score of a negative, as a part of the positive's; below 0 for any")
	fl.BoolVar(&o.Sample, "sample", false, "take any of the documents that qualify, not the best")
	fl.IntVar(&o.Least, "least", 1, "examples with fewer negatives are left out")
	fl.Uint64Var(&o.Seed, "seed", 1, "chance for -sample")
	fl.Var(&teachers, "teacher", "`DIR[,WEIGHT]` of a checkpoint whose scores are written, or bm25[,WEIGHT]; may be repeated")
	fl.StringVar(&lang, "lang", "", "language of lines that name none")
	fl.BoolVar(&titles, "titles", true, "put an example's title in front of its positive")
	fl.IntVar(&limit, "limit", 0, "most examples of each file, 0 for all")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if len(data) == 0 || out == "" {
		return errors.New("say with -data what to read and with -o what to write")
	}
	if fl.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fl.Arg(0))
	}
	var examples []train.Example
	for _, path := range data {
		for e, err := range train.ReadExamples(path, &train.ReadOptions{Titles: titles, Language: lang, Limit: limit}) {
			if err != nil {
				return err
			}
			examples = append(examples, e)
		}
	}
	var enc *encoder.Model
	if model == "" {
		enc, err = golbertmini.Open()
	} else {
		enc, err = encoder.Open(model, nil)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, enc.Close()) }()

	bars := map[string]*progress.Bar{}
	o.Progress = func(what string, done, total int) {
		if total == 0 {
			total = len(examples) // about as many documents
		}
		if bars[what] == nil {
			bars[what] = progress.New(stderr, what, total)
		}
		bars[what].Set(done)
	}
	mined, r, err := mine.Negatives(ctx, enc, examples, &o)
	for _, what := range []string{"documents", "queries"} {
		if b := bars[what]; b != nil {
			b.End()
		}
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(stdout, "%d of %d examples with %.1f negatives on average, of %d documents; %d positives not among the first %d\n",
		r.Examples, len(examples), float64(r.Negatives)/float64(max(1, r.Examples)), r.Documents, r.Missed, o.Depth)
	if len(teachers) > 0 {
		if err := rescore(ctx, teachers, mined, lang); err != nil {
			return err
		}
	}
	return lines.Write(out, func(w io.Writer) error { return train.WriteExamples(w, mined) })
}

// rescore replaces the scores by the teachers'.
func rescore(ctx context.Context, teachers []string, examples []train.Example, lang string) (err error) {
	var all mine.Ensemble
	for _, t := range teachers {
		m := mine.Member{Weight: 1}
		if i := strings.LastIndexByte(t, ','); i >= 0 {
			if m.Weight, err = strconv.ParseFloat(t[i+1:], 64); err != nil || !(m.Weight > 0) {
				return fmt.Errorf("-teacher %s: %q is no weight", t, t[i+1:])
			}
			t = t[:i]
		}
		if t == "bm25" {
			m.Scorer = keywords(examples, lang)
		} else {
			enc, err := encoder.Open(t, nil)
			if err != nil {
				return err
			}
			defer enc.Close()
			m.Scorer = mine.MaxSim{Encoder: colbert.Encoder(enc)}
		}
		all = append(all, m)
	}
	if len(all) == 1 {
		return mine.Rescore(ctx, all[0].Scorer, examples)
	}
	return mine.Rescore(ctx, all, examples)
}

// keywords scores by BM25, with the frequencies of words in all documents of the examples.
func keywords(examples []train.Example, lang string) mine.Scorer {
	b := bm25.Builder{Language: lang}
	number := map[string]string{}
	for _, e := range examples {
		for _, d := range append([]string{e.Positive}, e.Negatives...) {
			if _, ok := number[d]; !ok {
				number[d] = strconv.Itoa(len(number))
				b.Add(number[d], d)
			}
		}
	}
	ix := b.Build()
	return mine.ScorerFunc(func(_ context.Context, l mine.List) ([]float32, error) {
		found := map[string]float64{}
		for _, h := range ix.Search(l.Query, len(number)) {
			found[h.ID] = h.Score
		}
		out := make([]float32, len(l.Documents))
		for i, d := range l.Documents {
			out[i] = float32(found[number[d]]) // 0 for documents without a word of the query
		}
		return out, nil
	})
}
