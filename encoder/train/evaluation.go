package train

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/golbert/golbert/colbert/eval"
)

// Evaluation is a retrieval task in memory: every query is ranked against all documents by exact MaxSim.
type Evaluation struct {
	Queries, Documents []string
	// QueryLanguages and DocumentLanguages hold the languages of the texts, or are nil.
	QueryLanguages, DocumentLanguages []string
	// Relevant holds the documents that answer each query, by index.
	Relevant [][]int
}

// Scores is the outcome of an Evaluation: means over the queries.
type Scores struct {
	// Step is the step after which it was made.
	Step      int
	NDCG, MRR float64 // at 10
	Took      time.Duration
}

// NewEvaluation makes a task of examples: all their documents, of which each query has its positives, those of other
// examples with the same query included, as answers. queries and documents bound its size, 0 meaning all: it takes the first
// queries, and documents of the other examples until there are so many.
func NewEvaluation(examples []Example, queries, documents int) *Evaluation {
	e := new(Evaluation)
	type key struct{ text, language string }
	docs, asked := map[key]int{}, map[key]int{}
	add := func(text, language string, bound bool) int {
		k := key{text, language}
		n, ok := docs[k]
		if !ok {
			if bound && documents > 0 && len(e.Documents) >= documents {
				return -1
			}
			n = len(e.Documents)
			docs[k] = n
			e.Documents, e.DocumentLanguages = append(e.Documents, text), append(e.DocumentLanguages, language)
		}
		return n
	}
	for i := range examples {
		x := &examples[i]
		k := key{x.Query, x.Language}
		q, ok := asked[k]
		if !ok {
			if queries > 0 && len(e.Queries) >= queries {
				continue
			}
			q = len(e.Queries)
			asked[k] = q
			e.Queries, e.QueryLanguages = append(e.Queries, x.Query), append(e.QueryLanguages, x.Language)
			e.Relevant = append(e.Relevant, nil)
		}
		e.Relevant[q] = append(e.Relevant[q], add(x.Positive, x.DocumentLanguage, false))
	}
	for i := range examples {
		x := &examples[i]
		add(x.Positive, x.DocumentLanguage, true)
		for _, n := range x.Negatives {
			add(n, x.DocumentLanguage, true)
		}
	}
	return e
}

// AddDocuments adds the positives of examples, as documents that answer nothing, until there are most of them all together, 0
// meaning without a bound: what is held out is often too little to be lost in.
func (e *Evaluation) AddDocuments(examples []Example, most int) {
	have := map[string]bool{}
	for _, d := range e.Documents {
		have[d] = true
	}
	for i := range examples {
		x := &examples[i]
		if most > 0 && len(e.Documents) >= most {
			return
		}
		if have[x.Positive] {
			continue
		}
		have[x.Positive] = true
		e.Documents = append(e.Documents, x.Positive)
		if e.DocumentLanguages != nil {
			e.DocumentLanguages = append(e.DocumentLanguages, x.DocumentLanguage)
		}
	}
}

// evaluationTokens is the number of documents' tokens that are encoded at a time.
const evaluationTokens = 1 << 15

// Run ranks with a model as it is.
func (e *Evaluation) Run(ctx context.Context, m *Model) (*Scores, error) { return e.run(ctx, m) }

func (e *Evaluation) run(ctx context.Context, m learner) (*Scores, error) {
	start := time.Now()
	if len(e.Queries) == 0 || len(e.Documents) == 0 || len(e.Relevant) != len(e.Queries) {
		return nil, fmt.Errorf("%w: an evaluation of %d queries, %d of them judged, and %d documents", ErrOptions, len(e.Queries), len(e.Relevant), len(e.Documents))
	}
	queries, err := m.Sequences(ctx, e.Queries, true, e.QueryLanguages)
	if err != nil {
		return nil, fmt.Errorf("evaluation's queries: %w", err)
	}
	documents, err := m.Sequences(ctx, e.Documents, false, e.DocumentLanguages)
	if err != nil {
		return nil, fmt.Errorf("evaluation's documents: %w", err)
	}
	qrels, run := eval.Qrels{}, eval.Run{}
	ids := make([]string, max(len(e.Queries), len(e.Documents)))
	for i := range ids {
		ids[i] = strconv.Itoa(i)
	}
	for i, docs := range e.Relevant {
		for _, d := range docs {
			if d < 0 || d >= len(e.Documents) {
				return nil, fmt.Errorf("%w: document %d of %d is to answer query %d of an evaluation", ErrOptions, d, len(e.Documents), i)
			}
			qrels.Add(ids[i], ids[d], 1)
		}
	}
	for from, to := range tokenRanges(documents, evaluationTokens) {
		scores, err := m.Scores(ctx, queries, documents.Slice(from, to))
		if err != nil {
			return nil, err
		}
		for i := range e.Queries {
			for j := from; j < to; j++ {
				run[ids[i]] = append(run[ids[i]], eval.Scored{ID: ids[j], Score: float64(scores[i*(to-from)+j-from])})
			}
		}
	}
	r := eval.Evaluate(qrels, run, nil, eval.NDCG(10), eval.MRR(10))
	return &Scores{NDCG: r.Mean[0], MRR: r.Mean[1], Took: time.Since(start)}, nil
}

// Evaluate runs Options.Evaluation with the values that a checkpoint would have.
func (t *Trainer) Evaluate(ctx context.Context) (*Scores, error) {
	if t.o.Evaluation == nil {
		return nil, fmt.Errorf("%w: no Evaluation", ErrOptions)
	}
	var s *Scores
	err := t.Use(func() (err error) {
		s, err = t.o.Evaluation.run(ctx, t.model)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("step %d: %w", t.step, err)
	}
	s.Step = t.step
	return s, nil
}
