package train

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

const tinyBERT = "../testdata/layouts/stanford_bert"

// skyExamples ask in the tiny checkpoint's vocabulary for the text with a word and its colour.
func skyExamples(seed uint64, n int) []Example {
	rng := rand.New(rand.NewPCG(seed, 77))
	words := [][2]string{{"red", "mars"}, {"green", "sea"}, {"blue", "sky"}, {"b", "sun"}, {"c", "moon"}, {"d", "star"}}
	filler := []string{"the", "a", "of", "and", "is", "name", "for", "known"}
	pick := func() string { return filler[rng.IntN(len(filler))] }
	out := make([]Example, n)
	for i := range out {
		k := rng.IntN(len(words))
		document := func(w [2]string) string { return pick() + " " + w[0] + " " + pick() + " " + w[1] }
		e := Example{Query: words[k][0] + " " + words[k][1], Positive: document(words[k]), Group: words[k][0]}
		for j := range 3 {
			e.Negatives = append(e.Negatives, document(words[(k+1+j)%len(words)]))
		}
		e.Scores = []float32{5, rng.Float32(), rng.Float32(), rng.Float32()}
		out[i] = e
	}
	return out
}

// heldOutLoss is the mean loss of examples without a gradient.
func heldOutLoss(t *testing.T, m *Model, l Loss, examples []Example) float64 {
	t.Helper()
	s, err := newSampler([]Source{{Examples: examples}}, len(examples), 0, 1)
	require.NoError(t, err)
	b := s.next()
	q, err := m.Sequences(context.Background(), b.queries, true, nil)
	require.NoError(t, err)
	d, err := m.Sequences(context.Background(), b.documents, false, nil)
	require.NoError(t, err)
	scores, err := m.Scores(context.Background(), q, d)
	require.NoError(t, err)
	b.targets.QueryTokens = keptTokens(q)
	f, err := l.Func(b.targets)
	require.NoError(t, err)
	v, _, err := scoreGradient(f, scores, b.targets.Queries, b.targets.Documents)
	require.NoError(t, err)
	return float64(v)
}

// TestTrainingABERT: a few dozen steps of a real network lower the loss of pairs that it never saw, with every loss and
// optimizer and for the head alone, and the checkpoint is a model that encoder opens with the same scores.
func TestTrainingABERT(t *testing.T) {
	ctx := context.Background()
	for name, c := range map[string]struct {
		model ModelOptions
		o     Options
		gain  float64
	}{
		"contrastive":  {ModelOptions{}, Options{Loss: Contrastive{Temperature: 0.2}, MicroTokens: 400}, 0.7},
		"softmax":      {ModelOptions{}, Options{Loss: Softmax{Temperature: 0.2}, Optimizer: &ScheduleFree{LR: 4e-3}, Schedule: Schedule{Warmup: 4, Decay: ConstantRate}}, 0.7},
		"distillation": {ModelOptions{Freeze: []string{"embeddings."}}, Options{Loss: Distillation{}, ClipNorm: 1}, 0.7},
		"head":         {ModelOptions{Part: HeadOnly}, Options{Loss: Contrastive{Mean: true, Temperature: 0.05}}, 0.93},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tinyBERT
			if c.model.Part == HeadOnly {
				dir = "../testdata/layouts/native_none" // the other's hidden states are nearly the same for all words
			}
			m, err := OpenModel(dir, &c.model)
			require.NoError(t, err)
			defer m.Close()
			held := skyExamples(2, 30)
			before := heldOutLoss(t, m, c.o.Loss, held)
			if c.o.Optimizer == nil {
				c.o.Optimizer = &AdamW{LR: 3e-3, WeightDecay: 0.01}
			}
			c.o.Steps, c.o.Batch, c.o.Dir, c.o.Evaluation = 60, 16, t.TempDir(), NewEvaluation(held, 0, 0)
			r, err := func() (*Report, error) {
				tr, err := NewTrainer(m, []Source{{Name: "sky", Examples: skyExamples(1, 300)}}, &c.o)
				require.NoError(t, err)
				return tr.Run(ctx)
			}()
			require.NoError(t, err)
			restore, err := c.o.Optimizer.Evaluated(m.Params())
			require.NoError(t, err)
			defer restore()
			after := heldOutLoss(t, m, c.o.Loss, held)
			t.Logf("loss %.4f, then %.4f; nDCG@10 %.4f, then %.4f", before, after, r.Evaluations[0].NDCG, r.Evaluations[1].NDCG)
			require.Less(t, after, c.gain*before)

			enc, err := encoder.Open(r.Checkpoint, nil)
			require.NoError(t, err)
			defer enc.Close()
			q, err := enc.EncodeQueries(ctx, []string{held[0].Query}, nil)
			require.NoError(t, err)
			d, err := enc.EncodeDocuments(ctx, []string{held[0].Positive}, nil)
			require.NoError(t, err)
			want, err := maxsim.Score(q[0].Vectors, d[0].Vectors)
			require.NoError(t, err)
			qs, err := m.Sequences(ctx, []string{held[0].Query}, true, nil)
			require.NoError(t, err)
			ds, err := m.Sequences(ctx, []string{held[0].Positive}, false, nil)
			require.NoError(t, err)
			got, err := m.Scores(ctx, qs, ds)
			require.NoError(t, err)
			require.InDelta(t, want, got[0], 1e-4)
		})
	}
}

// TestResumingABERT: 20 steps are 10, a checkpoint, a model opened anew and 10 more, in every bit, whatever the number of
// goroutines. The model may be opened from the checkpoint or from where training began.
func TestResumingABERT(t *testing.T) {
	ctx := context.Background()
	train := func(model, resume string, workers int) (*Report, []float32) {
		m, err := OpenModel(model, &ModelOptions{Workers: workers})
		require.NoError(t, err)
		defer m.Close()
		tr, err := NewTrainer(m, []Source{{Name: "sky", Examples: skyExamples(1, 200)}}, &Options{
			Loss: Sum{{1, Contrastive{}}, {0.5, Softmax{}}}, Optimizer: &AdamW{LR: 1e-3, WeightDecay: 0.01}, Schedule: Schedule{Warmup: 3, Decay: CosineDecay},
			Steps: 20, Batch: 12, Accumulate: 2, Negatives: 2, MicroTokens: 200, ClipNorm: 1, Seed: 4, Workers: workers, Dir: t.TempDir(), CheckpointEvery: 10, Keep: 9,
		})
		require.NoError(t, err)
		if resume != "" {
			require.NoError(t, tr.Resume(resume))
		}
		r, err := tr.Run(ctx)
		require.NoError(t, err)
		var values []float32
		for _, p := range m.Params() {
			values = append(values, p.Value...)
		}
		return r, values
	}
	r, want := train(tinyBERT, "", 1)
	half := filepath.Join(filepath.Dir(r.Checkpoint), checkpointName(10))
	_, again := train(tinyBERT, "", 3)
	require.True(t, slices.Equal(want, again), "the same seed")
	_, resumed := train(tinyBERT, half, 2)
	require.True(t, slices.Equal(want, resumed), "resumed")
	_, resumed = train(half, half, 1)
	require.True(t, slices.Equal(want, resumed), "resumed from the checkpoint's own model")
}
