package transformer

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/encoder/checkpoint"
	"github.com/golbert/golbert/internal/kernel"
)

// fakeTensors is a set of tensors in memory.
type fakeTensors map[string]checkpoint.Tensor

func (f fakeTensors) Names() []string                              { return nil }
func (f fakeTensors) Tensor(name string) (checkpoint.Tensor, bool) { t, ok := f[name]; return t, ok }
func (f fakeTensors) Close() error                                 { return nil }

func (f fakeTensors) f32(name string, v []float32, shape ...int) {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	f[name] = checkpoint.Tensor{Name: name, DType: checkpoint.F32, Shape: shape, Data: b}
}

// fakeBert is a BERT checkpoint with random weights under a prefix.
func fakeBert(vocab, hidden, layers, heads, ffn, positions int, prefix string) *checkpoint.Checkpoint {
	r := rand.New(rand.NewPCG(1, 2))
	f := fakeTensors{}
	add := func(name string, mean, spread float64, shape ...int) {
		n := 1
		for _, d := range shape {
			n *= d
		}
		v := make([]float32, n)
		for i := range v {
			v[i] = float32(mean + spread*r.NormFloat64())
		}
		f.f32(prefix+name, v, shape...)
	}
	add("embeddings.word_embeddings.weight", 0, .5, vocab, hidden)
	add("embeddings.position_embeddings.weight", 0, .5, positions, hidden)
	add("embeddings.token_type_embeddings.weight", 0, .5, 2, hidden)
	add("embeddings.LayerNorm.weight", 1, .1, hidden)
	add("embeddings.LayerNorm.bias", 0, .1, hidden)
	for l := range layers {
		p := fmt.Sprintf("encoder.layer.%d.", l)
		for name, s := range map[string][2]int{
			"attention.self.query": {hidden, hidden}, "attention.self.key": {hidden, hidden}, "attention.self.value": {hidden, hidden},
			"attention.output.dense": {hidden, hidden}, "intermediate.dense": {ffn, hidden}, "output.dense": {hidden, ffn},
		} {
			add(p+name+".weight", 0, 1/math.Sqrt(float64(s[1])), s[0], s[1])
			add(p+name+".bias", 0, .1, s[0])
		}
		for _, name := range []string{"attention.output.LayerNorm", "output.LayerNorm"} {
			add(p+name+".weight", 1, .1, hidden)
			add(p+name+".bias", 0, .1, hidden)
		}
	}
	return &checkpoint.Checkpoint{
		Tensors: f, Prefix: prefix,
		Config: checkpoint.Config{ModelType: "bert", VocabSize: vocab, HiddenSize: hidden, NumLayers: layers, NumHeads: heads,
			IntermediateSize: ffn, MaxPositions: positions, TypeVocabSize: 2, HiddenAct: "gelu"},
	}
}

func randomBatch(vocab int, lens ...int) *Batch {
	r := rand.New(rand.NewPCG(7, uint64(len(lens))))
	b := &Batch{Lens: lens}
	for _, n := range lens {
		for range n {
			b.IDs = append(b.IDs, int32(r.IntN(vocab)))
		}
	}
	return b
}

func run(t testing.TB, e Encoder, b *Batch) []float32 {
	out := make([]float32, len(b.IDs)*e.Shape().Hidden)
	require.NoError(t, e.Forward(context.Background(), b, out))
	return out
}

// TestPacking checks that sequences do not see each other, whatever their lengths and number, and that calls may
// run at the same time.
func TestPacking(t *testing.T) {
	e, err := New(fakeBert(50, 48, 2, 3, 70, 200, "bert."), nil)
	require.NoError(t, err)
	lens := []int{1, 2, 33, 200, 5, 130, 1, 64}
	b := randomBatch(50, lens...)
	all := run(t, e, b)
	var wg sync.WaitGroup
	at := 0
	for _, n := range lens {
		ids, want := b.IDs[at:at+n], all[at*48:(at+n)*48]
		wg.Go(func() {
			for range 3 {
				out := make([]float32, n*48)
				if err := e.Forward(context.Background(), &Batch{IDs: ids, Lens: []int{n}}, out); err != nil || !slices.Equal(want, out) {
					t.Errorf("sequence of %d tokens alone differs from the batch (%v)", n, err)
				}
			}
		})
		at += n
	}
	wg.Wait()
}

// TestAttend checks masks: keys that are not attended to change nothing, at the end or in the middle.
func TestAttend(t *testing.T) {
	e, err := New(fakeBert(50, 48, 2, 3, 70, 40, ""), nil)
	require.NoError(t, err)
	for name, masked := range map[string][]int{"end": {8, 9}, "middle": {0, 4}, "none": nil, "middle and end": {3, 9}} {
		t.Run(name, func(t *testing.T) {
			b := randomBatch(50, 3, 10, 4)
			b.Attend = make([]bool, len(b.IDs))
			for i := range b.Attend {
				b.Attend[i] = true
			}
			for _, m := range masked {
				b.Attend[3+m] = false
			}
			want := run(t, e, b)
			for _, m := range masked {
				b.IDs[3+m] = (b.IDs[3+m] + 1) % 50
			}
			got := run(t, e, b)
			for i := range b.IDs {
				changed := slices.Contains(masked, i-3) && i >= 3
				require.Equal(t, !changed, slices.Equal(want[i*48:(i+1)*48], got[i*48:(i+1)*48]), "token %d", i)
			}
		})
	}
}

func TestBadBatch(t *testing.T) {
	e, err := New(fakeBert(50, 32, 1, 2, 40, 16, ""), nil)
	require.NoError(t, err)
	out := make([]float32, 100*32)
	for _, tc := range []struct {
		message string
		b       Batch
	}{
		{"token 1 has id 50", Batch{IDs: []int32{1, 50}, Lens: []int{2}}},
		{"token 0 has id -1", Batch{IDs: []int32{-1}, Lens: []int{1}}},
		{"sequence 1 has 0 tokens", Batch{IDs: []int32{1, 2}, Lens: []int{2, 0}}},
		{"sequence 0 has 17 tokens, the model takes 16", Batch{IDs: make([]int32, 17), Lens: []int{17}}},
		{"lengths add up to 1, there are 2", Batch{IDs: []int32{1, 2}, Lens: []int{1}}},
		{"token 1 has type 2", Batch{IDs: []int32{1, 2}, Lens: []int{2}, Types: []int32{0, 2}}},
		{"1 token types for 2", Batch{IDs: []int32{1, 2}, Lens: []int{2}, Types: []int32{0}}},
		{"3 attention flags for 2", Batch{IDs: []int32{1, 2}, Lens: []int{2}, Attend: make([]bool, 3)}},
		{"sequence 1 has no attended token", Batch{IDs: []int32{1, 2}, Lens: []int{1, 1}, Attend: []bool{true, false}}},
	} {
		err := e.Forward(context.Background(), &tc.b, out)
		require.ErrorIs(t, err, ErrBatch)
		require.ErrorContains(t, err, tc.message)
	}
	c, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, e.Forward(c, randomBatch(50, 4), out), context.Canceled)
	require.NoError(t, e.Forward(context.Background(), &Batch{}, nil))
}

func TestUnsupported(t *testing.T) {
	for message, change := range map[string]func(*checkpoint.Config){
		`architecture "gpt2"`:        func(c *checkpoint.Config) { c.ModelType = "gpt2" },
		`activation "gelu_new"`:      func(c *checkpoint.Config) { c.HiddenAct = "gelu_new" },
		`"relative_key" positions`:   func(c *checkpoint.Config) { c.PositionEmbeddingType = "relative_key" },
		"hidden size 32 and 5 heads": func(c *checkpoint.Config) { c.NumHeads = 5 },
		"with 1000000000000 layers":  func(c *checkpoint.Config) { c.NumLayers = 1e12 },
		"without hidden size":        func(c *checkpoint.Config) { c.NumLayers = 0 },
	} {
		c := fakeBert(50, 32, 1, 2, 40, 16, "")
		change(&c.Config)
		_, err := New(c, nil)
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, message)
	}
}

// TestMissingTypes: the row that stands for missing token types is made after the sizes were found in the file.
func TestMissingTypes(t *testing.T) {
	c := &checkpoint.Checkpoint{Tensors: fakeTensors{}, Config: checkpoint.Config{ModelType: "roberta", VocabSize: 50, HiddenSize: 1 << 30,
		NumLayers: 1, NumHeads: 1, IntermediateSize: 1, MaxPositions: 50, PadTokenID: 1, HiddenAct: "gelu"}}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := New(c, nil)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrWeights)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestMissingWeights(t *testing.T) {
	c := fakeBert(50, 32, 2, 2, 40, 16, "bert.")
	f := c.Tensors.(fakeTensors)
	delete(f, "bert.encoder.layer.1.attention.self.key.bias")
	x := f["bert.encoder.layer.0.output.dense.weight"]
	x.Shape = []int{40, 32}
	f["bert.encoder.layer.0.output.dense.weight"] = x
	w := f["bert.embeddings.word_embeddings.weight"]
	w.DType, w.Data = checkpoint.I8, w.Data[:50*32]
	f["bert.embeddings.word_embeddings.weight"] = w
	_, err := New(c, nil)
	require.ErrorIs(t, err, ErrWeights)
	require.ErrorContains(t, err, "bert.encoder.layer.1.attention.self.key.bias is missing")
	require.ErrorContains(t, err, "bert.encoder.layer.0.output.dense.weight has shape [40 32], want [32 40]")
	require.ErrorContains(t, err, "bert.embeddings.word_embeddings.weight is int8 and bert.embeddings.word_embeddings.weight_scale is not")

	c = fakeBert(50, 32, 2, 2, 40, 16, "bert.")
	c.Prefix = "roberta."
	_, err = New(c, nil)
	require.ErrorContains(t, err, "more")
}

// TestElementTypes loads the same weights as float16, bfloat16 and int8. Values are chosen so that each type
// holds them exactly: the results must agree bit for bit.
func TestElementTypes(t *testing.T) {
	base := fakeBert(50, 32, 2, 2, 40, 16, "")
	f := base.Tensors.(fakeTensors)
	r := rand.New(rand.NewPCG(9, 9))
	for name, x := range f {
		v := make([]float32, x.Len())
		for i := range v {
			v[i] = float32(r.IntN(255)-127) / 64
		}
		f.f32(name, v, x.Shape...)
	}
	e, err := New(base, nil)
	require.NoError(t, err)
	b := randomBatch(50, 9, 3)
	want := run(t, e, b)
	for _, dt := range []checkpoint.DType{checkpoint.F16, checkpoint.BF16, checkpoint.I8} {
		c := *base
		g := fakeTensors{}
		for name, x := range f {
			v := x.Float32s(nil)
			y := checkpoint.Tensor{Name: name, DType: dt, Shape: x.Shape}
			h := make([]uint16, len(v))
			kernel.F32ToF16(h, v)
			for i, x := range v {
				switch dt {
				case checkpoint.F16:
					y.Data = binary.LittleEndian.AppendUint16(y.Data, h[i])
				case checkpoint.BF16:
					y.Data = binary.LittleEndian.AppendUint16(y.Data, uint16(math.Float32bits(x)>>16))
				case checkpoint.I8:
					y.Data = append(y.Data, byte(int8(x*64)))
				}
			}
			g[name] = y
			if dt == checkpoint.I8 {
				s := make([]float32, x.Shape[0])
				for i := range s {
					s[i] = 1. / 64
				}
				g.f32(name+"_scale", s, len(s))
			}
		}
		c.Tensors = g
		e, err := New(&c, nil)
		require.NoError(t, err)
		require.Equal(t, want, run(t, e, b), "type %d", dt)
		require.Equal(t, base.Config.VocabSize, e.Shape().Vocab)
	}
}

// TestSteadyState checks that a stream of batches allocates next to nothing.
func TestSteadyState(t *testing.T) {
	e, err := New(openBackbone(t, filepath.Join("testdata", "bert")), nil)
	require.NoError(t, err)
	b := randomBatch(300, 20, 7, 31)
	out := make([]float32, len(b.IDs)*32)
	n := testing.AllocsPerRun(20, func() { _ = e.Forward(context.Background(), b, out) })
	require.Less(t, n, 20.0)
}

// BenchmarkForward runs the shape of all-MiniLM-L6-v2 on one core.
func BenchmarkForward(b *testing.B) {
	e, err := New(fakeBert(1000, 384, 6, 12, 1536, 512, ""), nil)
	require.NoError(b, err)
	for _, tc := range []struct{ tokens, count int }{{8, 1}, {16, 1}, {32, 1}, {128, 4}, {180, 3}, {256, 2}, {512, 1}} {
		b.Run(fmt.Sprintf("tokens=%d/batch=%d/%s", tc.tokens, tc.count, kernel.ISA()), func(b *testing.B) {
			var lens []int
			for range tc.count {
				lens = append(lens, tc.tokens)
			}
			batch := randomBatch(1000, lens...)
			out := make([]float32, len(batch.IDs)*384)
			for b.Loop() {
				require.NoError(b, e.Forward(context.Background(), batch, out))
			}
			b.ReportMetric(float64(len(batch.IDs)*b.N)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
