// Package bm25 is a small in-memory BM25, the keyword baseline beside which examples and evaluations show late
// interaction.
//
//	b := bm25.Builder{Language: "en"}
//	b.Add("d1", "The quick brown fox")
//	ix := b.Build()
//	hits := ix.Search("quick foxes", 10)
//
// The formula is Lucene's: a term that occurs tf times in a document of length dl scores
//
//	ln(1 + (N - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * (1 - b + b * dl / avgdl))
//
// where Lucene keeps lengths in one byte and this package exactly. Terms are words in lower case, stemmed by
// Snowball for English, Spanish, French, Russian, Swedish, Norwegian and Hungarian; English is without Lucene's
// 33 stop words. Scripts written without spaces give n-grams of characters: pairs for Chinese and Japanese, four
// at a time for Thai, Lao, Khmer and Burmese.
package bm25

import (
	"cmp"
	"container/heap"
	"math"
	"slices"
)

// Lucene's usual parameters for passages.
const (
	DefaultK1 = 0.9
	DefaultB  = 0.4
)

// Builder gathers documents. The zero value is ready for English text.
type Builder struct {
	// Language is the language of documents and queries, as an ISO 639-1 code; it chooses stemmer and
	// stop words. Empty means English. A language without a stemmer is indexed by its words as they are.
	Language string
	// K1 and B are the formula's parameters; both 0 means DefaultK1 and DefaultB.
	K1, B float64

	analyzer *analyzer // of Language, from the first Add on
	ids      []string
	lengths  []uint32
	total    uint64
	postings map[string][]posting
}

type posting struct{ doc, tf uint32 }

// Add adds a document. Ids are not compared: adding one twice makes two documents.
func (b *Builder) Add(id, text string) {
	b.start()
	doc := uint32(len(b.ids))
	ts := b.analyzer.terms(text)
	b.ids = append(b.ids, id)
	b.lengths = append(b.lengths, uint32(len(ts)))
	b.total += uint64(len(ts))
	for _, t := range ts {
		p := b.postings[t]
		if n := len(p); n > 0 && p[n-1].doc == doc {
			p[n-1].tf++
		} else {
			b.postings[t] = append(p, posting{doc, 1})
		}
	}
}

func (b *Builder) start() {
	if b.analyzer == nil {
		a := newAnalyzer(b.Language)
		b.analyzer, b.postings = &a, map[string][]posting{}
	}
}

// Build makes the index. The builder must not be used afterwards.
func (b *Builder) Build() *Index {
	b.start()
	k1, bb := b.K1, b.B
	if k1 == 0 && bb == 0 {
		k1, bb = DefaultK1, DefaultB
	}
	ix := &Index{analyzer: *b.analyzer, ids: b.ids, postings: b.postings, norm: make([]float64, len(b.ids))}
	avg := float64(b.total) / float64(max(len(b.ids), 1))
	for i, n := range b.lengths {
		ix.norm[i] = k1 * (1 - bb + bb*float64(n)/max(avg, 1e-9))
	}
	return ix
}

// Index is a searchable collection. It is safe for concurrent use.
type Index struct {
	analyzer analyzer
	ids      []string
	postings map[string][]posting
	norm     []float64 // per document: k1 * (1 - b + b * dl / avgdl)
}

// Hit is one document found.
type Hit struct {
	ID    string
	Score float64
}

// Search returns the k best documents that share a term with the query, best first; equal scores are in
// ascending order of id. k below 1 gives none. A term that the query repeats counts each time.
func (ix *Index) Search(query string, k int) []Hit {
	if k <= 0 {
		return nil
	}
	n := float64(len(ix.ids))
	scores := make([]float64, len(ix.ids))
	for _, t := range ix.analyzer.terms(query) {
		p := ix.postings[t]
		df := float64(len(p))
		idf := math.Log(1 + (n-df+0.5)/(df+0.5))
		for _, x := range p {
			tf := float64(x.tf)
			scores[x.doc] += idf * tf / (tf + ix.norm[x.doc])
		}
	}
	var best worstFirst
	for d, s := range scores {
		if s <= 0 {
			continue
		}
		h := Hit{ix.ids[d], s}
		if len(best) < k {
			heap.Push(&best, h)
		} else if compare(h, best[0]) < 0 {
			best[0] = h
			heap.Fix(&best, 0)
		}
	}
	slices.SortFunc(best, compare)
	return best
}

// compare orders hits best first.
func compare(a, b Hit) int {
	return cmp.Or(cmp.Compare(b.Score, a.Score), cmp.Compare(a.ID, b.ID))
}

// worstFirst is a heap with the worst hit on top.
type worstFirst []Hit

func (h worstFirst) Len() int           { return len(h) }
func (h worstFirst) Less(i, j int) bool { return compare(h[i], h[j]) > 0 }
func (h worstFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *worstFirst) Push(x any)        { *h = append(*h, x.(Hit)) }
func (h *worstFirst) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
