package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
)

func randomTargets(rng *rand.Rand) (*Targets, []float32) {
	t := &Targets{Queries: 3, Documents: 8}
	scores := make([]float32, t.Queries*t.Documents)
	t.Known = make([]bool, len(scores))
	for i := range scores {
		scores[i] = float32(rng.NormFloat64() * 2)
		t.Known[i] = rng.IntN(5) == 0
	}
	for i := range t.Queries {
		list := rng.Perm(t.Documents)[:3+i]
		t.Positive, t.Lists, t.QueryTokens = append(t.Positive, list[0]), append(t.Lists, list), append(t.QueryTokens, 2+i)
		teacher := make([]float32, len(list))
		for j := range teacher {
			teacher[j] = float32(rng.NormFloat64())
		}
		t.Teacher = append(t.Teacher, teacher)
	}
	return t, scores
}

// TestLossGradients compares with differences of the loss, for every loss and a graph that uses its result further.
func TestLossGradients(t *testing.T) {
	losses := map[string]Loss{
		"contrastive":  Contrastive{Temperature: 0.5, Mean: true},
		"softmax":      Softmax{Temperature: 2},
		"distillation": Distillation{Temperature: 0.3},
		"raw":          Distillation{RawStudent: true, RawTeacher: true, Mean: true},
		"sum":          Sum{{0.7, Contrastive{}}, {0.3, Softmax{Mean: true}}, {2, Distillation{}}, {0.5, Softmax{Mean: true}}},
	}
	for name, l := range losses {
		targets, scores := randomTargets(rand.New(rand.NewPCG(1, 2)))
		f, err := l.Func(targets)
		require.NoError(t, err, name)
		tripled := func(g *gorgonia.ExprGraph, s *gorgonia.Node) (*gorgonia.Node, error) {
			v, err := f(g, s)
			if err != nil {
				return nil, err
			}
			return gorgonia.Mul(v, gorgonia.NewConstant(float32(3)))
		}
		v, grad, err := scoreGradient(tripled, scores, targets.Queries, targets.Documents)
		require.NoError(t, err, name)
		require.Positive(t, v, name)
		nonzero := 0
		for i := range scores {
			const h = 1e-2
			old, at := scores[i], [2]float64{}
			for k, d := range []float32{h, -h} {
				scores[i] = old + d
				x, _, err := scoreGradient(f, scores, targets.Queries, targets.Documents)
				require.NoError(t, err)
				at[k] = 3 * float64(x)
			}
			scores[i] = old
			require.InDelta(t, (at[0]-at[1])/(2*h), grad[i], 3e-3*max(1, math.Abs(float64(grad[i]))), "%s, element %d", name, i)
			if grad[i] != 0 {
				nonzero++
			}
		}
		require.GreaterOrEqual(t, nonzero, 9, name)
	}
}

// TestSumOfLosses: a sum is the sum.
func TestSumOfLosses(t *testing.T) {
	targets, scores := randomTargets(rand.New(rand.NewPCG(3, 4)))
	value := func(l Loss) (float64, []float32) {
		f, err := l.Func(targets)
		require.NoError(t, err)
		v, g, err := scoreGradient(f, scores, targets.Queries, targets.Documents)
		require.NoError(t, err)
		return float64(v), g
	}
	a, ga := value(Contrastive{Temperature: 0.7})
	b, gb := value(Distillation{})
	s, gs := value(Sum{{0.25, Contrastive{Temperature: 0.7}}, {4, Distillation{}}})
	require.InDelta(t, 0.25*a+4*b, s, 1e-5)
	for i := range gs {
		require.InDelta(t, 0.25*ga[i]+4*gb[i], gs[i], 1e-5)
	}
	require.True(t, Sum{{1, Softmax{}}, {1, Contrastive{}}}.InBatch())
	require.False(t, Sum{{1, Softmax{}}}.InBatch())
}

// TestKnownPairs: what is known to answer, too, neither counts nor gets a gradient; a query's own list always counts.
func TestKnownPairs(t *testing.T) {
	targets := &Targets{Queries: 2, Documents: 4, Positive: []int{0, 1}, Lists: [][]int{{0, 2}, {1, 3}},
		Known: []bool{true, true, true, false, false, true, false, true}}
	scores := []float32{1, 50, 2, 0, 0, 3, 1, 2}
	f, err := Contrastive{}.Func(targets)
	require.NoError(t, err)
	v, grad, err := scoreGradient(f, scores, 2, 4)
	require.NoError(t, err)
	want := (math.Log(math.Exp(1)+math.Exp(2)+1) - 1 + math.Log(1+math.Exp(3)+math.Exp(1)+math.Exp(2)) - 3) / 2
	require.InDelta(t, want, v, 1e-6)
	require.Zero(t, grad[1])
	for _, i := range []int{0, 2, 3, 4, 5, 6, 7} {
		require.NotZero(t, grad[i], i)
	}
}

// TestLossesAreStable: huge scores overflow nothing, equal ones divide by nothing, and NaN comes through.
func TestLossesAreStable(t *testing.T) {
	targets := blockTargets(2, 3)
	targets.Teacher = [][]float32{{1, 0, 0.5}, {2, 2, 2}}
	for _, l := range []Loss{Contrastive{Temperature: 1e-3}, Softmax{}, Distillation{}} {
		f, err := l.Func(targets)
		require.NoError(t, err)
		for _, scores := range [][]float32{
			{1e30, -1e30, 0, 1, 2, 3, 0, 0, 0, 1e30, 1e30, 1e30},
			make([]float32, 12),
		} {
			v, grad, err := scoreGradient(f, scores, 2, 6)
			require.NoError(t, err)
			require.False(t, math.IsNaN(float64(v)) || math.IsInf(float64(v), 0), "%T", l)
			for _, g := range grad {
				require.False(t, math.IsNaN(float64(g)) || math.IsInf(float64(g), 0), "%T", l)
			}
		}
		nan := make([]float32, 12)
		nan[1] = float32(math.NaN())
		v, _, err := scoreGradient(f, nan, 2, 6)
		require.NoError(t, err)
		require.True(t, math.IsNaN(float64(v)), "%T", l)
	}
}

func TestBadTargets(t *testing.T) {
	good := func() *Targets {
		t := blockTargets(2, 2)
		t.Teacher = [][]float32{{1, 2}, {3, 4}}
		return t
	}
	for name, change := range map[string]func(*Targets){
		"no queries":      func(t *Targets) { t.Queries = 0 },
		"positive":        func(t *Targets) { t.Positive[1] = 4 },
		"positives":       func(t *Targets) { t.Positive = t.Positive[:1] },
		"known":           func(t *Targets) { t.Known = make([]bool, 3) },
		"lists":           func(t *Targets) { t.Lists = nil },
		"first in a list": func(t *Targets) { t.Lists[0] = []int{1, 0} },
		"twice in a list": func(t *Targets) { t.Lists[0] = []int{0, 0} },
		"list's document": func(t *Targets) { t.Lists[0][1] = -1 },
		"teacher":         func(t *Targets) { t.Teacher[0] = t.Teacher[0][:1] },
		"teachers":        func(t *Targets) { t.Teacher = nil },
		"teacher's NaN":   func(t *Targets) { t.Teacher[1][0] = float32(math.NaN()) },
	} {
		targets := good()
		change(targets)
		_, err := Distillation{}.Func(targets)
		require.ErrorIs(t, err, ErrTargets, name)
	}
	for _, l := range []Loss{Contrastive{Temperature: -1}, Contrastive{Mean: true}, Softmax{Temperature: math.NaN()}, Sum{}, Sum{{math.NaN(), Softmax{}}}, Sum{{1, nil}}} {
		_, err := l.Func(good())
		require.ErrorIs(t, err, ErrTargets, "%#v", l)
	}
	require.ErrorIs(t, Sum{{1, Softmax{}}, {1, Distillation{}}}.Check(3, false), ErrTargets)
	require.ErrorIs(t, Softmax{}.Check(1, false), ErrTargets)
	require.NoError(t, Sum{{1, Contrastive{}}}.Check(1, false))
	// Scores of another shape than the targets.
	f, err := Softmax{}.Func(good())
	require.NoError(t, err)
	_, _, err = scoreGradient(f, make([]float32, 6), 2, 3)
	require.ErrorIs(t, err, ErrTargets)
}
