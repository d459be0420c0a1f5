package torchpt

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func file(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return b
}

// TestStateDicts reads what torch 2.11 wrote in both formats (encoder/scripts/golden/torch_files.py).
func TestStateDicts(t *testing.T) {
	var want map[string]struct {
		Shape  []int
		Values []float64
	}
	require.NoError(t, json.Unmarshal(file(t, "values.json"), &want))
	for _, name := range []string{"state.pt", "legacy.pt"} {
		v, err := Parse(file(t, name))
		require.NoError(t, err, name)
		d := v.(*Dict)
		require.Len(t, d.Keys, len(want))
		for key, w := range want {
			x, ok := d.Get(key).(*Tensor)
			require.True(t, ok, "%s: %s is a %T", name, key, d.Get(key))
			require.Equal(t, w.Shape, x.Shape, "%s: %s", name, key)
			got := make([]float64, x.Len())
			if f, err := x.Float32s(); err == nil {
				for i := range f {
					got[i] = float64(f[i])
				}
			} else {
				n, err := x.Int64s()
				require.NoError(t, err)
				for i := range n {
					got[i] = float64(n[i])
				}
			}
			require.InDeltaSlice(t, w.Values, got, 1e-7, "%s: %s", name, key)
		}
	}
}

func TestFunctionBesideTensors(t *testing.T) {
	_, err := Parse(file(t, "hidden.pt"))
	require.ErrorIs(t, err, ErrForbidden)
	require.ErrorContains(t, err, "torch.nn.functional relu")
}

// TestLegacyTruncatedEverywhere: a file that ends early is an error, wherever that is.
func TestLegacyTruncatedEverywhere(t *testing.T) {
	b := file(t, "legacy.pt")
	for n := range b {
		_, err := Parse(b[:n])
		require.ErrorIs(t, err, ErrFormat, "%d of %d bytes", n, len(b))
	}
}

func TestLegacyHostile(t *testing.T) {
	head := string(legacyMagic) + "\x80\x02M\xe9\x03." + "\x80\x02}X\x0d\x00\x00\x00little_endian\x88s."
	// One float tensor of two elements in the storage "a".
	value := "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n" +
		"X\x01\x00\x00\x00aX\x03\x00\x00\x00cpuK\x02NtQK\x00K\x02\x85K\x01\x85\x89ccollections\nOrderedDict\n)RtR."
	keys := "\x80\x02]X\x01\x00\x00\x00aa."
	data := "\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@"
	v, err := Parse([]byte(head + value + keys + data))
	require.NoError(t, err)
	f, err := v.(*Tensor).Float32s()
	require.NoError(t, err)
	require.Equal(t, []float32{1, 2}, f)

	for name, s := range map[string]string{
		"version":     string(legacyMagic) + "\x80\x02K\x01." + head[len(legacyMagic)+6:] + value + keys + data,
		"big endian":  string(legacyMagic) + "\x80\x02M\xe9\x03.\x80\x02}X\x0d\x00\x00\x00little_endian\x89s." + value + keys + data,
		"no key":      head + value + "\x80\x02]." + data,
		"other key":   head + value + "\x80\x02]X\x01\x00\x00\x00ba." + data,
		"key twice":   head + value + "\x80\x02](X\x01\x00\x00\x00aX\x01\x00\x00\x00ae." + data + data,
		"key type":    head + value + "\x80\x02]K\x01a." + data,
		"keys type":   head + value + "\x80\x02K\x01." + data,
		"huge":        head + value + keys + "\xff\xff\xff\xff\xff\xff\xff\x7f",
		"fewer":       head + value + keys + "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x80?",
		"information": string(legacyMagic) + "\x80\x02M\xe9\x03.\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR." + value + keys + data,
	} {
		_, err := Parse([]byte(s))
		require.ErrorIs(t, err, ErrFormat, name)
	}
	_, err = Parse([]byte(head + "\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR."))
	require.ErrorIs(t, err, ErrForbidden)
}
