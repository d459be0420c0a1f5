package colbert

import (
	"context"
	"fmt"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// TuneOptions say what Tune looks for. A nil pointer means the zero value.
type TuneOptions struct {
	// TuneOptions are those of the search: number of hits, wanted recall, bounds.
	plaid.TuneOptions
	// Language is that of the queries; empty means that of the index.
	Language string
	// Prompt is as in SearchOptions.
	Prompt string
}

// Tune finds the cheapest way of searching that reaches a wanted recall on a sample of queries, a hundred or so of the
// kind that will come, and stores it with the index: searches that set no knobs of their own use it from then on. An
// exhaustive search with the same queries is the yardstick, so it takes a while on a large index. Info shows what is
// stored. *plaid.RecallError says that nothing suffices, and how far one comes. See plaid.Searcher.Tune.
func (x *Index) Tune(ctx context.Context, queries []string, o *TuneOptions) (index.Tuning, error) {
	var opt TuneOptions
	if o != nil {
		opt = *o
	}
	lang := opt.Language
	if lang == "" {
		lang = x.language
	}
	out, errs, err := encodeEach(ctx, x.enc, query, queries, encoder.TextOptions{Language: lang, Prompt: opt.Prompt})
	if err != nil {
		return index.Tuning{}, fmt.Errorf("colbert: tune: %w", err)
	}
	vectors := make([]maxsim.Matrix, len(out))
	for i, e := range out {
		if errs[i] != nil {
			return index.Tuning{}, fmt.Errorf("colbert: tune: query %d: %w", i, errs[i])
		}
		vectors[i] = e.Vectors
	}
	t, err := plaid.Tune(ctx, x.ix, vectors, &opt.TuneOptions)
	if err != nil {
		return index.Tuning{}, fmt.Errorf("colbert: tune: %w", err)
	}
	x.committed()
	return t, nil
}
