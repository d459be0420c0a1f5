package transformer

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// decoderConfig is the config.json of Llama and its relatives.
type decoderConfig struct {
	Vocab        int           `json:"vocab_size"`
	Hidden       int           `json:"hidden_size"`
	Intermediate int           `json:"intermediate_size"`
	Layers       int           `json:"num_hidden_layers"`
	Heads        int           `json:"num_attention_heads"`
	KVHeads      *int          `json:"num_key_value_heads"` // missing or null: as many as heads
	HeadDim      *int          `json:"head_dim"`            // missing or null: hidden_size / heads
	Positions    int           `json:"max_position_embeddings"`
	Activation   string        `json:"hidden_act"`
	Eps          float64       `json:"rms_norm_eps"`
	Theta        float64       `json:"rope_theta"`
	Rope         *ropeSettings `json:"rope_parameters"`
	Scaling      *ropeSettings `json:"rope_scaling"`
	AttnBias     bool          `json:"attention_bias"`
	MLPBias      bool          `json:"mlp_bias"`

	UseWindow  bool     `json:"use_sliding_window"`
	Window     *int     `json:"sliding_window"`
	FullLayers int      `json:"max_window_layers"` // the first ones, which have no window
	LayerTypes []string `json:"layer_types"`

	directionConfig
}

// directionConfig is how the files of models that began as generators say that they are encoders now.
type directionConfig struct {
	Architectures []string `json:"architectures"`
	Causal        *bool    `json:"is_causal"`
	Bidirectional *bool    `json:"use_bidirectional_attention"`
}

// causal says whether tokens see only what is before them. An explicit flag decides; then an architecture that
// calls itself bidirectional; otherwise the model type's nature.
func (d *directionConfig) causal(nature bool) bool {
	switch {
	case d.Causal != nil:
		return *d.Causal
	case d.Bidirectional != nil:
		return !*d.Bidirectional
	}
	for _, a := range d.Architectures {
		if strings.Contains(a, "Bidir") {
			return false
		}
	}
	return nature
}

// decoderTypes are the model types that the decoder engine runs.
var decoderTypes = map[string]struct {
	causal  bool // unless the configuration says otherwise
	qkvBias bool // always, whatever attention_bias says
	qkNorm  bool
	headDim int // where the configuration does not say; 0: hidden_size / heads
	window  bool
}{
	"llama":                    {causal: true},
	"llama_bidirec":            {},
	"mistral":                  {causal: true, window: true},
	"eurobert":                 {},
	"qwen2":                    {causal: true, qkvBias: true},
	"qwen3":                    {causal: true, qkNorm: true, headDim: 128},
	"bidirectional_pplx_qwen3": {qkNorm: true, headDim: 128},
}

// newDecoder loads Llama, Mistral, EuroBERT, Qwen2 and Qwen3 (Touvron et al., 2023; Boizard et al., "EuroBERT", 2025;
// Qwen team, 2024 and 2025) under the tensor names of transformers: root-mean-square norms, rotary positions, fewer key
// and value heads than query heads, feed-forward layers gated by SiLU. Retrieval models of this kind let tokens see
// what comes after them; the others see only what is before (directionConfig).
func newDecoder(c *checkpoint.Checkpoint, l *loader) (*prenorm, error) {
	arch := c.Config.ModelType
	kind := decoderTypes[arch]
	s := settings{arch: arch}
	g := decoderConfig{Activation: "silu", Eps: 1e-6, Theta: 10000, UseWindow: kind.window}
	s.read(&c.Config, &g)
	heads := s.grouped(g.Hidden, g.Heads, g.KVHeads, g.HeadDim, kind.headDim)
	heads.causal = g.causal(kind.causal)
	s.size("vocab_size", g.Vocab, 1<<24)
	s.size("intermediate_size", g.Intermediate, 0)
	s.size("num_hidden_layers", g.Layers, maxLayers)
	s.size("max_position_embeddings", g.Positions, 1<<24)
	s.positive("rms_norm_eps", g.Eps)
	act := s.activation("hidden_act", g.Activation)
	windows := s.windows(&g)
	if g.Rope == nil {
		g.Rope = g.Scaling
	}
	r := s.rope(g.Rope, g.Theta, heads.dim)
	if s.err != nil {
		return nil, s.err
	}

	h := g.Hidden
	m := &prenorm{shape: Shape{Architecture: arch, Layers: g.Layers, Hidden: h, Heads: g.Heads, FFN: g.Intermediate, Vocab: g.Vocab, MaxTokens: g.Positions}}
	m.words = l.table("embed_tokens.weight", g.Vocab, h)
	m.layers = make([]prenormLayer, g.Layers)
	for i := range m.layers {
		b, p := &m.layers[i], fmt.Sprintf("layers.%d.", i)
		a := &attention{heads: heads, rope: r}
		a.window = windows[i]
		b.mixer = a
		b.mixNorm = l.rms(p+"input_layernorm", h, g.Eps)
		n := p + "self_attn."
		l.stack(&a.qkv, h, g.AttnBias || kind.qkvBias, stacked{n + "q_proj", a.q * a.dim}, stacked{n + "k_proj", a.kv * a.dim}, stacked{n + "v_proj", a.kv * a.dim})
		l.stack(&a.proj, a.q*a.dim, g.AttnBias && !kind.qkvBias, stacked{n + "o_proj", h})
		if kind.qkNorm {
			a.qNorm, a.kNorm = l.rms(n+"q_norm", a.dim, g.Eps), l.rms(n+"k_norm", a.dim, g.Eps)
		}
		b.ffnNorm = l.rms(p+"post_attention_layernorm", h, g.Eps)
		b.ffn = &feedForward{act: act, gated: true}
		n = p + "mlp."
		l.stack(&b.ffn.up, h, g.MLPBias, stacked{n + "gate_proj", g.Intermediate}, stacked{n + "up_proj", g.Intermediate})
		l.stack(&b.ffn.down, g.Intermediate, g.MLPBias, stacked{n + "down_proj", h})
	}
	m.finalNorm = *l.rms("norm", h, g.Eps)
	return m.finish(l, &s)
}

// grouped checks the sizes of grouped-query attention. A width of 0 for dim stands for hidden / n.
func (s *settings) grouped(hidden, n int, kv, dim *int, def int) heads {
	s.size("hidden_size", hidden, 0)
	s.size("num_attention_heads", n, 1<<16)
	if s.err != nil {
		return heads{}
	}
	a := heads{q: n, kv: n, dim: def}
	if kv != nil {
		a.kv = *kv
	}
	if dim != nil {
		a.dim = *dim
	} else if def == 0 {
		if hidden%n != 0 {
			s.fail("hidden_size %d and num_attention_heads %d", hidden, n)
		}
		a.dim = hidden / n
	}
	s.size("head_dim", a.dim, 1<<14)
	s.size("num_key_value_heads", a.kv, n)
	if s.err == nil && n%a.kv != 0 {
		s.fail("num_attention_heads %d and num_key_value_heads %d", n, a.kv)
	}
	a.scale = float32(1 / math.Sqrt(float64(a.dim)))
	return a
}

// windows gives each layer's window, 0 for those that see everything.
func (s *settings) windows(g *decoderConfig) []int {
	if s.err != nil {
		return nil
	}
	w := make([]int, g.Layers)
	switch {
	case g.LayerTypes != nil:
		if len(g.LayerTypes) != g.Layers {
			s.fail("%d layer_types for %d layers", len(g.LayerTypes), g.Layers)
			return nil
		}
		for i, t := range g.LayerTypes {
			switch t {
			case fullAttention:
			case slidingAttention:
				w[i] = -1
			default:
				s.fail("layer type %q", t)
			}
		}
	case g.UseWindow && g.Window != nil:
		for i := max(0, g.FullLayers); i < g.Layers; i++ {
			w[i] = -1
		}
	}
	if slices.Contains(w, -1) {
		n := 0
		if g.Window != nil {
			n = *g.Window
		}
		s.size("sliding_window", n, 1<<24)
		for i := range w {
			w[i] *= -n
		}
	}
	return w
}
