package train

import (
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"

	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/internal/kernel"
)

// ErrOptimizer reports parameters or a state that do not belong to an optimizer.
var ErrOptimizer = errors.New("train: optimizer and parameters do not fit")

// Optimizer changes parameters by their gradients. AdamW and ScheduleFree are the ones there are. An optimizer belongs to
// one list of parameters, which every call gets in the same order, and is not safe for concurrent use.
type Optimizer interface {
	gorgonia.Solver
	// Update makes one step, with the learning rate multiplied by factor, see Schedule, and gradients by scale, see
	// GradientNorm; the gradients are zero afterwards. Decay of weights is left out where Param.Decay is false.
	// Work is shared by workers goroutines, 0 meaning GOMAXPROCS, without an influence on the result.
	Update(params []*Param, factor, scale float64, workers int) error
	// Evaluated puts the values that are to be evaluated and saved into the parameters, and returns the function that puts
	// those of training back, bit by bit.
	Evaluated(params []*Param) (restore func(), err error)
	// State returns what a checkpoint needs, beside the parameters' values. The slices are the optimizer's own.
	State() OptimizerState
	// SetState continues with a saved state; it keeps the slices.
	SetState(params []*Param, s OptimizerState) error
}

// OptimizerState is the state of an optimizer between two steps.
type OptimizerState struct {
	Kind    string             `json:"kind"`
	Step    int                `json:"step"`
	Scalars map[string]float64 `json:"scalars,omitempty"`
	// Moments holds arrays like the parameters, by name and then in the order of the parameters.
	Moments map[string][][]float32 `json:"-"`
}

// AdamW is Adam with decoupled weight decay (Loshchilov and Hutter, ICLR 2019), step for step that of torch. As a
// gorgonia.Solver, it takes the place of gorgonia's own, which never changes a weight.
type AdamW struct {
	LR float64
	// Beta1, Beta2 and Epsilon are torch's 0.9, 0.999 and 1e-8 where they are 0.
	Beta1, Beta2, Epsilon float64
	WeightDecay           float64

	step int
	m, v [][]float32
}

// adamDefaults fills in and checks the numbers that both optimizers have.
func adamDefaults(lr, b1, b2, eps, decay float64) (float64, float64, float64, error) {
	if b1 == 0 {
		b1 = 0.9
	}
	if b2 == 0 {
		b2 = 0.999
	}
	if eps == 0 {
		eps = 1e-8
	}
	if !(lr > 0) || math.IsInf(lr, 1) || !(b1 >= 0 && b1 < 1) || !(b2 >= 0 && b2 < 1) || !(eps > 0) || !(decay >= 0) || math.IsInf(decay, 1) {
		return 0, 0, 0, fmt.Errorf("%w: learning rate %v, betas %v and %v, epsilon %v, weight decay %v", ErrOptimizer, lr, b1, b2, eps, decay)
	}
	return b1, b2, eps, nil
}

// Update implements Optimizer.
func (o *AdamW) Update(params []*Param, factor, scale float64, workers int) error {
	b1, b2, eps, err := adamDefaults(o.LR, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay)
	if err != nil {
		return err
	}
	if o.m == nil {
		o.m, o.v = zerosLike(params), zerosLike(params)
	}
	if err := errors.Join(fits(params, o.m), gradients(params)); err != nil {
		return err
	}
	o.step++
	lr := o.LR * factor
	step := kernel.AdamWStep{
		Scale: float32(scale), C1: float32(1 - b1), Beta2: float32(b2), C2: float32(1 - b2), Epsilon: float32(eps),
		Root: float32(math.Sqrt(1 - math.Pow(b2, float64(o.step)))), Size: float32(lr / (1 - math.Pow(b1, float64(o.step)))),
	}
	parts(params, workers, func(_, i, from, to int) {
		p, c := params[i], step
		c.Keep = 1
		if p.Decay {
			c.Keep = float32(1 - lr*o.WeightDecay)
		}
		kernel.AdamW(p.Value[from:to], p.Grad[from:to], o.m[i][from:to], o.v[i][from:to], &c)
	})
	return nil
}

// Step implements gorgonia.Solver with the learning rate as it is; all weights decay.
func (o *AdamW) Step(model []gorgonia.ValueGrad) error { return solve(o, model) }

// Evaluated implements Optimizer: values in training are those to evaluate.
func (o *AdamW) Evaluated([]*Param) (func(), error) { return func() {}, nil }

// State implements Optimizer.
func (o *AdamW) State() OptimizerState {
	return OptimizerState{Kind: "adamw", Step: o.step, Moments: map[string][][]float32{"exp_avg": o.m, "exp_avg_sq": o.v}}
}

// SetState implements Optimizer.
func (o *AdamW) SetState(params []*Param, s OptimizerState) error {
	if err := s.check("adamw", params, "exp_avg", "exp_avg_sq"); err != nil {
		return err
	}
	o.step, o.m, o.v = s.Step, s.Moments["exp_avg"], s.Moments["exp_avg_sq"]
	return nil
}

// ScheduleFree is AdamW without a schedule of learning rates: gradients are taken between the sequence that the optimizer
// follows and the mean of that sequence, and the mean is what is evaluated ("The Road Less Scheduled", Defazio et
// al., NeurIPS 2024, arXiv:2405.15682, algorithm 1), step for step that of the package schedulefree. JaColBERTv2.5
// was trained with it, a learning rate of 3e-5 and 5 % of warm-up. Its Schedule is the constant one.
type ScheduleFree struct {
	LR float64
	// Beta1, Beta2 and Epsilon are 0.9, 0.999 and 1e-8 where they are 0.
	Beta1, Beta2, Epsilon float64
	WeightDecay           float64

	step             int
	lrMax, weightSum float64
	z, v             [][]float32
}

// Update implements Optimizer.
func (o *ScheduleFree) Update(params []*Param, factor, scale float64, workers int) error {
	b1, b2, eps, err := adamDefaults(o.LR, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay)
	if err != nil {
		return err
	}
	if o.z == nil {
		o.z, o.v = zerosLike(params), zerosLike(params)
		for i, p := range params {
			copy(o.z[i], p.Value)
		}
	}
	if err := errors.Join(fits(params, o.z), gradients(params)); err != nil {
		return err
	}
	o.step++
	lr := o.LR * factor
	o.lrMax = max(o.lrMax, lr)
	weight := o.lrMax * o.lrMax
	o.weightSum += weight
	c := 0.0
	if o.weightSum > 0 {
		c = weight / o.weightSum
	}
	step := kernel.ScheduleFreeStep{
		Scale: float32(scale), Beta2: float32(b2), C2: float32(1 - b2), Root: float32(1 - math.Pow(b2, float64(o.step))), Epsilon: float32(eps),
		ToZ: float32(c), YStep: float32(lr * (b1*(1-c) - 1)), ZStep: float32(lr),
	}
	parts(params, workers, func(_, i, from, to int) {
		p, c := params[i], step
		if p.Decay {
			c.Decay = float32(o.WeightDecay)
		}
		kernel.ScheduleFree(p.Value[from:to], p.Grad[from:to], o.z[i][from:to], o.v[i][from:to], &c)
	})
	return nil
}

// Step implements gorgonia.Solver with the learning rate as it is; all weights decay.
func (o *ScheduleFree) Step(model []gorgonia.ValueGrad) error { return solve(o, model) }

// Evaluated implements Optimizer: x = y + (1 - 1/beta1) (z - y).
func (o *ScheduleFree) Evaluated(params []*Param) (func(), error) {
	if o.z == nil {
		return func() {}, nil
	}
	if err := fits(params, o.z); err != nil {
		return nil, err
	}
	b1, _, _, err := adamDefaults(o.LR, o.Beta1, o.Beta2, o.Epsilon, o.WeightDecay)
	if err != nil {
		return nil, err
	}
	w := float32(1 - 1/b1)
	y := zerosLike(params)
	parts(params, 0, func(_, i, from, to int) {
		p, z := params[i].Value[from:to], o.z[i][from:to]
		copy(y[i][from:to], p)
		for j := range p {
			p[j] += w * (z[j] - p[j])
		}
	})
	return func() {
		for i, p := range params {
			copy(p.Value, y[i])
		}
	}, nil
}

// State implements Optimizer.
func (o *ScheduleFree) State() OptimizerState {
	return OptimizerState{Kind: "schedulefree", Step: o.step, Scalars: map[string]float64{"lr_max": o.lrMax, "weight_sum": o.weightSum},
		Moments: map[string][][]float32{"z": o.z, "exp_avg_sq": o.v}}
}

// SetState implements Optimizer.
func (o *ScheduleFree) SetState(params []*Param, s OptimizerState) error {
	if err := s.check("schedulefree", params, "z", "exp_avg_sq"); err != nil {
		return err
	}
	o.step, o.z, o.v = s.Step, s.Moments["z"], s.Moments["exp_avg_sq"]
	o.lrMax, o.weightSum = s.Scalars["lr_max"], s.Scalars["weight_sum"]
	return nil
}

func (s *OptimizerState) check(kind string, params []*Param, moments ...string) error {
	if s.Kind != kind || s.Step < 0 {
		return fmt.Errorf("%w: state of %q at step %d, not of %s", ErrOptimizer, s.Kind, s.Step, kind)
	}
	for _, name := range moments {
		if m := s.Moments[name]; m != nil || s.Step > 0 {
			if err := fits(params, m); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

// fits checks that arrays have the lengths of parameters.
func fits(params []*Param, arrays [][]float32) error {
	if len(arrays) != len(params) {
		return fmt.Errorf("%w: %d parameters, state of %d", ErrOptimizer, len(params), len(arrays))
	}
	for i, p := range params {
		if len(p.Value) != len(arrays[i]) {
			return fmt.Errorf("%w: %s has %d values, state %d", ErrOptimizer, p.Name, len(p.Value), len(arrays[i]))
		}
	}
	return nil
}

func gradients(params []*Param) error {
	for _, p := range params {
		if len(p.Grad) != len(p.Value) {
			return fmt.Errorf("%w: %s has %d values and %d gradients", ErrOptimizer, p.Name, len(p.Value), len(p.Grad))
		}
	}
	return nil
}

func zerosLike(params []*Param) [][]float32 {
	out := make([][]float32, len(params))
	for i, p := range params {
		out[i] = make([]float32, len(p.Value))
	}
	return out
}

// partSize is the number of elements that a goroutine takes at a time.
const partSize = 1 << 15

// parts calls f for pieces of all parameters, on several goroutines: number of the piece, parameter, first and last
// element. Which pieces there are does not depend on the number of goroutines.
func parts(params []*Param, workers int, f func(n, param, from, to int)) {
	if workers <= 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	type piece struct{ param, from, to int }
	var all []piece
	for i, p := range params {
		for from := 0; from < len(p.Value); from += partSize {
			all = append(all, piece{i, from, min(from+partSize, len(p.Value))})
		}
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(workers, len(all)) {
		wg.Go(func() {
			for {
				n := int(next.Add(1)) - 1
				if n >= len(all) {
					return
				}
				f(n, all[n].param, all[n].from, all[n].to)
			}
		})
	}
	wg.Wait()
}

// countParts is the number of pieces that parts makes.
func countParts(params []*Param) int {
	n := 0
	for _, p := range params {
		n += (len(p.Value) + partSize - 1) / partSize
	}
	return n
}

// GradientNorm returns the Euclidean norm of all gradients together. A gradient that is no finite number is an error
// that wraps ErrNotFinite and names the first such parameter.
func GradientNorm(params []*Param, workers int) (float64, error) {
	if err := gradients(params); err != nil {
		return 0, err
	}
	sums := make([]float64, countParts(params))
	owner := make([]int, len(sums))
	parts(params, workers, func(n, i, from, to int) {
		var s [4]float64 // sums of their own, which need not wait for each other
		g := params[i].Grad[from:to]
		for ; len(g) >= 4; g = g[4:] {
			a, b, c, d := float64(g[0]), float64(g[1]), float64(g[2]), float64(g[3])
			s[0], s[1], s[2], s[3] = s[0]+a*a, s[1]+b*b, s[2]+c*c, s[3]+d*d
		}
		for j, v := range g {
			s[j] += float64(v) * float64(v)
		}
		sums[n], owner[n] = (s[0]+s[1])+(s[2]+s[3]), i
	})
	sum := 0.0
	for n, s := range sums {
		if math.IsNaN(s) || math.IsInf(s, 0) { // squares of float32 do not overflow float64
			return 0, fmt.Errorf("%w: gradient of %s", ErrNotFinite, params[owner[n]].Name)
		}
		sum += s
	}
	return math.Sqrt(sum), nil
}

// solve makes a step with gorgonia's values.
func solve(o Optimizer, model []gorgonia.ValueGrad) error {
	params := make([]*Param, len(model))
	for i, m := range model {
		g, err := m.Grad()
		if err != nil {
			return fmt.Errorf("train: gradient %d: %w", i, err)
		}
		p := &Param{Name: fmt.Sprintf("parameter %d", i), Decay: true}
		var ok, okGrad bool
		p.Value, ok = m.Value().Data().([]float32)
		p.Grad, okGrad = g.Data().([]float32)
		if !ok || !okGrad {
			return fmt.Errorf("%w: parameter %d is %v with a gradient of %v, not arrays of float32", ErrOptimizer, i, m.Value().Dtype(), g.Dtype())
		}
		params[i] = p
	}
	return o.Update(params, 1, 1, 0)
}
