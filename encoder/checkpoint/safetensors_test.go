package checkpoint

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/hostile"
)

// file puts a header and data together.
func file(header string, data []byte) []byte {
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(b, header...), data...)
}

func f32s(v ...float32) []byte {
	var b []byte
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func TestGoldenWeights(t *testing.T) {
	s, err := OpenSafeTensors("testdata/bert/model.safetensors")
	require.NoError(t, err)
	require.Equal(t, map[string]string{"format": "pt"}, s.Metadata())
	w, ok := s.Tensor("embeddings.word_embeddings.weight")
	require.True(t, ok)
	require.Equal(t, []int{300, 32}, w.Shape)
	require.Equal(t, F32, w.DType)
	require.Len(t, w.Float32s(nil), 9600)
	_, ok = s.Tensor("nonsense")
	require.False(t, ok)
	n := 0
	for _, name := range s.Names() {
		w, ok := s.Tensor(name)
		require.True(t, ok)
		require.Equal(t, name, w.Name)
		n += len(w.Data)
	}
	st, err := os.Stat("testdata/bert/model.safetensors")
	require.NoError(t, err)
	require.Less(t, st.Size()-int64(n), int64(8192))
	require.NoError(t, s.Close())
}

func TestWriteThenRead(t *testing.T) {
	in := []Tensor{
		{Name: "f64", DType: F64, Shape: []int{2}, Data: append(binary.LittleEndian.AppendUint64(nil, math.Float64bits(1.5)), make([]byte, 8)...)},
		{Name: "f32", DType: F32, Shape: []int{2, 1}, Data: f32s(-2, 3)},
		{Name: "empty", DType: F32, Shape: []int{0, 7}, Data: nil},
		{Name: "scalar \"ü\" <&>", DType: I64, Shape: nil, Data: binary.LittleEndian.AppendUint64(nil, math.MaxUint64)},
		{Name: "i32", DType: I32, Shape: []int{1}, Data: []byte{0xfe, 0xff, 0xff, 0xff}},
		{Name: "i16", DType: I16, Shape: []int{2}, Data: []byte{0xff, 0xff, 5, 0}},
		{Name: "f16", DType: F16, Shape: []int{3}, Data: []byte{0, 0x3c, 0, 0xc0, 1, 0}},
		{Name: "bf16", DType: BF16, Shape: []int{1}, Data: []byte{0x80, 0x3f}},
		{Name: "i8", DType: I8, Shape: []int{2}, Data: []byte{0x80, 7}},
		{Name: "u8", DType: U8, Shape: []int{2}, Data: []byte{0x80, 7}},
		{Name: "bool", DType: Bool, Shape: []int{2}, Data: []byte{0, 1}},
	}
	want := [][]float32{{1.5, 0}, {-2, 3}, {}, {-1}, {-2}, {-1, 5}, {1, -2, 5.9604645e-08}, {1}, {-128, 7}, {128, 7}, {0, 1}}
	var buf bytes.Buffer
	require.NoError(t, WriteSafeTensors(&buf, in, map[string]string{"format": "pt", "a": "b"}))
	require.Zero(t, binary.LittleEndian.Uint64(buf.Bytes())%8)
	s, err := ParseSafeTensors(buf.Bytes())
	require.NoError(t, err)
	require.Equal(t, map[string]string{"format": "pt", "a": "b"}, s.Metadata())
	var names []string
	for i, x := range in {
		names = append(names, x.Name)
		got, ok := s.Tensor(x.Name)
		require.True(t, ok, x.Name)
		require.Equal(t, x.DType, got.DType)
		require.Equal(t, len(want[i]), got.Len(), x.Name)
		require.Equal(t, want[i], got.Float32s(nil), x.Name)
		dst := make([]float32, 1, 16)
		require.Equal(t, want[i], got.Float32s(dst), x.Name)
	}
	require.Equal(t, names, s.Names())

	for _, bad := range [][]Tensor{
		{{Name: "a", DType: F32, Shape: []int{2}, Data: f32s(1)}},
		{{Name: "a", DType: InvalidDType}},
		{{Name: "__metadata__", DType: U8, Shape: []int{0}}},
		{{Name: "\xff", DType: U8, Shape: []int{0}}},
		{{Name: "a", DType: U8, Shape: []int{0}}, {Name: "a", DType: U8, Shape: []int{0}}},
		{{Name: "a", DType: U8, Shape: []int{-1}}},
		{{Name: "a", DType: F32, Shape: []int{math.MaxInt, math.MaxInt}}},
	} {
		require.Error(t, WriteSafeTensors(&buf, bad, nil))
	}
}

func TestHostileHeaders(t *testing.T) {
	ok := `{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[1],"data_offsets":[8,9]}}`
	_, err := ParseSafeTensors(file(ok, make([]byte, 9)))
	require.NoError(t, err)
	tensor := func(dtype, shape, offsets string) string {
		return fmt.Sprintf(`{"a":{"dtype":"%s","shape":[%s],"data_offsets":[%s]}}`, dtype, shape, offsets)
	}
	many := "{"
	for i := range maxTensors + 1 {
		many += fmt.Sprintf(`"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, i)
		if i == 1000 { // build the rest in one go
			var sb strings.Builder
			for j := i + 1; j <= maxTensors; j++ {
				fmt.Fprintf(&sb, `"%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},`, j)
			}
			many += sb.String()
			break
		}
	}
	many = strings.TrimSuffix(many, ",") + "}"
	for name, b := range map[string][]byte{
		"empty":                nil,
		"short":                {1, 2, 3},
		"zero header":          make([]byte, 8),
		"length bomb":          {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{'},
		"100 MiB and one":      append(binary.LittleEndian.AppendUint64(nil, maxHeader+1), '{'),
		"longer than file":     append(binary.LittleEndian.AppendUint64(nil, 100), '{', '}'),
		"array":                file("[]", nil),
		"leading space":        file(" {}", nil),
		"trailing":             file("{}{}", nil),
		"nested":               file(strings.Repeat(`{"a":`, 200), nil),
		"duplicate":            file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, nil),
		"duplicate by escape":  file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, nil),
		"duplicate field":      file(`{"a":{"dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0]}}`, nil),
		"unknown field":        file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0],"x":1}}`, nil),
		"missing field":        file(`{"a":{"dtype":"U8","shape":[0]}}`, nil),
		"product overflow":     file(tensor("F32", "4611686018427387904,4", "0,0"), nil),
		"product overflow 2":   file(tensor("F64", "2305843009213693952,1", "0,0"), nil),
		"negative shape":       file(tensor("U8", "-1,-1", "0,1"), make([]byte, 1)),
		"33 dimensions":        file(tensor("U8", strings.Repeat("1,", 32)+"1", "0,1"), make([]byte, 1)),
		"negative offset":      file(tensor("U8", "1", "-1,0"), make([]byte, 1)),
		"reversed":             file(tensor("U8", "1", "1,0"), make([]byte, 1)),
		"beyond":               file(tensor("U8", "2", "0,2"), make([]byte, 1)),
		"too small":            file(tensor("F32", "2", "0,4"), make([]byte, 4)),
		"three offsets":        file(tensor("U8", "1", "0,1,1"), make([]byte, 1)),
		"one offset":           file(tensor("U8", "1", "0"), make([]byte, 1)),
		"gap at start":         file(tensor("U8", "1", "1,2"), make([]byte, 2)),
		"tail not covered":     file(tensor("U8", "1", "0,1"), make([]byte, 2)),
		"overlap":              file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, make([]byte, 3)),
		"same range":           file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}}`, make([]byte, 2)),
		"gap":                  file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}`, make([]byte, 3)),
		"fraction":             file(tensor("U8", "1.0", "0,1"), make([]byte, 1)),
		"metadata not strings": file(`{"__metadata__":{"a":1}}`, nil),
		"metadata twice":       file(`{"__metadata__":{},"__metadata__":{}}`, nil),
		"too many tensors":     file(many, nil),
	} {
		_, err := ParseSafeTensors(b)
		require.ErrorIs(t, err, ErrCorrupt, name)
		var c *CorruptError
		require.ErrorAs(t, err, &c, name)
	}
	_, err = ParseSafeTensors(file(tensor("F8_E4M3", "1", "0,1"), make([]byte, 1)))
	require.ErrorIs(t, err, ErrUnsupported)
	require.ErrorContains(t, err, "F8_E4M3")
	// Empty tensors may share an offset.
	_, err = ParseSafeTensors(file(`{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"F32","shape":[0,9],"data_offsets":[0,0]},"c":{"dtype":"F32","shape":[0],"data_offsets":[1,1]}}`, make([]byte, 1)))
	require.NoError(t, err)
}

func TestTruncatedEverywhere(t *testing.T) {
	var buf bytes.Buffer
	require.NoError(t, WriteSafeTensors(&buf, []Tensor{
		{Name: "a", DType: F32, Shape: []int{3}, Data: f32s(1, 2, 3)},
		{Name: "b", DType: U8, Shape: []int{5}, Data: []byte("hello")},
	}, map[string]string{"k": "v"}))
	whole := buf.Bytes()
	dir := t.TempDir()
	for n := range whole {
		_, err := ParseSafeTensors(whole[:n])
		require.ErrorIs(t, err, ErrCorrupt, "%d bytes", n)
		if n%17 == 0 {
			path := filepath.Join(dir, "cut.safetensors")
			require.NoError(t, os.WriteFile(path, whole[:n], 0o600))
			_, err = OpenSafeTensors(path)
			require.ErrorIs(t, err, ErrCorrupt)
			require.ErrorContains(t, err, path)
		}
	}
	_, err := ParseSafeTensors(append(whole[:len(whole):len(whole)], 0))
	require.ErrorIs(t, err, ErrCorrupt)
	// No single flipped header byte may crash; most are refused.
	for i := range whole[:len(whole)-17] {
		for _, x := range []byte{0, 0xff, '"', '{', '9', whole[i] ^ 1} {
			b := bytes.Clone(whole)
			b[i] = x
			s, err := ParseSafeTensors(b)
			if err == nil {
				for _, n := range s.Names() {
					w, _ := s.Tensor(n)
					w.Float32s(nil)
				}
			}
		}
	}
	_, err = OpenSafeTensors(filepath.Join(dir, "absent.safetensors"))
	require.ErrorIs(t, err, ErrNotFound)
	require.ErrorIs(t, err, os.ErrNotExist)
}

// TestHeaderMemory: refusing a header must not cost more than a small multiple of the file.
func TestHeaderMemory(t *testing.T) {
	b := file(`{"a":{"dtype":"F32","shape":[1000000000000],"data_offsets":[0,4000000000000]}}`, nil)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := ParseSafeTensors(b)
	runtime.ReadMemStats(&after)
	require.ErrorIs(t, err, ErrCorrupt)
	require.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(1<<20))
}

func TestSharded(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, ts ...Tensor) {
		var buf bytes.Buffer
		require.NoError(t, WriteSafeTensors(&buf, ts, nil))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), buf.Bytes(), 0o600))
	}
	write("m-1.safetensors", Tensor{Name: "a", DType: F32, Shape: []int{1}, Data: f32s(1)}, Tensor{Name: "unlisted", DType: F32, Shape: []int{1}, Data: f32s(9)})
	write("m-2.safetensors", Tensor{Name: "b", DType: F32, Shape: []int{1}, Data: f32s(2)})
	index := filepath.Join(dir, "model.safetensors.index.json")
	put := func(v any) {
		b, err := json.Marshal(v)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(index, b, 0o600))
	}
	type m = map[string]any
	put(m{"metadata": m{"total_size": 8}, "weight_map": m{"a": "m-1.safetensors", "b": "m-2.safetensors"}})
	s, err := OpenWeights(dir)
	require.NoError(t, err)
	require.Equal(t, []string{"a", "b"}, s.Names())
	b, _ := s.Tensor("b")
	require.Equal(t, []float32{2}, b.Float32s(nil))
	require.NoError(t, s.Close())

	for _, name := range []string{"../m-1.safetensors", "/etc/passwd", "x/../m-1.safetensors", `..\m`, "", ".", "a/b", "c:d", "model.safetensors.index.json"} {
		put(m{"weight_map": m{"a": name}})
		_, err = OpenSafeTensors(index)
		require.ErrorIs(t, err, ErrCorrupt, name)
	}
	put(m{"weight_map": m{"a": "m-2.safetensors"}})
	_, err = OpenSafeTensors(index)
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorContains(t, err, "not in m-2.safetensors")
	put(m{"weight_map": m{"a": "m-3.safetensors"}})
	_, err = OpenSafeTensors(index)
	require.ErrorIs(t, err, ErrNotFound)
	put(m{})
	_, err = OpenSafeTensors(index)
	require.ErrorIs(t, err, ErrCorrupt)
	require.NoError(t, os.WriteFile(index, []byte(`{"weight_map":{"a":"m-1.safetensors","a":"m-2.safetensors"}}`), 0o600))
	_, err = OpenSafeTensors(index)
	require.ErrorIs(t, err, ErrCorrupt)
}

func FuzzSafeTensors(f *testing.F) {
	var buf bytes.Buffer
	_ = WriteSafeTensors(&buf, []Tensor{
		{Name: "a", DType: F16, Shape: []int{2, 1}, Data: []byte{1, 2, 3, 4}}, {Name: "b", DType: Bool, Shape: []int{0}},
	}, map[string]string{"k": "v"})
	f.Add(buf.Bytes())
	f.Add(file(`{}`, nil))
	f.Add(file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}  `, make([]byte, 8)))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := ParseSafeTensors(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
				t.Fatalf("untyped error %v", err)
			}
			return
		}
		var ts []Tensor
		for _, n := range s.Names() {
			x, ok := s.Tensor(n)
			if !ok || x.Len()*x.DType.Size() != len(x.Data) || len(x.Float32s(nil)) != x.Len() {
				t.Fatalf("tensor %q is inconsistent", n)
			}
			ts = append(ts, x)
		}
		var again bytes.Buffer
		if err := WriteSafeTensors(&again, ts, s.Metadata()); err != nil {
			t.Fatalf("cannot write what was read: %v", err)
		}
		r, err := ParseSafeTensors(again.Bytes())
		if err != nil || len(r.Names()) != len(ts) {
			t.Fatalf("cannot read what was written: %v", err)
		}
	})
}

func BenchmarkParseHeader(b *testing.B) {
	data, err := os.ReadFile("testdata/bert/model.safetensors")
	require.NoError(b, err)
	for b.Loop() {
		if _, err := ParseSafeTensors(data); err != nil {
			b.Fatal(err)
		}
	}
}

func TestHostileSizes(t *testing.T) {
	var buf bytes.Buffer
	require.NoError(t, WriteSafeTensors(&buf, []Tensor{
		{Name: "a", DType: F16, Shape: []int{2, 1}, Data: []byte{1, 2, 3, 4}}, {Name: "b", DType: Bool, Shape: []int{0}},
	}, map[string]string{"k": "v"}))
	hostile.Sizes(t, [][]byte{buf.Bytes()}, 60, 64<<10, func(b []byte) {
		s, err := ParseSafeTensors(b)
		if err != nil {
			return
		}
		for _, n := range s.Names() {
			w, _ := s.Tensor(n)
			w.Float32s(nil)
		}
	})
	hostile.Sizes(t, [][]byte{[]byte(`{"model_type":"bert","hidden_size":4,"num_attention_heads":2,"num_hidden_layers":1,"vocab_size":9,"layer_norm_eps":1e-5}`)},
		60, 64<<10, func(b []byte) { _, _ = ParseConfig("config.json", b) })
}
