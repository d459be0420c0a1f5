package train

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// Source is a part of the training data: a file, as a rule. Every batch is of one source, so that in-batch negatives are of
// the positives' own kind and language.
type Source struct {
	// Name stands for the source in errors and checkpoints.
	Name     string
	Examples []Example
	// Weight is the source's share of the batches, relative to those of other sources; 0 means its number of examples.
	Weight float64
}

// sampler draws batches of examples without an end. What it draws next follows from the seed and the number of
// batches drawn of each source, which is all that a checkpoint has to keep.
type sampler struct {
	sources []Source
	facts   []*facts
	content []string // fingerprints of the sources
	batch   int
	// negatives is the most of an example's that are drawn, 0 for all.
	negatives int
	seed      uint64
	taken     []int64 // batches of each source
	now       []window
}

// window is a number of batches of a source whose examples were sorted by length together.
type window struct {
	epoch, n int64
	batches  [][]int
}

// windowBatches is the number of batches in a window: enough to find texts of similar length for each, few enough to leave
// the batches of an epoch mixed.
const windowBatches = 16

func newSampler(sources []Source, batch, negatives int, seed uint64) (*sampler, error) {
	s := &sampler{sources: slices.Clone(sources), batch: batch, negatives: negatives, seed: seed, taken: make([]int64, len(sources)), now: make([]window, len(sources))}
	for i := range s.sources {
		src := &s.sources[i]
		if len(src.Examples) == 0 {
			return nil, fmt.Errorf("%w: source %q has no examples", ErrOptions, src.Name)
		}
		if src.Weight == 0 {
			src.Weight = float64(len(src.Examples))
		}
		if !(src.Weight > 0) || math.IsInf(src.Weight, 1) {
			return nil, fmt.Errorf("%w: source %q has weight %v", ErrOptions, src.Name, src.Weight)
		}
		s.facts, s.content = append(s.facts, newFacts(src.Examples)), append(s.content, src.fingerprint())
		s.now[i].epoch = -1
	}
	if len(sources) == 0 {
		return nil, fmt.Errorf("%w: no training data", ErrOptions)
	}
	return s, nil
}

// next draws a batch. It is of the source that is most behind its share.
func (s *sampler) next() *texts {
	source := 0
	for i := range s.sources {
		if float64(s.taken[i]+1)/s.sources[i].Weight < float64(s.taken[source]+1)/s.sources[source].Weight {
			source = i
		}
	}
	n := s.taken[source]
	rng := rand.New(rand.NewPCG(s.seed, uint64(source)<<48|uint64(n)<<2|2))
	var examples []*Example
	for _, e := range s.at(source, n) {
		examples = append(examples, s.sources[source].Examples[e].some(s.negatives, rng))
	}
	s.taken[source]++
	return s.facts[source].assemble(examples)
}

// some returns the example with at most n negatives, all of them if n is 0.
func (e *Example) some(n int, rng *rand.Rand) *Example {
	if n == 0 || len(e.Negatives) <= n {
		return e
	}
	c := *e
	c.Negatives, c.Scores = nil, nil
	if e.Scores != nil {
		c.Scores = e.Scores[:1:1]
	}
	for _, i := range rng.Perm(len(e.Negatives))[:n] {
		c.Negatives = append(c.Negatives, e.Negatives[i])
		if e.Scores != nil {
			c.Scores = append(c.Scores, e.Scores[1+i])
		}
	}
	return &c
}

// at returns the n-th batch of a source. An epoch has whole batches only; which examples are left out is another
// matter in each. A source with fewer examples than a batch is one batch.
func (s *sampler) at(source int, n int64) []int {
	total := len(s.sources[source].Examples)
	size := min(s.batch, total)
	perEpoch := int64(total / size)
	epoch, n := n/perEpoch, n%perEpoch
	w := &s.now[source]
	if w.epoch != epoch || w.n != n/windowBatches {
		order := rand.New(rand.NewPCG(s.seed, uint64(source)<<48|uint64(epoch)<<2)).Perm(total)
		*w = window{epoch: epoch, n: n / windowBatches}
		first := w.n * windowBatches
		count := min(windowBatches, perEpoch-first)
		part := order[first*int64(size) : (first+count)*int64(size)]
		slices.SortStableFunc(part, func(a, b int) int {
			return cmp.Compare(len(s.sources[source].Examples[a].Positive), len(s.sources[source].Examples[b].Positive))
		})
		for b := range slices.Chunk(part, size) {
			w.batches = append(w.batches, b)
		}
		rng := rand.New(rand.NewPCG(s.seed, uint64(source)<<48|uint64(epoch*perEpoch+first)<<2|1))
		rng.Shuffle(len(w.batches), func(i, j int) { w.batches[i], w.batches[j] = w.batches[j], w.batches[i] })
	}
	return w.batches[n%windowBatches]
}

// fingerprint tells training data apart.
func (s *Source) fingerprint() string {
	h := fnv.New64a()
	var b [8]byte
	text := func(t string) {
		binary.LittleEndian.PutUint64(b[:], uint64(len(t)))
		h.Write(b[:])
		h.Write([]byte(t))
	}
	for i := range s.Examples {
		e := &s.Examples[i]
		for _, t := range append([]string{e.Query, e.Positive, e.Group, e.Language, e.DocumentLanguage}, e.Negatives...) {
			text(t)
		}
		for _, x := range e.Scores {
			binary.LittleEndian.PutUint32(b[:], math.Float32bits(x))
			h.Write(b[:4])
		}
	}
	return fmt.Sprintf("%d examples, weight %v, %016x", len(s.Examples), s.Weight, h.Sum64())
}

// facts are what is known of a source beyond single examples.
type facts struct {
	answers map[string]map[string]bool // positives of each query that has several
	groups  map[string][]string        // groups of each document
}

func newFacts(examples []Example) *facts {
	f := &facts{answers: map[string]map[string]bool{}, groups: map[string][]string{}}
	for i := range examples {
		e := &examples[i]
		if f.answers[e.Query] == nil {
			f.answers[e.Query] = map[string]bool{}
		}
		f.answers[e.Query][e.Positive] = true
		if e.Group != "" && !slices.Contains(f.groups[e.Positive], e.Group) {
			f.groups[e.Positive] = append(f.groups[e.Positive], e.Group)
		}
	}
	return f
}

// texts are the texts of a batch, each document once, and what is to be learned from them.
type texts struct {
	queries, documents                []string
	queryLanguages, documentLanguages []string
	sources                           []string // of the examples
	targets                           *Targets
}

// name adds to an error about a text which examples it may be from.
func (b *texts) name(err error) error {
	return fmt.Errorf("texts of %s: %w", strings.Join(b.sources, ", "), err)
}

// assemble makes a batch of examples.
func (f *facts) assemble(examples []*Example) *texts {
	b := &texts{targets: &Targets{Queries: len(examples)}}
	t := b.targets
	type key struct{ text, language string }
	number := map[key]int{}
	add := func(text, language string) int {
		k := key{text, language}
		n, ok := number[k]
		if !ok {
			n = len(b.documents)
			number[k] = n
			b.documents, b.documentLanguages = append(b.documents, text), append(b.documentLanguages, language)
		}
		return n
	}
	teacher := true
	for _, e := range examples {
		b.sources = append(b.sources, e.Source)
		b.queries, b.queryLanguages = append(b.queries, e.Query), append(b.queryLanguages, e.Language)
		list := []int{add(e.Positive, e.DocumentLanguage)}
		for _, n := range e.Negatives {
			list = append(list, add(n, e.DocumentLanguage))
		}
		t.Positive, t.Lists, t.Teacher = append(t.Positive, list[0]), append(t.Lists, list), append(t.Teacher, e.Scores)
		teacher = teacher && e.Scores != nil
	}
	if !teacher {
		t.Teacher = nil
	}
	t.Documents = len(b.documents)
	t.Known = make([]bool, t.Queries*t.Documents)
	for i, e := range examples {
		for j, d := range b.documents {
			t.Known[i*t.Documents+j] = d == e.Positive || f.answers[e.Query][d] || e.Group != "" && slices.Contains(f.groups[d], e.Group)
		}
	}
	if !slices.ContainsFunc(b.queryLanguages, nonempty) {
		b.queryLanguages = nil
	}
	if !slices.ContainsFunc(b.documentLanguages, nonempty) {
		b.documentLanguages = nil
	}
	return b
}

func nonempty(s string) bool { return s != "" }

// part returns the targets of some queries and the documents of their lists, and which documents these are.
func (t *Targets) part(from, to int) (*Targets, []int) {
	p := &Targets{Queries: to - from}
	var documents []int
	number := map[int]int{}
	for i := from; i < to; i++ {
		var list []int
		for _, d := range t.Lists[i] {
			n, ok := number[d]
			if !ok {
				n = len(documents)
				number[d] = n
				documents = append(documents, d)
			}
			list = append(list, n)
		}
		p.Positive, p.Lists = append(p.Positive, list[0]), append(p.Lists, list)
	}
	p.Documents = len(documents)
	if t.QueryTokens != nil {
		p.QueryTokens = t.QueryTokens[from:to]
	}
	if t.Teacher != nil {
		p.Teacher = t.Teacher[from:to]
	}
	if t.Known != nil {
		for i := from; i < to; i++ {
			for _, d := range documents {
				p.Known = append(p.Known, t.Known[i*t.Documents+d])
			}
		}
	}
	return p, documents
}
