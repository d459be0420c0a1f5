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

// parts are what a model file holds.
type parts struct {
	tensors       *checkpoint.SafeTensors
	config, vocab []byte
	projection    checkpoint.Tensor
}

// parse reads a file that mkmodel wrote: the tensors of a BERT backbone, matrices as int8, the projection, and
// config.json and vocab.txt as bytes.
func parse(b []byte) (*parts, error) {
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
	p := &parts{tensors: ts, config: part("config.json").Data, vocab: part("vocab.txt").Data, projection: part("projection.weight")}
	if err != nil {
		return nil, err
	}
	if len(p.projection.Shape) != 2 {
		return nil, fmt.Errorf("golbertmini: projection of shape %v: %w", p.projection.Shape, checkpoint.ErrCorrupt)
	}
	return p, nil
}

// load makes a model of a file.
func load(b []byte, precision encoder.Precision) (*encoder.Model, error) {
	p, err := parse(b)
	if err != nil {
		return nil, err
	}
	tok, err := tokenizer.FromVocab(p.vocab, tokenizer.VocabOptions{})
	if err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	c := &checkpoint.Checkpoint{
		Layout:    checkpoint.HuggingFace,
		Tensors:   p.tensors,
		Head:      []checkpoint.Dense{{In: p.projection.Shape[1], Out: p.projection.Shape[0], Weight: p.projection.Float32s(nil)}},
		Retrieval: checkpoint.Retrieval{QueryLength: queryTokens, DocumentLength: documentTokens, ExpansionID: -1, Skiplist: checkpoint.StanfordSkiplist(tok)},
		Tokenizer: tok,
	}
	if mask, ok := tok.MASK(); ok {
		c.Retrieval.ExpansionID = mask
	}
	if c.Config, err = checkpoint.ParseConfig("config.json", p.config); err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	m, err := encoder.New(c, &encoder.Options{Name: Name, Precision: precision})
	if err != nil {
		return nil, fmt.Errorf("golbertmini: %w", err)
	}
	return m, nil
}
