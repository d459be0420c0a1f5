package checkpoint

import (
	"fmt"
	"path/filepath"
)

// xtrDir is where XTR keeps its projection.
const xtrDir = "2_Dense"

// maxXTRDim tells the projection of XTR (128 values) from those of single-vector T5 models (768).
const maxXTRDim = 256

// isXTR reports whether dir has the projection of an XTR model.
func isXTR(dir string) bool {
	var j denseConfig
	path := filepath.Join(dir, xtrDir, "config.json")
	return exists(path) && readJSON(path, &j) == nil && j.Out > 0 && j.Out <= maxXTRDim && j.Out < j.In
}

// openXTR reads the head and the settings of XTR (Lee et al., "Rethinking the Role of Token Retrieval in
// Multi-Vector Retrieval", NeurIPS 2023) as google/xtr-base-en is used: texts in lower case, queries of 32 and
// documents of 512 tokens, every token kept, no markers and no expansion.
func (c *Checkpoint) openXTR(tc *tokenizerConfig) error {
	d, err := readDense(filepath.Join(c.Dir, xtrDir), c.Config.HiddenSize, "identity")
	if err != nil {
		return err
	}
	c.Head = []Dense{d}
	c.Retrieval = Retrieval{QueryLength: 32, DocumentLength: 512, LowerCase: true, ExpansionID: tc.expansionID(c.Tokenizer)}
	return nil
}

// openBGEM3 reads the ColBERT head of BGE-M3 (Chen et al., "M3-Embedding", 2024): every token but the first has a
// vector, and a query's score is the mean over its tokens. There are no markers and no expansion.
func (c *Checkpoint) openBGEM3(tc *tokenizerConfig) error {
	path := filepath.Join(c.Dir, "colbert_linear.pt")
	ts, err := OpenTorch(path)
	if err != nil {
		return err
	}
	defer ts.Close()
	t, ok := ts.Tensor("weight")
	if !ok || len(t.Shape) != 2 || t.Shape[0] < 1 || t.Shape[0] > maxDim {
		return &CorruptError{File: path, Field: "weight", Offset: -1, Msg: "the projection is missing, or is not a matrix"}
	}
	d := Dense{Out: t.Shape[0], In: t.Shape[1], Activation: "identity"}
	if n := c.Config.HiddenSize; n > 0 && n != d.In {
		return &CorruptError{File: path, Field: "weight", Offset: -1, Msg: fmt.Sprintf("shape %v for a hidden size of %d", t.Shape, n)}
	}
	if d.Weight, err = matrix(ts, path, "weight", d.Out, d.In); err != nil {
		return err
	}
	if _, has := ts.Tensor("bias"); has {
		if d.Bias, err = matrix(ts, path, "bias", d.Out); err != nil {
			return err
		}
	}
	c.Head = []Dense{d}
	n := c.longest(new(sentenceConfig))
	if m := tc.MaxLength; m >= 1 && m < float64(n) {
		n = int(m)
	}
	c.Retrieval = Retrieval{QueryLength: n, DocumentLength: n, DropFirst: true, Similarity: Mean, ExpansionID: tc.expansionID(c.Tokenizer)}
	return nil
}
