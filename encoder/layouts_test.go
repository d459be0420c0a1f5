package encoder

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// punctuation is Python's string.punctuation.
const punctuation = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

// tinyVocab is a vocabulary in which every word of the tests is one token.
var tinyVocab = append(append([]string{"[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"},
	strings.Split(punctuation, "")...),
	"red", "green", "blue", "sky", "sea", "sun", "moon", "star", "##s", "##y", "a", "b", "c", "i", "\u00e9")

// id returns the number of a token of tinyVocab.
func id(t testing.TB, token string) int32 {
	t.Helper()
	i := slices.Index(tinyVocab, token)
	require.GreaterOrEqual(t, i, 0, token)
	return int32(i)
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	require.NoError(t, os.WriteFile(path, b, 0o666))
}

func writeTensors(t testing.TB, path string, tensors []checkpoint.Tensor) {
	t.Helper()
	require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o777))
	f, err := os.Create(path)
	require.NoError(t, err)
	require.NoError(t, checkpoint.WriteSafeTensors(f, tensors, map[string]string{"format": "pt"}))
	require.NoError(t, f.Close())
}

func f32Tensor(name string, shape []int, data []float32) checkpoint.Tensor {
	b := make([]byte, 0, 4*len(data))
	for _, v := range data {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shape, Data: b}
}

// backboneTensors lists a model's tensors under a prefix.
func backboneTensors(m *tinyModel, prefix string) []checkpoint.Tensor {
	var ts []checkpoint.Tensor
	for _, n := range m.order {
		ts = append(ts, f32Tensor(prefix+n, m.tensors[n].shape, m.tensors[n].data))
	}
	return ts
}

func writeConfig(t testing.TB, dir string, m *tinyModel, arch string) {
	writeJSON(t, filepath.Join(dir, "config.json"), map[string]any{
		"architectures": []string{arch}, "model_type": "bert", "vocab_size": m.vocab, "hidden_size": m.hidden,
		"num_hidden_layers": m.layers, "num_attention_heads": m.heads, "intermediate_size": m.ffn, "hidden_act": "gelu",
		"layer_norm_eps": 1e-12, "max_position_embeddings": m.positions, "type_vocab_size": 2, "pad_token_id": 0,
		"position_embedding_type": "absolute",
	})
}

func writeVocab(t testing.TB, dir string) {
	require.NoError(t, os.WriteFile(filepath.Join(dir, "vocab.txt"), []byte(strings.Join(tinyVocab, "\n")+"\n"), 0o666))
	writeJSON(t, filepath.Join(dir, "tokenizer_config.json"), map[string]any{"do_lower_case": true, "tokenizer_class": "BertTokenizer"})
}

// refHead is one projection of the reference.
type refHead struct {
	in, out  int
	w, bias  []float32
	act      func(float64) float64
	residual bool
	r        []float32
}

func (h refHead) apply(x []float64) []float64 {
	y := refLinear(x, h.w, h.out)
	for i := range y {
		if h.bias != nil {
			y[i] += float64(h.bias[i])
		}
		if h.act != nil {
			y[i] = h.act(y[i])
		}
	}
	if h.residual {
		add := x
		if h.r != nil {
			add = refLinear(x, h.r, h.out)
		}
		for i := range y {
			y[i] += add[i]
		}
	}
	return y
}

func randoms(r *rand.Rand, n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(.3 * r.NormFloat64())
	}
	return v
}

// plainDir writes a checkpoint in the plain Hugging Face layout.
func plainDir(t testing.TB) (string, *tinyModel) {
	m, dir := newTinyModel(len(tinyVocab), 1), filepath.Join(t.TempDir(), "plain")
	writeConfig(t, dir, m, "BertModel")
	writeVocab(t, dir)
	writeTensors(t, filepath.Join(dir, "model.safetensors"), backboneTensors(m, ""))
	return dir, m
}

// stanfordDir writes a checkpoint in the Stanford layout.
func stanfordDir(t testing.TB, meta map[string]any) (string, *tinyModel, []refHead) {
	m, dir := newTinyModel(len(tinyVocab), 2), filepath.Join(t.TempDir(), "stanford")
	writeConfig(t, dir, m, "HF_ColBERT")
	writeVocab(t, dir)
	writeJSON(t, filepath.Join(dir, "artifact.metadata"), meta)
	h := refHead{in: m.hidden, out: 8, w: randoms(rand.New(rand.NewPCG(3, 3)), 8*m.hidden)}
	writeTensors(t, filepath.Join(dir, "model.safetensors"), append(backboneTensors(m, "bert."), f32Tensor("linear.weight", []int{8, m.hidden}, h.w)))
	return dir, m, []refHead{h}
}

// pylateDir writes a checkpoint in the PyLate layout with a head of two projections: the first with GELU and a
// residual matrix, the second with bias and without activation. The markers are added tokens after the vocabulary.
func pylateDir(t testing.TB, settings map[string]any, lower bool) (string, *tinyModel, []refHead) {
	vocab := len(tinyVocab)
	m, dir := newTinyModel(vocab+2, 4), filepath.Join(t.TempDir(), "pylate")
	writeConfig(t, dir, m, "BertModel")
	added := func(id int, s string, special bool) map[string]any {
		return map[string]any{"id": id, "content": s, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": special}
	}
	ids, tokens := map[string]int{}, []map[string]any{}
	for i, s := range tinyVocab {
		ids[s] = i
		if strings.HasPrefix(s, "[") && len(s) > 1 {
			tokens = append(tokens, added(i, s, true))
		}
	}
	tokens = append(tokens, added(vocab, "[Q] ", false), added(vocab+1, "[D] ", false))
	special := func(s string) map[string]any {
		return map[string]any{"id": s, "ids": []int{ids[s]}, "tokens": []string{s}}
	}
	tok := func(s string) map[string]any {
		return map[string]any{"SpecialToken": map[string]any{"id": s, "type_id": 0}}
	}
	seq := map[string]any{"Sequence": map[string]any{"id": "A", "type_id": 0}}
	writeJSON(t, filepath.Join(dir, "tokenizer.json"), map[string]any{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": tokens,
		"normalizer":    map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil, "lowercase": !lower},
		"pre_tokenizer": map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{"type": "TemplateProcessing", "single": []any{tok("[CLS]"), seq, tok("[SEP]")},
			"pair":           []any{tok("[CLS]"), seq, tok("[SEP]"), map[string]any{"Sequence": map[string]any{"id": "B", "type_id": 1}}, tok("[SEP]")},
			"special_tokens": map[string]any{"[CLS]": special("[CLS]"), "[SEP]": special("[SEP]")}},
		"decoder": nil,
		"model":   map[string]any{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": ids},
	})
	writeJSON(t, filepath.Join(dir, "tokenizer_config.json"), map[string]any{"mask_token": "[MASK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"})
	writeJSON(t, filepath.Join(dir, "special_tokens_map.json"), map[string]any{"mask_token": "[MASK]", "pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "unk_token": "[UNK]"})
	writeJSON(t, filepath.Join(dir, "sentence_bert_config.json"), map[string]any{"max_seq_length": 40, "do_lower_case": lower})
	writeJSON(t, filepath.Join(dir, "config_sentence_transformers.json"), settings)
	writeJSON(t, filepath.Join(dir, "modules.json"), []map[string]any{
		{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
		{"idx": 1, "name": "1", "path": "1_Dense", "type": "pylate.models.Dense.Dense"},
		{"idx": 2, "name": "2", "path": "2_Dense", "type": "pylate.models.Dense.Dense"},
	})
	r := rand.New(rand.NewPCG(5, 5))
	a := refHead{in: m.hidden, out: 16, w: randoms(r, 16*m.hidden), act: refGELU, residual: true, r: randoms(r, 16*m.hidden)}
	b := refHead{in: 16, out: 6, w: randoms(r, 6*16), bias: randoms(r, 6)}
	writeJSON(t, filepath.Join(dir, "1_Dense/config.json"), map[string]any{"in_features": a.in, "out_features": a.out, "bias": false, "activation_function": "torch.nn.modules.activation.GELU", "use_residual": true})
	writeTensors(t, filepath.Join(dir, "1_Dense/model.safetensors"), []checkpoint.Tensor{f32Tensor("linear.weight", []int{a.out, a.in}, a.w), f32Tensor("residual.weight", []int{a.out, a.in}, a.r)})
	writeJSON(t, filepath.Join(dir, "2_Dense/config.json"), map[string]any{"in_features": b.in, "out_features": b.out, "bias": true, "activation_function": "torch.nn.modules.linear.Identity", "use_residual": false})
	writeTensors(t, filepath.Join(dir, "2_Dense/model.safetensors"), []checkpoint.Tensor{f32Tensor("linear.weight", []int{b.out, b.in}, b.w), f32Tensor("linear.bias", []int{b.out}, b.bias)})
	writeTensors(t, filepath.Join(dir, "model.safetensors"), backboneTensors(m, ""))
	return dir, m, []refHead{a, b}
}
