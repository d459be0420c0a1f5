package transformer

import (
	"context"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
)

// TestRelativeBuckets compares the buckets of distances with those that torch computes.
func TestRelativeBuckets(t *testing.T) {
	raw, err := os.ReadFile("testdata/buckets.json")
	require.NoError(t, err)
	var cases []struct {
		Buckets int   `json:"num_buckets"`
		Most    int   `json:"max_distance"`
		Starts  []int `json:"starts"` // the distances at which the bucket changes, from -4000 on
		Values  []int `json:"values"`
	}
	require.NoError(t, json.Unmarshal(raw, &cases))
	require.NotEmpty(t, cases)
	for _, c := range cases {
		at := 0
		for d := -4000; d <= 4000; d++ {
			for at+1 < len(c.Starts) && d >= c.Starts[at+1] {
				at++
			}
			require.Equal(t, c.Values[at], buckets{c.Buckets, c.Most}.of(d), "distance %d of %d, %d", d, c.Buckets, c.Most)
		}
	}
}

// TestDeleteGate checks what the gate deletes and that a text never loses all of its vectors.
func TestDeleteGate(t *testing.T) {
	e, err := New(openBackbone(t, filepath.Join("testdata", "mrt5")), nil)
	require.NoError(t, err)
	g, layer := e.(Gated).DeleteGate()
	require.Equal(t, 2, layer)
	b := randomBatch(190, 40, 1, 25)
	for i := range b.IDs {
		b.IDs[i] += 5
	}
	all := forward(t, e, b)
	require.Less(t, len(all), 66)
	require.True(t, slices.IsSorted(b.Kept))
	// The padding token goes whatever the gate says.
	kept := b.Kept[0]
	b.IDs[kept] = 0
	forward(t, e, b)
	require.NotContains(t, b.Kept, kept)

	own := *g
	defer func() { *g = own }()
	g.Threshold = 1 // values are never above 0: one token of each text is left
	b = randomBatch(200, 40, 1, 25)
	forward(t, e, b)
	require.Len(t, b.Kept, 3)
	b.Attend = make([]bool, len(b.IDs))
	b.Attend[7], b.Attend[40], b.Attend[50] = true, true, true
	forward(t, e, b)
	require.Equal(t, []int32{7, 40, 50}, b.Kept)
	g.Threshold = -31 // nothing is that low
	b = randomBatch(190, 40, 1, 25)
	for i := range b.IDs {
		b.IDs[i] += 5
	}
	require.Len(t, forward(t, e, b), 66)
	// Another encoder clears what is there.
	other, err := New(openBackbone(t, filepath.Join("testdata", "t5")), nil)
	require.NoError(t, err)
	forward(t, other, b)
	require.Nil(t, b.Kept)

	values := make([]float32, 2)
	(&DeleteGate{Weight: []float32{1, -1}, Bias: .5, Scale: -30, Norm: []float32{1, 2}, Eps: 0}).Values(values, []float32{3, 4, 0, 1})
	// rms of (3, 4) is sqrt(12.5): z = (3 - 8)/3.5355 + .5 = -.91421; of (0, 1) sqrt(.5): z = -2/.70711 + .5 = -2.32843
	require.InDelta(t, -30/(1+0.4008324), values[0], 1e-4)
	require.InDelta(t, -30/(1+0.0974485), values[1], 1e-4)
}

func TestSoftplus(t *testing.T) {
	var x, want []float32
	for v := -100.0; v < 100; v += .37 {
		x, want = append(x, float32(v)), append(want, float32(math.Log1p(math.Exp(v))))
	}
	softplus(x, make([]float32, len(x)))
	for i, w := range want {
		// The exponential's own error grows with the distance from 0.
		v := math.Abs(-100 + .37*float64(i))
		require.InDelta(t, w, x[i], (4e-7+6e-8*v)*float64(w)+1e-37, "softplus(%g)", v)
	}
	nan := []float32{float32(math.NaN())}
	softplus(nan, make([]float32, 1))
	require.True(t, nan[0] != nan[0])
}

// BenchmarkArchitectures runs one middle-sized layer stack of each kind on one core, on passages of 180 tokens.
func BenchmarkArchitectures(b *testing.B) {
	for _, arch := range []struct {
		name, config string
	}{
		{"modernbert", `{"model_type": "modernbert", "vocab_size": 1000, "hidden_size": 768, "intermediate_size": 1152, "num_hidden_layers": 4, "num_attention_heads": 12}`},
		{"t5-1.1", `{"model_type": "mt5", "vocab_size": 1000, "d_model": 768, "d_ff": 2048, "num_layers": 4, "num_heads": 12, "feed_forward_proj": "gated-gelu"}`},
		{"qwen3", `{"model_type": "qwen3", "vocab_size": 1000, "hidden_size": 1024, "intermediate_size": 3072, "num_hidden_layers": 4, "num_attention_heads": 16, "num_key_value_heads": 8, "max_position_embeddings": 4096, "is_causal": false}`},
		{"lfm2", `{"model_type": "lfm2", "vocab_size": 1000, "hidden_size": 1024, "intermediate_size": 6656, "num_hidden_layers": 4, "num_attention_heads": 16, "num_key_value_heads": 8, "full_attn_idxs": [2], "is_causal": false}`},
		{"mamba", `{"model_type": "mamba", "vocab_size": 1000, "hidden_size": 768, "num_hidden_layers": 4}`},
	} {
		b.Run(arch.name, func(b *testing.B) {
			config, err := checkpoint.ParseConfig("config.json", []byte(arch.config))
			require.NoError(b, err)
			e := randomModel(b, config)
			batch := randomBatch(1000, 180, 180, 180)
			out := make([]float32, len(batch.IDs)*e.Shape().Hidden)
			for b.Loop() {
				require.NoError(b, e.Forward(context.Background(), batch, out))
			}
			b.ReportMetric(float64(len(batch.IDs)*b.N)/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(float64(e.Shape().Parameters-int64(1000*e.Shape().Hidden))*2*float64(len(batch.IDs)*b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
		})
	}
}

// randomModel makes a model of random weights: the loader's complaints say which shapes it wants.
func randomModel(t testing.TB, config checkpoint.Config) Encoder {
	wants := regexp.MustCompile(`(\S+) is missing|(\S+) has shape \[0\], want \[([0-9 ]+)\]`)
	f := fakeTensors{}
	r := rand.New(rand.NewPCG(1, 1))
	for {
		e, err := New(&checkpoint.Checkpoint{Config: config, Tensors: f}, nil)
		if err == nil {
			return e
		}
		require.ErrorIs(t, err, ErrWeights)
		for _, m := range wants.FindAllStringSubmatch(err.Error(), -1) {
			if m[1] != "" {
				f[m[1]] = checkpoint.Tensor{Shape: []int{0}}
				continue
			}
			n, shape := 1, []int(nil)
			for _, d := range strings.Fields(m[3]) {
				v, err := strconv.Atoi(d)
				require.NoError(t, err)
				n, shape = n*v, append(shape, v)
			}
			v := make([]float32, n)
			for i := range v {
				if v[i] = float32(r.NormFloat64()) / float32(math.Sqrt(float64(shape[len(shape)-1]))); len(shape) == 1 {
					v[i] = 1 + .1*v[i]
				}
			}
			f.f32(m[2], v, shape...)
		}
	}
}
