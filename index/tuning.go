package index

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
)

// ErrInvalidTuning reports knobs that SetTuning cannot store.
var ErrInvalidTuning = errors.New("index: invalid tuning")

// maxTunings bounds the number of tunings of an index.
const maxTunings = 64

// Tuning are the knobs of a search that reached a wanted recall on a sample of queries. The search package measures
// and uses them; the index keeps them.
type Tuning struct {
	// K is the number of hits that the knobs are for. An index has one Tuning for each K.
	K int `json:"k"`
	// NProbe and NDocs are the knobs; see plaid.Options.
	NProbe int `json:"nprobe"`
	NDocs  int `json:"ndocs"`
	// Patience is one more knob, 0 when it is not in use.
	Patience float32 `json:"patience,omitempty"`
	// Wanted and Recall are the recall@K that was asked for and the one measured, against an exhaustive search of
	// the index, above 0 and at most 1.
	Wanted float64 `json:"wanted"`
	Recall float64 `json:"recall"`
	// Queries is the size of the sample, Docs the number of live documents at the time.
	Queries int `json:"queries"`
	Docs    int `json:"docs"`
}

func (t *Tuning) validate() error {
	fraction := func(f float64) bool { return f > 0 && f <= 1 }
	if p := float64(t.Patience); !(p >= 0) || math.IsInf(p, 0) || t.K < 1 || t.NProbe < 1 || t.NDocs < 1 || t.NProbe > math.MaxInt32 || t.NDocs > math.MaxInt32 || t.Queries < 1 || t.Docs < 1 ||
		!fraction(t.Wanted) || !fraction(t.Recall) {
		return fmt.Errorf("%w: %+v", ErrInvalidTuning, *t)
	}
	return nil
}

// checkTunings says whether a list is as SetTuning makes it.
func checkTunings(list []Tuning) error {
	if len(list) > maxTunings {
		return fmt.Errorf("%d tunings, at most %d: %w", len(list), maxTunings, ErrInvalidTuning)
	}
	for i := range list {
		if err := list[i].validate(); err != nil {
			return err
		}
		if i > 0 && list[i].K <= list[i-1].K {
			return fmt.Errorf("%w: k %d after %d", ErrInvalidTuning, list[i].K, list[i-1].K)
		}
	}
	return nil
}

// SetTuning stores knobs with the index, in a durable commit of their own. They replace those for the same K.
func (ix *Index) SetTuning(ctx context.Context, t Tuning) error {
	if err := t.validate(); err != nil {
		return err
	}
	return ix.changeTunings(ctx, func(list []Tuning) []Tuning {
		i, ok := slices.BinarySearchFunc(list, t.K, func(x Tuning, k int) int { return x.K - k })
		if ok {
			list[i] = t
			return list
		}
		return slices.Insert(list, i, t)
	})
}

// ClearTunings removes all stored knobs, in a durable commit.
func (ix *Index) ClearTunings(ctx context.Context) error {
	return ix.changeTunings(ctx, func([]Tuning) []Tuning { return nil })
}

func (ix *Index) changeTunings(ctx context.Context, change func([]Tuning) []Tuning) (err error) {
	defer catch(debug.SetPanicOnFault(true), &err)
	ctx, end, err := ix.beginWrite(ctx)
	if err != nil {
		return err
	}
	defer end()
	defer func() { err = cause(ctx, err) }()
	base, err := ix.current()
	if err != nil {
		return err
	}
	defer base.release()
	c := ix.newCommit(base)
	defer c.abort()
	c.man.Tunings = change(c.man.Tunings)
	if err := checkTunings(c.man.Tunings); err != nil {
		return err
	}
	st, err := c.commit(ctx)
	if err != nil {
		return err
	}
	ix.install(st)
	return nil
}

// Tunings gives the stored knobs, by ascending K. The slice is the caller's.
func (s *Snapshot) Tunings() []Tuning { return slices.Clone(s.st.man.Tunings) }
