package checkpoint

import (
	"encoding/json"
	"fmt"
	"math"
	"path/filepath"
	"slices"
)

// Config is a backbone's config.json. The named fields are those that most architectures share, with the
// architecture's defaults for what the file leaves out where they are known (BERT); otherwise 0 means that the
// file does not say. Raw holds the whole object for everything else.
type Config struct {
	ModelType             string   // "bert", "xlm-roberta", "modernbert" ...
	Architectures         []string // "BertModel", "HF_ColBERT" ...
	VocabSize             int
	HiddenSize            int
	EmbeddingSize         int // of ELECTRA, where it may be less than HiddenSize
	NumLayers             int
	NumHeads              int
	IntermediateSize      int
	HiddenAct             string // "gelu" is the exact erf form
	LayerNormEps          float64
	MaxPositions          int
	TypeVocabSize         int
	PadTokenID            int
	PositionEmbeddingType string // "absolute" for BERT
	NameOrPath            string // _name_or_path, for display

	Raw json.RawMessage
}

// maxSize bounds the sizes in a configuration, so that products of two fit in an int.
const maxSize = 1 << 30

// ParseConfig reads the content of a config.json. The file name is for errors.
func ParseConfig(file string, b []byte) (Config, error) {
	var j struct {
		ModelType             string   `json:"model_type"`
		Architectures         []string `json:"architectures"`
		VocabSize             *int     `json:"vocab_size"`
		HiddenSize            *int     `json:"hidden_size"`
		EmbeddingSize         *int     `json:"embedding_size"`
		NumLayers             *int     `json:"num_hidden_layers"`
		NumHeads              *int     `json:"num_attention_heads"`
		IntermediateSize      *int     `json:"intermediate_size"`
		HiddenAct             *string  `json:"hidden_act"`
		LayerNormEps          *float64 `json:"layer_norm_eps"`
		MaxPositions          *int     `json:"max_position_embeddings"`
		TypeVocabSize         *int     `json:"type_vocab_size"`
		PadTokenID            *int     `json:"pad_token_id"`
		PositionEmbeddingType *string  `json:"position_embedding_type"`
		NameOrPath            string   `json:"_name_or_path"`
	}
	if err := decodeJSON(file, b, &j); err != nil {
		return Config{}, err
	}
	c := Config{ModelType: j.ModelType, Architectures: j.Architectures, NameOrPath: j.NameOrPath, Raw: append(json.RawMessage(nil), b...)}
	if k := c.ModelType; k == "roberta" || k == "xlm-roberta" || k == "camembert" || k == "xmod" {
		// What transformers' configuration classes assume.
		c.VocabSize, c.HiddenSize, c.NumLayers, c.NumHeads, c.IntermediateSize = 30522, 768, 12, 12, 3072
		c.HiddenAct, c.LayerNormEps, c.MaxPositions, c.TypeVocabSize = "gelu", 1e-12, 512, 2
		c.PositionEmbeddingType, c.PadTokenID = "absolute", 1
		if k == "roberta" {
			c.VocabSize = 50265
		}
	}
	if c.ModelType == "bert" { // what transformers' BertConfig assumes
		c.VocabSize, c.HiddenSize, c.NumLayers, c.NumHeads, c.IntermediateSize = 30522, 768, 12, 12, 3072
		c.HiddenAct, c.LayerNormEps, c.MaxPositions, c.TypeVocabSize = "gelu", 1e-12, 512, 2
		c.PositionEmbeddingType = "absolute"
	}
	if c.ModelType == "electra" { // what transformers' ElectraConfig assumes
		c.VocabSize, c.EmbeddingSize, c.HiddenSize, c.NumLayers, c.NumHeads, c.IntermediateSize = 30522, 128, 256, 12, 4, 1024
		c.HiddenAct, c.LayerNormEps, c.MaxPositions, c.TypeVocabSize = "gelu", 1e-12, 512, 2
		c.PositionEmbeddingType = "absolute"
	}
	for _, f := range []struct {
		name string
		from *int
		to   *int
		min  int
	}{
		{"vocab_size", j.VocabSize, &c.VocabSize, 1},
		{"embedding_size", j.EmbeddingSize, &c.EmbeddingSize, 1},
		{"hidden_size", j.HiddenSize, &c.HiddenSize, 1},
		{"num_hidden_layers", j.NumLayers, &c.NumLayers, 1},
		{"num_attention_heads", j.NumHeads, &c.NumHeads, 1},
		{"intermediate_size", j.IntermediateSize, &c.IntermediateSize, 1},
		{"max_position_embeddings", j.MaxPositions, &c.MaxPositions, 1},
		{"type_vocab_size", j.TypeVocabSize, &c.TypeVocabSize, 0},
		{"pad_token_id", j.PadTokenID, &c.PadTokenID, -1}, // -1: none
	} {
		if f.from == nil {
			continue
		}
		if *f.from < f.min || *f.from > maxSize {
			return Config{}, &CorruptError{File: file, Field: f.name, Offset: -1, Msg: fmt.Sprintf("%d is out of range", *f.from)}
		}
		*f.to = *f.from
	}
	if j.HiddenAct != nil {
		c.HiddenAct = *j.HiddenAct
	}
	if j.PositionEmbeddingType != nil {
		c.PositionEmbeddingType = *j.PositionEmbeddingType
	}
	if j.LayerNormEps != nil {
		if c.LayerNormEps = *j.LayerNormEps; !(c.LayerNormEps >= 0 && c.LayerNormEps < math.MaxFloat32) {
			return Config{}, &CorruptError{File: file, Field: "layer_norm_eps", Offset: -1, Msg: fmt.Sprintf("%g is out of range", c.LayerNormEps)}
		}
	}
	if c.NumHeads > 0 && c.ModelType == "bert" && c.HiddenSize%c.NumHeads != 0 {
		return Config{}, &CorruptError{File: file, Field: "hidden_size", Offset: -1, Msg: fmt.Sprintf("%d is not a multiple of num_attention_heads %d", c.HiddenSize, c.NumHeads)}
	}
	return c, nil
}

// readConfig reads dir's config.json.
func readConfig(dir string) (Config, error) {
	path := filepath.Join(dir, "config.json")
	b, err := readFile(path, maxJSON)
	if err != nil {
		return Config{}, err
	}
	return ParseConfig(path, b)
}

// WithLanguages returns the configuration of an XMOD model with more languages after those that it has. Others have
// none to add to.
func (c Config) WithLanguages(names ...string) (Config, error) {
	if c.ModelType != "xmod" {
		return c, fmt.Errorf("%w: languages of a %q model", ErrUnsupported, c.ModelType)
	}
	var all map[string]json.RawMessage
	if err := decodeJSON("config.json", c.Raw, &all); err != nil {
		return c, err
	}
	have := []string{"en_XX"} // what transformers assumes
	if raw, ok := all["languages"]; ok {
		if err := decodeJSON("config.json", raw, &have); err != nil {
			return c, err
		}
	}
	for _, n := range names {
		if !slices.Contains(have, n) {
			have = append(have, n)
		}
	}
	var err error
	if all["languages"], err = json.Marshal(have); err != nil {
		return c, fmt.Errorf("checkpoint: languages: %w", err)
	}
	raw, err := json.Marshal(all)
	if err != nil {
		return c, fmt.Errorf("checkpoint: languages: %w", err)
	}
	return ParseConfig("config.json", raw)
}
