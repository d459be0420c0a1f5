// Package folder writes golbertmini's kind of model as an ordinary checkpoint: the layout of sentence-transformers'
// MultiVectorEncoder, with a projection, without markers and expansion.
package folder

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// Model is what a checkpoint is written of.
type Model struct {
	// Config is config.json of the backbone, Vocab its vocab.txt.
	Config, Vocab []byte
	// Tensors are the backbone's, float32.
	Tensors []checkpoint.Tensor
	// Projection is Dim x Hidden, row-major.
	Projection  []float32
	Dim, Hidden int
	// QueryTokens and DocumentTokens are the lengths, special tokens included.
	QueryTokens, DocumentTokens int
}

// punctuation is the skiplist of documents: ASCII's.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// Write writes a model to dir, which must not exist.
func Write(dir string, m *Model) (err error) {
	if _, err := os.Lstat(dir); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("golbertmini: %s: %w", dir, errors.Join(err, fs.ErrExist))
	}
	parent := filepath.Dir(filepath.Clean(dir))
	if err := os.MkdirAll(parent, 0o777); err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	tmp, err := os.MkdirTemp(parent, "."+filepath.Base(dir)+"-*")
	if err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(tmp))
		}
	}()
	object := func(v any) []byte {
		b, merr := json.MarshalIndent(v, "", "  ")
		err = errors.Join(err, merr)
		return append(b, '\n')
	}
	type module struct {
		Index int    `json:"idx"`
		Name  string `json:"name"`
		Path  string `json:"path"`
		Type  string `json:"type"`
	}
	const st = "sentence_transformers."
	tokens := map[string]any{"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
	files := map[string][]byte{
		"config.json": m.Config,
		"vocab.txt":   m.Vocab,
		"tokenizer_config.json": object(map[string]any{"tokenizer_class": "BertTokenizer", "do_lower_case": true, "model_max_length": m.DocumentTokens,
			"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]", "mask_token": "[MASK]"}),
		"modules.json": object([]module{
			{0, "0", "", st + "base.modules.transformer.Transformer"},
			{1, "1", "1_Dense", st + "base.modules.dense.Dense"},
			{2, "2", "2_MultiVectorMask", st + "multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"},
			{3, "3", "3_Normalize", st + "base.modules.normalize.Normalize"},
		}),
		"sentence_bert_config.json": object(map[string]any{
			"transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
			"modality_config": map[string]any{"text": map[string]any{"method": "forward", "method_output_name": "last_hidden_state"}},
			"query_length":    m.QueryTokens, "document_length": m.DocumentTokens,
		}),
		"config_sentence_transformers.json": object(map[string]any{
			"model_type": "MultiVectorEncoder", "prompts": map[string]any{"query": "", "document": ""}, "default_prompt_name": nil, "similarity_fn_name": nil,
		}),
		"1_Dense/config.json": object(map[string]any{"in_features": m.Hidden, "out_features": m.Dim, "bias": false,
			"activation_function": "torch.nn.modules.linear.Identity", "module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}),
		"2_MultiVectorMask/config.json": object(map[string]any{"skiplist_words": strings.Split(punctuation, ""), "skiplist_tasks": []string{"document"}, "keep_only_token_ids": nil}),
		"3_Normalize/config.json":       object(tokens),
	}
	if err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	for name, b := range files {
		path := filepath.Join(tmp, filepath.FromSlash(name))
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, b, 0o644)); err != nil {
			return fmt.Errorf("golbertmini: %w", err)
		}
	}
	if err := weights(filepath.Join(tmp, "model.safetensors"), m.Tensors); err != nil {
		return err
	}
	if err := weights(filepath.Join(tmp, "1_Dense", "model.safetensors"), []checkpoint.Tensor{checkpoint.Float32Tensor("linear.weight", m.Projection, m.Dim, m.Hidden)}); err != nil {
		return err
	}
	if err := errors.Join(os.Chmod(tmp, 0o755), os.Rename(tmp, dir)); err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	return nil
}

func weights(path string, ts []checkpoint.Tensor) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("golbertmini: %w", err)
	}
	if err := errors.Join(checkpoint.WriteSafeTensors(f, ts, map[string]string{"format": "pt"}), f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("golbertmini: %s: %w", path, err)
	}
	return nil
}
