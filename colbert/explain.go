package colbert

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

// Explanation shows why a text matches a query, token by token.
type Explanation struct {
	// QueryText and Text are the texts that were compared.
	QueryText, Text string
	// Query and Document are their tokens, with byte offsets in QueryText and Text. Special tokens that the
	// model adds are among them.
	Query, Document []encoder.Token
	// Sim holds the similarity of every query token with every document token, len(Query) x len(Document),
	// row-major.
	Sim []float32
	// Best[i] is the document token that query token i matched, and Max[i] their similarity.
	Best []int
	Max  []float32
	// Score is the sum of Max: exact MaxSim, without the rounding of an index.
	Score float32
	// Truncated says that the text was longer than the encoder takes; its end has no tokens.
	Truncated bool
}

// Explain compares one text with a query. No index is needed; Index.Explain does it for a stored document.
func Explain(ctx context.Context, enc Encoder, queryText, text string) (*Explanation, error) {
	q, err := encodeOne(ctx, enc, query, queryText)
	if err != nil {
		return nil, fmt.Errorf("colbert: explain: query: %w", err)
	}
	d, err := encodeOne(ctx, enc, document, text)
	if err != nil {
		return nil, fmt.Errorf("colbert: explain: text: %w", err)
	}
	if len(q.Tokens) != q.Vectors.Rows || len(d.Tokens) != d.Vectors.Rows {
		return nil, fmt.Errorf("colbert: explain: %w: %d tokens for %d query vectors, %d for %d of the text",
			ErrEncoder, len(q.Tokens), q.Vectors.Rows, len(d.Tokens), d.Vectors.Rows)
	}
	for _, t := range d.Tokens {
		if t.Start < 0 || t.Start > t.End || t.End > len(text) {
			return nil, fmt.Errorf("colbert: explain: %w: token %q at bytes %d to %d of a text of %d", ErrEncoder, t.Text, t.Start, t.End, len(text))
		}
	}
	a, err := maxsim.Align(q.Vectors, d.Vectors)
	if err != nil {
		return nil, fmt.Errorf("colbert: explain: %w", err)
	}
	return &Explanation{
		QueryText: queryText, Text: text,
		Query: q.Tokens, Document: d.Tokens,
		Sim: a.Sim, Best: a.Best, Max: a.Max, Score: a.Score,
		Truncated: d.Truncated,
	}, nil
}

// Explain compares a stored document with a query, in the languages that the document and the index say. It
// encodes the text again, so that the score is exact and may differ slightly from the hit's.
func (x *Index) Explain(ctx context.Context, queryText, id string) (*Explanation, error) {
	d, err := x.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	enc := &splitEncoder{Encoder: x.enc, query: x.language, document: d.Language}
	if enc.document == "" {
		enc.document = x.language
	}
	return Explain(ctx, enc, queryText, d.Text)
}

// splitEncoder gives queries and documents different languages.
type splitEncoder struct {
	Encoder
	query, document string
}

func (e *splitEncoder) EncodeQueries(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	return WithLanguage(e.Encoder, e.query).EncodeQueries(ctx, texts, o)
}

func (e *splitEncoder) EncodeDocuments(ctx context.Context, texts []string, o *encoder.TextOptions) ([]encoder.Encoded, error) {
	return WithLanguage(e.Encoder, e.document).EncodeDocuments(ctx, texts, o)
}

// Similarity returns the similarity of query token i with document token j.
func (e *Explanation) Similarity(i, j int) float32 { return e.Sim[i*len(e.Document)+j] }

// Word is a word of the explained text and its part in the match.
type Word struct {
	// Start and End are byte offsets in Explanation.Text.
	Start, End int
	// Weight says how much the word speaks for this text: of the query tokens that match best in the word,
	// the one whose match stands out most from its mean similarity with the text. A query token that is
	// similar to everything, as stop words and the model's own tokens are, weighs little. A word that no
	// query token matches best weighs 0.
	Weight float32
}

// Words returns the words of the text in order, each with its weight. Pieces of one word are put together;
// scripts written without spaces come token by token, and punctuation does not come at all.
func (e *Explanation) Words() []Word {
	word := make([]int, len(e.Document)) // of each document token; -1 for none
	var words []Word
	for j, t := range e.Document {
		word[j] = -1
		if t.Special || strings.IndexFunc(e.Text[t.Start:t.End], wordRune) < 0 {
			continue
		}
		n := len(words)
		if n > 0 && joins(e.Text, words[n-1].End, t) {
			words[n-1].End = max(words[n-1].End, t.End)
			word[j] = n - 1
			continue
		}
		words = append(words, Word{Start: t.Start, End: t.End})
		word[j] = n
	}
	if len(words) == 0 {
		return nil
	}
	for i, q := range e.Query {
		if q.Special {
			continue
		}
		// The best among the text's own tokens: a match with a marker cannot be shown.
		best, sum, n := -1, float32(0), 0
		for j := range e.Document {
			if word[j] < 0 {
				continue
			}
			sum += e.Similarity(i, j)
			n++
			if best < 0 || e.Similarity(i, j) > e.Similarity(i, best) {
				best = j
			}
		}
		w := &words[word[best]]
		w.Weight = max(w.Weight, e.Similarity(i, best)-sum/float32(n))
	}
	return words
}

// joins says whether a token goes on with the word that ends at byte end.
func joins(text string, end int, t encoder.Token) bool {
	switch {
	case t.Start > end:
		return false
	case t.Start < end:
		return true // overlapping offsets, as byte-level tokens of one character have
	}
	before, _ := utf8.DecodeLastRuneInString(text[:end])
	after, _ := utf8.DecodeRuneInString(text[t.Start:])
	return inWord(before) && inWord(after)
}

func wordRune(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsNumber(r) || unicode.IsMark(r)
}

// inWord says whether a character may be joined with its neighbours: not in scripts that do not part words.
func inWord(r rune) bool {
	return wordRune(r) &&
		!unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Thai, unicode.Lao, unicode.Khmer, unicode.Myanmar)
}

// Mark returns the text with its best-matching words between before and after, "<b>" and "</b>" say. Marked
// are the words with at least half the weight of the best one. The text itself is not escaped.
func (e *Explanation) Mark(before, after string) string {
	marked := e.marked()
	var b strings.Builder
	at := 0
	for _, w := range marked {
		b.WriteString(e.Text[at:w.Start])
		b.WriteString(before)
		b.WriteString(e.Text[w.Start:w.End])
		b.WriteString(after)
		at = w.End
	}
	b.WriteString(e.Text[at:])
	return b.String()
}

// marked returns the words that Mark marks, in order of the text, never overlapping.
func (e *Explanation) marked() []Word {
	words := e.Words()
	var top float32
	for _, w := range words {
		top = max(top, w.Weight)
	}
	if top <= 0 {
		return nil
	}
	keep := words[:0]
	for _, w := range words {
		if w.Weight >= top/2 {
			keep = append(keep, w)
		}
	}
	sort.SliceStable(keep, func(i, j int) bool { return keep[i].Start < keep[j].Start })
	out := keep[:0]
	for _, w := range keep {
		if n := len(out); n > 0 && w.Start < out[n-1].End {
			out[n-1].End = max(out[n-1].End, w.End)
			continue
		}
		out = append(out, w)
	}
	return out
}
