package train

import (
	"fmt"
	"math"
)

// Decay is how a learning rate goes on after its warm-up.
type Decay uint8

const (
	// LinearDecay goes down to zero in equal steps, as ColBERT-XM and PyLate do by default.
	LinearDecay Decay = iota
	// CosineDecay goes down to zero along half a cosine.
	CosineDecay
	// ConstantRate stays; the way of schedule-free optimizers.
	ConstantRate
)

// String gives the name as ParseDecay reads it.
func (d Decay) String() string {
	switch d {
	case LinearDecay:
		return "linear"
	case CosineDecay:
		return "cosine"
	case ConstantRate:
		return "constant"
	}
	return fmt.Sprintf("Decay(%d)", d)
}

// ParseDecay reads a name: linear, cosine or constant.
func ParseDecay(name string) (Decay, error) {
	for _, d := range []Decay{LinearDecay, CosineDecay, ConstantRate} {
		if d.String() == name {
			return d, nil
		}
	}
	return 0, fmt.Errorf("%w: schedule %q is none of linear, cosine, constant", ErrOptions, name)
}

// Schedule gives each step's part of the learning rate.
type Schedule struct {
	// Warmup is the number of steps in which the rate goes up from 1/Warmup of its value in equal steps, Steps the number
	// of all steps.
	Warmup, Steps int
	Decay         Decay
}

// Factor is the part of the learning rate at a step, the first being 0. Beyond Steps it is that of the last step.
func (s Schedule) Factor(step int) float64 {
	step = max(0, step)
	if s.Steps > 0 {
		step = min(step, s.Steps-1)
	}
	if step < s.Warmup {
		return float64(step+1) / float64(s.Warmup)
	}
	part := float64(step-s.Warmup) / float64(max(1, s.Steps-s.Warmup))
	switch s.Decay {
	case LinearDecay:
		return 1 - part
	case CosineDecay:
		return (1 + math.Cos(math.Pi*part)) / 2
	}
	return 1
}
