package delta

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// peftConfig is the adapter_config.json of PEFT, with the fields that change what LoRA computes.
type peftConfig struct {
	Type         string             `json:"peft_type"`
	Rank         float64            `json:"r"`
	Alpha        float64            `json:"lora_alpha"`
	RSLoRA       bool               `json:"use_rslora"`
	DoRA         bool               `json:"use_dora"`
	FanInFanOut  bool               `json:"fan_in_fan_out"`
	LoRABias     bool               `json:"lora_bias"`
	RankPattern  map[string]float64 `json:"rank_pattern"`
	AlphaPattern map[string]float64 `json:"alpha_pattern"`
	Replication  json.RawMessage    `json:"layer_replication"`
	Megatron     json.RawMessage    `json:"megatron_config"`
	KaSA         json.RawMessage    `json:"kasa_config"`
	Monteclora   json.RawMessage    `json:"monteclora_config"`
	Arrow        json.RawMessage    `json:"arrow_config"`
	QALoRA       bool               `json:"use_qalora"`
	BDLoRA       json.RawMessage    `json:"use_bdlora"`
	Parameters   []string           `json:"target_parameters"`
	Tokens       json.RawMessage    `json:"trainable_token_indices"`
	AloraTokens  json.RawMessage    `json:"alora_invocation_tokens"`
}

// openPEFT opens a LoRA adapter as PEFT's save_pretrained writes it.
func openPEFT(dir string, base *overlay) (p *pack, err error) {
	path := filepath.Join(dir, "adapter_config.json")
	var j peftConfig
	if err := readJSON(path, &j); err != nil {
		return nil, err
	}
	set := func(raw json.RawMessage) bool {
		s := string(raw)
		return len(raw) > 0 && s != "null" && s != "false" && s != "[]" && s != "{}"
	}
	for name, on := range map[string]bool{
		"use_dora": j.DoRA, "fan_in_fan_out": j.FanInFanOut, "lora_bias": j.LoRABias, "layer_replication": set(j.Replication),
		"megatron_config": set(j.Megatron), "use_qalora": j.QALoRA, "use_bdlora": set(j.BDLoRA), "target_parameters": len(j.Parameters) > 0,
		"trainable_token_indices": set(j.Tokens), "alora_invocation_tokens": set(j.AloraTokens), "arrow_config": set(j.Arrow), "kasa_config": set(j.KaSA),
		"monteclora_config": set(j.Monteclora),
	} {
		if on {
			return nil, fmt.Errorf("%w: %s: %s", ErrUnsupported, path, name)
		}
	}
	if j.Type != "LORA" {
		return nil, fmt.Errorf("%w: %s: peft_type %.40q", ErrUnsupported, path, j.Type)
	}
	p = &pack{dir: dir, changes: map[string]*change{}}
	file := filepath.Join(dir, "adapter_model.safetensors")
	if _, err := os.Stat(file); err == nil {
		st, err := checkpoint.OpenSafeTensors(file)
		if err != nil {
			return nil, fmt.Errorf("delta: %w", err)
		}
		p.tensors = st
	} else {
		file = filepath.Join(dir, "adapter_model.bin")
		if p.tensors, err = checkpoint.OpenTorch(file); err != nil {
			return nil, fmt.Errorf("delta: %w", err)
		}
	}
	ts := p.tensors
	defer func() {
		if err != nil {
			err = errors.Join(err, ts.Close())
		}
	}()
	for _, name := range p.tensors.Names() {
		if err := p.addPEFT(&j, path, name, base); err != nil {
			return nil, err
		}
	}
	if err := p.finish(file); err != nil {
		return nil, err
	}
	return p, nil
}

// addPEFT sorts one tensor of a LoRA adapter.
func (p *pack) addPEFT(j *peftConfig, path, name string, base *overlay) error {
	t, _ := p.tensors.Tensor(name)
	module, ok := strings.CutPrefix(name, "base_model.model.")
	if !ok {
		return fmt.Errorf("%w: %s: tensor %q is not of base_model.model", ErrFormat, p.dir, name)
	}
	for _, part := range []struct {
		suffix     string
		place      func(*change) **checkpoint.Tensor
		transposed bool
	}{
		{".lora_A.weight", kinds["lora_A"], false}, {".lora_B.weight", kinds["lora_B"], false},
		{".lora_embedding_A", kinds["lora_A"], true}, {".lora_embedding_B", kinds["lora_B"], true},
	} {
		m, ok := strings.CutSuffix(module, part.suffix)
		if !ok {
			continue
		}
		key, ok := base.find(m + ".weight")
		if !ok {
			return fmt.Errorf("%w: %s: the checkpoint has no tensor for %q", ErrBase, p.dir, name)
		}
		c := p.at(key)
		if *part.place(c) = &t; part.transposed {
			c.transposed = true
		}
		r, err := pattern(j.RankPattern, m, j.Rank, path, "rank_pattern")
		if err != nil {
			return err
		}
		alpha, err := pattern(j.AlphaPattern, m, j.Alpha, path, "alpha_pattern")
		if err != nil {
			return err
		}
		if !(r >= 1) {
			return fmt.Errorf("%w: %s: r %g", ErrFormat, path, r)
		}
		if j.RSLoRA {
			r = math.Sqrt(r)
		}
		c.scale = alpha / r
		return nil
	}
	if strings.Contains(module, "lora_") {
		return fmt.Errorf("%w: %s: tensor %q", ErrUnsupported, p.dir, name)
	}
	// Biases that were trained, and modules_to_save: whole tensors.
	key, ok := base.find(strings.Replace(module, ".base_layer.", ".", 1))
	if !ok {
		return fmt.Errorf("%w: %s: the checkpoint has no tensor for %q", ErrBase, p.dir, name)
	}
	p.at(key).set = &t
	return nil
}

// pattern looks a module up as PEFT does: a key stands for the modules whose name it is, or ends in it after a dot.
// Keys may be regular expressions there; only plain names are understood here.
func pattern(m map[string]float64, module string, def float64, path, field string) (float64, error) {
	out, found := def, ""
	for key, v := range m {
		if strings.ContainsAny(key, `\^$*+?()[]{}|`) {
			return 0, fmt.Errorf("%w: %s: %s %.80q is a regular expression", ErrUnsupported, path, field, key)
		}
		if module != key && !strings.HasSuffix(module, "."+key) {
			continue
		}
		if found != "" {
			return 0, fmt.Errorf("%w: %s: %s: both %.80q and %.80q stand for %.80q", ErrUnsupported, path, field, found, key, module)
		}
		out, found = v, key
	}
	return out, nil
}

// find gives the key of a tensor of the base under a name that may have other prefixes in front: those of the model
// that the adapter was trained on.
func (o *overlay) find(name string) (string, bool) {
	for rest := name; ; {
		if o.own[o.prefix+rest] || o.own[rest] {
			return strings.TrimPrefix(rest, o.prefix), true
		}
		_, after, ok := strings.Cut(rest, ".")
		if !ok {
			return "", false
		}
		rest = after
	}
}
