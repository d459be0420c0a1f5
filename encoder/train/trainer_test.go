package train

import (
	"context"
	"errors"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func toyTrainer(t *testing.T, m learner, o Options) *Trainer {
	t.Helper()
	all := toyExamples(1, 300)
	tr, err := newTrainer(m, []Source{{Name: "a", Examples: all[:200]}, {Name: "b", Examples: all[200:], Weight: 100}}, &o)
	require.NoError(t, err)
	return tr
}

// TestTrainingLearns: every loss brings topics' words together, with each optimizer, and held-out queries gain.
func TestTrainingLearns(t *testing.T) {
	held := NewEvaluation(toyExamples(2, 60), 0, 0)
	for i, q := range held.Queries { // every document of the topic answers
		held.Relevant[i] = nil
		for j, d := range held.Documents {
			if topic, _, _ := strings.Cut(q, "-"); strings.HasPrefix(d, topic+"-") {
				held.Relevant[i] = append(held.Relevant[i], j)
			}
		}
	}
	for name, o := range map[string]Options{
		"contrastive":  {Loss: Contrastive{}},
		"softmax":      {Loss: Softmax{}, Optimizer: &ScheduleFree{LR: 0.05}, Schedule: Schedule{Warmup: 5, Decay: ConstantRate}},
		"distillation": {Loss: Distillation{Temperature: 0.2}, MicroTokens: 60, Accumulate: 2},
		"sum":          {Loss: Sum{{1, Contrastive{Mean: true, Temperature: 0.3}}, {1, Softmax{}}}, ClipNorm: 1, Negatives: 2},
	} {
		t.Run(name, func(t *testing.T) {
			if o.Optimizer == nil {
				o.Optimizer = &AdamW{LR: 0.05, WeightDecay: 0.01}
			}
			o.Steps, o.Batch, o.Evaluation, o.EvaluateEvery = 60, 16, held, 30
			var losses []float64
			o.Progress = func(p Progress) {
				require.Equal(t, 60, p.Steps)
				if p.Tokens > 0 {
					losses = append(losses, p.Loss)
					require.Positive(t, p.Norm)
				}
			}
			r, err := toyTrainer(t, newToy(3), o).Run(context.Background())
			require.NoError(t, err)
			require.Len(t, losses, 60)
			mean := func(x []float64) (m float64) {
				for _, v := range x {
					m += v / float64(len(x))
				}
				return m
			}
			require.Less(t, mean(losses[50:]), 0.7*mean(losses[:5]))
			require.Len(t, r.Evaluations, 3)
			require.Equal(t, []int{0, 30, 60}, []int{r.Evaluations[0].Step, r.Evaluations[1].Step, r.Evaluations[2].Step})
			require.Greater(t, r.Evaluations[2].NDCG, r.Evaluations[0].NDCG+0.2)
			require.Greater(t, r.Evaluations[2].MRR, r.Evaluations[0].MRR)
		})
	}
}

// TestMicroBatches: a batch in portions has the gradient of the whole.
func TestMicroBatches(t *testing.T) {
	for name, l := range map[string]Loss{"contrastive": Contrastive{Temperature: 2}, "softmax": Softmax{Mean: true}, "distillation": Distillation{}, "sum": Sum{{1, Contrastive{}}, {0.5, Distillation{}}}} {
		gradient := func(micro int) (float64, []float32, int) {
			m := newToy(4)
			tr := toyTrainer(t, m, Options{Loss: l, Batch: 12, MicroTokens: micro, Seed: 3})
			v, tokens, err := tr.backward(context.Background(), tr.sampler.next(), 0.5)
			require.NoError(t, err)
			require.Positive(t, tokens)
			return v, append(slices.Clone(m.words.Grad), m.bias.Grad...), m.calls
		}
		value, want, calls := gradient(0)
		require.Equal(t, 1, calls)
		for _, micro := range []int{1, 60, 100} {
			v, got, calls := gradient(micro)
			if l.InBatch() {
				require.Equal(t, 1, calls, "the model's own parts, see TestParts")
			} else {
				require.Greater(t, calls, 1, name)
			}
			require.InDelta(t, value, v, 1e-5, name)
			near(t, want, got, 1e-4, name)
		}
	}
}

// TestResumeIsExact: 20 steps are 10, a checkpoint, another process and 10 more, in every bit.
func TestResumeIsExact(t *testing.T) {
	for name, make := range map[string]func() Options{
		"adamw": func() Options {
			return Options{Loss: Sum{{1, Contrastive{}}, {1, Softmax{}}}, Optimizer: &AdamW{LR: 0.03, WeightDecay: 0.1}, Accumulate: 2, Negatives: 2, ClipNorm: 0.5, MicroTokens: 90}
		},
		"schedulefree": func() Options {
			return Options{Loss: Distillation{}, Optimizer: &ScheduleFree{LR: 0.03}, Schedule: Schedule{Warmup: 4, Decay: ConstantRate}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			options := func(dir string) Options {
				o := make()
				o.Steps, o.Batch, o.Seed, o.Dir, o.CheckpointEvery, o.Keep = 20, 16, 7, dir, 5, 3
				return o
			}
			whole, a := newToy(5), t.TempDir()
			_, err := toyTrainer(t, whole, options(a)).Run(ctx)
			require.NoError(t, err)
			all, err := checkpoints(a)
			require.NoError(t, err)
			require.Equal(t, []string{"step-00000010", "step-00000015", "step-00000020"}, []string{filepath.Base(all[0]), filepath.Base(all[1]), filepath.Base(all[2])})

			second, b := newToy(6), t.TempDir() // other values, which the checkpoint replaces
			tr := toyTrainer(t, second, options(b))
			require.NoError(t, tr.Resume(all[0]))
			require.Equal(t, 10, tr.Step())
			r, err := tr.Run(ctx)
			require.NoError(t, err)
			require.Equal(t, whole.words.Value, second.words.Value)
			require.Equal(t, whole.bias.Value, second.bias.Value)
			require.Equal(t, filepath.Join(b, "step-00000020"), r.Checkpoint)
			for _, file := range []string{"toy.json", "training/state.json", "training/state.safetensors"} {
				x, err := os.ReadFile(filepath.Join(all[2], file))
				require.NoError(t, err)
				y, err := os.ReadFile(filepath.Join(r.Checkpoint, file))
				require.NoError(t, err)
				require.Equal(t, string(x), string(y), file)
			}
			last, err := LastCheckpoint(a)
			require.NoError(t, err)
			require.Equal(t, all[2], last)
		})
	}
	_, err := LastCheckpoint(t.TempDir())
	require.ErrorIs(t, err, fs.ErrNotExist)
}

// TestSeeds: the same seed gives the same, another one something else.
func TestSeeds(t *testing.T) {
	values := func(seed uint64, workers int) []float32 {
		m := newToy(5)
		_, err := toyTrainer(t, m, Options{Steps: 8, Batch: 16, Seed: seed, Workers: workers, Optimizer: &AdamW{LR: 0.1}}).Run(context.Background())
		require.NoError(t, err)
		return m.words.Value
	}
	require.Equal(t, values(1, 1), values(1, 7))
	require.NotEqual(t, values(1, 1), values(2, 1))
}

// TestResumeRefuses: what does not belong together is told, and which part.
func TestResumeRefuses(t *testing.T) {
	dir := t.TempDir()
	base := func() Options {
		return Options{Steps: 4, Batch: 16, Dir: dir, Optimizer: &AdamW{LR: 0.01}}
	}
	r, err := toyTrainer(t, newToy(1), base()).Run(context.Background())
	require.NoError(t, err)
	for want, change := range map[string]func(*Options){
		"batch":     func(o *Options) { o.Batch = 8 },
		"seed":      func(o *Options) { o.Seed = 2 },
		"loss":      func(o *Options) { o.Loss = Softmax{} },
		"optimizer": func(o *Options) { o.Optimizer = &ScheduleFree{LR: 0.01} },
		"rate 0.02": func(o *Options) { o.Optimizer = &AdamW{LR: 0.02} },
		"schedule":  func(o *Options) { o.Schedule.Warmup = 2 },
		"steps":     func(o *Options) { o.Steps = 8 },
	} {
		o := base()
		change(&o)
		err := toyTrainer(t, newToy(1), o).Resume(r.Checkpoint)
		require.ErrorIs(t, err, ErrResume)
		require.ErrorContains(t, err, want)
	}
	other := toyExamples(1, 300)
	other[17].Positive += "x"
	o := base()
	tr, err := newTrainer(newToy(1), []Source{{Name: "a", Examples: other[:200]}, {Name: "b", Examples: other[200:], Weight: 100}}, &o)
	require.NoError(t, err)
	require.ErrorContains(t, tr.Resume(r.Checkpoint), `source "a"`)

	// Damaged files.
	for _, file := range []string{"state.json", "state.safetensors"} {
		path := filepath.Join(r.Checkpoint, "training", file)
		b, err := os.ReadFile(path)
		require.NoError(t, err)
		for _, bad := range [][]byte{nil, b[:len(b)/2], []byte(strings.Replace(string(b), "words", "sword", 1)), []byte(strings.Replace(string(b), `"batches_taken": [`, `"batches_taken": [-1, `, 1))} {
			if string(bad) == string(b) {
				continue
			}
			require.NoError(t, os.WriteFile(path, bad, 0o644))
			require.ErrorIs(t, toyTrainer(t, newToy(1), base()).Resume(r.Checkpoint), ErrResume, "%s %q", file, bad)
		}
		require.NoError(t, os.WriteFile(path, b, 0o644))
	}
	require.ErrorIs(t, toyTrainer(t, newToy(1), base()).Resume(filepath.Join(dir, "nowhere")), fs.ErrNotExist)
	require.NoError(t, toyTrainer(t, newToy(1), base()).Resume(r.Checkpoint))
}

// TestNotFinite: a loss or gradient without a value stops training, and nothing is changed or overwritten.
func TestNotFinite(t *testing.T) {
	for name, fault := range map[string]func(call int, m *toy) (bool, error){
		"bias": func(call int, m *toy) (bool, error) {
			if call == 7 {
				m.bias.Grad[3] = float32(math.Inf(1))
			}
			return false, nil
		},
		"words": func(call int, m *toy) (bool, error) {
			if call == 7 {
				m.words.Grad[len(m.words.Grad)-1] = float32(math.NaN())
			}
			return false, nil
		},
	} {
		m, dir := newToy(1), t.TempDir()
		m.fault = fault
		tr := toyTrainer(t, m, Options{Steps: 20, Batch: 16, Dir: dir, CheckpointEvery: 3})
		_, err := tr.Run(context.Background())
		require.ErrorIs(t, err, ErrNotFinite)
		require.ErrorContains(t, err, "step 7")
		require.ErrorContains(t, err, name)
		require.Equal(t, 6, tr.Step())
		require.NoError(t, finiteParams(m.Params()))
		last, err := LastCheckpoint(dir)
		require.NoError(t, err)
		require.Equal(t, "step-00000006", filepath.Base(last))
		for _, p := range m.Params() {
			require.Zero(t, slices.Max(p.Grad))
		}
	}
	// The loss itself, of both ways through a batch.
	for _, micro := range []int{0, 50} {
		m := newToy(1)
		for i := range m.words.Value {
			m.words.Value[i] = float32(math.NaN())
		}
		_, err := toyTrainer(t, m, Options{Loss: Softmax{}, Batch: 200, MicroTokens: micro}).Run(context.Background())
		require.ErrorIs(t, err, ErrNotFinite)
		require.ErrorContains(t, err, "step 1")
	}
	m, dir := newToy(1), filepath.Join(t.TempDir(), "x")
	m.bias.Value[2] = float32(math.Inf(-1))
	require.ErrorContains(t, toyTrainer(t, m, Options{}).Save(dir), "bias")
	require.ErrorContains(t, toyTrainer(t, m, Options{}).Use(func() error { return nil }), "bias")
	require.NoDirExists(t, dir)
}

// TestCancel: an ended context leaves a checkpoint of the last whole step, from which training goes on exactly.
func TestCancel(t *testing.T) {
	o := func(dir string) Options {
		return Options{Steps: 12, Batch: 16, Accumulate: 2, Dir: dir, Optimizer: &AdamW{LR: 0.02}}
	}
	whole := newToy(1)
	_, err := toyTrainer(t, whole, o("")).Run(context.Background())
	require.NoError(t, err)

	ctx, cancel := context.WithCancel(context.Background())
	m, dir := newToy(1), t.TempDir()
	m.fault = func(call int, _ *toy) (bool, error) {
		if call == 10 { // the second half of step 5
			cancel()
		}
		return false, nil
	}
	r, err := toyTrainer(t, m, o(dir)).Run(ctx)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 4, r.Steps)
	require.Equal(t, "step-00000004", filepath.Base(r.Checkpoint))
	again := newToy(2)
	tr := toyTrainer(t, again, o(dir))
	require.NoError(t, tr.Resume(r.Checkpoint))
	_, err = tr.Run(context.Background())
	require.NoError(t, err)
	require.Equal(t, whole.words.Value, again.words.Value)
}

// failing saves nothing.
type failing struct{ *toy }

func (failing) Save(dir string) error {
	return errors.Join(os.Mkdir(dir, 0o755), os.WriteFile(filepath.Join(dir, "half"), nil, 0o644), errors.New("disk full"))
}

// TestSaveLeavesNothingHalf: a checkpoint that cannot be written leaves the ones before, and no folder of its own.
func TestSaveLeavesNothingHalf(t *testing.T) {
	m, dir := newToy(1), t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, ".step-00000001-123"), 0o755)) // what a killed process leaves
	_, err := toyTrainer(t, m, Options{Steps: 2, Batch: 16, Dir: dir}).Run(context.Background())
	require.NoError(t, err)
	tr := toyTrainer(t, failing{m}, Options{Steps: 5, Batch: 16, Dir: dir})
	require.ErrorContains(t, tr.Save(filepath.Join(dir, "step-00000009")), "disk full")
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	require.ErrorIs(t, tr.Save(filepath.Join(dir, "step-00000002")), fs.ErrExist)
}

func TestBadOptions(t *testing.T) {
	good := toyExamples(1, 20)
	for want, o := range map[string]Options{
		"Steps":      {Steps: -1},
		"Batch":      {Batch: -1},
		"ClipNorm":   {ClipNorm: math.NaN()},
		"Accumulate": {Accumulate: -2},
		"Schedule":   {Schedule: Schedule{Decay: 9}},
		"new":        {Optimizer: &AdamW{LR: 1, step: 3}},
	} {
		_, err := newTrainer(newToy(1), []Source{{Examples: good}}, &o)
		require.ErrorIs(t, err, ErrOptions)
		require.ErrorContains(t, err, want)
	}
	for _, s := range [][]Source{nil, {{Name: "x"}}, {{Examples: good, Weight: -1}}, {{Examples: good, Weight: math.Inf(1)}}} {
		_, err := newTrainer(newToy(1), s, nil)
		require.ErrorIs(t, err, ErrOptions)
	}
	for _, l := range []Loss{Sum{}, Sum{{1, nil}}, Sum{{math.NaN(), Contrastive{}}}} {
		_, err := newTrainer(newToy(1), []Source{{Examples: good}}, &Options{Loss: l})
		require.ErrorIs(t, err, ErrTargets)
	}
	good[7].Negatives, good[7].Scores = nil, nil
	_, err := newTrainer(newToy(1), []Source{{Name: "file", Examples: good}}, &Options{Loss: Distillation{}})
	require.ErrorIs(t, err, ErrTargets)
	require.ErrorContains(t, err, "toy:8")
	_, err = toyTrainer(t, newToy(1), Options{}).Evaluate(context.Background())
	require.ErrorIs(t, err, ErrOptions)
	_, err = newTrainer(newToy(1), []Source{{Examples: good}}, &Options{Optimizer: &AdamW{LR: math.NaN()}, Batch: 4})
	require.NoError(t, err)
}
