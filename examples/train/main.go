// Train fine-tunes a late-interaction model on pairs of queries and answers, and measures it on held-out ones.
//
//	go run ./examples/train                                                # a minute of the embedded model on Go's documentation
//	go run ./examples/train -model DIR -data pairs.jsonl.zst -steps 5000 -out runs/a
//	go run ./examples/train -model DIR -data a.jsonl,2 -data b.jsonl,1 -loss contrastive,softmax -optimizer schedulefree -out runs/b
//	go run ./examples/train -model DIR -data mined.jsonl -loss kl -out runs/c -resume
//	go run ./examples/train -model XMOD -data jaquad.jsonl.zst -lang ja -part adapters -languages ja_XX -like zh_TW -delta packs/ja
//
// A line of a file is {"query": "...", "positive": "..."}, perhaps with "negatives", a teacher's "scores", "group", "title"
// and "lang"; see encoder/train.ReadExamples. Groups that a hash chooses are held out, and never trained on: -held-out.
//
// With -part adapters, an XMOD model such as ColBERT-XM learns a language and nothing else changes: -delta writes a pack with
// the language's adapters alone, which encoder/delta.Apply puts over the model that training began with.
//
// Checkpoints go to folders of -out, such as runs/a/step-00005000, which encoder.Open reads. With -resume, or after an
// interrupt, training goes on from the last of them as if it had never stopped.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/golbertmini"
	"github.com/golbert/golbert/encoder/train"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, flag.ErrHelp) {
		os.Exit(2)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "train:", err)
		os.Exit(1)
	}
}

// A command is what the flags say.
type command struct {
	model, out, export, delta, loss, optimizer, schedule, part, languages, like, freeze, lang, precision string

	data                       list
	lr, decay, clip, warmup    float64
	temperature, heldOut       float64
	steps, batch, tokens       int
	accumulate, negatives      int
	maxQuery, maxDoc           int
	every, save, keep, print   int
	evalQueries, evalDocuments int
	limit, workers             int
	seed                       uint64
	mean, titles, resume       bool
	stdout, stderr             io.Writer
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, " ") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	c := command{stdout: stdout, stderr: stderr}
	fl := flag.NewFlagSet("train", flag.ContinueOnError)
	fl.SetOutput(stderr)
	fl.StringVar(&c.model, "model", "", "folder of the checkpoint to start from; empty for the embedded model")
	fl.Var(&c.data, "data", "`FILE[,WEIGHT]` of JSON lines, perhaps .zst or .gz, with its share of the batches; may be repeated; none for Go's documentation")
	fl.StringVar(&c.out, "out", "", "folder for checkpoints; empty for none")
	fl.BoolVar(&c.resume, "resume", false, "go on from the last checkpoint in -out, if there is one")
	fl.StringVar(&c.export, "export", "", "folder to write the trained model to, without the state of training")
	fl.StringVar(&c.delta, "delta", "", "folder to write a delta pack to: the differences from the model that training began with")

	fl.StringVar(&c.loss, "loss", "contrastive", "contrastive (in-batch negatives), softmax (over an example's own negatives), kl (a teacher's scores), or several with commas, also with weights: contrastive:1,softmax:0.5")
	fl.Float64Var(&c.temperature, "temperature", 1, "what scores are divided by")
	fl.BoolVar(&c.mean, "mean", false, "scores are means over a query's tokens and not sums; then try -temperature 0.02")
	fl.IntVar(&c.negatives, "negatives", 0, "most negatives of an example in a batch, 0 for all")
	fl.StringVar(&c.part, "part", "whole", "what learns: whole, head or adapters")
	fl.StringVar(&c.languages, "languages", "", "XMOD languages whose adapters learn, with commas; the model may lack them")
	fl.StringVar(&c.like, "like", "", "language whose adapters those of languages that the model lacks begin as; empty for random ones")
	fl.StringVar(&c.freeze, "freeze", "", "beginnings of names of tensors that stay, with commas, such as embeddings.")
	fl.StringVar(&c.lang, "lang", "", "language of lines that name none, for models with a part for each")

	fl.StringVar(&c.optimizer, "optimizer", "adamw", "adamw or schedulefree")
	fl.Float64Var(&c.lr, "lr", 2e-5, "learning rate")
	fl.Float64Var(&c.decay, "decay", 0.01, "weight decay")
	fl.Float64Var(&c.clip, "clip", 1, "longest gradient, longer ones are scaled down; 0 for any length")
	fl.StringVar(&c.schedule, "schedule", "", "linear, cosine or constant after the warm-up; empty for linear, or constant with schedulefree")
	fl.Float64Var(&c.warmup, "warmup", 0.05, "steps of warm-up, as a part of all steps below 1, else as a number")
	fl.IntVar(&c.steps, "steps", 0, "steps of training, 0 for one pass through the data")
	fl.IntVar(&c.batch, "batch", 32, "queries in a batch")
	fl.IntVar(&c.accumulate, "accumulate", 1, "batches in a step")
	fl.IntVar(&c.tokens, "tokens", 8192, "tokens that are differentiated at once, which bounds memory; 0 for no bound")
	fl.IntVar(&c.maxQuery, "query-tokens", 0, "longest query in tokens, 0 for the checkpoint's")
	fl.IntVar(&c.maxDoc, "document-tokens", 0, "longest document in tokens, 0 for the checkpoint's")
	fl.Uint64Var(&c.seed, "seed", 1, "order of the examples, and new parameters")
	fl.StringVar(&c.precision, "precision", "float32", "of the products of dense layers, float32 or bfloat16; parameters and sums are float32")
	fl.IntVar(&c.workers, "workers", 0, "goroutines, 0 for the number of cores")

	fl.BoolVar(&c.titles, "titles", true, "put an example's title in front of its positive")
	fl.IntVar(&c.limit, "limit", 0, "most examples of each file, 0 for all")
	fl.Float64Var(&c.heldOut, "held-out", 0.02, "part of the groups that is held out")
	fl.IntVar(&c.every, "eval", 500, "steps between evaluations; 0 for at the start and the end only, -1 for none")
	fl.IntVar(&c.evalQueries, "eval-queries", 300, "most held-out queries of an evaluation, 0 for all")
	fl.IntVar(&c.evalDocuments, "eval-documents", 2000, "most documents of an evaluation, 0 for all")
	fl.IntVar(&c.save, "checkpoint", 500, "steps between checkpoints, 0 for at the end only")
	fl.IntVar(&c.keep, "keep", 2, "checkpoints that are kept")
	fl.IntVar(&c.print, "print", 20, "steps between lines of progress")
	if err := fl.Parse(args); err != nil {
		return err
	}
	if fl.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fl.Arg(0))
	}
	if !(c.heldOut >= 0 && c.heldOut < 1) {
		return fmt.Errorf("-held-out %v is no part of the groups", c.heldOut)
	}
	if c.resume && c.out == "" {
		return errors.New("-resume needs -out")
	}
	if len(c.data) == 0 { // a minute's work
		seconds := map[string]string{"steps": "40", "lr": "5e-5", "batch": "16", "print": "10", "eval": "0", "held-out": "0.1", "eval-queries": "100", "eval-documents": "300", "document-tokens": "96"}
		fl.Visit(func(f *flag.Flag) { delete(seconds, f.Name) })
		for name, value := range seconds {
			if err := fl.Set(name, value); err != nil {
				return err
			}
		}
	}
	return c.train(ctx)
}

func (c *command) train(ctx context.Context) (err error) {
	loss, err := c.losses()
	if err != nil {
		return err
	}
	optimizer, schedule, err := c.optimizers()
	if err != nil {
		return err
	}
	sources, held, err := c.read()
	if err != nil {
		return err
	}
	if schedule.Warmup, err = c.warmupSteps(); err != nil {
		return err
	}
	if c.model == "" { // training needs a folder
		tmp, err := os.MkdirTemp("", "train")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		c.model = filepath.Join(tmp, golbertmini.Name)
		if err := golbertmini.Export(c.model); err != nil {
			return err
		}
	}
	model, err := c.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, model.Close()) }()
	learn := 0
	for _, p := range model.Params() {
		learn += len(p.Value)
	}
	info := model.Info()
	fmt.Fprintf(c.stdout, "%s: %s with %d layers of width %d, vectors of %d; %.2f of %.2f million parameters learn\n",
		info.Name, info.Architecture, info.Layers, info.Hidden, info.Dim, float64(learn)/1e6, float64(info.Parameters)/1e6)

	o := &train.Options{
		Loss: loss, Optimizer: optimizer, Schedule: schedule, Steps: c.steps, Batch: c.batch, Accumulate: c.accumulate, MicroTokens: c.tokens,
		Negatives: c.negatives, ClipNorm: c.clip, Seed: c.seed, Workers: c.workers,
		Dir: c.out, CheckpointEvery: c.save, Keep: c.keep, Progress: c.progress(),
	}
	if len(held) > 0 && c.every >= 0 {
		o.Evaluation, o.EvaluateEvery = train.NewEvaluation(held, c.evalQueries, c.evalDocuments), c.every
		var lists [][]train.Example
		for _, s := range sources {
			lists = append(lists, s.Examples)
		}
		o.Evaluation.AddDocuments(interleave(lists), c.evalDocuments)
		fmt.Fprintf(c.stdout, "evaluation: %d held-out queries, %d documents\n", len(o.Evaluation.Queries), len(o.Evaluation.Documents))
	}
	t, err := train.NewTrainer(model, sources, o)
	if err != nil {
		return err
	}
	if c.resume {
		switch last, err := train.LastCheckpoint(c.out); {
		case errors.Is(err, fs.ErrNotExist):
			fmt.Fprintf(c.stdout, "no checkpoint in %s, starting anew\n", c.out)
		case err != nil:
			return err
		default:
			if err := t.Resume(last); err != nil {
				return err
			}
			fmt.Fprintf(c.stdout, "going on from %s\n", last)
		}
	} else if c.out != "" {
		if last, err := train.LastCheckpoint(c.out); err == nil {
			return fmt.Errorf("there is a checkpoint already, %s: go on with -resume, or choose another -out", last)
		}
	}
	r, err := t.Run(ctx)
	if r != nil && r.Checkpoint != "" {
		fmt.Fprintf(c.stdout, "checkpoint: %s\n", r.Checkpoint)
	}
	if err != nil {
		return err
	}
	if r.Took > 0 {
		fmt.Fprintf(c.stdout, "%d steps, %d tokens in %.1f s: %.0f tokens/s\n", r.Steps, r.Tokens, r.Took.Seconds(), float64(r.Tokens)/r.Took.Seconds())
	}
	if n := len(r.Evaluations); n > 1 {
		a, b := r.Evaluations[0], r.Evaluations[n-1]
		fmt.Fprintf(c.stdout, "held out: nDCG@10 %.4f -> %.4f, MRR@10 %.4f -> %.4f\n", a.NDCG, b.NDCG, a.MRR, b.MRR)
	}
	if c.export != "" {
		if err := t.Use(func() error { return model.Save(c.export) }); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "model: %s\n", c.export)
	}
	if c.delta != "" {
		if err := t.Use(func() error { return model.SaveDelta(c.delta, nil) }); err != nil {
			return err
		}
		fmt.Fprintf(c.stdout, "delta pack: %s\n", c.delta)
	}
	return nil
}

// open opens the checkpoint.
func (c *command) open() (*train.Model, error) {
	o := &train.ModelOptions{Languages: split(c.languages), LikeLanguage: c.like, Freeze: split(c.freeze), Seed: c.seed, Workers: c.workers,
		Texts: &encoder.Options{MaxQueryTokens: c.maxQuery, MaxDocTokens: c.maxDoc}}
	switch c.part {
	case "whole":
	case "head":
		o.Part = train.HeadOnly
	case "adapters":
		o.Part = train.AdaptersOnly
	default:
		return nil, fmt.Errorf("-part %s is none of whole, head, adapters", c.part)
	}
	switch c.precision {
	case "float32":
	case "bfloat16":
		o.Precision = encoder.BFloat16
	default:
		return nil, fmt.Errorf("-precision %s is neither float32 nor bfloat16", c.precision)
	}
	return train.OpenModel(c.model, o)
}

func (c *command) losses() (train.Loss, error) {
	var sum train.Sum
	for _, name := range split(c.loss) {
		name, w, ok := strings.Cut(name, ":")
		weight := 1.0
		if ok {
			var err error
			if weight, err = strconv.ParseFloat(w, 64); err != nil {
				return nil, fmt.Errorf("-loss: weight %q", w)
			}
		}
		var l train.Loss
		switch name {
		case "contrastive":
			l = train.Contrastive{Temperature: c.temperature, Mean: c.mean}
		case "softmax":
			l = train.Softmax{Temperature: c.temperature, Mean: c.mean}
		case "kl":
			l = train.Distillation{Temperature: c.temperature}
		default:
			return nil, fmt.Errorf("-loss %s is none of contrastive, softmax, kl", name)
		}
		sum = append(sum, train.Weighted{Weight: weight, Loss: l})
	}
	if len(sum) == 1 && sum[0].Weight == 1 {
		return sum[0].Loss, nil
	}
	return sum, nil
}

func (c *command) optimizers() (train.Optimizer, train.Schedule, error) {
	var s train.Schedule
	name := c.schedule
	var o train.Optimizer
	switch c.optimizer {
	case "adamw":
		o = &train.AdamW{LR: c.lr, WeightDecay: c.decay}
		if name == "" {
			name = "linear"
		}
	case "schedulefree":
		o = &train.ScheduleFree{LR: c.lr, WeightDecay: c.decay}
		if name == "" {
			name = "constant"
		}
	default:
		return nil, s, fmt.Errorf("-optimizer %s is none of adamw, schedulefree", c.optimizer)
	}
	var err error
	s.Decay, err = train.ParseDecay(name)
	return o, s, err
}

// progress prints a line every few steps.
func (c *command) progress() func(train.Progress) {
	var loss float64
	var tokens, steps int
	var took time.Duration
	return func(p train.Progress) {
		if p.Tokens > 0 {
			loss, tokens, steps, took = loss+p.Loss, tokens+p.Tokens, steps+1, took+p.Took
		}
		if steps > 0 && (p.Step%max(1, c.print) == 0 || p.Step == p.Steps) {
			left := time.Duration(float64(took) / float64(steps) * float64(p.Steps-p.Step))
			fmt.Fprintf(c.stdout, "step %d/%d  loss %.4f  gradient %.3g  rate %.3g  %.0f tokens/s  %s left\n",
				p.Step, p.Steps, loss/float64(steps), p.Norm, c.lr*p.Rate, float64(tokens)/took.Seconds(), left.Round(time.Second))
			loss, tokens, steps, took = 0, 0, 0, 0
		}
		if e := p.Evaluation; e != nil {
			fmt.Fprintf(c.stdout, "step %d  held out: nDCG@10 %.4f  MRR@10 %.4f  (%.1f s)\n", p.Step, e.NDCG, e.MRR, e.Took.Seconds())
		}
	}
}

// split splits at commas; nothing gives nil.
func split(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(s, ",")
}
