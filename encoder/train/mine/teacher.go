package mine

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/train"
)

// ErrScores reports a Scorer whose scores do not fit the documents, or are no finite numbers.
var ErrScores = errors.New("mine: bad scores")

// Scorer says how well documents answer queries: a teacher.
type Scorer interface {
	// Scores returns a score for every document of each query's list, higher ones for better answers. Scores of different
	// queries need not compare.
	Scores(ctx context.Context, lists []List) ([][]float32, error)
}

// List is a query with documents.
type List struct {
	Query, Language  string
	Documents        []string
	DocumentLanguage string
}

// ScorerFunc makes a Scorer of a function that scores one list.
type ScorerFunc func(ctx context.Context, l List) ([]float32, error)

// Scores implements Scorer.
func (f ScorerFunc) Scores(ctx context.Context, lists []List) ([][]float32, error) {
	out := make([][]float32, len(lists))
	for i, l := range lists {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		var err error
		if out[i], err = f(ctx, l); err != nil {
			return nil, fmt.Errorf("list %d: %w", i, err)
		}
	}
	return out, nil
}

// MaxSim scores by late interaction with a model, exactly. A document that is in several lists is encoded once.
type MaxSim struct {
	Encoder colbert.Encoder
	// Mean divides by the number of the query's vectors.
	Mean bool
}

// portion is the number of documents whose vectors are held at a time.
const portion = 2048

// Scores implements Scorer.
func (m MaxSim) Scores(ctx context.Context, lists []List) ([][]float32, error) {
	out := make([][]float32, len(lists))
	queries := make([]maxsim.Matrix, len(lists))
	for from := 0; from < len(lists); from += portion {
		part := lists[from:min(from+portion, len(lists))]
		texts, languages := make([]string, len(part)), make([]string, len(part))
		for i, l := range part {
			texts[i], languages[i] = l.Query, l.Language
		}
		enc, err := m.Encoder.EncodeQueries(ctx, texts, &encoder.TextOptions{Languages: languages})
		if err != nil {
			return nil, fmt.Errorf("mine: teacher's queries: %w", err)
		}
		for i := range enc {
			queries[from+i] = enc[i].Vectors
		}
	}
	type key struct{ text, language string }
	type place struct{ list, at int }
	where := map[key][]place{}
	var order []key
	for i, l := range lists {
		out[i] = make([]float32, len(l.Documents))
		for j, d := range l.Documents {
			k := key{d, l.DocumentLanguage}
			if where[k] == nil {
				order = append(order, k)
			}
			where[k] = append(where[k], place{i, j})
		}
	}
	for part := range slices.Chunk(order, portion) {
		texts, languages := make([]string, len(part)), make([]string, len(part))
		for i, k := range part {
			texts[i], languages[i] = k.text, k.language
		}
		enc, err := m.Encoder.EncodeDocuments(ctx, texts, &encoder.TextOptions{Languages: languages})
		if err != nil {
			return nil, fmt.Errorf("mine: teacher's documents: %w", err)
		}
		for i, k := range part {
			for _, p := range where[k] {
				s, err := maxsim.Score(queries[p.list], enc[i].Vectors)
				if err != nil {
					return nil, fmt.Errorf("mine: document %d of list %d: %w", p.at, p.list, err)
				}
				if m.Mean {
					s /= float32(queries[p.list].Rows)
				}
				out[p.list][p.at] = s
			}
		}
	}
	return out, nil
}

// Member is a Scorer with its weight in an Ensemble; 0 means 1.
type Member struct {
	Scorer Scorer
	Weight float64
}

// Ensemble is the weighted mean of several teachers' scores, each scaled to the interval [0, 1] on each list first, since
// teachers' scores do not compare. A teacher who finds all of a list equal gives zeros.
type Ensemble []Member

// Scores implements Scorer.
func (e Ensemble) Scores(ctx context.Context, lists []List) ([][]float32, error) {
	if len(e) == 0 {
		return nil, fmt.Errorf("%w: an ensemble without members", ErrOptions)
	}
	sums := make([][]float64, len(lists))
	for i, l := range lists {
		sums[i] = make([]float64, len(l.Documents))
	}
	total := 0.0
	for n, m := range e {
		w := m.Weight
		if w == 0 {
			w = 1
		}
		if m.Scorer == nil || !(w > 0) || math.IsInf(w, 1) {
			return nil, fmt.Errorf("%w: member %d of an ensemble, weight %v", ErrOptions, n, m.Weight)
		}
		total += w
		scores, err := m.Scorer.Scores(ctx, lists)
		if err != nil {
			return nil, fmt.Errorf("teacher %d: %w", n, err)
		}
		if err := check(lists, scores); err != nil {
			return nil, fmt.Errorf("teacher %d: %w", n, err)
		}
		for i, s := range scores {
			if len(s) == 0 {
				continue
			}
			lo, hi := slices.Min(s), slices.Max(s)
			if lo == hi {
				continue
			}
			for j, v := range s {
				sums[i][j] += w * (float64(v) - float64(lo)) / (float64(hi) - float64(lo))
			}
		}
	}
	out := make([][]float32, len(lists))
	for i, s := range sums {
		out[i] = make([]float32, len(s))
		for j, v := range s {
			out[i][j] = float32(v / total)
		}
	}
	return out, nil
}

// check compares scores with the lists that they are for.
func check(lists []List, scores [][]float32) error {
	if len(scores) != len(lists) {
		return fmt.Errorf("%w: of %d lists, not %d", ErrScores, len(scores), len(lists))
	}
	for i, s := range scores {
		if len(s) != len(lists[i].Documents) {
			return fmt.Errorf("%w: list %d: %d scores of %d documents", ErrScores, i, len(s), len(lists[i].Documents))
		}
		for j, v := range s {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return fmt.Errorf("%w: list %d, document %d: %v", ErrScores, i, j, v)
			}
		}
	}
	return nil
}

// Rescore replaces the scores of examples by a teacher's.
func Rescore(ctx context.Context, s Scorer, examples []train.Example) error {
	lists := make([]List, len(examples))
	for i := range examples {
		e := &examples[i]
		lists[i] = List{Query: e.Query, Language: e.Language, Documents: append([]string{e.Positive}, e.Negatives...), DocumentLanguage: e.DocumentLanguage}
	}
	scores, err := s.Scores(ctx, lists)
	if err != nil {
		return err
	}
	if err := check(lists, scores); err != nil {
		return err
	}
	for i := range examples {
		examples[i].Scores = scores[i]
	}
	return nil
}
