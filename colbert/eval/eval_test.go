package eval

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// golden is made by testdata/make_golden.py with ir_measures 0.4.3 over pytrec_eval-terrier 0.5.11.
type golden struct {
	Qrels    [][3]any `json:"qrels"`
	Run      [][3]any `json:"run"`
	Tied     [][3]any `json:"tied"`
	Want     values   `json:"want"`
	WantTied values   `json:"want_tied"`
}

type values struct {
	Mean     map[string]float64            `json:"mean"`
	PerQuery map[string]map[string]float64 `json:"per_query"`
}

func toRun(rows [][3]any) Run {
	run := Run{}
	for _, r := range rows {
		run[r[0].(string)] = append(run[r[0].(string)], Scored{r[1].(string), r[2].(float64)})
	}
	return run
}

func TestValuesAreThoseOfIRMeasures(t *testing.T) {
	b, err := os.ReadFile("testdata/golden.json")
	require.NoError(t, err)
	var g golden
	require.NoError(t, json.Unmarshal(b, &g))
	qrels := Qrels{}
	for _, r := range g.Qrels {
		qrels.Add(r[0].(string), r[1].(string), int(r[2].(float64)))
	}
	for _, c := range []struct {
		name string
		run  [][3]any
		ties Ties
		want values
	}{
		{"no ties, our order", g.Run, GolbertTies, g.Want},
		{"no ties, TREC's order", g.Run, TRECTies, g.Want},
		{"ties, TREC's order", g.Tied, TRECTies, g.WantTied},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Len(t, c.want.Mean, 16)
			for name, want := range c.want.Mean {
				m, err := ParseMeasure(name)
				require.NoError(t, err)
				ties := c.ties
				if m.kind == mrr && m.k > 0 {
					// trec_eval has no cutoff for it: ir_measures takes this one from MS MARCO's script
					// and sorts equal scores by ascending id, as we do.
					ties = GolbertTies
				}
				r := Evaluate(qrels, toRun(c.run), &Options{Ties: ties}, m)
				got, ok := r.Value(m)
				require.True(t, ok)
				require.InDelta(t, want, got, 1e-9, name)
				require.Len(t, c.want.PerQuery[name], len(r.Queries), name)
				for i, q := range r.Queries {
					require.InDelta(t, c.want.PerQuery[name][q], r.PerQuery[i][0], 1e-9, "%s of %s", name, q)
				}
			}
		})
	}
	// The orders of ties must differ somewhere, or the last case above shows nothing.
	ours := Evaluate(qrels, toRun(g.Tied), nil, NDCG(10))
	require.Greater(t, math.Abs(ours.Mean[0]-g.WantTied.Mean["ndcg@10"]), 1e-3)
}

func TestMeasuresByHand(t *testing.T) {
	judged := map[string]int{"a": 3, "b": 1, "c": 0, "d": 2, "x": -1}
	ranking := []Scored{{"c", 9}, {"b", 8}, {"x", 7}, {"a", 6}, {"unjudged", 5}}
	ideal := 3 + 2/math.Log2(3) + 1/math.Log2(4)
	for _, c := range []struct {
		m    Measure
		want float64
	}{
		{NDCG(10), (1/math.Log2(3) + 3/math.Log2(5)) / ideal},
		{NDCG(2), (1 / math.Log2(3)) / (3 + 2/math.Log2(3))},
		{NDCG(0), (1/math.Log2(3) + 3/math.Log2(5)) / ideal},
		{MRR(10), 0.5},
		{MRR(1), 0},
		{MRR(10).WithMinRel(2), 0.25},
		{Recall(2), 1.0 / 3},
		{Recall(0), 2.0 / 3},
		{MAP(0), (1.0/2 + 2.0/4) / 3},
		{MAP(3), (1.0 / 2) / 3},
		{Success(1), 0},
		{Success(2), 1},
		{Precision(4), 0.5},
		{Precision(10), 0.2},
		{Precision(0), 0.4},
	} {
		require.InDelta(t, c.want, c.m.Value(judged, ranking), 1e-12, c.m.String())
	}
}

func TestBoundaries(t *testing.T) {
	all := []Measure{NDCG(10), MRR(10), Recall(10), MAP(10), Success(10), Precision(10), Precision(0), NDCG(0)}
	for _, c := range []struct {
		name   string
		judged map[string]int
		run    []Scored
	}{
		{"no results", map[string]int{"a": 1}, nil},
		{"nothing relevant", map[string]int{"a": 0, "b": -1}, []Scored{{"a", 1}}},
		{"nothing judged", nil, []Scored{{"a", 1}}},
		{"all wrong", map[string]int{"a": 1}, []Scored{{"b", 1}}},
	} {
		for _, m := range all {
			require.Zero(t, m.Value(c.judged, c.run), "%s, %s", c.name, m)
		}
	}
	r := Evaluate(nil, Run{"q": {{"a", 1}}}, nil, NDCG(10))
	require.Equal(t, []float64{0}, r.Mean)
	require.Empty(t, r.Queries)
}

func TestMeanIsOverJudgedQueries(t *testing.T) {
	qrels := Qrels{"found": {"a": 1}, "no results": {"a": 1}, "nothing relevant": {"a": 0}, "wrong": {"a": 1}}
	run := Run{"found": {{"a", 1}}, "nothing relevant": {{"a", 1}}, "wrong": {{"b", 1}}, "unjudged": {{"a", 1}}}
	r := Evaluate(qrels, run, nil, Success(1))
	require.InDelta(t, 0.25, r.Mean[0], 1e-12)
	require.Equal(t, map[string]float64{"success@1": 0.25}, r.Map())
	require.Equal(t, "success@1 0.2500", r.String())
}

func TestTies(t *testing.T) {
	in := []Scored{{"b", 1}, {"nan", math.NaN()}, {"c", 1}, {"a", 1}, {"top", 2}}
	ours, trec := append([]Scored(nil), in...), append([]Scored(nil), in...)
	Sort(ours, GolbertTies)
	Sort(trec, TRECTies)
	ids := func(s []Scored) (out []string) {
		for _, x := range s {
			out = append(out, x.ID)
		}
		return out
	}
	require.Equal(t, []string{"top", "a", "b", "c", "nan"}, ids(ours))
	require.Equal(t, []string{"top", "c", "b", "a", "nan"}, ids(trec))
	require.Equal(t, "b", in[0].ID)
	r := Evaluate(Qrels{"q": {"a": 1}}, Run{"q": in}, nil, MRR(0))
	require.InDelta(t, 0.5, r.Mean[0], 1e-12)
	require.Equal(t, "b", in[0].ID, "Evaluate must not sort the caller's run")
}

func TestDocumentNamedTwiceCountsOnce(t *testing.T) {
	r := Evaluate(Qrels{"q": {"a": 1, "b": 1}}, Run{"q": {{"a", 3}, {"a", 2}, {"b", 1}}}, nil, Recall(10), MAP(0))
	require.Equal(t, []float64{1, 1}, r.Mean)
}

func TestMeasureNames(t *testing.T) {
	for _, m := range []Measure{NDCG(10), NDCG(0), MRR(5), Recall(100), MAP(0), MAP(7), Success(5), Precision(1), MAP(0).WithMinRel(2), Recall(20).WithMinRel(3)} {
		got, err := ParseMeasure(m.String())
		require.NoError(t, err)
		require.Equal(t, m, got)
	}
	for _, bad := range []string{"", "dcg", "ndcg@", "ndcg@0", "ndcg@-1", "ndcg@1x", "ndcg@ 1", "map(rel=)", "map(rel=2", "map(rel=2)x"} {
		_, err := ParseMeasure(bad)
		require.Error(t, err, "%q", bad)
		require.ErrorContains(t, err, fmt.Sprintf("%q", bad))
	}
}

// Measures of any ranking lie between 0 and 1, are 1 for the ideal one, and do not fall when a relevant
// document moves up.
func TestProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ms := []Measure{NDCG(10), NDCG(0), MRR(10), Recall(10), MAP(10), MAP(0), Success(3), Precision(10)}
	for range 300 {
		judged, ranking := map[string]int{}, []Scored{}
		for i := range 1 + r.IntN(30) {
			id := fmt.Sprint(i)
			if r.IntN(2) == 0 {
				judged[id] = r.IntN(4)
			}
			ranking = append(ranking, Scored{ID: id, Score: -float64(i)})
		}
		r.Shuffle(len(ranking), func(i, j int) { ranking[i].ID, ranking[j].ID = ranking[j].ID, ranking[i].ID })
		i := r.IntN(len(ranking))
		better := append([]Scored(nil), ranking...)
		if i > 0 && judged[better[i].ID] > judged[better[i-1].ID] {
			better[i].ID, better[i-1].ID = better[i-1].ID, better[i].ID
		}
		for _, m := range ms {
			v := m.Value(judged, ranking)
			require.GreaterOrEqual(t, v, 0.0)
			require.LessOrEqual(t, v, 1+1e-12)
			require.GreaterOrEqual(t, m.Value(judged, better), v-1e-12, m.String())
		}
		ideal := append([]Scored(nil), ranking...)
		for j := range ideal {
			ideal[j].Score = float64(judged[ideal[j].ID])
		}
		Sort(ideal, GolbertTies)
		if ideal[0].Score > 0 {
			require.InDelta(t, 1, NDCG(10).Value(judged, ideal), 1e-12)
			require.InDelta(t, 1, MAP(0).Value(judged, ideal), 1e-12)
		}
	}
}

func ExampleEvaluate() {
	qrels := Qrels{"q1": {"d1": 1, "d7": 2}, "q2": {"d3": 1}}
	run := Run{"q1": {{"d7", 12.5}, {"d2", 11}, {"d1", 10.5}}}
	fmt.Println(Evaluate(qrels, run, nil, NDCG(10), MRR(10), Recall(100)))
	// Output: ndcg@10 0.4751  mrr@10 0.5000  recall@100 0.5000
}
