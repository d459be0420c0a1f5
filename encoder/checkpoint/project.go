package checkpoint

import (
	"encoding/json"
	"fmt"
	"path/filepath"
)

// ProjectionOptions say how texts become vectors in a checkpoint that AddProjection makes. A nil pointer means the zero
// value.
type ProjectionOptions struct {
	// QueryLength and DocumentLength are in tokens, special ones included; 0 means 32 and 180.
	QueryLength, DocumentLength int
	// KeepPunctuation keeps the vectors of ASCII punctuation in documents.
	KeepPunctuation bool
	// QueryPrompt and DocumentPrompt are put in front of every text.
	QueryPrompt, DocumentPrompt string
	// ExpansionLength fills queries with MASK tokens up to this length; 0 means no expansion. AttendExpansion lets the
	// other tokens attend to them.
	ExpansionLength int
	AttendExpansion bool
}

// AddProjection makes a late-interaction checkpoint of a backbone: it writes to out, which must not exist, the plain
// checkpoint in dir (single-vector models of sentence-transformers are plain ones, too) with the projection d after it, in
// the layout of sentence-transformers' MultiVectorEncoder. Errors wrap ErrMismatch, ErrUnsupported for a checkpoint that
// has projections already, or are those of Open.
func AddProjection(out, dir string, d Dense, o *ProjectionOptions) error {
	if o == nil {
		o = new(ProjectionOptions)
	}
	c, err := OpenWith(dir, &Options{Words: wholeText{}})
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case c.Layout != HuggingFace:
		return fmt.Errorf("%w: adding a projection to the layout %v", ErrUnsupported, c.Layout)
	case d.In != c.Config.HiddenSize || d.Out < 1 || d.Out > maxDim || len(d.Weight) != d.In*d.Out || len(d.Bias) != 0 && len(d.Bias) != d.Out:
		return fmt.Errorf("%w: a projection from %d to %d values with %d weights and %d biases, after a hidden size of %d", ErrMismatch, d.In, d.Out, len(d.Weight), len(d.Bias), c.Config.HiddenSize)
	case d.Residual || d.Activation != "" && d.Activation != "identity":
		return fmt.Errorf("%w: adding a projection with activation %q or a residual", ErrUnsupported, d.Activation)
	}
	modules, err := readModules(dir)
	if err != nil {
		return err
	}
	root := filepath.Join(dir, rootFolder(modules))
	return newDir(out, func(tmp string) error {
		own := []string{"modules.json", "config_sentence_transformers.json", "sentence_bert_config.json"}
		if err := copySettings(tmp, root, own...); err != nil {
			return err
		}
		if err := copyWeights(tmp, root); err != nil {
			return err
		}
		var words []string
		if !o.KeepPunctuation {
			for _, r := range punctuation {
				words = append(words, string(r))
			}
		}
		q, n := or(positive(o.QueryLength), 32), or(positive(o.DocumentLength), 180)
		type object = map[string]any
		sentence := object{
			"transformer_task":   "feature-extraction",
			"modality_config":    object{"text": object{"method": "forward", "method_output_name": "last_hidden_state"}},
			"module_output_name": "token_embeddings",
			"do_lower_case":      c.Retrieval.LowerCase,
			"query_length":       q,
			"document_length":    n,
		}
		if o.ExpansionLength > 0 {
			sentence["query_expansion"] = object{"strategy": "min", "attend": o.AttendExpansion, "token": nil, "length": o.ExpansionLength}
		}
		const base = "sentence_transformers.base.modules."
		module := func(i int, path, kind string) object {
			return object{"idx": i, "name": fmt.Sprint(i), "path": path, "type": kind}
		}
		tokens := object{"module_input_name": "token_embeddings", "module_output_name": "token_embeddings"}
		for _, f := range []struct {
			name string
			v    any
		}{
			{"modules.json", []object{
				module(0, "", base+"transformer.Transformer"),
				module(1, "1_Dense", base+"dense.Dense"),
				module(2, "2_MultiVectorMask", "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"),
				module(3, "3_Normalize", base+"normalize.Normalize"),
			}},
			{"config_sentence_transformers.json", object{
				"model_type": "MultiVectorEncoder", "prompts": object{"query": o.QueryPrompt, "document": o.DocumentPrompt},
				"default_prompt_name": nil, "similarity_fn_name": nil,
			}},
			{"sentence_bert_config.json", sentence},
			{"1_Dense/config.json", object{
				"in_features": d.In, "out_features": d.Out, "bias": len(d.Bias) > 0, "activation_function": "torch.nn.modules.linear.Identity",
				"module_input_name": "token_embeddings", "module_output_name": "token_embeddings",
			}},
			{"2_MultiVectorMask/config.json", object{"skiplist_words": append([]string{}, words...), "skiplist_tasks": []string{"document"}, "keep_only_token_ids": nil}},
			{"3_Normalize/config.json", tokens},
		} {
			b, err := json.MarshalIndent(f.v, "", "  ")
			if err != nil {
				return fmt.Errorf("checkpoint: %s: %w", f.name, err)
			}
			if err := writeJSON(filepath.Join(tmp, filepath.FromSlash(f.name)), json.RawMessage(b)); err != nil {
				return err
			}
		}
		if err := newFile(filepath.Join(tmp, "1_Dense", "model.safetensors"), d.write); err != nil {
			return err
		}
		return reopen(tmp)
	})
}

// positive is nil for 0.
func positive(n int) *int {
	if n == 0 {
		return nil
	}
	return &n
}
