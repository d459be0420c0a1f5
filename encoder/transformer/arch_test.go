package transformer

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// eachGolden runs a test on every checkpoint of testdata.
func eachGolden(t *testing.T, f func(t *testing.T, name string, e Encoder)) {
	for _, name := range goldenNames(t) {
		t.Run(name, func(t *testing.T) {
			e, err := New(openBackbone(t, filepath.Join("testdata", name)), nil)
			require.NoError(t, err)
			f(t, name, e)
		})
	}
}

// forward returns the rows of a batch by the number of their token; deleted tokens have none.
func forward(t *testing.T, e Encoder, b *Batch) map[int][]float32 {
	t.Helper()
	h := e.Shape().Hidden
	out := make([]float32, len(b.IDs)*h)
	require.NoError(t, e.Forward(context.Background(), b, out))
	rows := map[int][]float32{}
	for i := range b.IDs {
		if b.Kept == nil {
			rows[i] = out[i*h : (i+1)*h]
		}
	}
	for i, k := range b.Kept {
		rows[int(k)] = out[i*h : (i+1)*h]
	}
	return rows
}

// TestGoldenModelsPack checks on every architecture that a sequence's result does not depend, in any bit, on its
// neighbours, their number or their order.
func TestGoldenModelsPack(t *testing.T) {
	eachGolden(t, func(t *testing.T, name string, e Encoder) {
		lens := []int{1, 300, 33, 2, 129, 64, 1, 17}
		if most := e.Shape().MaxTokens; most > 0 {
			for i := range lens {
				lens[i] = min(lens[i], most)
			}
		}
		b := randomBatch(e.Shape().Vocab, lens...)
		all := forward(t, e, b)
		alone, at := 0, 0
		for _, n := range lens {
			own := forward(t, e, &Batch{IDs: b.IDs[at : at+n], Lens: []int{n}})
			require.NotEmpty(t, own)
			for i, row := range own {
				require.Equal(t, row, all[at+i], "token %d of a sequence of %d", i, n)
			}
			alone += len(own)
			at += n
		}
		require.Equal(t, alone, len(all))
	})
}

// TestGoldenModelsMask checks that a token that is not attended to changes no other, but for LFM2, whose
// convolutions do not know of attention.
func TestGoldenModelsMask(t *testing.T) {
	eachGolden(t, func(t *testing.T, name string, e Encoder) {
		if strings.HasPrefix(name, "lfm2") {
			t.Skip("skipped: convolutions mix all tokens")
		}
		for _, masked := range [][]int{{12, 13}, {5}, {0, 4, 13}} {
			b := randomBatch(e.Shape().Vocab-6, 3, 14, 6)
			for i := range b.IDs {
				b.IDs[i] += 5 // no padding tokens, which count differently
			}
			b.Attend = slices.Repeat([]bool{true}, len(b.IDs))
			for _, m := range masked {
				b.Attend[3+m] = false
			}
			want := forward(t, e, b)
			for _, m := range masked {
				b.IDs[3+m]++
			}
			got := forward(t, e, b)
			for i := range b.IDs {
				if !slices.Contains(masked, i-3) {
					require.Equal(t, want[i], got[i], "token %d", i)
				}
			}
		}
	})
}

// TestDirection checks which architectures let a token see what comes after it.
func TestDirection(t *testing.T) {
	causal := []string{"lfm2", "llama", "mamba", "qwen2", "qwen3_causal"}
	eachGolden(t, func(t *testing.T, name string, e Encoder) {
		b := randomBatch(e.Shape().Vocab-6, 12)
		for i := range b.IDs {
			b.IDs[i] += 5
		}
		want := forward(t, e, b)
		b.IDs[11]++
		got := forward(t, e, b)
		changed := false
		for i := range 11 {
			changed = changed || !slices.Equal(want[i], got[i])
		}
		require.Equal(t, !slices.Contains(causal, name), changed)
	})
}

// TestLongSequences checks the blocks that attention works in against a window that covers everything, and that a
// sequence of many blocks gives finite values.
func TestLongSequences(t *testing.T) {
	for _, name := range []string{"t5", "mamba", "modernbert"} {
		ckpt := openBackbone(t, filepath.Join("testdata", name))
		ckpt.Config.Raw = edit(t, ckpt.Config.Raw, "max_position_embeddings", 4096)
		e, err := New(ckpt, nil)
		require.NoError(t, err)
		for _, row := range forward(t, e, randomBatch(e.Shape().Vocab, 1500)) {
			for _, v := range row {
				require.False(t, v != v || v > 1e6 || v < -1e6)
			}
		}
	}
	// A window as wide as the sequence is no window.
	ckpt := openBackbone(t, filepath.Join("testdata", "modernbert"))
	for _, layer := range []string{fullAttention, slidingAttention} {
		types := slices.Repeat([]string{layer}, 4)
		ckpt.Config.Raw = edit(t, ckpt.Config.Raw, "layer_types", types)
	}
	ckpt.Config.Raw = edit(t, ckpt.Config.Raw, "rope_parameters", map[string]any{
		fullAttention: map[string]any{"rope_theta": 1e4}, slidingAttention: map[string]any{"rope_theta": 1e4}})
	ckpt.Config.Raw = edit(t, ckpt.Config.Raw, "max_position_embeddings", 1000)
	run := func(kind string, local int) map[int][]float32 {
		ckpt.Config.Raw = edit(t, ckpt.Config.Raw, "layer_types", slices.Repeat([]string{kind}, 4))
		ckpt.Config.Raw = edit(t, ckpt.Config.Raw, "local_attention", local)
		e, err := New(ckpt, nil)
		require.NoError(t, err)
		return forward(t, e, randomBatch(300, 700))
	}
	want := run(fullAttention, 2)
	require.Equal(t, want, run(slidingAttention, 2*700))
	near := run(slidingAttention, 2*698)
	for i, row := range near {
		// Only the ends see a difference at first, everything after four layers.
		require.Less(t, maxDiff(row, want[i]), 1.0)
	}
	require.NotEqual(t, want, near)
}

// edit sets a field of a config.json; nil removes it.
func edit(t testing.TB, raw json.RawMessage, field string, value any) json.RawMessage {
	t.Helper()
	m := map[string]any{}
	require.NoError(t, json.Unmarshal(raw, &m))
	if m[field] = value; value == nil {
		delete(m, field)
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	return b
}

// TestOldModernBert reads the fields that ModernBERT's files had before transformers 5, and mmBERT's, whose windows
// turn at the global pace.
func TestOldModernBert(t *testing.T) {
	ckpt := openBackbone(t, filepath.Join("testdata", "modernbert"))
	b := randomBatch(300, 100)
	e, err := New(ckpt, nil)
	require.NoError(t, err)
	want := forward(t, e, b)
	raw := edit(t, edit(t, ckpt.Config.Raw, "layer_types", nil), "rope_parameters", nil)
	raw = edit(t, edit(t, raw, "global_rope_theta", 160000.0), "local_rope_theta", 10000.0)
	ckpt.Config.Raw = raw
	e, err = New(ckpt, nil)
	require.NoError(t, err)
	require.Equal(t, want, forward(t, e, b))
	var outputs []map[int][]float32
	for _, local := range []json.RawMessage{edit(t, raw, "local_rope_theta", 160000.0), bytesReplace(raw, `"local_rope_theta":10000`, `"local_rope_theta":null`)} {
		ckpt.Config.Raw = local
		e, err = New(ckpt, nil)
		require.NoError(t, err)
		outputs = append(outputs, forward(t, e, b))
	}
	require.Equal(t, outputs[0], outputs[1])
	require.NotEqual(t, want, outputs[0])
}

func bytesReplace(b json.RawMessage, old, new string) json.RawMessage {
	return json.RawMessage(strings.Replace(string(b), old, new, 1))
}

// TestModelTypes reads the same weights under other names of their architecture.
func TestModelTypes(t *testing.T) {
	for _, tc := range []struct {
		golden, modelType string
		drop              string // a field that must not be needed
		same              bool
	}{
		{"qwen3", "bidirectional_pplx_qwen3", "is_causal", true},
		{"qwen3_causal", "bidirectional_pplx_qwen3", "is_causal", false},
		{"lfm2_bidirectional", "lfm2_bidirectional", "architectures", true},
		{"llama", "llama_bidirec", "", false},
		{"eurobert", "llama_bidirec", "is_causal", true},
		{"byt5", "mt5", "", true},
	} {
		c := openBackbone(t, filepath.Join("testdata", tc.golden))
		e, err := New(c, nil)
		require.NoError(t, err)
		b := randomBatch(e.Shape().Vocab, 20)
		want := forward(t, e, b)
		c.Config.ModelType = tc.modelType
		if tc.drop != "" {
			c.Config.Raw = edit(t, c.Config.Raw, tc.drop, nil)
		}
		e, err = New(c, nil)
		require.NoError(t, err)
		got := forward(t, e, b)
		if tc.same {
			require.Equal(t, want, got, tc.modelType)
		} else {
			require.NotEqual(t, want, got, tc.modelType)
		}
	}
}

// TestT5Names reads T5 from files that keep the other name of the token table, under the prefix that it suggests.
func TestT5Names(t *testing.T) {
	c := openBackbone(t, filepath.Join("testdata", "t5"))
	e, err := New(c, nil)
	require.NoError(t, err)
	b := randomBatch(300, 20)
	want := forward(t, e, b)
	f := fakeTensors{}
	for _, name := range c.Tensors.Names() {
		x, _ := c.Tensors.Tensor(name)
		f[strings.Replace(name, "shared.weight", "encoder.embed_tokens.weight", 1)] = x
	}
	c.Tensors = f
	for _, prefix := range []string{"", "encoder."} {
		c.Prefix = prefix
		e, err = New(c, nil)
		require.NoError(t, err)
		require.Equal(t, want, forward(t, e, b))
	}
}

// TestDirectionFlags checks how a decoder's file says that it is an encoder.
func TestDirectionFlags(t *testing.T) {
	for _, tc := range []struct {
		config string
		causal bool
	}{
		{`{}`, true},
		{`{"architectures": ["LlamaBidirectionalModel"]}`, false},
		{`{"architectures": ["Lfm2BidirForSequenceRouting"]}`, false},
		{`{"is_causal": false}`, false},
		{`{"use_bidirectional_attention": true}`, false},
		{`{"is_causal": true, "architectures": ["LlamaBidirectionalModel"]}`, true},
	} {
		var d directionConfig
		require.NoError(t, json.Unmarshal([]byte(tc.config), &d))
		require.Equal(t, tc.causal, d.causal(true), tc.config)
	}
}

// hostile are values that a damaged or malicious config.json may hold.
var hostile = []string{"0", "-1", "7", "1073741823", "9223372036854775807", "1e300", `"x"`, "null", `["conv"]`, "{}"}

// TestHostileConfigs sets every field of every architecture's configuration to each of these values: the answer is an
// error of a known kind or a model that runs, never a panic.
func TestHostileConfigs(t *testing.T) {
	for _, name := range goldenNames(t) {
		if name == "qwen3_causal" || name == "byt5" || name == "lfm2_bidirectional" {
			continue // the same loader as another
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ckpt := openBackbone(t, filepath.Join("testdata", name))
			var fields map[string]json.RawMessage
			require.NoError(t, json.Unmarshal(ckpt.Config.Raw, &fields))
			for _, extra := range []string{"head_dim", "rope_theta", "sliding_window", "rope_scaling", "block_ff_dim", "full_attn_idxs", "intermediate_size"} {
				if _, ok := fields[extra]; !ok {
					fields[extra] = nil
				}
			}
			for field := range fields {
				if field == "model_type" {
					continue
				}
				for _, value := range hostile {
					raw := edit(t, ckpt.Config.Raw, field, json.RawMessage(value))
					c := *ckpt
					var err error
					if c.Config, err = checkpoint.ParseConfig("config.json", raw); err != nil {
						require.ErrorIs(t, err, checkpoint.ErrCorrupt)
						continue
					}
					e, err := New(&c, nil)
					if err != nil {
						require.True(t, errors.Is(err, ErrUnsupported) || errors.Is(err, ErrWeights), "%s = %s: %v", field, value, err)
						continue
					}
					b := randomBatch(e.Shape().Vocab, 3, 1)
					if err := e.Forward(context.Background(), b, make([]float32, len(b.IDs)*e.Shape().Hidden)); err != nil {
						require.ErrorIs(t, err, ErrBatch, "%s = %s", field, value)
					}
				}
			}
		})
	}
}

// TestConfigErrorsNameTheField checks what the errors say.
func TestConfigErrorsNameTheField(t *testing.T) {
	for _, tc := range []struct {
		golden, field string
		value         any
		message       string
	}{
		{"modernbert", "num_attention_heads", 3, "hidden_size 32 and num_attention_heads 3"},
		{"modernbert", "local_attention", -4, "local_attention -4"},
		{"modernbert", "hidden_activation", "sigmoid", `hidden_activation "sigmoid"`},
		{"modernbert", "layer_types", []string{"full_attention"}, "1 layer_types for 4 layers"},
		{"modernbert", "norm_eps", 0, "norm_eps 0"},
		{"t5", "num_heads", 0, "num_heads 0"},
		{"t5", "d_kv", 1 << 40, "d_kv 1099511627776"},
		{"t5", "relative_attention_num_buckets", 30, "relative_attention_num_buckets 30"},
		{"t5", "feed_forward_proj", "gated-tanh", `feed_forward_proj "tanh"`},
		{"t5", "num_layers", 1e9, "num_layers 1000000000"},
		{"mrt5", "delete_gate_layer", 9, "delete_gate_layer 9 of 4 layers"},
		{"mrt5", "sigmoid_mask_scale", 3, "sigmoid_mask_scale 3"},
		{"mrt5", "deletion_type", "fixed", `deletion_type "fixed"`},
		{"qwen3", "num_key_value_heads", 3, "num_attention_heads 4 and num_key_value_heads 3"},
		{"qwen3", "head_dim", 15, "head dimension 15"},
		{"qwen2", "sliding_window", -6, "sliding_window -6"},
		{"llama", "rope_parameters", map[string]any{"rope_type": "yarn"}, `rope_type "yarn"`},
		{"llama", "rope_parameters", map[string]any{"rope_theta": -1}, "rope_theta -1"},
		{"llama", "hidden_act", "mish", `hidden_act "mish"`},
		{"lfm2", "conv_L_cache", 0, "conv_L_cache 0"},
		{"lfm2_bidirectional", "conv_L_cache", 4, "conv_L_cache 4"},
		{"lfm2", "layer_types", []string{"conv", "conv", "conv", "mamba"}, `layer type "mamba"`},
		{"mamba", "state_size", 0, "state_size 0"},
		{"mamba", "time_step_rank", "some", `time_step_rank "some"`},
		{"jina", "num_attention_heads", 5, "hidden_size 32 and num_attention_heads 5"},
		{"jina", "rotary_emb_base", 0, "rope_theta 0"},
	} {
		c := openBackbone(t, filepath.Join("testdata", tc.golden))
		c.Config.Raw = edit(t, c.Config.Raw, tc.field, tc.value)
		_, err := New(c, nil)
		require.ErrorIs(t, err, ErrUnsupported, tc.message)
		require.ErrorContains(t, err, tc.message)
	}
}

// TestEveryTensorCounts takes away and bends each tensor of each architecture: the error names it.
func TestEveryTensorCounts(t *testing.T) {
	for _, name := range goldenNames(t) {
		t.Run(name, func(t *testing.T) {
			c := openBackbone(t, filepath.Join("testdata", name))
			whole := c.Tensors
			unused := 0
			for _, tensor := range whole.Names() {
				c.Tensors = without{whole, tensor, nil}
				_, err := New(c, nil)
				if err == nil { // a language that nobody asked for, or a part that no vector needs
					unused++
					continue
				}
				require.ErrorIs(t, err, ErrWeights)
				require.ErrorContains(t, err, tensor+" is missing")
				c.Tensors = without{whole, tensor, []int{3, 1}}
				_, err = New(c, nil)
				require.ErrorIs(t, err, ErrWeights)
				require.ErrorContains(t, err, tensor+" has shape [3 1]")
			}
			require.Less(t, unused, len(whole.Names())/2)
			if !strings.HasPrefix(name, "xmod") {
				require.LessOrEqual(t, unused, 2)
			}
		})
	}
}

// without hides a tensor, or gives it another shape.
type without struct {
	checkpoint.Tensors
	name  string
	shape []int
}

func (w without) Tensor(name string) (checkpoint.Tensor, bool) {
	x, ok := w.Tensors.Tensor(name)
	if name == w.name {
		x.Shape = w.shape
		return x, ok && w.shape != nil
	}
	return x, ok
}
