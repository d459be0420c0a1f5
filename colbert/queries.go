package colbert

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
)

// The codec errs least in the directions in which queries lie (quant.TrainOptions.Queries). Nobody has queries
// before there is an index, but where queries lie depends on the model far more than on what they ask: on its
// marker, on its expansion tokens. So pieces of the documents serve as queries.

const (
	// queryPieces is about how many are made, whatever the number of documents.
	queryPieces = 128
	// A piece has this many words,
	minPieceWords, maxPieceWords = 5, 12
	// or this many runes of a text that does not part its words by spaces.
	minPieceRunes, maxPieceRunes = 10, 24
	// maxPieceWord is the longest word, in bytes, of a text that does.
	maxPieceWord = 64
)

// trainingQueries is the index's source of query vectors: the caller's examples, or pieces of documents, which
// are the same for the same documents.
func (a *adder) trainingQueries(ctx context.Context, sample []index.Document) (maxsim.Matrix, error) {
	texts := map[string][]string{} // by language
	var order []string
	take := func(lang, text string) {
		if lang == "" {
			lang = a.x.language
		}
		if _, ok := texts[lang]; !ok {
			order = append(order, lang)
		}
		texts[lang] = append(texts[lang], text)
	}
	for _, q := range a.opt.Queries {
		take("", q)
	}
	if len(a.opt.Queries) == 0 {
		for _, d := range sample {
			lang := a.x.languageOf(d.Meta)
			for n := range (queryPieces + len(sample) - 1) / len(sample) {
				take(lang, piece(d.Text, n))
			}
		}
	}
	m := maxsim.Matrix{Dim: a.x.enc.Dim()}
	for _, lang := range order {
		out, errs, err := encodeEach(ctx, a.x.enc, query, texts[lang], encoder.TextOptions{Language: lang})
		if errors.Is(err, ErrLanguage) && len(a.opt.Queries) == 0 {
			continue // metadata of the caller's own under LanguageKey
		}
		if err != nil {
			return m, fmt.Errorf("encoding queries to train for: %w", err)
		}
		for i, e := range out {
			if errs[i] == nil { // one that the encoder refuses, a blank one say, is no loss
				m.Data = append(m.Data, e.Vectors.Data...)
				m.Rows += e.Vectors.Rows
			}
		}
	}
	return m, nil
}

// piece gives the n-th piece of a text, "" for a blank one.
func piece(text string, n int) string {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d:", n)
	_, _ = h.Write([]byte(text))
	r := h.Sum64()
	words := strings.Fields(text)
	if len(words) == 0 {
		return ""
	}
	if len(text)/len(words) <= maxPieceWord {
		from, to := pieceOf(len(words), minPieceWords, maxPieceWords, r)
		return strings.Join(words[from:to], " ")
	}
	runes := []rune(text[:min(len(text), 1<<16)])
	from, to := pieceOf(len(runes), minPieceRunes, maxPieceRunes, r)
	return strings.ToValidUTF8(string(runes[from:to]), "")
}

// pieceOf gives the bounds of a piece of shortest to longest out of n parts, chosen by the bits of r.
func pieceOf(n, shortest, longest int, r uint64) (from, to int) {
	size := min(shortest+int(r>>56)%(longest-shortest+1), n)
	from = int((r & (1<<56 - 1)) % uint64(n-size+1))
	return from, from + size
}
