package colbert

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// SearchOptions change one search. A nil pointer means the zero value, a good default.
type SearchOptions struct {
	// Language is the language of the query, for encoders that have a part per language; empty means that of
	// the index, or else what the encoder detects or assumes. Documents of all languages are searched; Filter
	// restricts them.
	Language string
	// Prompt is put in front of the queries in the place of the model's own prompt, for encoders that have prompts.
	Prompt string
	// IDsOnly leaves Text and Meta out of the hits, which saves reading them.
	IDsOnly bool
	// Filter restricts the search to documents whose metadata match, such as index.Eq("lang", "de") or what
	// index.ParseFilter makes of a text; nil allows every document. It takes the place of Plaid.Filter.
	Filter index.Filter
	// Plaid holds the knobs of the search itself: Plaid.Exhaustive scores every document.
	Plaid plaid.Options
}

// knobs gives the options of package plaid.
func (o *SearchOptions) knobs() *plaid.Options {
	p := o.Plaid
	if o.Filter != nil {
		p.Filter = o.Filter
	}
	return &p
}

// Hit is one document found.
type Hit struct {
	// Rank is 1 for the best hit.
	Rank int
	// ID is the document's id.
	ID string
	// Score is the sum over query tokens of their best similarity in the document: higher is better, and at
	// most the number of query tokens. It compares documents of one query, not queries.
	Score float32
	// Text and Meta are what was added.
	Text string
	Meta index.Metadata
}

// Result is the outcome of one query of a batch.
type Result struct {
	Hits []Hit
	Err  error // this query's own; the other queries are unharmed
}

// Search returns the k best documents for a query, best first; equal scores are in ascending order of id. An
// index of fewer than k documents gives all of them, an empty one none. k below 1 gives ErrInvalidK and
// a query of nothing but white space ErrEmptyText.
func (x *Index) Search(ctx context.Context, text string, k int, o *SearchOptions) ([]Hit, error) {
	res, err := x.SearchBatch(ctx, []string{text}, k, o)
	if err == nil {
		err = res[0].Err
	}
	if err != nil {
		return nil, err
	}
	return res[0].Hits, nil
}

// searchChunk is the number of queries that are encoded and searched together, which bounds the memory of a
// batch.
const searchChunk = 256

// SearchBatch searches for many queries at once, which is faster than one by one, and returns one Result per
// query in the order given. A query that cannot be searched for has its own error in its Result. The error of
// the call is for what concerns them all: k, cancellation, a closed index.
func (x *Index) SearchBatch(ctx context.Context, texts []string, k int, o *SearchOptions) ([]Result, error) {
	if k <= 0 {
		return nil, fmt.Errorf("colbert: search: k is %d: %w", k, ErrInvalidK)
	}
	var opt SearchOptions
	if o != nil {
		opt = *o
	}
	if opt.Language == "" {
		opt.Language = x.language
	}
	v, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	out := make([]Result, len(texts))
	for from := 0; from < len(texts); from += searchChunk {
		to := min(from+searchChunk, len(texts))
		if err := x.searchTexts(ctx, v, texts[from:to], out[from:to], k, &opt); err != nil {
			return nil, fmt.Errorf("colbert: search: %w", err)
		}
	}
	return out, nil
}

func (x *Index) searchTexts(ctx context.Context, v *view, texts []string, out []Result, k int, o *SearchOptions) error {
	enced, errs, err := encodeEach(ctx, x.enc, query, texts, encoder.TextOptions{Language: o.Language, Prompt: o.Prompt})
	if err != nil {
		return fmt.Errorf("encoding: %w", err)
	}
	var qs []maxsim.Matrix
	var at []int // position of each of qs
	for i := range texts {
		if errs[i] != nil {
			out[i].Err = fmt.Errorf("colbert: query: %w", errs[i])
			continue
		}
		qs, at = append(qs, enced[i].Vectors), append(at, i)
	}
	return v.search(ctx, qs, at, out, k, o)
}

// search fills out[at[i]] with the hits of qs[i].
func (v *view) search(ctx context.Context, qs []maxsim.Matrix, at []int, out []Result, k int, o *SearchOptions) error {
	if len(qs) == 0 {
		return ctx.Err()
	}
	res, err := v.searcher.SearchBatch(ctx, qs, k, o.knobs())
	if err != nil {
		return err
	}
	for i, r := range res {
		if r.Err != nil {
			out[at[i]] = Result{Err: fmt.Errorf("colbert: query: %w", r.Err)}
			continue
		}
		hs, err := hits(r.Hits, o.IDsOnly)
		out[at[i]] = Result{Hits: hs, Err: err}
	}
	return nil
}

// SearchVectors is Search for query vectors made elsewhere: one row per token, of the index's dimension,
// normalised as the documents' vectors are. No rows give ErrEmptyQuery, another dimension ErrDim, and values
// that are not finite ErrNotFinite.
func (x *Index) SearchVectors(ctx context.Context, q maxsim.Matrix, k int, o *SearchOptions) ([]Hit, error) {
	if k <= 0 {
		return nil, fmt.Errorf("colbert: search: k is %d: %w", k, ErrInvalidK)
	}
	var opt SearchOptions
	if o != nil {
		opt = *o
	}
	v, err := x.acquire()
	if err != nil {
		return nil, err
	}
	defer v.release()
	found, err := v.searcher.Search(ctx, q, k, opt.knobs())
	if err != nil {
		return nil, fmt.Errorf("colbert: search: %w", err)
	}
	return hits(found, opt.IDsOnly)
}

// hits reads what the caller sees of a document. Called while the view is held.
func hits(found []plaid.Hit, idsOnly bool) ([]Hit, error) {
	out := make([]Hit, len(found))
	for i, f := range found {
		out[i] = Hit{Rank: i + 1, ID: f.ID, Score: f.Score}
		if idsOnly {
			continue
		}
		var err, err2 error
		out[i].Text, err = f.Segment.Text(f.Ord)
		out[i].Meta, err2 = f.Segment.Metadata(f.Ord)
		if err = errors.Join(err, err2); err != nil {
			return nil, fmt.Errorf("colbert: reading document %q: %w", f.ID, err)
		}
	}
	return out, nil
}

// Get returns a document as it was added. An id that the index does not hold gives ErrUnknownID.
func (x *Index) Get(ctx context.Context, id string) (Document, error) {
	if err := ctx.Err(); err != nil {
		return Document{}, err
	}
	v, err := x.acquire()
	if err != nil {
		return Document{}, err
	}
	defer v.release()
	seg, ord, ok := v.snap.Lookup(id)
	if !ok {
		return Document{}, fmt.Errorf("colbert: get %q: %w", id, ErrUnknownID)
	}
	h, err := hits([]plaid.Hit{{ID: id, Segment: seg, Ord: ord}}, false)
	if err != nil {
		return Document{}, err
	}
	d := Document{ID: id, Text: h[0].Text, Meta: h[0].Meta}
	d.Language = x.languageOf(d.Meta)
	return d, nil
}

// languageOf reads a document's language from its metadata. A value that is the name of no language is the caller's own
// under the same key ("python", say), and the document was encoded without a language.
func (x *Index) languageOf(m index.Metadata) string {
	s, _ := m[LanguageKey].(string)
	if s == "" {
		return ""
	}
	if _, err := encoder.LanguageCode(s); err == nil {
		return s
	}
	if e, ok := x.enc.(interface{ Languages() []string }); ok && slices.Contains(e.Languages(), s) {
		return s // a name of the checkpoint's own
	}
	return ""
}

// Info describes an index.
type Info struct {
	// Model and Dim are those of the encoder that built the index; Language is Options.Language.
	Model    string
	Dim      int
	Language string
	// Documents and Tokens count what can be found: deleted and replaced documents are not in it.
	Documents int
	Tokens    uint64
	// Index tells about the storage.
	Index index.Info
}

// Info describes the index as of its last commit.
func (x *Index) Info() (Info, error) {
	v, err := x.acquire()
	if err != nil {
		return Info{}, err
	}
	defer v.release()
	return Info{
		Model:     x.ix.Attributes()[attrModel],
		Dim:       x.ix.Dim(),
		Language:  x.language,
		Documents: v.snap.NumDocs(),
		Tokens:    v.snap.NumTokens(),
		Index:     x.ix.Info(),
	}, nil
}
