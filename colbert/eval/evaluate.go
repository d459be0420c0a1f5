package eval

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Options change an evaluation. A nil pointer means the zero value.
type Options struct {
	// Ties is the order of equal scores.
	Ties Ties
}

// Report is the outcome of an evaluation.
type Report struct {
	// Measures are those asked for, and Mean their means over Queries, in the same order.
	Measures []Measure
	Mean     []float64
	// Queries are the ids of all queries with judgements, sorted, and PerQuery their values: PerQuery[i][j]
	// is measure j of query i.
	Queries  []string
	PerQuery [][]float64
}

// Evaluate measures a run against judgements. The mean is over all queries that have judgements, as described
// in the package's comment. Rankings are sorted in copies; of a document that a query's ranking names twice
// the better place counts.
func Evaluate(qrels Qrels, run Run, o *Options, measures ...Measure) Report {
	var opt Options
	if o != nil {
		opt = *o
	}
	r := Report{
		Measures: measures,
		Mean:     make([]float64, len(measures)),
		Queries:  slices.Sorted(maps.Keys(qrels)),
	}
	r.PerQuery = make([][]float64, len(r.Queries))
	for i, q := range r.Queries {
		ranking := slices.Clone(run[q])
		Sort(ranking, opt.Ties)
		ranking = unique(ranking)
		r.PerQuery[i] = make([]float64, len(measures))
		for j, m := range measures {
			v := m.Value(qrels[q], ranking)
			r.PerQuery[i][j] = v
			r.Mean[j] += v
		}
	}
	for j := range r.Mean {
		if len(r.Queries) > 0 {
			r.Mean[j] /= float64(len(r.Queries))
		}
	}
	return r
}

// unique drops all but the first of each id.
func unique(ranking []Scored) []Scored {
	seen := make(map[string]struct{}, len(ranking))
	return slices.DeleteFunc(ranking, func(s Scored) bool {
		_, dup := seen[s.ID]
		seen[s.ID] = struct{}{}
		return dup
	})
}

// Value returns the mean of a measure, and false where the report does not have it.
func (r Report) Value(m Measure) (float64, bool) {
	i := slices.Index(r.Measures, m)
	if i < 0 {
		return 0, false
	}
	return r.Mean[i], true
}

// Map returns the means under the measures' names, for JSON.
func (r Report) Map() map[string]float64 {
	out := make(map[string]float64, len(r.Measures))
	for i, m := range r.Measures {
		out[m.String()] = r.Mean[i]
	}
	return out
}

// String gives names and means on one line.
func (r Report) String() string {
	parts := make([]string, len(r.Measures))
	for i, m := range r.Measures {
		parts[i] = fmt.Sprintf("%s %.4f", m, r.Mean[i])
	}
	return strings.Join(parts, "  ")
}
