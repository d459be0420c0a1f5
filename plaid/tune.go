package plaid

import (
	"context"
	"errors"
	"fmt"
	"math"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
)

// ErrRecall reports that no knobs within the bounds reach the wanted recall. The concrete error is a *RecallError.
var ErrRecall = errors.New("plaid: the wanted recall is out of reach")

// RecallError says how far Tune came.
type RecallError struct {
	Wanted float64
	// Best has the knobs of the highest recall that was measured.
	Best index.Tuning
}

func (e *RecallError) Error() string {
	return fmt.Sprintf("%v: wanted recall@%d of %.4f, the best is %.4f, with NProbe %d and NDocs %d on %d queries",
		ErrRecall, e.Best.K, e.Wanted, e.Best.Recall, e.Best.NProbe, e.Best.NDocs, e.Best.Queries)
}

// Unwrap gives ErrRecall.
func (e *RecallError) Unwrap() error { return ErrRecall }

// TuneOptions say what Tune looks for. A nil pointer means the zero value.
type TuneOptions struct {
	// K is the number of hits that searches will ask for; 0 means 10. Searches for fewer use the same knobs.
	K int
	// Recall is the wanted share of an exhaustive search's best K hits that a search finds, in the mean over the
	// queries; 0 means .95.
	Recall float64
	// Exact is the Options.Exact of the searches to come; it decides when Patience ends. Recall counts all K hits.
	Exact int
	// MaxNProbe and MaxNDocs bound the knobs; 0 means 1,024, and half of the documents.
	MaxNProbe, MaxNDocs int
	// Workers is the most goroutines; 0 means GOMAXPROCS. The result does not depend on it.
	Workers int
	// Progress, when set, is called after every setting that was measured.
	Progress func(index.Tuning)
}

func (o *TuneOptions) complete(docs int) (TuneOptions, error) {
	var c TuneOptions
	if o != nil {
		c = *o
	}
	var errs []error
	bad := func(name string, v any) {
		errs = append(errs, fmt.Errorf("%s is %v: %w", name, v, ErrInvalidOptions))
	}
	if c.K == 0 {
		c.K = 10
	}
	if c.Recall == 0 {
		c.Recall = .95
	}
	if c.K < 0 {
		bad("K", c.K)
	}
	if !(c.Recall > 0 && c.Recall <= 1) {
		bad("Recall (above 0, at most 1)", c.Recall)
	}
	if c.Exact < 0 {
		bad("Exact", c.Exact)
	}
	if c.MaxNProbe < 0 {
		bad("MaxNProbe", c.MaxNProbe)
	}
	if c.MaxNDocs < 0 {
		bad("MaxNDocs", c.MaxNDocs)
	}
	if c.Workers < 0 {
		bad("Workers", c.Workers)
	}
	if c.MaxNProbe == 0 {
		c.MaxNProbe = 1024
	}
	if c.MaxNDocs == 0 {
		c.MaxNDocs = docs / 2
	}
	c.MaxNDocs = max(c.MaxNDocs, c.K)
	return c, errors.Join(errs...)
}

// Tune measures the index's newest commit on a sample of queries and stores the cheapest knobs that reach the wanted
// recall with the index, in a durable commit. Searches of it that set neither NProbe nor NDocs use them from then on,
// NDocs raised as the index grows. Tune again when it has grown several times, or after a compaction with Retrain.
// See Searcher.Tune.
func Tune(ctx context.Context, ix *index.Index, queries []maxsim.Matrix, o *TuneOptions) (t index.Tuning, err error) {
	snap, err := ix.Snapshot()
	if err != nil {
		return t, err
	}
	defer func() { err = errors.Join(err, snap.Close()) }()
	if t, err = NewSearcher(snap).Tune(ctx, queries, o); err != nil {
		return t, err
	}
	return t, ix.SetTuning(ctx, t)
}

// Tune looks for the cheapest knobs that reach a wanted recall on a sample of queries, some hundred at best, of the
// kind that will come. The yardstick is an exhaustive search of the index. Cost is counted, not timed, so the result
// is the same on every machine with the same vector units: the posting-list entries that a setting reads and the token
// vectors that it scores, weighed by what they cost. For every doubling of NProbe the least NDocs that suffices is
// searched for, and then the least Patience with several times as many documents.
//
// Searches for more than half of the documents are exhaustive whatever the knobs, so there is nothing to tune: that is
// ErrInvalidOptions, because knobs stored then would serve an index that has grown since.
//
// It measures on the CPU, also where s searches on a device: what is stored must do for every search of the index.
//
// Errors: ErrEmptyQuery without queries, ErrInvalidOptions, *RecallError when nothing within the bounds suffices, those
// of a query (naming it), and those of Search.
func (s *Searcher) Tune(ctx context.Context, queries []maxsim.Matrix, o *TuneOptions) (index.Tuning, error) {
	if s.device != nil {
		return NewSearcher(s.snap).Tune(ctx, queries, o)
	}
	opt, err := o.complete(s.live)
	if err != nil {
		return index.Tuning{}, err
	}
	if len(queries) == 0 {
		return index.Tuning{}, fmt.Errorf("tuning without queries: %w", ErrEmptyQuery)
	}
	if s.live == 0 {
		return index.Tuning{}, fmt.Errorf("tuning without documents: %w", ErrRecall)
	}
	if opt.K > s.live/2 {
		return index.Tuning{}, fmt.Errorf("tuning for %d hits of %d documents, at most half of them: %w", opt.K, s.live, ErrInvalidOptions)
	}
	t := &tuner{s: s, ctx: ctx, queries: queries, opt: opt}
	if err := t.oracle(); err != nil {
		return index.Tuning{}, err
	}
	return t.find()
}

// tuner is one Tune under way.
type tuner struct {
	s       *Searcher
	ctx     context.Context
	queries []maxsim.Matrix
	opt     TuneOptions
	least   []float32         // per query: the score of the last of the best K
	among   []map[string]bool // per query: the ids of the best K
	hits    int               // of all queries together
	best    index.Tuning
}

// oracle searches exhaustively. What scores no less than the K-th hit counts as found, so that ties do not matter.
func (t *tuner) oracle() error {
	hits, _, err := t.search(&Options{Exhaustive: true})
	if err != nil {
		return err
	}
	for _, h := range hits {
		least := float32(math.Inf(1))
		if len(h) > 0 {
			least = h[len(h)-1].Score
		}
		t.least = append(t.least, least)
		ids := map[string]bool{}
		for _, x := range h {
			ids[x.ID] = true
		}
		t.among = append(t.among, ids)
		t.hits += len(h)
	}
	if t.hits == 0 {
		return fmt.Errorf("an exhaustive search finds nothing: %w", ErrRecall)
	}
	return nil
}

func (t *tuner) search(o *Options) ([][]Hit, Stats, error) {
	var stats Stats
	o.Workers, o.Exact, o.Stats = t.opt.Workers, t.opt.Exact, &stats
	res, err := t.s.SearchBatch(t.ctx, t.queries, t.opt.K, o)
	if err != nil {
		return nil, stats, err
	}
	hits := make([][]Hit, len(res))
	for i, r := range res {
		if r.Err != nil {
			return nil, stats, r.Err
		}
		hits[i] = r.Hits
	}
	return hits, stats, nil
}

// What a posting-list entry costs in nanoseconds, and a token vector per product of its dimension and the query's
// tokens.
const (
	postingCost = 2.5
	productCost = 0.0045
)

// measure gives the recall and the cost of a setting.
func (t *tuner) measure(nprobe, ndocs int, patience float32) (index.Tuning, float64, error) {
	hits, stats, err := t.search(&Options{NProbe: nprobe, NDocs: ndocs, Patience: patience})
	if err != nil {
		return index.Tuning{}, 0, err
	}
	found, rows := 0, 0
	for i, h := range hits {
		rows += t.queries[i].Rows
		for _, x := range h {
			if x.Score >= t.least[i] && !x.Approx || t.among[i][x.ID] {
				found++
			}
		}
	}
	m := index.Tuning{
		K: t.opt.K, NProbe: nprobe, NDocs: ndocs, Patience: patience, Wanted: t.opt.Recall, Recall: min(float64(found)/float64(t.hits), 1),
		Queries: len(t.queries), Docs: t.s.live,
	}
	if m.Recall > t.best.Recall {
		t.best = m
	}
	if t.opt.Progress != nil {
		t.opt.Progress(m)
	}
	mean := float64(rows) / float64(len(t.queries))
	return m, postingCost*float64(stats.Postings) + productCost*mean*float64(t.s.dim)*float64(stats.ScoredTokens), nil
}

// find walks over NProbe. More probes never need more documents, so the last NDocs that sufficed bounds the next.
func (t *tuner) find() (index.Tuning, error) {
	steps := t.steps()
	k := 1
	for i := range t.s.spaces {
		k = max(k, t.s.spaces[i].cb.K())
	}
	most := min(t.opt.MaxNProbe, k)
	var (
		found    index.Tuning
		cost     = math.Inf(1)
		hi       = len(steps) - 1
		nprobe   = 1
		lastCost float64
	)
	for {
		m, c, err := t.measure(nprobe, steps[hi], 0)
		if err != nil {
			return index.Tuning{}, err
		}
		if m.Recall >= t.opt.Recall {
			// Least step that suffices, in lo..hi.
			for lo := 0; lo < hi; {
				mid := (lo + hi) / 2
				n, nc, err := t.measure(nprobe, steps[mid], 0)
				if err != nil {
					return index.Tuning{}, err
				}
				if n.Recall >= t.opt.Recall {
					m, c, hi = n, nc, mid
				} else {
					lo = mid + 1
				}
			}
			if c < 2*cost {
				p, pc, err := t.patience(nprobe, min(patientDocs*m.NDocs, steps[len(steps)-1]))
				if err != nil {
					return index.Tuning{}, err
				}
				if p.K > 0 && pc < c {
					m, c = p, pc
				}
			}
			if c < cost {
				found, cost = m, c
			} else if lastCost > 0 && c > lastCost {
				break // twice in a row dearer: the lists cost more than they save
			}
			lastCost = c
		}
		if nprobe == most {
			break
		}
		nprobe = min(2*nprobe, most)
	}
	if found.K == 0 {
		return index.Tuning{}, &RecallError{Wanted: t.opt.Recall, Best: t.best}
	}
	return found, nil
}

// patientDocs is how many times more documents a search with Patience may score.
const patientDocs = 4

// patience looks for the least Patience that suffices; a Tuning without K says that none does.
func (t *tuner) patience(nprobe, ndocs int) (found index.Tuning, cost float64, err error) {
	const step = .25
	for lo, hi := 2, 16; lo <= hi; {
		mid := (lo + hi) / 2
		m, c, err := t.measure(nprobe, ndocs, step*float32(mid))
		if err != nil {
			return found, 0, err
		}
		if m.Recall >= t.opt.Recall {
			found, cost, hi = m, c, mid-1
		} else {
			lo = mid + 1
		}
	}
	return found, cost, nil
}

// steps are the values of NDocs that are tried, each about a fifth more than the one before.
func (t *tuner) steps() []int {
	most := min(t.opt.MaxNDocs, t.s.live)
	var s []int
	for n := min(max(t.opt.K, 16), most); n < most; n += max(n/5, 1) {
		s = append(s, n)
	}
	return append(s, max(most, 1))
}
