package eval

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Qrels holds relevance judgements: query id, document id, judgement. What is not in it is not judged.
type Qrels map[string]map[string]int

// Add stores one judgement.
func (q Qrels) Add(query, doc string, rel int) {
	if q[query] == nil {
		q[query] = map[string]int{}
	}
	q[query][doc] = rel
}

// Scored is one document of a ranking.
type Scored struct {
	ID    string
	Score float64
}

// Run holds the documents that a system returned for each query, in any order: scores rank them.
type Run map[string][]Scored

// Ties is the order of documents of equal score.
type Ties uint8

const (
	// GolbertTies orders equal scores by ascending id, as golbert's searches do.
	GolbertTies Ties = iota
	// TRECTies orders equal scores by descending id, as trec_eval does whatever a run's own order is.
	TRECTies
)

// Sort orders a ranking in place: by descending score, then by id as ties says. NaN counts as the lowest
// score.
func Sort(ranking []Scored, ties Ties) {
	slices.SortFunc(ranking, func(a, b Scored) int {
		if c := compareScores(b.Score, a.Score); c != 0 {
			return c
		}
		if ties == TRECTies {
			return strings.Compare(b.ID, a.ID)
		}
		return strings.Compare(a.ID, b.ID)
	})
}

// compareScores is cmp.Compare, under which NaN is below everything and equal to itself.
func compareScores(a, b float64) int {
	switch an, bn := math.IsNaN(a), math.IsNaN(b); {
	case an && bn:
		return 0
	case an || a < b && !bn:
		return -1
	case bn || a > b:
		return 1
	}
	return 0
}

type kind uint8

const (
	ndcg kind = iota
	mrr
	recall
	meanAP
	success
	precision
)

var kindNames = [...]string{"ndcg", "mrr", "recall", "map", "success", "p"}

// Measure is a measure of rankings. Make one with NDCG, MRR, Recall, MAP, Success, Precision or ParseMeasure.
type Measure struct {
	kind   kind
	k      int // 0: no cutoff
	minRel int // lowest judgement that counts as relevant, less 1
}

// NDCG is normalised discounted cumulative gain of the first k documents (Järvelin and Kekäläinen, TOIS 2002)
// with linear gain, trec_eval's ndcg_cut. Like for all measures, k <= 0 means no cutoff.
func NDCG(k int) Measure { return Measure{kind: ndcg, k: max(k, 0)} }

// MRR is the reciprocal rank of the first relevant document if it is among the first k, else 0.
func MRR(k int) Measure { return Measure{kind: mrr, k: max(k, 0)} }

// Recall is the part of all relevant documents that the first k hold.
func Recall(k int) Measure { return Measure{kind: recall, k: max(k, 0)} }

// MAP is average precision over the relevant documents, of which those beyond rank k count 0.
func MAP(k int) Measure { return Measure{kind: meanAP, k: max(k, 0)} }

// Success is 1 if any of the first k documents is relevant, else 0.
func Success(k int) Measure { return Measure{kind: success, k: max(k, 0)} }

// Precision is the part of the first k documents that is relevant. Without a cutoff it is that of the whole
// ranking.
func Precision(k int) Measure { return Measure{kind: precision, k: max(k, 0)} }

// WithMinRel returns the measure with a document counted as relevant from judgement rel on, 1 being the
// default. NDCG takes judgements as they are and ignores it.
func (m Measure) WithMinRel(rel int) Measure {
	m.minRel = rel - 1
	return m
}

// String gives the measure's name, such as "ndcg@10", "map" or "recall(rel=2)@100".
func (m Measure) String() string {
	s := kindNames[m.kind]
	if m.minRel != 0 && m.kind != ndcg {
		s += fmt.Sprintf("(rel=%d)", m.minRel+1)
	}
	if m.k > 0 {
		s += fmt.Sprintf("@%d", m.k)
	}
	return s
}

// ParseMeasure reads a measure's name as String gives it.
func ParseMeasure(name string) (Measure, error) {
	var m Measure
	rest := strings.ToLower(name)
	bad := func() (Measure, error) {
		return Measure{}, fmt.Errorf("eval: %q is not a measure; want one of %s, as in ndcg@10", name, strings.Join(kindNames[:], ", "))
	}
	if head, cut, ok := strings.Cut(rest, "@"); ok {
		if _, err := fmt.Sscanf(cut+"\n", "%d\n", &m.k); err != nil || m.k <= 0 || fmt.Sprint(m.k) != cut {
			return bad()
		}
		rest = head
	}
	if head, rel, ok := strings.Cut(rest, "(rel="); ok {
		if _, err := fmt.Sscanf(rel+"\n", "%d)\n", &m.minRel); err != nil || fmt.Sprintf("%d)", m.minRel) != rel {
			return bad()
		}
		m.minRel--
		rest = head
	}
	i := slices.Index(kindNames[:], rest)
	if i < 0 {
		return bad()
	}
	m.kind = kind(i)
	return m, nil
}

// Value measures one query: ranking is sorted, best first, and judged holds the query's judgements. A
// ranking must not name a document twice; Evaluate sees to that.
func (m Measure) Value(judged map[string]int, ranking []Scored) float64 {
	if m.k > 0 && len(ranking) > m.k {
		ranking = ranking[:m.k]
	}
	if m.kind == ndcg {
		return m.ndcg(judged, ranking)
	}
	relevant := 0
	for _, rel := range judged {
		if rel > m.minRel {
			relevant++
		}
	}
	if relevant == 0 {
		return 0
	}
	found, sum := 0, 0.0
	for i, d := range ranking {
		if rel, ok := judged[d.ID]; !ok || rel <= m.minRel {
			continue
		}
		found++
		if m.kind == mrr {
			return 1 / float64(i+1)
		}
		sum += float64(found) / float64(i+1)
	}
	switch m.kind {
	case recall:
		return float64(found) / float64(relevant)
	case meanAP:
		return sum / float64(relevant)
	case success:
		return float64(min(found, 1))
	case precision:
		n := m.k
		if n == 0 {
			n = len(ranking)
		}
		if n == 0 {
			return 0
		}
		return float64(found) / float64(n)
	}
	return 0
}

func (m Measure) ndcg(judged map[string]int, ranking []Scored) float64 {
	gains := make([]int, 0, len(judged))
	for _, rel := range judged {
		if rel > 0 {
			gains = append(gains, rel)
		}
	}
	slices.SortFunc(gains, func(a, b int) int { return b - a })
	if m.k > 0 && len(gains) > m.k {
		gains = gains[:m.k]
	}
	var got, ideal float64
	for i, g := range gains {
		ideal += float64(g) / math.Log2(float64(i+2))
	}
	if ideal == 0 {
		return 0
	}
	for i, d := range ranking {
		if rel := judged[d.ID]; rel > 0 {
			got += float64(rel) / math.Log2(float64(i+2))
		}
	}
	return got / ideal
}
