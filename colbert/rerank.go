package colbert

import (
	"context"
	"fmt"
	"sort"
	"strconv"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

// Texts makes documents of plain texts, with their positions ("0", "1", ...) as ids.
func Texts(texts ...string) []Document {
	docs := make([]Document, len(texts))
	for i, t := range texts {
		docs[i] = Document{ID: strconv.Itoa(i), Text: t}
	}
	return docs
}

// Rerank orders documents by exact MaxSim with a query and returns the k best, best first; equal scores keep
// the order in which they were given. It needs no index: give it the hits of any other search. The documents'
// ids only come back in the hits and may be anything.
//
// k below 1 gives ErrInvalidK, k above the number of documents all of them, no documents no hits. A document
// that cannot be encoded fails the call with a *DocumentError.
func Rerank(ctx context.Context, enc Encoder, text string, docs []Document, k int) ([]Hit, error) {
	if k <= 0 {
		return nil, fmt.Errorf("colbert: rerank: k is %d: %w", k, ErrInvalidK)
	}
	q, err := encodeOne(ctx, enc, query, text)
	if err != nil {
		return nil, fmt.Errorf("colbert: rerank: query: %w", err)
	}
	hs := make([]Hit, 0, len(docs))
	for len(docs) > 0 {
		b := &batch{docs: docs[:min(len(docs), 128)]}
		docs = docs[len(b.docs):]
		b.encode(ctx, enc, encoder.TextOptions{})
		if b.err != nil {
			return nil, fmt.Errorf("colbert: rerank: %w", b.err)
		}
		vectors := make([]maxsim.Matrix, len(b.docs))
		for i, d := range b.docs {
			err := b.errs[i]
			if err == nil && b.out[i].Vectors.Rows == 0 {
				err = ErrEmptyDocument
			}
			if err != nil {
				return nil, fmt.Errorf("colbert: rerank: %w", &DocumentError{ID: d.ID, Err: err})
			}
			vectors[i] = b.out[i].Vectors
		}
		scores, err := maxsim.Scores(q.Vectors, vectors)
		if err != nil {
			return nil, fmt.Errorf("colbert: rerank: %w", err)
		}
		for i, d := range b.docs {
			hs = append(hs, Hit{ID: d.ID, Score: scores[i], Text: d.Text, Meta: d.stored(b.out[i]).Meta})
		}
	}
	sort.SliceStable(hs, func(i, j int) bool { return hs[i].Score > hs[j].Score })
	hs = hs[:min(k, len(hs))]
	for i := range hs {
		hs[i].Rank = i + 1
	}
	return hs, nil
}

// MaxSim is the late-interaction score of two token matrices; see maxsim.Score. Package maxsim also ranks many
// documents against one query and aligns tokens.
func MaxSim(q, d maxsim.Matrix) (float32, error) { return maxsim.Score(q, d) }

func encodeOne(ctx context.Context, enc Encoder, s side, text string) (encoder.Encoded, error) {
	if enc == nil {
		return encoder.Encoded{}, fmt.Errorf("%w: nil encoder", ErrEncoder)
	}
	out, errs, err := encodeEach(ctx, enc, s, []string{text}, encoder.TextOptions{})
	if err == nil {
		err = errs[0]
	}
	if err == nil && out[0].Vectors.Rows == 0 {
		if err = ErrEmptyQuery; s == document {
			err = ErrEmptyDocument
		}
	}
	if err != nil {
		return encoder.Encoded{}, err
	}
	return out[0], nil
}
