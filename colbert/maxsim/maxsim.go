package maxsim

import (
	"fmt"

	"github.com/golbert/golbert/internal/kernel"
)

// Score returns MaxSim of a query against a document: the sum over query tokens of the largest inner
// product with any document token (Khattab and Zaharia, "ColBERT", SIGIR 2020, section 3.3). Maxima start
// from minus infinity, so negative similarities count as they are.
//
// Both must have rows of the same dimension and finite values; the error wraps ErrEmpty, ErrDim or
// ErrNotFinite and says which side is at fault.
func Score(query, doc Matrix) (float32, error) {
	if err := checkPair(query, doc); err != nil {
		return 0, err
	}
	return kernel.NewQuery(query.Data, query.Rows, query.Dim).MaxSim(doc.Data, doc.Rows), nil
}

// Scores returns MaxSim of one query against every document, in the order given. It packs the query once
// and is the way to rerank. Errors name the document's position.
func Scores(query Matrix, docs []Matrix) ([]float32, error) {
	if err := checkSide("query", query); err != nil {
		return nil, err
	}
	q := kernel.NewQuery(query.Data, query.Rows, query.Dim)
	out := make([]float32, len(docs))
	for i, d := range docs {
		if err := checkDoc(query, d); err != nil {
			return nil, fmt.Errorf("document %d: %w", i, err)
		}
		out[i] = q.MaxSim(d.Data, d.Rows)
	}
	return out, nil
}

// Alignment explains one score: the full similarity matrix and, per query token, the document token that
// it matched.
type Alignment struct {
	// Sim holds the inner products, QueryRows x DocRows, row-major.
	Sim                []float32
	QueryRows, DocRows int
	// Best[i] is the document token that query token i matched; the first wins a tie.
	Best []int
	// Max[i] is the similarity at Best[i].
	Max []float32
	// Score is the sum of Max.
	Score float32
}

// Align computes the alignment of a query with a document. Errors are those of Score.
func Align(query, doc Matrix) (*Alignment, error) {
	if err := checkPair(query, doc); err != nil {
		return nil, err
	}
	a := &Alignment{
		Sim:       make([]float32, query.Rows*doc.Rows),
		QueryRows: query.Rows,
		DocRows:   doc.Rows,
		Best:      make([]int, query.Rows),
		Max:       make([]float32, query.Rows),
	}
	kernel.Pack(doc.Data, doc.Rows, doc.Dim).Gemm(a.Sim, doc.Rows, query.Data, query.Dim, query.Rows, nil)
	for i := range query.Rows {
		row := a.Sim[i*doc.Rows : (i+1)*doc.Rows]
		best := 0
		for j, s := range row {
			if s > row[best] {
				best = j
			}
		}
		a.Best[i], a.Max[i] = best, row[best]
		a.Score += row[best]
	}
	return a, nil
}

func checkPair(query, doc Matrix) error {
	if err := checkSide("query", query); err != nil {
		return err
	}
	if err := checkDoc(query, doc); err != nil {
		return fmt.Errorf("document: %w", err)
	}
	return nil
}

func checkDoc(query, doc Matrix) error {
	if err := doc.Validate(); err != nil {
		return err
	}
	if doc.Rows == 0 {
		return ErrEmpty
	}
	if doc.Dim != query.Dim {
		return fmt.Errorf("dimension %d, the query has %d: %w", doc.Dim, query.Dim, ErrDim)
	}
	return nil
}

func checkSide(side string, m Matrix) error {
	if err := m.Validate(); err != nil {
		return fmt.Errorf("%s: %w", side, err)
	}
	if m.Rows == 0 {
		return fmt.Errorf("%s: %w", side, ErrEmpty)
	}
	return nil
}
