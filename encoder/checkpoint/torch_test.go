package checkpoint

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// torchFile reads what torch 2.11 wrote: state.pt as it is now, legacy.pt as before torch 1.6, hidden.pt with a
// function beside the tensors (encoder/scripts/golden/torch_files.py).
func torchFile(t *testing.T, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("../../internal/torchpt/testdata/" + name)
	require.NoError(t, err)
	return b
}

func TestTorchWeights(t *testing.T) {
	var want map[string]struct {
		Shape  []int
		Values []float64
	}
	require.NoError(t, json.Unmarshal(torchFile(t, "values.json"), &want))
	types := map[string]DType{"half": F16, "bfloat": BF16, "double": F64, "ids": I64, "flags": Bool}
	for name, files := range map[string]obj{
		"zip":    {"pytorch_model.bin": torchFile(t, "state.pt")},
		"legacy": {"pytorch_model.bin": torchFile(t, "legacy.pt")},
		"sharded": {
			"a.bin": torchFile(t, "state.pt"), "b.bin": torchFile(t, "legacy.pt"),
			"pytorch_model.bin.index.json": obj{"metadata": obj{}, "weight_map": split(want, "a.bin", "b.bin")},
		},
	} {
		ts, err := OpenWeights(dirOf(t, files))
		require.NoError(t, err, name)
		require.Len(t, ts.Names(), len(want), name)
		for key, w := range want {
			x, ok := ts.Tensor(key)
			require.True(t, ok, key)
			require.Equal(t, key, x.Name)
			dtype := types[key]
			if dtype == InvalidDType {
				dtype = F32
			}
			require.Equal(t, dtype, x.DType, key)
			require.Equal(t, w.Shape, x.Shape, key)
			got := x.Float32s(nil)
			require.Len(t, got, len(w.Values), key)
			for i := range got {
				require.Equal(t, float32(w.Values[i]), got[i], "%s %s %d", name, key, i)
			}
		}
		require.NoError(t, ts.Close())
	}
}

// split puts every other tensor into the second file.
func split[T any](names map[string]T, files ...string) map[string]string {
	where, i := map[string]string{}, 0
	for n := range names {
		where[n] = files[i%len(files)]
		i++
	}
	return where
}

func TestTorchRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		content []byte
		want    error
		text    string
	}{
		"function":  {torchFile(t, "hidden.pt"), ErrUnsupported, "torch.nn.functional relu"},
		"no dict":   {[]byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.\x80\x02K\x01.\x80\x02]."), ErrUnsupported, "int64"},
		"no tensor": {[]byte("\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.\x80\x02}X\x01\x00\x00\x00a}s.\x80\x02]."), ErrUnsupported, `"a" is a dict`},
		"cut":       {torchFile(t, "state.pt")[:2000], ErrCorrupt, "pytorch_model.bin"},
		"empty":     {nil, ErrCorrupt, "pytorch_model.bin"},
	} {
		ts, err := OpenWeights(dirOf(t, obj{"pytorch_model.bin": append([]byte{}, tc.content...)}))
		require.ErrorIs(t, err, tc.want, name)
		require.ErrorContains(t, err, tc.text, name)
		require.Nil(t, ts)
	}
	_, err := OpenTorch(t.TempDir() + "/absent.bin")
	require.ErrorIs(t, err, ErrNotFound)
}

// TestModernNames: the LayerNorms of the first BERT checkpoints have gamma and beta.
func TestModernNames(t *testing.T) {
	ts, err := OpenWeights(dirOf(t, obj{"model.safetensors": []Tensor{
		tensor("bert.embeddings.LayerNorm.gamma", 4), tensor("bert.embeddings.LayerNorm.beta", 4), tensor("x.gamma", 1),
	}}))
	require.NoError(t, err)
	defer ts.Close()
	require.Equal(t, []string{"bert.embeddings.LayerNorm.weight", "bert.embeddings.LayerNorm.bias", "x.gamma"}, ts.Names())
	for _, n := range ts.Names() {
		x, ok := ts.Tensor(n)
		require.True(t, ok)
		require.Equal(t, n, x.Name)
	}
}
