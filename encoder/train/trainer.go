package train

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"
)

// learner is what a trainer asks a *Model for.
type learner interface {
	Params() []*Param
	Sequences(ctx context.Context, texts []string, query bool, languages []string) (*Sequences, error)
	backward(ctx context.Context, queries, documents *Sequences, loss LossFunc, weight float32, most int) (float32, error)
	Scores(ctx context.Context, queries, documents *Sequences) ([]float32, error)
	Save(dir string) error
}

// Options say how to train. A nil pointer means the zero value.
type Options struct {
	// Loss is the objective; nil means Contrastive{}.
	Loss Loss
	// Optimizer changes the parameters; nil means AdamW with a learning rate of 1e-5. It must be new.
	Optimizer Optimizer
	// Schedule is that of the learning rate; Schedule.Steps is set to Steps.
	Schedule Schedule
	// Steps is the number of steps from the beginning of training, also after Resume; 0 means 1000.
	Steps int
	// Batch is the number of queries in a batch; 0 means 32. Each comes with its positive and its negatives, which are also
	// other queries' negatives where the loss looks at the whole batch.
	Batch int
	// Accumulate is the number of batches whose mean gradient makes a step; 0 means 1.
	Accumulate int
	// MicroTokens bounds the tokens whose activations are kept at a time, and so memory: 8,192 tokens of MiniLM take 1.8 GB.
	// 0 means no bound. Losses that look at each query's own list are computed for a few queries at a time. For others, all
	// texts are encoded twice: first for their vectors and the gradients of these, then in parts, with activations, for the
	// gradients of the parameters (GradCache, Gao et al. 2021, arXiv:2101.06983), which takes a third more time.
	MicroTokens int
	// Negatives bounds the negatives that are used of each example; 0 means all. Which ones changes with each epoch.
	Negatives int
	// ClipNorm scales gradients down to this norm when they are longer; 0 means never.
	ClipNorm float64
	// Seed is that of the order of examples.
	Seed uint64
	// Workers is the number of goroutines of the optimizer; 0 means GOMAXPROCS.
	Workers int

	// Evaluation is run at the start, every EvaluateEvery steps (0 means never in between) and at the end.
	Evaluation    *Evaluation
	EvaluateEvery int

	// Dir is where checkpoints go, each to a folder of its own, step-00000100; empty means none. They are written every
	// CheckpointEvery steps (0 means never in between), at the end, and when the context ends. The last Keep are kept;
	// 0 means 2.
	Dir             string
	CheckpointEvery int
	Keep            int

	// Progress, when not nil, is called after every step, and at the start with the first evaluation.
	Progress func(Progress)
}

// Progress tells how training goes on.
type Progress struct {
	// Step is the number of finished steps, Steps that of all.
	Step, Steps int
	// Loss is that of the step, Norm that of its gradient before clipping, Rate the part of the learning rate.
	Loss, Norm, Rate float64
	// Tokens is the number of tokens in the step, queries' and documents', Took the time of the step.
	Tokens int
	Took   time.Duration
	// Evaluation is set after steps that end with one, Checkpoint after those that end with one.
	Evaluation *Scores
	Checkpoint string
}

// Report is what came of training.
type Report struct {
	Steps int
	// Tokens were seen in this run, and Took the time of its steps alone, without evaluations and checkpoints.
	Tokens int64
	Took   time.Duration
	// Evaluations are those of this run in order, by step.
	Evaluations []Scores
	// Checkpoint is the folder of the last one, which encoder.Open reads.
	Checkpoint string
}

// Trainer trains a model. It is not safe for concurrent use, and the model must not be used elsewhere while it runs.
type Trainer struct {
	model   learner
	params  []*Param
	o       Options
	sampler *sampler
	step    int
}

// NewTrainer prepares the training of a model. Errors wrap ErrOptions, or ErrTargets where an example does not have
// what the loss needs.
func NewTrainer(m *Model, sources []Source, o *Options) (*Trainer, error) {
	return newTrainer(m, sources, o)
}

func newTrainer(m learner, sources []Source, o *Options) (*Trainer, error) {
	t := &Trainer{model: m, params: m.Params()}
	if o != nil {
		t.o = *o
	}
	if t.o.Loss == nil {
		t.o.Loss = Contrastive{}
	}
	if t.o.Optimizer == nil {
		t.o.Optimizer = &AdamW{LR: 1e-5}
	}
	for _, d := range []struct {
		name  string
		value *int
		zero  int
	}{
		{"Steps", &t.o.Steps, 1000}, {"Batch", &t.o.Batch, 32}, {"Accumulate", &t.o.Accumulate, 1}, {"Keep", &t.o.Keep, 2}, {"MicroTokens", &t.o.MicroTokens, 0},
		{"Negatives", &t.o.Negatives, 0}, {"EvaluateEvery", &t.o.EvaluateEvery, 0}, {"CheckpointEvery", &t.o.CheckpointEvery, 0}, {"Schedule.Warmup", &t.o.Schedule.Warmup, 0},
	} {
		if *d.value < 0 {
			return nil, fmt.Errorf("%w: %s is %d", ErrOptions, d.name, *d.value)
		}
		if *d.value == 0 {
			*d.value = d.zero
		}
	}
	if !(t.o.ClipNorm >= 0) {
		return nil, fmt.Errorf("%w: ClipNorm is %v", ErrOptions, t.o.ClipNorm)
	}
	if t.o.Schedule.Decay > ConstantRate {
		return nil, fmt.Errorf("%w: Schedule.Decay is %v", ErrOptions, t.o.Schedule.Decay)
	}
	if n := t.o.Optimizer.State().Step; n != 0 {
		return nil, fmt.Errorf("%w: Optimizer has made %d steps and is not new", ErrOptions, n)
	}
	if len(t.params) == 0 {
		return nil, fmt.Errorf("%w: the model has no parameters that learn", ErrOptions)
	}
	t.o.Schedule.Steps = t.o.Steps
	var err error
	if t.sampler, err = newSampler(sources, t.o.Batch, t.o.Negatives, t.o.Seed); err != nil {
		return nil, err
	}
	for _, s := range sources {
		for i := range s.Examples {
			e := &s.Examples[i]
			if err := t.o.Loss.Check(1+len(e.Negatives), e.Scores != nil); err != nil {
				return nil, fmt.Errorf("source %q, example %d (%s): %w", s.Name, i, e.Source, err)
			}
		}
	}
	return t, nil
}

// Step is the number of finished steps.
func (t *Trainer) Step() int { return t.step }

// Run trains until Options.Steps. When the context ends, a checkpoint of the last finished step is written and the
// context's error returned. A loss or gradient that is no finite number ends training with an error that wraps
// ErrNotFinite and names step and parameter; parameters and checkpoints stay as they are.
func (t *Trainer) Run(ctx context.Context) (*Report, error) {
	r := &Report{Steps: t.step}
	say := t.o.Progress
	if say == nil {
		say = func(Progress) {}
	}
	saved := -1
	save := func() error {
		if t.o.Dir == "" || saved == t.step {
			return nil
		}
		dir := filepath.Join(t.o.Dir, checkpointName(t.step))
		if err := t.Save(dir); err != nil {
			return err
		}
		saved, r.Checkpoint = t.step, dir
		return pruneCheckpoints(t.o.Dir, t.o.Keep)
	}
	evaluate := func() (*Scores, error) {
		if t.o.Evaluation == nil {
			return nil, nil
		}
		s, err := t.Evaluate(ctx)
		if err != nil {
			return nil, err
		}
		r.Evaluations = append(r.Evaluations, *s)
		return s, nil
	}
	stopped := func(err error) (*Report, error) {
		if ctx.Err() != nil {
			err = errors.Join(err, save())
		}
		return r, err
	}
	s, err := evaluate()
	if err != nil {
		return stopped(err)
	}
	if s != nil {
		say(Progress{Step: t.step, Steps: t.o.Steps, Evaluation: s})
	}
	for t.step < t.o.Steps {
		p, err := t.next(ctx)
		if err != nil {
			return stopped(err)
		}
		r.Steps, r.Tokens, r.Took = t.step, r.Tokens+int64(p.Tokens), r.Took+p.Took
		every := func(n int) bool { return n > 0 && t.step%n == 0 || t.step == t.o.Steps }
		if every(t.o.EvaluateEvery) {
			if p.Evaluation, err = evaluate(); err != nil {
				return stopped(err)
			}
		}
		if every(t.o.CheckpointEvery) {
			if err := save(); err != nil {
				return r, err
			}
			p.Checkpoint = r.Checkpoint
		}
		say(p)
	}
	return r, nil
}

// next makes one step. On an error, everything is as it was before.
func (t *Trainer) next(ctx context.Context) (p Progress, err error) {
	start := time.Now()
	p = Progress{Step: t.step + 1, Steps: t.o.Steps, Rate: t.o.Schedule.Factor(t.step)}
	position := slices.Clone(t.sampler.taken)
	defer func() {
		if err != nil {
			t.sampler.taken = position
			for _, q := range t.params {
				clear(q.Grad)
			}
			err = fmt.Errorf("step %d: %w", p.Step, err)
		}
	}()
	for range t.o.Accumulate {
		loss, tokens, err := t.backward(ctx, t.sampler.next(), 1/float64(t.o.Accumulate))
		if err != nil {
			return p, err
		}
		p.Loss += loss / float64(t.o.Accumulate)
		p.Tokens += tokens
	}
	if err := ctx.Err(); err != nil {
		return p, err
	}
	if p.Norm, err = GradientNorm(t.params, t.o.Workers); err != nil {
		return p, err
	}
	scale := 1.0
	if t.o.ClipNorm > 0 && p.Norm > t.o.ClipNorm {
		scale = t.o.ClipNorm / p.Norm
	}
	if err := t.o.Optimizer.Update(t.params, p.Rate, scale, t.o.Workers); err != nil {
		return p, err
	}
	t.step++
	p.Took = time.Since(start)
	return p, nil
}

// backward adds the gradient of a batch, times weight, and returns the batch's loss and number of tokens.
func (t *Trainer) backward(ctx context.Context, b *texts, weight float64) (float64, int, error) {
	queries, err := t.model.Sequences(ctx, b.queries, true, b.queryLanguages)
	if err != nil {
		return 0, 0, b.name(err)
	}
	documents, err := t.model.Sequences(ctx, b.documents, false, b.documentLanguages)
	if err != nil {
		return 0, 0, b.name(err)
	}
	b.targets.QueryTokens = keptTokens(queries)
	tokens := len(queries.IDs) + len(documents.IDs)
	whole := t.o.MicroTokens == 0 || tokens <= t.o.MicroTokens
	var loss float64
	if whole || t.o.Loss.InBatch() {
		loss, err = t.differentiate(ctx, queries, documents, b.targets, weight)
	} else {
		loss, err = t.portions(ctx, queries, documents, b.targets, weight)
	}
	return loss, tokens, err
}

func (t *Trainer) differentiate(ctx context.Context, queries, documents *Sequences, targets *Targets, weight float64) (float64, error) {
	f, err := t.o.Loss.Func(targets)
	if err != nil {
		return 0, err
	}
	v, err := t.model.backward(ctx, queries, documents, f, float32(weight), t.o.MicroTokens)
	if err == nil && (math.IsNaN(float64(v)) || math.IsInf(float64(v), 0)) {
		err = fmt.Errorf("%w: the loss is %v", ErrNotFinite, v)
	}
	return float64(v), err
}

// portions goes through a batch a few queries and their lists at a time.
func (t *Trainer) portions(ctx context.Context, queries, documents *Sequences, targets *Targets, weight float64) (float64, error) {
	sum := 0.0
	for from := 0; from < targets.Queries; {
		to, tokens := from, 0
		for to < targets.Queries {
			tokens += queries.Offsets[to+1] - queries.Offsets[to]
			for _, d := range targets.Lists[to] {
				tokens += documents.Offsets[d+1] - documents.Offsets[d]
			}
			if to > from && tokens > t.o.MicroTokens {
				break
			}
			to++
		}
		part, which := targets.part(from, to)
		share := float64(to-from) / float64(targets.Queries)
		v, err := t.differentiate(ctx, queries.Slice(from, to), documents.Select(which), part, weight*share)
		if err != nil {
			return 0, err
		}
		sum += v * share
		from = to
	}
	return sum, nil
}

// tokenRanges cuts texts into ranges of at most max tokens, or of one text.
func tokenRanges(s *Sequences, max int) func(yield func(from, to int) bool) {
	return func(yield func(from, to int) bool) {
		for from := 0; from < s.Len(); {
			to := from + 1
			for to < s.Len() && s.Offsets[to+1]-s.Offsets[from] <= max {
				to++
			}
			if !yield(from, to) {
				return
			}
			from = to
		}
	}
}

// keptTokens is the number of each text's vectors that take part in scores.
func keptTokens(s *Sequences) []int {
	out := make([]int, s.Len())
	for i := range out {
		for _, k := range s.Keep[s.Offsets[i]:s.Offsets[i+1]] {
			if k {
				out[i]++
			}
		}
	}
	return out
}
