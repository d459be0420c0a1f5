package train

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is testdata/torch.json: losses and optimizers of torch 2.11, PyLate 1.6 and schedulefree 1.4
// (encoder/scripts/golden/train.py).
type golden struct {
	Contrastive  []goldenLoss
	Softmax      []goldenLoss
	Distillation []goldenLoss
	Optimizers   []struct {
		Name    string
		Options struct {
			LR, Eps     float64
			Betas       [2]float64
			WeightDecay float64 `json:"weight_decay"`
			WarmupSteps int     `json:"warmup_steps"`
		}
		After, Evaluated [][][]float32
	}
	Start [][]float32
	Grads [][][]float32
}

type goldenLoss struct {
	Ways        int
	Temperature float64
	Normalize   bool
	Scores      [][]float32
	Teacher     [][]float32
	Loss        float64
	Grad        [][]float32
}

func readGolden(t *testing.T) *golden {
	b, err := os.ReadFile("testdata/torch.json")
	require.NoError(t, err)
	g := new(golden)
	require.NoError(t, json.Unmarshal(b, g))
	require.NotEmpty(t, g.Contrastive)
	require.NotEmpty(t, g.Optimizers)
	return g
}

// flat lays rows end to end.
func flat(rows [][]float32) []float32 {
	var out []float32
	for _, r := range rows {
		out = append(out, r...)
	}
	return out
}

// lists makes targets where each query has its own ways documents, in a block of the score matrix.
func blockTargets(queries, ways int) *Targets {
	t := &Targets{Queries: queries, Documents: queries * ways}
	for i := range queries {
		list := make([]int, ways)
		for j := range list {
			list[j] = i*ways + j
		}
		t.Positive, t.Lists = append(t.Positive, list[0]), append(t.Lists, list)
	}
	return t
}

// blocks puts each query's scores of its own list into a score matrix; elsewhere are numbers that must not matter.
func blocks(rows [][]float32) []float32 {
	q, ways := len(rows), len(rows[0])
	out := make([]float32, q*q*ways)
	for i := range out {
		out[i] = float32(i%7) * 1000
	}
	for i, r := range rows {
		copy(out[(i*q+i)*ways:], r)
	}
	return out
}

// near compares with a golden value, relative to the largest of all.
func near(t *testing.T, want, got []float32, tolerance float64, what string) {
	t.Helper()
	require.Len(t, got, len(want), what)
	most := 1e-9
	for _, w := range want {
		most = max(most, math.Abs(float64(w)))
	}
	for i := range want {
		require.InDelta(t, want[i], got[i], tolerance*most, "%s, element %d", what, i)
	}
}

func TestGoldenLosses(t *testing.T) {
	g := readGolden(t)
	for i, c := range g.Contrastive {
		targets := blockTargets(len(c.Scores), c.Ways)
		f, err := Contrastive{Temperature: c.Temperature}.Func(targets)
		require.NoError(t, err)
		v, grad, err := scoreGradient(f, flat(c.Scores), targets.Queries, targets.Documents)
		require.NoError(t, err)
		require.InEpsilon(t, c.Loss, v, 1e-5, "contrastive %d", i)
		near(t, flat(c.Grad), grad, 1e-5, "contrastive")
	}
	list := func(l Loss, c goldenLoss, what string) {
		ways := len(c.Scores[0])
		targets := blockTargets(len(c.Scores), ways)
		targets.Teacher = c.Teacher
		f, err := l.Func(targets)
		require.NoError(t, err)
		v, grad, err := scoreGradient(f, blocks(c.Scores), targets.Queries, targets.Documents)
		require.NoError(t, err)
		require.InDelta(t, c.Loss, v, 1e-6*max(1, c.Loss), what)
		want := make([]float32, len(grad))
		for i, r := range c.Grad {
			copy(want[(i*targets.Queries+i)*ways:], r)
		}
		near(t, want, grad, 2e-5, what)
	}
	for _, c := range g.Softmax {
		list(Softmax{Temperature: c.Temperature}, c, "softmax")
	}
	for _, c := range g.Distillation {
		list(Distillation{RawStudent: !c.Normalize, RawTeacher: !c.Normalize}, c, "distillation")
	}
}

func TestGoldenOptimizers(t *testing.T) {
	g := readGolden(t)
	for n, c := range g.Optimizers {
		var o Optimizer
		if c.Name == "adamw" {
			o = &AdamW{LR: c.Options.LR, Beta1: c.Options.Betas[0], Beta2: c.Options.Betas[1], Epsilon: c.Options.Eps, WeightDecay: c.Options.WeightDecay}
		} else {
			o = &ScheduleFree{LR: c.Options.LR, Beta1: c.Options.Betas[0], Beta2: c.Options.Betas[1], Epsilon: c.Options.Eps, WeightDecay: c.Options.WeightDecay}
		}
		schedule := Schedule{Warmup: c.Options.WarmupSteps, Decay: ConstantRate}
		params := make([]*Param, len(g.Start))
		for i, v := range g.Start {
			params[i] = &Param{Name: string(rune('a' + i)), Value: append([]float32(nil), v...), Grad: make([]float32, len(v)), Decay: i == 0}
		}
		for step := range g.Grads {
			for i, p := range params {
				for j, x := range g.Grads[step][i] {
					p.Grad[j] = 4 * x // the scale takes it back
				}
			}
			require.NoError(t, o.Update(params, schedule.Factor(step), 0.25, 2))
			for i, p := range params {
				near(t, c.After[step][i], p.Value, 2e-6, c.Name)
				require.Zero(t, p.Grad[0])
			}
			if len(c.Evaluated) == 0 {
				continue
			}
			before := append([]float32(nil), params[0].Value...)
			restore, err := o.Evaluated(params)
			require.NoError(t, err)
			for i, p := range params {
				near(t, c.Evaluated[step][i], p.Value, 2e-6, "evaluated")
			}
			restore()
			require.Equal(t, before, params[0].Value, "optimizer %d", n)
		}
	}
}
