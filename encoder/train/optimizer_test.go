package train

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"
	"gorgonia.org/tensor"
)

// TestOptimizersAsSolvers: gorgonia's own graphs learn with them.
func TestOptimizersAsSolvers(t *testing.T) {
	for _, o := range []Optimizer{&AdamW{LR: 0.1}, &ScheduleFree{LR: 0.3}} {
		g := gorgonia.NewGraph()
		w := gorgonia.NewMatrix(g, tensor.Float32, gorgonia.WithShape(1, 3), gorgonia.WithName("w"), gorgonia.WithValue(tensor.New(tensor.WithBacking([]float32{3, -2, 1}), tensor.WithShape(1, 3))))
		cost := gorgonia.Must(gorgonia.Sum(gorgonia.Must(gorgonia.Square(w))))
		_, err := gorgonia.Grad(cost, w)
		require.NoError(t, err)
		m := gorgonia.NewTapeMachine(g, gorgonia.BindDualValues(w))
		first := float32(0)
		for i := range 200 {
			require.NoError(t, m.RunAll())
			if i == 0 {
				first = cost.Value().Data().(float32)
			}
			require.NoError(t, o.Step([]gorgonia.ValueGrad{w}))
			m.Reset()
		}
		require.NoError(t, m.RunAll())
		require.Less(t, cost.Value().Data().(float32), first/100)
		require.NoError(t, m.Close())
	}
}

func TestOptimizerErrors(t *testing.T) {
	p := func(values, grads int) *Param {
		return &Param{Name: "w", Value: make([]float32, values), Grad: make([]float32, grads)}
	}
	for _, o := range []Optimizer{&AdamW{}, &AdamW{LR: -1}, &AdamW{LR: math.Inf(1)}, &AdamW{LR: 1, Beta1: 1}, &ScheduleFree{LR: 1, Beta2: -1}, &ScheduleFree{LR: 1, WeightDecay: math.NaN()}, &AdamW{LR: 1, Epsilon: -1}} {
		require.ErrorIs(t, o.Update([]*Param{p(3, 3)}, 1, 1, 0), ErrOptimizer)
	}
	for _, o := range []Optimizer{&AdamW{LR: 1}, &ScheduleFree{LR: 1}} {
		require.ErrorIs(t, o.Update([]*Param{p(3, 2)}, 1, 1, 0), ErrOptimizer)
		require.NoError(t, o.Update([]*Param{p(3, 3)}, 1, 1, 0))
		require.ErrorIs(t, o.Update([]*Param{p(4, 4)}, 1, 1, 0), ErrOptimizer)
		require.ErrorIs(t, o.Update([]*Param{p(3, 3), p(1, 1)}, 1, 1, 0), ErrOptimizer)
		s := o.State()
		require.NoError(t, o.SetState([]*Param{p(3, 3)}, s))
		require.ErrorIs(t, o.SetState([]*Param{p(4, 4)}, s), ErrOptimizer)
		s.Kind = "other"
		require.ErrorIs(t, o.SetState([]*Param{p(3, 3)}, s), ErrOptimizer)
	}
	_, err := (&ScheduleFree{LR: 1}).Evaluated([]*Param{p(3, 3)})
	require.NoError(t, err)
}

func TestSchedules(t *testing.T) {
	at := func(s Schedule) (out []float64) {
		for i := range 7 {
			out = append(out, s.Factor(i))
		}
		return out
	}
	require.InDeltaSlice(t, []float64{0.5, 1, 1, 0.75, 0.5, 0.25, 0.25}, at(Schedule{Warmup: 2, Steps: 6}), 1e-12)
	require.InDeltaSlice(t, []float64{1, 1, 1, 1, 1, 1, 1}, at(Schedule{Decay: ConstantRate}), 1e-12)
	require.InDeltaSlice(t, []float64{0.25, 0.5, 0.75, 1, 1, 1, 1}, at(Schedule{Warmup: 4, Decay: ConstantRate}), 1e-12)
	require.InDeltaSlice(t, []float64{1, 0.8535533905932737, 0.5, 0.14644660940672627, 0.14644660940672627, 0.14644660940672627, 0.14644660940672627}, at(Schedule{Steps: 4, Decay: CosineDecay}), 1e-12)
	for _, d := range []Decay{LinearDecay, CosineDecay, ConstantRate} {
		got, err := ParseDecay(d.String())
		require.NoError(t, err)
		require.Equal(t, d, got)
	}
	_, err := ParseDecay("steps")
	require.ErrorIs(t, err, ErrOptions)
}

func TestGradientNorm(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	p := []*Param{{Name: "a", Value: make([]float32, 3*partSize+17), Grad: make([]float32, 3*partSize+17)}, {Name: "b", Value: make([]float32, 5), Grad: make([]float32, 5)}}
	sum := 0.0
	for _, q := range p {
		for i := range q.Grad {
			q.Grad[i] = float32(rng.NormFloat64())
			sum += float64(q.Grad[i]) * float64(q.Grad[i])
		}
	}
	one, err := GradientNorm(p, 1)
	require.NoError(t, err)
	require.InEpsilon(t, math.Sqrt(sum), one, 1e-12)
	many, err := GradientNorm(p, 8)
	require.NoError(t, err)
	require.Equal(t, one, many)
	p[0].Grad[0] = 1e38 // whose square is beyond float32
	_, err = GradientNorm(p, 2)
	require.NoError(t, err)
	p[1].Grad[2] = float32(math.NaN())
	_, err = GradientNorm(p, 2)
	require.ErrorIs(t, err, ErrNotFinite)
	require.ErrorContains(t, err, "gradient of b")
}

// BenchmarkOptimizer makes a step of a model like all-MiniLM-L6-v2.
func BenchmarkOptimizer(b *testing.B) {
	for name, o := range map[string]Optimizer{"adamw": &AdamW{LR: 1e-5, WeightDecay: 0.01}, "schedulefree": &ScheduleFree{LR: 1e-5, WeightDecay: 0.01}} {
		b.Run(name, func(b *testing.B) {
			var params []*Param
			for _, n := range []int{30522 * 384, 6 * 4 * 384 * 384, 6 * 8 * 384 * 384} {
				p := &Param{Value: make([]float32, n), Grad: make([]float32, n), Decay: true}
				for i := range p.Grad {
					p.Grad[i] = float32(i%7) * 1e-3
				}
				params = append(params, p)
			}
			for b.Loop() {
				if _, err := GradientNorm(params, 0); err != nil {
					b.Fatal(err)
				}
				if err := o.Update(params, 1, 1, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
