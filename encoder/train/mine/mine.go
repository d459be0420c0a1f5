// Package mine finds hard negatives for training: documents that an index ranks high for a query although they are not
// known to answer it. It also asks teachers for the scores of lists, for distillation.
//
//	enc, err := encoder.Open("runs/a/step-00002000", nil) // the model that is being trained
//	mined, report, err := mine.Negatives(ctx, enc, examples, &mine.Options{Negatives: 15})
//	err = mine.Rescore(ctx, mine.Ensemble{{Scorer: mine.MaxSim{Encoder: teacher}}}, mined)
//
// What it returns is what package train reads: train.WriteExamples makes a file of it.
package mine

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/encoder/train"
	"github.com/golbert/golbert/index"
)

// ErrOptions reports options that make no sense, by name.
var ErrOptions = errors.New("mine: bad options")

// Options say which documents become negatives. A nil pointer means the zero value.
type Options struct {
	// Negatives is the number for each query; 0 means 7. There are fewer where too few documents qualify.
	Negatives int
	// Depth is the number of documents that are looked at for each query; 0 means 100. Negatives are the best of them that
	// qualify, or, with Sample, any of them by chance.
	Depth  int
	Sample bool
	// Skip leaves out the first documents of each ranking, not counting those that are known to answer: what a good
	// model ranks first is often an answer that nobody has judged.
	Skip int
	// Margin leaves out documents whose score is above this part of the positive's: 0 means 0.95, 1 whatever scores no more
	// than the positive, and a negative value allows any score. (TopK-PercPos of NV-Retriever, Moreira et al. 2024,
	// arXiv:2407.15831, section 3.2, found best there at 0.95.)
	Margin float64
	// Least leaves out examples with fewer negatives; 0 keeps all.
	Least int
	// Corpus has further documents to choose from, beside the positives and negatives of the examples.
	Corpus iter.Seq2[colbert.Document, error]
	// Dir is a folder for the index, which is removed in the end; empty means the system's for temporary files.
	Dir string
	// Index and Search are the options of the index and of the searches in it.
	Index  colbert.Options
	Search colbert.SearchOptions
	// Seed is that of Sample.
	Seed uint64
	// Progress, when not nil, is called as "documents" are encoded and "queries" searched, never concurrently; total is 0
	// while it is not known.
	Progress func(what string, done, total int)
}

// Report says what Negatives did.
type Report struct {
	Documents int // searched
	Examples  int // returned
	Negatives int // of all of them
	// Missed counts examples whose positive was not among the first Depth.
	Missed int
	// Left counts examples that Least left out.
	Left int
}

// known is what must not become a negative.
type known struct {
	ids     map[string]string          // id of each text
	group   map[string][]string        // groups of each id
	answers map[string]map[string]bool // ids of each query's positives
}

// searchBatch is the number of queries that are searched for together.
const searchBatch = 256

// Negatives returns the examples with negatives that a search with enc finds in the documents of all examples and of
// Options.Corpus. Positives of the same query and documents of an example's group are never negatives of it. Scores are
// those of the search: the model's own. The negatives that examples had are among the documents, but stay theirs
// only if they qualify. Examples come in their order; those given are not changed.
//
// Errors wrap ErrOptions, or are those of package colbert.
func Negatives(ctx context.Context, enc colbert.Encoder, examples []train.Example, o *Options) (out []train.Example, r *Report, err error) {
	var p Options
	if o != nil {
		p = *o
	}
	if p.Negatives < 0 || p.Depth < 0 || p.Skip < 0 || p.Least < 0 || p.Margin != p.Margin {
		return nil, nil, fmt.Errorf("%w: Negatives %d, Depth %d, Skip %d, Least %d, Margin %v", ErrOptions, p.Negatives, p.Depth, p.Skip, p.Least, p.Margin)
	}
	if p.Negatives == 0 {
		p.Negatives = 7
	}
	if p.Depth == 0 {
		p.Depth = 100
	}
	if p.Margin == 0 {
		p.Margin = 0.95
	}
	if p.Progress == nil {
		p.Progress = func(string, int, int) {}
	}
	if len(examples) == 0 {
		return nil, nil, fmt.Errorf("%w: no examples", ErrOptions)
	}
	tmp, err := os.MkdirTemp(p.Dir, "mine")
	if err != nil {
		return nil, nil, fmt.Errorf("mine: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(tmp)) }()
	ix, err := colbert.Create(ctx, filepath.Join(tmp, "index"), enc, &p.Index)
	if err != nil {
		return nil, nil, err
	}
	defer func() { err = errors.Join(err, ix.Close()) }()
	k := &known{ids: map[string]string{}, group: map[string][]string{}, answers: map[string]map[string]bool{}}
	r = new(Report)
	added, err := ix.AddFrom(ctx, k.documents(examples, p.Corpus), &colbert.AddOptions{
		Progress: func(s colbert.Progress) { p.Progress("documents", s.Documents, 0) },
	})
	if err != nil {
		return nil, nil, err
	}
	r.Documents = added.Added
	k.learn(examples)
	text := func(id string) (string, error) {
		d, err := ix.Get(ctx, id)
		return d.Text, err
	}
	p.Search.IDsOnly = true
	rng := rand.New(rand.NewPCG(p.Seed, 0x6d696e65))
	done := 0
	for batch := range slices.Chunk(examples, searchBatch) {
		hits, err := search(ctx, ix, batch, p.Depth, p.Search)
		if err != nil {
			return nil, nil, err
		}
		for i := range batch {
			e, err := k.choose(ctx, ix, &batch[i], hits[i], &p, rng, r)
			if err != nil {
				return nil, nil, err
			}
			if len(e.Negatives) < p.Least {
				r.Left++
				continue
			}
			for j, id := range e.Negatives {
				if e.Negatives[j], err = text(id); err != nil {
					return nil, nil, err
				}
			}
			out = append(out, e)
			r.Examples, r.Negatives = r.Examples+1, r.Negatives+len(e.Negatives)
		}
		done += len(batch)
		p.Progress("queries", done, len(examples))
	}
	return out, r, nil
}

// documents gives every text once, and remembers their ids.
func (k *known) documents(examples []train.Example, corpus iter.Seq2[colbert.Document, error]) iter.Seq2[colbert.Document, error] {
	return func(yield func(colbert.Document, error) bool) {
		add := func(text, language string) bool {
			if _, ok := k.ids[text]; ok {
				return true
			}
			id := strconv.Itoa(len(k.ids))
			k.ids[text] = id
			return yield(colbert.Document{ID: id, Text: text, Language: language}, nil)
		}
		for i := range examples {
			e := &examples[i]
			if !add(e.Positive, e.DocumentLanguage) {
				return
			}
			for _, n := range e.Negatives {
				if !add(n, e.DocumentLanguage) {
					return
				}
			}
		}
		if corpus == nil {
			return
		}
		for d, err := range corpus {
			if err != nil {
				yield(colbert.Document{}, err)
				return
			}
			if !add(d.Text, d.Language) {
				return
			}
		}
	}
}

// learn collects what the examples say about answers and groups.
func (k *known) learn(examples []train.Example) {
	for i := range examples {
		e := &examples[i]
		id := k.ids[e.Positive]
		if k.answers[e.Query] == nil {
			k.answers[e.Query] = map[string]bool{}
		}
		k.answers[e.Query][id] = true
		if e.Group != "" && !slices.Contains(k.group[id], e.Group) {
			k.group[id] = append(k.group[id], e.Group)
		}
	}
}

// search runs the queries of a batch, those of one language together.
func search(ctx context.Context, ix *colbert.Index, batch []train.Example, depth int, o colbert.SearchOptions) ([][]colbert.Hit, error) {
	hits := make([][]colbert.Hit, len(batch))
	byLanguage := map[string][]int{}
	var languages []string
	for i := range batch {
		l := batch[i].Language
		if byLanguage[l] == nil {
			languages = append(languages, l)
		}
		byLanguage[l] = append(byLanguage[l], i)
	}
	for _, l := range languages {
		var texts []string
		for _, i := range byLanguage[l] {
			texts = append(texts, batch[i].Query)
		}
		p := o
		if l != "" {
			p.Language = l
		}
		results, err := ix.SearchBatch(ctx, texts, depth, &p)
		if err != nil {
			return nil, err
		}
		for j, i := range byLanguage[l] {
			if err := results[j].Err; err != nil {
				return nil, fmt.Errorf("mine: query of %s: %w", batch[i].Source, err)
			}
			hits[i] = results[j].Hits
		}
	}
	return hits, nil
}

// choose returns an example with ids for negatives.
func (k *known) choose(ctx context.Context, ix *colbert.Index, e *train.Example, hits []colbert.Hit, o *Options, rng *rand.Rand, r *Report) (train.Example, error) {
	out := *e
	out.Negatives, out.Scores = nil, nil
	positive := k.ids[e.Positive]
	at := slices.IndexFunc(hits, func(h colbert.Hit) bool { return h.ID == positive })
	var best float32
	if at >= 0 {
		best = hits[at].Score
	} else {
		r.Missed++
		p := o.Search
		p.Filter = index.IDs(positive)
		if e.Language != "" {
			p.Language = e.Language
		}
		own, err := ix.Search(ctx, e.Query, 1, &p)
		if err != nil {
			return out, fmt.Errorf("mine: positive of %s: %w", e.Source, err)
		}
		if len(own) != 1 {
			return out, fmt.Errorf("mine: positive of %s is not in the index", e.Source)
		}
		best = own[0].Score
	}
	var fit []colbert.Hit
	skip := o.Skip
	for _, h := range hits {
		if h.ID == positive || k.answers[e.Query][h.ID] || e.Group != "" && slices.Contains(k.group[h.ID], e.Group) {
			continue
		}
		if skip > 0 {
			skip--
			continue
		}
		if o.Margin > 0 && float64(h.Score) > limit(float64(best), o.Margin) {
			continue
		}
		fit = append(fit, h)
	}
	if o.Sample {
		rng.Shuffle(len(fit), func(i, j int) { fit[i], fit[j] = fit[j], fit[i] })
	}
	fit = fit[:min(len(fit), o.Negatives)]
	out.Scores = append(out.Scores, best)
	for _, h := range fit {
		out.Negatives, out.Scores = append(out.Negatives, h.ID), append(out.Scores, h.Score)
	}
	return out, nil
}

// limit is the highest score of a negative. Scores of a positive below zero have their margin below, too.
func limit(best, margin float64) float64 {
	if best < 0 {
		return best - (1-margin)*-best
	}
	return best * margin
}
