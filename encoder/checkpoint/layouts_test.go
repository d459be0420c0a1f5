package checkpoint

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/tokenizer"
)

type obj = map[string]any

// dirOf writes files into a new directory: strings and []byte as they are, tensors as safetensors, nil not at
// all, anything else as JSON.
func dirOf(t *testing.T, files obj) string {
	t.Helper()
	dir := t.TempDir()
	for name, v := range files {
		var b []byte
		switch v := v.(type) {
		case nil:
			continue
		case []byte:
			b = v
		case string:
			b = []byte(v)
		case []Tensor:
			var buf bytes.Buffer
			require.NoError(t, WriteSafeTensors(&buf, v, nil))
			b = buf.Bytes()
		default:
			var err error
			b, err = json.Marshal(v)
			require.NoError(t, err)
		}
		path := filepath.Join(dir, filepath.FromSlash(name))
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, b, 0o600))
	}
	return dir
}

func tensor(name string, shape ...int) Tensor {
	n := 1
	for _, d := range shape {
		n *= d
	}
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return Tensor{Name: name, DType: F32, Shape: shape, Data: f32s(v...)}
}

const vocabTxt = "[PAD]\n[unused0]\n[unused1]\n[UNK]\n[CLS]\n[SEP]\n[MASK]\n!\n.\n,\na\nb\n[Q] x\n"

var tinyConfig = obj{"model_type": "bert", "hidden_size": 4, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 8, "vocab_size": 20, "max_position_embeddings": 64}

// with returns a copy of m with some members set.
func with(m obj, set obj) obj {
	c := obj{}
	for k, v := range m {
		c[k] = v
	}
	for k, v := range set {
		c[k] = v
	}
	return c
}

func plainFiles() obj {
	return obj{
		"config.json":       tinyConfig,
		"vocab.txt":         vocabTxt,
		"model.safetensors": []Tensor{tensor("bert.embeddings.word_embeddings.weight", 20, 4)},
	}
}

func TestGoldenModel(t *testing.T) {
	config, err := os.ReadFile("testdata/bert/config.json")
	require.NoError(t, err)
	weights, err := os.ReadFile("testdata/bert/model.safetensors")
	require.NoError(t, err)
	c, err := Open(dirOf(t, obj{"config.json": config, "model.safetensors": weights, "vocab.txt": vocabTxt}))
	require.NoError(t, err)
	require.Equal(t, HuggingFace, c.Layout)
	require.Equal(t, "", c.Prefix)
	require.Empty(t, c.Head)
	c.Config.Raw = nil
	require.Equal(t, Config{
		ModelType: "bert", Architectures: []string{"BertModel"}, VocabSize: 300, HiddenSize: 32, NumLayers: 2, NumHeads: 2,
		IntermediateSize: 80, HiddenAct: "gelu", LayerNormEps: 1e-12, MaxPositions: 64, TypeVocabSize: 2, PositionEmbeddingType: "absolute",
	}, c.Config)
	require.Equal(t, Retrieval{QueryLength: 64, DocumentLength: 64, ExpansionID: 6}, c.Retrieval)
	require.NoError(t, c.Close())
}

func TestPlain(t *testing.T) {
	files := plainFiles()
	files["modules.json"] = []obj{
		{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
		{"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
	}
	files["sentence_bert_config.json"] = obj{"max_seq_length": 48, "do_lower_case": true}
	files["tokenizer_config.json"] = obj{
		"do_lower_case": false, "mask_token": obj{"content": "[Q] x"}, "pad_token": "[PAD]", "unk_token": nil,
		"added_tokens_decoder": obj{
			"14": obj{"content": "[D] ", "special": true}, "13": obj{"content": "[Q] ", "special": true}, "3": obj{"content": "[UNK]", "special": true},
		},
	}
	c, err := Open(dirOf(t, files))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, HuggingFace, c.Layout)
	require.Equal(t, "bert.", c.Prefix)
	require.Equal(t, Retrieval{QueryLength: 48, DocumentLength: 48, ExpansionID: 12, LowerCase: true, StripSpace: true}, c.Retrieval)
	require.False(t, c.Tokenizer.LowerCases())
	for name, want := range map[string]int32{"[Q] ": 13, "[D] ": 14} {
		id, ok := c.Tokenizer.ID(name)
		require.True(t, ok)
		require.Equal(t, want, id)
	}
}

// TestAddedTokensFile: the older place of added tokens, without tokenizer_config.json.
func TestAddedTokensFile(t *testing.T) {
	c, err := Open(dirOf(t, with(plainFiles(), obj{"added_tokens.json": obj{"[D] ": 14, "[Q] ": 13}})))
	require.NoError(t, err)
	defer c.Close()
	require.Equal(t, 15, c.Tokenizer.VocabSize())
	id, ok := c.Tokenizer.ID("[Q] ")
	require.True(t, ok)
	require.Equal(t, int32(13), id)
	require.True(t, c.Tokenizer.LowerCases())
}

func stanfordFiles(meta any) obj {
	return obj{
		"config.json":       with(tinyConfig, obj{"architectures": []string{"HF_ColBERT"}}),
		"vocab.txt":         vocabTxt,
		"model.safetensors": []Tensor{tensor("bert.embeddings.word_embeddings.weight", 20, 4), tensor("linear.weight", 3, 4)},
		"artifact.metadata": meta,
	}
}

func TestStanford(t *testing.T) {
	// colbert-ai writes nulls, and slashes with an escape.
	meta := `{"query_token_id":"[unused0]","doc_token_id":"[unused1]","query_maxlen":null,"doc_maxlen":180,"dim":3,
		"mask_punctuation":true,"attend_to_mask_tokens":true,"similarity":"l2","interaction":"colbert","checkpoint":"a\/b","meta":{"cmd":""}}`
	c, err := Open(dirOf(t, stanfordFiles(meta)))
	require.NoError(t, err)
	require.Equal(t, Stanford, c.Layout)
	require.Equal(t, "bert.", c.Prefix)
	require.Equal(t, []Dense{{In: 4, Out: 3, Weight: []float32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, Activation: "identity"}}, c.Head)
	require.Equal(t, Retrieval{
		Query: Marker{"[unused0]", 1}, Document: Marker{"[unused1]", 2}, QueryLength: 32, DocumentLength: 180,
		Expansion: true, AttendExpansion: true, ExpansionID: 6, Similarity: L2,
		Skiplist: []int32{3, 7, 8, 9}, // marks that are no token encode to [UNK], and colbert-ai skips that
	}, c.Retrieval)
	require.NoError(t, c.Close())

	// Defaults without metadata; markers that the vocabulary lacks become the unknown token.
	files := stanfordFiles(nil)
	c, err = Open(dirOf(t, files))
	require.NoError(t, err)
	require.Equal(t, Stanford, c.Layout)
	require.Equal(t, 32, c.Retrieval.QueryLength)
	require.Equal(t, 220, c.Retrieval.DocumentLength)
	require.False(t, c.Retrieval.AttendExpansion)
	require.NoError(t, c.Close())
	c, err = Open(dirOf(t, stanfordFiles(obj{"query_token_id": "[Q]", "doc_token_id": "[D]", "mask_punctuation": false})))
	require.NoError(t, err)
	require.Equal(t, Marker{"[Q]", 3}, c.Retrieval.Query)
	require.Equal(t, Marker{"[D]", 3}, c.Retrieval.Document)
	require.Empty(t, c.Retrieval.Skiplist)
	require.NoError(t, c.Close())

	for field, meta := range map[string]obj{
		"dim": {"dim": 128}, "query_maxlen": {"query_maxlen": 0}, "doc_maxlen": {"doc_maxlen": -5},
	} {
		_, err = Open(dirOf(t, stanfordFiles(meta)))
		require.ErrorIs(t, err, ErrCorrupt, field)
		require.ErrorContains(t, err, "artifact.metadata: "+field)
	}
	for _, meta := range []obj{{"similarity": "dot"}, {"interaction": "flipr"}} {
		_, err = Open(dirOf(t, stanfordFiles(meta)))
		require.ErrorIs(t, err, ErrUnsupported)
	}
	files = stanfordFiles(nil)
	files["model.safetensors"] = []Tensor{tensor("bert.embeddings.word_embeddings.weight", 20, 4)}
	_, err = Open(dirOf(t, files))
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "linear.weight")
	files["model.safetensors"] = []Tensor{tensor("linear.weight", 3, 5)}
	_, err = Open(dirOf(t, files))
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "linear.weight")
}

func tokenizerJSON(added ...string) obj {
	list := []obj{}
	for i, a := range append([]string{"[UNK]", "[CLS]", "[SEP]", "[MASK]", "[PAD]"}, added...) {
		list = append(list, obj{"id": i, "content": a, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true})
	}
	return obj{
		"version": "1.0", "added_tokens": list, "truncation": nil, "padding": nil,
		"normalizer":     obj{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil, "lowercase": true},
		"pre_tokenizer":  obj{"type": "BertPreTokenizer"},
		"post_processor": obj{"type": "BertProcessing", "sep": []any{"[SEP]", 2}, "cls": []any{"[CLS]", 1}},
		"model": obj{
			"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
			"vocab": obj{"[UNK]": 0, "[CLS]": 1, "[SEP]": 2, "[MASK]": 3, "[PAD]": 4, "a": 5, "!": 6, ",": 7, "the": 8},
		},
	}
}

func pylateFiles(config obj) obj {
	return obj{
		"modules.json": []obj{
			{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
			{"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
			{"idx": 2, "name": "2", "path": "2_Dense", "type": "pylate.models.Dense.Dense"},
		},
		"config.json":       tinyConfig,
		"model.safetensors": []Tensor{tensor("embeddings.word_embeddings.weight", 20, 4)},
		"tokenizer.json":    tokenizerJSON("[Q] ", "[D] "),
		"config_sentence_transformers.json": with(obj{
			"__version__": obj{}, "prompts": obj{}, "default_prompt_name": nil, "similarity_fn_name": "MaxSim",
		}, config),
		"1_Dense/config.json": obj{
			"in_features": 4, "out_features": 4, "bias": false, "use_residual": true,
			"activation_function": "torch.nn.modules.activation.GELU",
		},
		"1_Dense/model.safetensors": []Tensor{tensor("linear.weight", 4, 4)},
		"2_Dense/config.json":       obj{"in_features": 4, "out_features": 2, "bias": true, "use_residual": true, "activation_function": "torch.nn.modules.linear.Identity"},
		"2_Dense/model.safetensors": []Tensor{tensor("linear.weight", 2, 4), tensor("linear.bias", 2), tensor("residual.weight", 2, 4)},
	}
}

func TestPyLate(t *testing.T) {
	c, err := Open(dirOf(t, pylateFiles(obj{})))
	require.NoError(t, err)
	require.Equal(t, PyLate, c.Layout)
	require.Equal(t, "", c.Prefix)
	eight := []float32{0, 1, 2, 3, 4, 5, 6, 7}
	require.Equal(t, []Dense{
		{In: 4, Out: 4, Weight: append(append([]float32{}, eight...), 8, 9, 10, 11, 12, 13, 14, 15), Activation: "gelu", Residual: true},
		{In: 4, Out: 2, Weight: eight, Bias: []float32{0, 1}, Activation: "identity", Residual: true, ResidualWeight: eight},
	}, c.Head)
	require.Equal(t, Retrieval{
		Query: Marker{"[Q] ", 9}, Document: Marker{"[D] ", 10}, QueryLength: 32, DocumentLength: 180,
		Expansion: true, ExpansionID: 3, StripSpace: true,
		Skiplist: []int32{0, 6, 7}, // PyLate keeps the unknown token for marks that are no token
	}, c.Retrieval)
	require.NoError(t, c.Close())

	c, err = Open(dirOf(t, pylateFiles(obj{
		"query_prefix": "[D] ", "document_prefix": "", "query_length": 48, "document_length": 300, "model_type": "ColBERT",
		"do_query_expansion": false, "attend_to_expansion_tokens": true, "skiplist_words": []string{"the", "a", "the"},
	})))
	require.NoError(t, err)
	require.Equal(t, Retrieval{
		Query: Marker{"[D] ", 10}, QueryLength: 48, DocumentLength: 300, AttendExpansion: true, ExpansionID: 3, StripSpace: true, Skiplist: []int32{5, 8},
	}, c.Retrieval)
	require.NoError(t, c.Close())
	c, err = Open(dirOf(t, pylateFiles(obj{"skiplist_words": []string{}})))
	require.NoError(t, err)
	require.Empty(t, c.Retrieval.Skiplist)
	require.NoError(t, c.Close())

	for name, tc := range map[string]struct {
		set  obj
		want error
		text string
	}{
		"marker":       {obj{"tokenizer.json": tokenizerJSON("[Q] ")}, ErrCorrupt, "document_prefix"},
		"type":         {obj{"config_sentence_transformers.json": obj{"query_length": "32"}}, ErrCorrupt, "query_length"},
		"length":       {obj{"config_sentence_transformers.json": obj{"query_length": -1}}, ErrCorrupt, "query_length"},
		"expansion":    {obj{"config_sentence_transformers.json": obj{"query_length": 1 << 20, "do_query_expansion": true}}, ErrCorrupt, "filled up to 1048576 tokens"},
		"similarity":   {obj{"config_sentence_transformers.json": obj{"similarity_fn_name": "euclidean"}}, ErrUnsupported, "euclidean"},
		"module":       {obj{"modules.json": []obj{{"type": "x.Transformer"}, {"type": "pylate.models.New"}}}, ErrUnsupported, "pylate.models.New"},
		"path":         {obj{"modules.json": []obj{{"type": "x.Transformer"}, {"type": "pylate.models.Dense.Dense", "path": "../1_Dense"}}}, ErrCorrupt, "../1_Dense"},
		"absolute":     {obj{"modules.json": []obj{{"type": "x.Transformer", "path": "/etc"}}}, ErrCorrupt, "/etc"},
		"no modules":   {obj{"modules.json": []obj{}}, ErrCorrupt, "modules.json"},
		"not first":    {obj{"modules.json": []obj{{"type": "x.Dense"}}}, ErrCorrupt, "modules.json"},
		"activation":   {obj{"1_Dense/config.json": obj{"in_features": 4, "out_features": 4, "activation_function": "torch.nn.Mish"}}, ErrUnsupported, "Mish"},
		"width":        {obj{"2_Dense/config.json": obj{"in_features": 5, "out_features": 2}}, ErrCorrupt, "in_features"},
		"shape":        {obj{"1_Dense/model.safetensors": []Tensor{tensor("linear.weight", 4, 3)}}, ErrCorrupt, "linear.weight"},
		"no bias":      {obj{"2_Dense/model.safetensors": []Tensor{tensor("linear.weight", 2, 4)}}, ErrCorrupt, "linear.bias"},
		"no residual":  {obj{"2_Dense/model.safetensors": []Tensor{tensor("linear.weight", 2, 4), tensor("linear.bias", 2)}}, ErrCorrupt, "residual.weight"},
		"pickled head": {obj{"1_Dense/model.safetensors": nil, "1_Dense/pytorch_model.bin": "PK"}, ErrCorrupt, "1_Dense/pytorch_model.bin"},
		"missing head": {obj{"1_Dense/config.json": nil}, ErrNotFound, "1_Dense"},
	} {
		_, err := Open(dirOf(t, with(pylateFiles(obj{}), tc.set)))
		require.ErrorIs(t, err, tc.want, name)
		require.ErrorContains(t, err, tc.text, name)
	}
}

func TestOpenErrors(t *testing.T) {
	_, err := Open(filepath.Join(t.TempDir(), "absent"))
	require.ErrorIs(t, err, ErrNotFound)
	_, err = Open(t.TempDir())
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorContains(t, err, "config.json")
	for name, tc := range map[string]struct {
		set  obj
		want error
		text string
	}{
		"config cut":     {obj{"config.json": `{"model_type":`}, ErrCorrupt, "config.json"},
		"config type":    {obj{"config.json": obj{"hidden_size": "4"}}, ErrCorrupt, "hidden_size"},
		"config range":   {obj{"config.json": obj{"hidden_size": -4}}, ErrCorrupt, "hidden_size"},
		"config huge":    {obj{"config.json": obj{"num_hidden_layers": 1 << 40}}, ErrCorrupt, "num_hidden_layers"},
		"heads":          {obj{"config.json": with(tinyConfig, obj{"num_attention_heads": 3})}, ErrCorrupt, "num_attention_heads"},
		"eps":            {obj{"config.json": with(tinyConfig, obj{"layer_norm_eps": -1})}, ErrCorrupt, "layer_norm_eps"},
		"no tokenizer":   {obj{"vocab.txt": nil}, ErrNotFound, "vocab.txt"},
		"spm only":       {obj{"vocab.txt": nil, "sentencepiece.bpe.model": "x"}, ErrUnsupported, "sentencepiece.bpe.model"},
		"japanese":       {obj{"tokenizer_config.json": obj{"tokenizer_class": "BertJapaneseTokenizer"}}, ErrUnsupported, "BertJapaneseTokenizer"},
		"no weights":     {obj{"model.safetensors": nil}, ErrNotFound, "model.safetensors"},
		"pickle":         {obj{"model.safetensors": nil, "pytorch_model.bin": "PK"}, ErrCorrupt, "pytorch_model.bin"},
		"cut weights":    {obj{"model.safetensors": "123"}, ErrCorrupt, "model.safetensors"},
		"bad tokenizer":  {obj{"tokenizer.json": "{}"}, tokenizer.ErrCorrupt, "tokenizer.json"},
		"other model":    {obj{"tokenizer.json": obj{"model": obj{"type": "Phonemes"}}}, tokenizer.ErrUnsupported, "Phonemes"},
		"short vocab":    {obj{"vocab.txt": "a\nb\n"}, tokenizer.ErrCorrupt, "vocab.txt"},
		"special tokens": {obj{"special_tokens_map.json": obj{"mask_token": 3}}, ErrCorrupt, "special_tokens_map.json"},
		"id":             {obj{"tokenizer_config.json": obj{"added_tokens_decoder": obj{"x": obj{"content": "y"}}}}, ErrCorrupt, "added_tokens_decoder"},
		"multivector": {obj{"modules.json": []obj{{"type": "sentence_transformers.models.Transformer"}, {"type": "sentence_transformers.models.MultiVectorMask"}}},
			ErrUnsupported, "no Normalize"},
	} {
		_, err := Open(dirOf(t, with(plainFiles(), tc.set)))
		require.ErrorIs(t, err, tc.want, name)
		require.ErrorContains(t, err, tc.text, name)
	}
}

func TestFindPrefix(t *testing.T) {
	for want, names := range map[string][]string{
		"":                  {"linear.weight", "embeddings.word_embeddings.weight"},
		"bert.":             {"cls.predictions.bias", "bert.embeddings.word_embeddings.weight"},
		"roberta.":          {"q.roberta.embeddings.word_embeddings.weight", "roberta.embeddings.word_embeddings.weight"},
		"0.auto_model.":     {"0.auto_model.embeddings.tok_embeddings.weight"},
		"encoder_of_mine.x": nil,
	} {
		if names == nil {
			want, names = "", []string{"encoder_of_mine.xembeddings.word_embeddings.weight"}
		}
		require.Equal(t, want, findPrefix(names))
	}
}

// FuzzConfig: no configuration crashes, and what is accepted is within bounds.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"model_type":"bert","hidden_size":4,"num_attention_heads":2,"layer_norm_eps":1e-5}`))
	f.Add([]byte(`{"hidden_size":1e400}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := ParseConfig("config.json", b)
		if err == nil && (c.HiddenSize < 0 || c.HiddenSize > maxSize || c.NumLayers < 0 || c.VocabSize < 0) {
			t.Fatalf("%+v", c)
		}
	})
}

func TestElectraConfig(t *testing.T) {
	c, err := ParseConfig("config.json", []byte(`{"model_type":"electra"}`))
	require.NoError(t, err)
	require.Equal(t, 128, c.EmbeddingSize)
	require.Equal(t, 256, c.HiddenSize)
	c, err = ParseConfig("config.json", []byte(`{"model_type":"electra","embedding_size":768,"hidden_size":768,"num_attention_heads":12}`))
	require.NoError(t, err)
	require.Equal(t, 768, c.EmbeddingSize)
}
