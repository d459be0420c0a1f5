package golbertmini

import (
	"fmt"

	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/encoder/tokenizer"
)

// Lengths in tokens, special ones included; the backbone was trained on at most 256.
const (
	queryTokens    = 64
	documentTokens = 256
)

// load makes a model of a file that mkmodel wrote: the tensors of a BERT backbone, matrices as int8, the
// projection, and config.json and vocab.txt as bytes.
func load(b []byte, p encoder.Precision) (*encoder.Model, error) {
	ts, err := checkpoint.ParseSafeTensors(b)
	if err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	part := func(name string) checkpoint.Tensor {
		t, ok := ts.Tensor(name)
		if !ok && err == nil {
			err = fmt.Errorf("golbertmini: no %s in the model file: %w", name, checkpoint.ErrCorrupt)
		}
		return t
	}
	config, vocab, proj := part("config.json"), part("vocab.txt"), part("projection.weight")
	if err != nil {
		return nil, err
	}
	if len(proj.Shape) != 2 {
		return nil, fmt.Errorf("golbertmini: projection of shape %v: %w", proj.Shape, checkpoint.ErrCorrupt)
	}
	tok, err := tokenizer.FromVocab(vocab.Data, tokenizer.VocabOptions{})
	if err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	c := &checkpoint.Checkpoint{
		Layout:    checkpoint.HuggingFace,
		Tensors:   ts,
		Head:      []checkpoint.Dense{{In: proj.Shape[1], Out: proj.Shape[0], Weight: proj.Float32s(nil)}},
		Retrieval: checkpoint.Retrieval{QueryLength: queryTokens, DocumentLength: documentTokens, ExpansionID: -1, Skiplist: checkpoint.StanfordSkiplist(tok)},
		Tokenizer: tok,
	}
	if mask, ok := tok.MASK(); ok {
		c.Retrieval.ExpansionID = mask
	}
	if c.Config, err = checkpoint.ParseConfig("config.json", config.Data); err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	m, err := encoder.New(c, &encoder.Options{Name: Name, Precision: p})
	if err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	return m, nil
}
