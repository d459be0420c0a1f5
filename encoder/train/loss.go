package train

import (
	"errors"
	"fmt"
	"math"
	"slices"

	"gorgonia.org/gorgonia"
)

// ErrTargets reports a batch that a loss cannot be computed of.
var ErrTargets = errors.New("train: targets do not fit the loss")

// Targets says which of a batch's documents answer which queries. Indices are those of rows and columns of the score
// matrix, Queries x Documents.
type Targets struct {
	Queries, Documents int
	// QueryTokens holds the number of token vectors of each query, for losses of mean scores.
	QueryTokens []int
	// Positive holds the document that answers each query.
	Positive []int
	// Lists holds the documents that were judged or mined for each query, its positive first.
	Lists [][]int
	// Teacher holds a teacher's scores of each query's list, nil where there are none.
	Teacher [][]float32
	// Known, when not nil, has Queries x Documents elements, row-major: true where a document is no negative of a query,
	// because it is known or likely to answer it, too. A query's own positive and list are never left out by it.
	Known []bool
}

// validate checks what every loss relies on.
func (t *Targets) validate() error {
	if t.Queries <= 0 || t.Documents <= 0 {
		return fmt.Errorf("%w: %d queries and %d documents", ErrTargets, t.Queries, t.Documents)
	}
	if len(t.Positive) != t.Queries {
		return fmt.Errorf("%w: positives of %d queries, not %d", ErrTargets, len(t.Positive), t.Queries)
	}
	for i, p := range t.Positive {
		if p < 0 || p >= t.Documents {
			return fmt.Errorf("%w: positive of query %d is document %d of %d", ErrTargets, i, p, t.Documents)
		}
	}
	if t.Known != nil && len(t.Known) != t.Queries*t.Documents {
		return fmt.Errorf("%w: %d known pairs, not %d x %d", ErrTargets, len(t.Known), t.Queries, t.Documents)
	}
	return nil
}

// lists checks the lists.
func (t *Targets) lists() error {
	if len(t.Lists) != t.Queries {
		return fmt.Errorf("%w: lists of %d queries, not %d", ErrTargets, len(t.Lists), t.Queries)
	}
	seen := make([]int, t.Documents)
	for i, l := range t.Lists {
		if len(l) == 0 || l[0] != t.Positive[i] {
			return fmt.Errorf("%w: the list of query %d does not start with its positive", ErrTargets, i)
		}
		for _, d := range l {
			if d < 0 || d >= t.Documents {
				return fmt.Errorf("%w: document %d of %d in the list of query %d", ErrTargets, d, t.Documents, i)
			}
			if seen[d] == i+1 {
				return fmt.Errorf("%w: document %d twice in the list of query %d", ErrTargets, d, i)
			}
			seen[d] = i + 1
		}
	}
	return nil
}

// scales returns what each query's scores are multiplied by.
func (t *Targets) scales(temperature float64, mean bool) ([]float64, error) {
	if temperature == 0 {
		temperature = 1
	}
	if !(temperature > 0) || math.IsInf(temperature, 1) {
		return nil, fmt.Errorf("%w: temperature %v", ErrTargets, temperature)
	}
	s := make([]float64, t.Queries)
	for i := range s {
		s[i] = 1 / temperature
		if mean {
			if len(t.QueryTokens) != t.Queries || t.QueryTokens[i] <= 0 {
				return nil, fmt.Errorf("%w: mean scores without the number of tokens of query %d", ErrTargets, i)
			}
			s[i] /= float64(t.QueryTokens[i])
		}
	}
	return s, nil
}

// Loss is an objective of training: a mean over the queries of a batch.
type Loss interface {
	// Func returns the loss of a batch as a function of its score matrix. The error wraps ErrTargets.
	Func(t *Targets) (LossFunc, error)
	// InBatch says that a query's loss depends on documents of other queries' lists, so that a batch cannot be cut
	// into smaller ones.
	InBatch() bool
	// Check says whether a query with n documents in its list, its positive included, and a teacher's scores or
	// none can be trained on.
	Check(n int, teacher bool) error
}

// Contrastive is the cross-entropy of each query's positive among all documents of the batch, those of its own list
// and of others': in-batch negatives (Karpukhin et al., EMNLP 2020; ColBERTv2, Santhanam et al., NAACL 2022, section 3.2).
// Known pairs other than the positive are left out of the sum. With lists of the same length it is the loss that PyLate
// calls Contrastive.
type Contrastive struct {
	// Temperature divides the scores; 0 means 1.
	Temperature float64
	// Mean divides a query's scores by the number of its token vectors first, so that long queries weigh no more than
	// short ones. Temperatures of 0.02 to 0.05 are usual then.
	Mean bool
}

// Func implements Loss.
func (c Contrastive) Func(t *Targets) (LossFunc, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	scale, err := t.scales(c.Temperature, c.Mean)
	if err != nil {
		return nil, err
	}
	x := newCrossEntropy(t.Queries, t.Documents, scale)
	for i := range t.Queries {
		for j := range t.Documents {
			x.keep[i*t.Documents+j] = t.Known == nil || !t.Known[i*t.Documents+j]
		}
		if t.Lists != nil {
			for _, d := range t.Lists[i] {
				x.keep[i*t.Documents+d] = true
			}
		}
		x.keep[i*t.Documents+t.Positive[i]] = true
		x.target[i*t.Documents+t.Positive[i]] = 1
	}
	return x.apply, nil
}

// InBatch implements Loss.
func (Contrastive) InBatch() bool { return true }

// Check implements Loss.
func (Contrastive) Check(int, bool) error { return nil }

// Softmax is the cross-entropy of each query's positive among its own list only: the pairwise softmax of ColBERT with
// one hard negative (Khattab and Zaharia, SIGIR 2020, section 3.4), or n-way with more.
type Softmax struct {
	// Temperature and Mean are as in Contrastive.
	Temperature float64
	Mean        bool
}

// Func implements Loss.
func (s Softmax) Func(t *Targets) (LossFunc, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	if err := t.lists(); err != nil {
		return nil, err
	}
	scale, err := t.scales(s.Temperature, s.Mean)
	if err != nil {
		return nil, err
	}
	x := newCrossEntropy(t.Queries, t.Documents, scale)
	for i, l := range t.Lists {
		for _, d := range l {
			x.keep[i*t.Documents+d] = true
		}
		x.target[i*t.Documents+t.Positive[i]] = 1
	}
	return x.apply, nil
}

// InBatch implements Loss.
func (Softmax) InBatch() bool { return false }

// Check implements Loss.
func (Softmax) Check(n int, _ bool) error {
	if n < 2 {
		return fmt.Errorf("%w: softmax of a list without negatives", ErrTargets)
	}
	return nil
}

// Distillation is the Kullback-Leibler divergence of the student's distribution over each query's list from a
// teacher's, with the scores of both scaled to the interval [0, 1] first (JaColBERTv2.5, Clavié 2024, arXiv:2407.20750,
// section 3.2): (s-min) / (max-min+1e-8), and softmax of that. Value and gradient are those of PyLate's
// Distillation when it is given teacher's scores that were scaled. A list whose scores are all equal
// has no gradient, where PyLate's formula divides by 1e-8.
type Distillation struct {
	// Temperature divides the scaled scores of student and teacher; 0 means 1.
	Temperature float64
	// RawStudent and RawTeacher leave the scores of one side as they are.
	RawStudent, RawTeacher bool
	// Mean divides the student's scores by the number of the query's token vectors; it matters with RawStudent only.
	Mean bool
}

// Func implements Loss.
func (l Distillation) Func(t *Targets) (LossFunc, error) {
	if err := t.validate(); err != nil {
		return nil, err
	}
	if err := t.lists(); err != nil {
		return nil, err
	}
	scale, err := t.scales(l.Temperature, l.Mean && l.RawStudent)
	if err != nil {
		return nil, err
	}
	if len(t.Teacher) != t.Queries {
		return nil, fmt.Errorf("%w: teacher's scores of %d queries, not %d", ErrTargets, len(t.Teacher), t.Queries)
	}
	temperature := l.Temperature
	if temperature == 0 {
		temperature = 1
	}
	x := newCrossEntropy(t.Queries, t.Documents, scale)
	norm := &minMax{rows: t.Queries, cols: t.Documents, keep: x.keep}
	for i, list := range t.Lists {
		if len(t.Teacher[i]) != len(list) {
			return nil, fmt.Errorf("%w: %d teacher's scores for the %d documents of query %d", ErrTargets, len(t.Teacher[i]), len(list), i)
		}
		p := make([]float64, len(list))
		for j, s := range t.Teacher[i] {
			p[j] = float64(s)
			if math.IsNaN(p[j]) || math.IsInf(p[j], 0) {
				return nil, fmt.Errorf("%w: teacher's score of document %d of query %d is %v", ErrTargets, j, i, s)
			}
		}
		if !l.RawTeacher {
			lo, hi := slices.Min(p), slices.Max(p)
			for j := range p {
				p[j] = (p[j] - lo) / (hi - lo + minMaxEpsilon)
			}
		}
		for j := range p {
			p[j] /= temperature
		}
		z := logSumExp(p)
		for j, d := range list {
			logp := p[j] - z
			x.keep[i*t.Documents+d] = true
			x.target[i*t.Documents+d] = math.Exp(logp)
			x.constant += math.Exp(logp) * logp // so that the value is the divergence and no cross-entropy
		}
	}
	if l.RawStudent {
		return x.apply, nil
	}
	return func(g *gorgonia.ExprGraph, scores *gorgonia.Node) (*gorgonia.Node, error) {
		n, err := norm.apply(scores)
		if err != nil {
			return nil, err
		}
		return x.apply(g, n)
	}, nil
}

// InBatch implements Loss.
func (Distillation) InBatch() bool { return false }

// Check implements Loss.
func (Distillation) Check(n int, teacher bool) error {
	if !teacher {
		return fmt.Errorf("%w: distillation without a teacher's scores", ErrTargets)
	}
	if n < 2 {
		return fmt.Errorf("%w: distillation of a list of one document", ErrTargets)
	}
	return nil
}

// Weighted is a loss with its weight in a Sum.
type Weighted struct {
	Weight float64
	Loss   Loss
}

// Sum is a weighted sum of losses, such as the softmax over hard negatives with the in-batch loss beside it
// (ColBERTv2, section 3.2).
type Sum []Weighted

// Func implements Loss.
func (s Sum) Func(t *Targets) (LossFunc, error) {
	if err := s.validate(); err != nil {
		return nil, err
	}
	funcs := make([]LossFunc, len(s))
	for i, w := range s {
		var err error
		if funcs[i], err = w.Loss.Func(t); err != nil {
			return nil, err
		}
	}
	return func(g *gorgonia.ExprGraph, scores *gorgonia.Node) (*gorgonia.Node, error) {
		var sum *gorgonia.Node
		for i, f := range funcs {
			v, err := f(g, scores)
			if err != nil {
				return nil, err
			}
			if v, err = gorgonia.Mul(v, gorgonia.NewConstant(float32(s[i].Weight))); err != nil {
				return nil, err
			}
			if sum == nil {
				sum = v
			} else if sum, err = gorgonia.Add(sum, v); err != nil {
				return nil, err
			}
		}
		return sum, nil
	}, nil
}

func (s Sum) validate() error {
	if len(s) == 0 {
		return fmt.Errorf("%w: a sum of no losses", ErrTargets)
	}
	for i, w := range s {
		if w.Loss == nil || math.IsNaN(w.Weight) || math.IsInf(w.Weight, 0) {
			return fmt.Errorf("%w: loss %d of a sum is %T with weight %v", ErrTargets, i, w.Loss, w.Weight)
		}
	}
	return nil
}

// InBatch implements Loss.
func (s Sum) InBatch() bool {
	return slices.ContainsFunc(s, func(w Weighted) bool { return w.Loss.InBatch() })
}

// Check implements Loss.
func (s Sum) Check(n int, teacher bool) error {
	if err := s.validate(); err != nil {
		return err
	}
	for _, w := range s {
		if err := w.Loss.Check(n, teacher); err != nil {
			return err
		}
	}
	return nil
}
