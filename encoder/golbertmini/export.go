package golbertmini

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// tokenizerConfig tells readers of the exported checkpoint what its vocab.txt is.
const tokenizerConfig = `{"tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": 256, "unk_token": "[UNK]",
 "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}
`

// Export writes the model to dir, which must not exist, as a checkpoint in the layout of sentence-transformers'
// MultiVectorEncoder, with float32 weights (91 MB): a start for training, and for programs that read no golbert.
func Export(dir string) (err error) {
	p, err := parse(file)
	if err != nil {
		return err
	}
	var ts []checkpoint.Tensor
	for _, name := range p.tensors.Names() {
		t, _ := p.tensors.Tensor(name)
		if t.DType == checkpoint.U8 || name == "projection.weight" || strings.HasSuffix(name, "_scale") {
			continue
		}
		v := t.Float32s(nil)
		if s, ok := p.tensors.Tensor(name + "_scale"); ok {
			scales := s.Float32s(nil)
			if len(scales) == 0 || len(v)%len(scales) != 0 {
				return fmt.Errorf("golbertmini: %d scales of %s: %w", len(scales), name, checkpoint.ErrCorrupt)
			}
			for i := range v {
				v[i] *= scales[i/(len(v)/len(scales))]
			}
		}
		ts = append(ts, checkpoint.Float32Tensor(name, v, t.Shape...))
	}
	backbone, err := os.MkdirTemp("", "golbertmini")
	if err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(backbone)) }()
	for name, b := range map[string][]byte{"config.json": p.config, "vocab.txt": p.vocab, "tokenizer_config.json": []byte(tokenizerConfig)} {
		if err := os.WriteFile(filepath.Join(backbone, name), b, 0o644); err != nil {
			return fmt.Errorf("golbertmini: %w", err)
		}
	}
	f, err := os.Create(filepath.Join(backbone, "model.safetensors"))
	if err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	if err := errors.Join(checkpoint.WriteSafeTensors(f, ts, map[string]string{"format": "pt"}), f.Close()); err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	return checkpoint.AddProjection(dir, backbone, checkpoint.Dense{In: p.projection.Shape[1], Out: p.projection.Shape[0], Weight: p.projection.Float32s(nil)},
		&checkpoint.ProjectionOptions{QueryLength: queryTokens, DocumentLength: documentTokens})
}
