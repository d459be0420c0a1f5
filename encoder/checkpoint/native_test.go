package checkpoint

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/torchpt"
)

const st6 = "sentence_transformers.base.modules."

// nativeFiles is what MultiVectorEncoder.save_pretrained writes.
func nativeFiles() obj {
	return obj{
		"modules.json": []obj{
			{"idx": 0, "path": "", "type": st6 + "transformer.Transformer"},
			{"idx": 1, "path": "1_Dense", "type": st6 + "dense.Dense"},
			{"idx": 2, "path": "2_MultiVectorMask", "type": "sentence_transformers.multi_vector_encoder.modules.multi_vector_mask.MultiVectorMask"},
			{"idx": 3, "path": "3_Normalize", "type": st6 + "normalize.Normalize"},
			{"idx": 4, "path": "4_HierarchicalTokenPooling", "type": "x.HierarchicalTokenPooling"},
		},
		"config.json":           tinyConfig,
		"model.safetensors":     []Tensor{tensor("embeddings.word_embeddings.weight", 20, 4)},
		"tokenizer.json":        tokenizerJSON("[Q] ", "[D] "),
		"tokenizer_config.json": obj{"model_max_length": 40, "mask_token": "[MASK]"},
		"config_sentence_transformers.json": obj{
			"model_type": "MultiVectorEncoder", "prompts": obj{"query": "[Q] ", "document": nil}, "similarity_fn_name": "meanmaxsim",
		},
		"sentence_bert_config.json":              obj{"transformer_task": "feature-extraction", "query_expansion": obj{"strategy": "min", "length": 8}},
		"1_Dense/config.json":                    obj{"in_features": 4, "out_features": 2, "bias": false, "module_input_name": "token_embeddings"},
		"1_Dense/model.safetensors":              []Tensor{tensor("linear.weight", 2, 4)},
		"2_MultiVectorMask/config.json":          obj{"skiplist_words": []string{"the", "?", "!"}, "skiplist_tasks": []string{"query"}},
		"3_Normalize/config.json":                obj{"module_input_name": "token_embeddings"},
		"4_HierarchicalTokenPooling/config.json": obj{"pool_factor": 2.5},
	}
}

func TestNative(t *testing.T) {
	c, err := Open(dirOf(t, nativeFiles()))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, SentenceTransformers, c.Layout)
	require.Equal(t, []Dense{{In: 4, Out: 2, Weight: []float32{0, 1, 2, 3, 4, 5, 6, 7}, Activation: "tanh"}}, c.Head)
	require.Equal(t, Retrieval{
		QueryLength: 40, DocumentLength: 40, Expansion: true, ExpansionLength: 8, ExpansionID: 3, Similarity: Mean,
		QuerySkiplist: []int32{6, 8}, // words that are no token do not count
		QueryPrompt:   "[Q] ",
		Pooling:       &Pooling{Factor: 2.5, Protected: 1, Documents: true},
	}, c.Retrieval)
}

func TestNativeErrors(t *testing.T) {
	module := func(i int, m obj) []obj {
		ms := append([]obj{}, nativeFiles()["modules.json"].([]obj)...)
		ms[i] = m
		return ms
	}
	expansion := func(e any) obj { return obj{"query_expansion": e} }
	for name, tc := range map[string]struct {
		set  obj
		want error
		text string
	}{
		"router":       {obj{"modules.json": module(0, obj{"type": st6 + "router.Router"})}, ErrUnsupported, "Router"},
		"module":       {obj{"modules.json": module(3, obj{"type": "x.WordWeights"})}, ErrUnsupported, "x.WordWeights"},
		"no normalize": {obj{"3_Normalize/config.json": obj{}, "modules.json": nativeFiles()["modules.json"].([]obj)[:4]}, ErrUnsupported, "no Normalize"},
		"early pool":   {obj{"3_Normalize/config.json": nil}, ErrUnsupported, "before Normalize"},
		"late dense":   {obj{"modules.json": module(4, obj{"type": "Dense", "path": "1_Dense"})}, ErrUnsupported, "Dense after Normalize"},
		"dense input":  {obj{"1_Dense/config.json": obj{"in_features": 4, "out_features": 2, "module_input_name": "sentence_embedding"}}, ErrUnsupported, "sentence_embedding"},
		"path":         {obj{"modules.json": module(2, obj{"type": "x.MultiVectorMask", "path": "../x"})}, ErrCorrupt, "../x"},
		"no mask":      {obj{"2_MultiVectorMask/config.json": nil}, ErrNotFound, "2_MultiVectorMask"},
		"images":       {obj{"2_MultiVectorMask/config.json": obj{"keep_only_token_ids": []int{3}}}, ErrUnsupported, "keep_only_token_ids"},
		"task":         {obj{"2_MultiVectorMask/config.json": obj{"skiplist_tasks": []string{"title"}}}, ErrUnsupported, "title"},
		"factor":       {obj{"4_HierarchicalTokenPooling/config.json": obj{"pool_factor": 0.5}}, ErrCorrupt, "pool_factor"},
		"protected":    {obj{"4_HierarchicalTokenPooling/config.json": obj{"num_protected_tokens": -1}}, ErrCorrupt, "pool_factor"},
		"similarity":   {obj{"config_sentence_transformers.json": obj{"similarity_fn_name": "xtr"}}, ErrUnsupported, "xtr"},
		"strategy":     {obj{"sentence_bert_config.json": expansion(obj{"strategy": "max", "length": 8})}, ErrUnsupported, `"max"`},
		"length":       {obj{"sentence_bert_config.json": expansion(obj{"strategy": "min", "length": 0})}, ErrCorrupt, "query_expansion.length"},
		"token":        {obj{"sentence_bert_config.json": expansion(obj{"strategy": "min", "length": 8, "token": "<x>"})}, ErrCorrupt, "<x>"},
		"query length": {obj{"sentence_bert_config.json": obj{"query_length": -1}}, ErrCorrupt, "query_length"},
		"causal":       {obj{"sentence_bert_config.json": obj{"transformer_task": "text-generation"}}, ErrUnsupported, "text-generation"},
		"chat":         {obj{"sentence_bert_config.json": obj{"modality_config": obj{"message": obj{"method": "forward"}}}}, ErrUnsupported, "chat template"},
		"processing":   {obj{"sentence_bert_config.json": obj{"processing_kwargs": obj{"text": obj{"max_length": 4}}}}, ErrUnsupported, "processing_kwargs"},
	} {
		_, err := Open(dirOf(t, with(nativeFiles(), tc.set)))
		require.ErrorIs(t, err, tc.want, name)
		require.ErrorContains(t, err, tc.text, name)
	}
}

// TestSingleVector: the projection of a single-vector model goes to its tokens.
func TestSingleVector(t *testing.T) {
	files := with(nativeFiles(), obj{
		"modules.json": []obj{
			{"path": "", "type": "sentence_transformers.models.Transformer"},
			{"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
			{"path": "1_Dense", "type": "sentence_transformers.models.Dense"},
		},
		"config_sentence_transformers.json": obj{"similarity_fn_name": "cosine", "prompts": obj{}},
		"1_Dense/config.json":               obj{"in_features": 4, "out_features": 2, "bias": false, "activation_function": "torch.nn.modules.linear.Identity"},
		"sentence_bert_config.json":         obj{"max_seq_length": 24, "do_lower_case": false},
	})
	c, err := Open(dirOf(t, files))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, SentenceTransformers, c.Layout)
	require.Len(t, c.Head, 1)
	require.Equal(t, "identity", c.Head[0].Activation)
	require.Equal(t, Retrieval{QueryLength: 24, DocumentLength: 24, ExpansionID: 3}, c.Retrieval)
}

func TestBGEM3Errors(t *testing.T) {
	tuple := func(ts ...*torchpt.Tensor) []byte {
		var buf bytes.Buffer
		require.NoError(t, torchpt.Write(&buf, "colbert_linear", ts...))
		return buf.Bytes()
	}
	for text, b := range map[string][]byte{
		"not a state dict":      tuple(&torchpt.Tensor{DType: torchpt.Float, Shape: []int{1}, Data: make([]byte, 4)}),
		"neither a ZIP archive": []byte("x"),
	} {
		_, err := Open(dirOf(t, with(plainFiles(), obj{"colbert_linear.pt": b})))
		require.ErrorContains(t, err, text)
		require.ErrorContains(t, err, "colbert_linear.pt")
	}
}
