package torchpt

import (
	"archive/zip"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/hostile"
	"github.com/golbert/golbert/internal/testdata"
)

func golden(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(testdata.Shared(t, "golden/plaid"), name))
	require.NoError(t, err)
	return b
}

func TestGoldenTensors(t *testing.T) {
	for _, c := range []struct {
		file  string
		dtype DType
		shape []int
	}{
		{"ca_n4/0.codes.pt", Int, []int{2876}},
		{"ca_n4/0.residuals.pt", Byte, []int{2876, 32}},
		{"ca_n2/0.residuals.pt", Byte, []int{2876, 16}},
		{"ca_n4/centroids.pt", Half, []int{512, 64}},
	} {
		v, err := Parse(golden(t, c.file))
		require.NoError(t, err, c.file)
		x, ok := v.(*Tensor)
		require.True(t, ok, "%s holds a %T", c.file, v)
		require.Equal(t, c.dtype, x.DType, c.file)
		require.Equal(t, c.shape, x.Shape, c.file)
	}
	v, err := Parse(golden(t, "ca_n4/buckets.pt"))
	require.NoError(t, err)
	pair := v.(List)
	require.Len(t, pair, 2)
	cut, err := pair[0].(*Tensor).Float32s()
	require.NoError(t, err)
	require.Len(t, cut, 15)
	require.IsIncreasing(t, cut)
	v, err = Parse(golden(t, "ca_n4/ivf.pid.pt"))
	require.NoError(t, err)
	lengths, err := v.(List)[1].(*Tensor).Int64s()
	require.NoError(t, err)
	require.Len(t, lengths, 512)
	v, err = Parse(golden(t, "ca_n4/avg_residual.pt"))
	require.NoError(t, err)
	require.Equal(t, 1, v.(*Tensor).Len())
}

// archiveOf writes a torch archive around a pickle and storages.
func archiveOf(t testing.TB, pickle string, storages map[string][]byte, method uint16) []byte {
	t.Helper()
	var buf bytes.Buffer
	z := zip.NewWriter(&buf)
	add := func(name string, data []byte) {
		w, err := z.CreateHeader(&zip.FileHeader{Name: "archive/" + name, Method: method})
		require.NoError(t, err)
		_, err = w.Write(data)
		require.NoError(t, err)
	}
	add("data.pkl", []byte(pickle))
	for k, v := range storages {
		add("data/"+k, v)
	}
	add("version", []byte("3\n"))
	require.NoError(t, z.Close())
	return buf.Bytes()
}

// tensorPickle writes one float tensor with the given pickled offset, sizes and strides.
func tensorPickle(numel byte, offset, sizes, strides string) string {
	return "\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\n" +
		"X\x01\x00\x00\x000X\x03\x00\x00\x00cpuK" + string(numel) + "tQ" + offset + sizes + strides +
		"\x89ccollections\nOrderedDict\n)RtR."
}

var sixFloats = []byte("\x00\x00\x00\x00\x00\x00\x80?\x00\x00\x00@\x00\x00@@\x00\x00\x80@\x00\x00\xa0@")

func TestViews(t *testing.T) {
	for _, method := range []uint16{zip.Store, zip.Deflate} {
		for name, c := range map[string]struct {
			pickle string
			shape  []int
			want   []float32
		}{
			"contiguous": {tensorPickle(6, "K\x00", "K\x02K\x03\x86", "K\x03K\x01\x86"), []int{2, 3}, []float32{0, 1, 2, 3, 4, 5}},
			"offset":     {tensorPickle(6, "K\x02", "K\x02\x85", "K\x01\x85"), []int{2}, []float32{2, 3}},
			"transposed": {tensorPickle(6, "K\x00", "K\x03K\x02\x86", "K\x01K\x03\x86"), []int{3, 2}, []float32{0, 3, 1, 4, 2, 5}},
			"scalar":     {tensorPickle(6, "K\x05", ")", ")"), []int{}, []float32{5}},
			"empty":      {tensorPickle(6, "K\x00", "K\x00\x85", "K\x01\x85"), []int{0}, []float32{}},
		} {
			v, err := Parse(archiveOf(t, c.pickle, map[string][]byte{"0": sixFloats}, method))
			require.NoError(t, err, name)
			x := v.(*Tensor)
			require.Equal(t, c.shape, x.Shape, name)
			got, err := x.Float32s()
			require.NoError(t, err)
			require.Equal(t, c.want, got, name)
		}
	}
}

func TestHostileTensors(t *testing.T) {
	for name, pickle := range map[string]string{
		"past the end":    tensorPickle(6, "K\x01", "K\x02K\x03\x86", "K\x03K\x01\x86"),
		"huge":            tensorPickle(6, "K\x00", "J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86", "K\x00K\x00\x86"),
		"repeated":        tensorPickle(6, "K\x00", "J\xff\xff\xff\x0f\x85", "K\x00\x85"),
		"negative size":   tensorPickle(6, "K\x00", "J\xff\xff\xff\xff\x85", "K\x01\x85"),
		"negative stride": tensorPickle(6, "K\x05", "K\x02\x85", "J\xff\xff\xff\xff\x85"),
		"negative offset": tensorPickle(6, "J\xff\xff\xff\xff", "K\x02\x85", "K\x01\x85"),
		"storage length":  tensorPickle(7, "K\x00", "K\x02\x85", "K\x01\x85"),
		"short storage":   tensorPickle(5, "K\x00", "K\x02\x85", "K\x01\x85"),
	} {
		_, err := Parse(archiveOf(t, pickle, map[string][]byte{"0": sixFloats}, zip.Store))
		require.ErrorIs(t, err, ErrFormat, name)
	}
}

func TestForbiddenPickles(t *testing.T) {
	for name, pickle := range map[string]string{
		"os.system":     "\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR.",
		"builtins eval": "\x80\x02c__builtin__\neval\n(X\x01\x00\x00\x001tR.",
		"stack global":  "\x80\x04\x8c\x02os\x8c\x06system\x93(X\x02\x00\x00\x00idtR.",
		"inst":          "(S'id'\nios\nsystem\n.",
		"obj":           "\x80\x02(cos\nsystem\nX\x02\x00\x00\x00ido.",
		"newobj":        "\x80\x02ccollections\nOrderedDict\n)\x81.",
		"ext":           "\x80\x02\x82\x01.",
		"build":         "\x80\x02ccollections\nOrderedDict\n)R(X\x01\x00\x00\x00atb.",
		"itself":        "\x80\x02]q\x00h\x00a.",
	} {
		_, err := ParsePickle([]byte(pickle))
		require.ErrorIs(t, err, ErrForbidden, name)
		_, err = Parse(archiveOf(t, pickle, nil, zip.Store))
		require.ErrorIs(t, err, ErrForbidden, name)
	}
	_, err := ParsePickle([]byte("\x80\x02cos\nsystem\n."))
	require.ErrorContains(t, err, "os system", "the error names what was refused")
}

func TestHostilePickles(t *testing.T) {
	for name, pickle := range map[string]string{
		"empty":       "",
		"no stop":     "\x80\x02N",
		"empty stack": "\x80\x02.",
		"no mark":     "\x80\x02Nt.",
		"memo gap":    "\x80\x02Nr\xff\xff\xff\x7f.",
		"memo absent": "\x80\x02h\x05.",
		"long string": "\x80\x02X\xff\xff\xff\xff.",
		"deep":        "\x80\x02" + strings.Repeat("]", 1<<20) + strings.Repeat("a", 1<<20-1) + ".",
		"list items":  "\x80\x02]NNs.",
		"odd dict":    "\x80\x02}(Nu.",
		"bad key":     "\x80\x02}NNs.",
		"global":      "\x80\x02ccollections\nOrderedDict\n.",
		"mark":        "\x80\x02(.",
	} {
		_, err := ParsePickle([]byte(pickle))
		require.ErrorIs(t, err, ErrFormat, name)
	}
	// A value that doubles at each step must be neither printed nor walked.
	_, err := ParsePickle([]byte("\x80\x02ctorch._utils\n_rebuild_parameter\nN" + strings.Repeat("\x85q\x00h\x00\x86", 200) + "R."))
	require.ErrorIs(t, err, ErrFormat)
}

func TestPlainValues(t *testing.T) {
	// pickle.dumps({"a": 1, 7: [True, None, -2.5], "big": 2**40}, protocol=2), by hand
	v, err := ParsePickle([]byte("\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01K\x07](\x88NG\xc0\x04\x00\x00\x00\x00\x00\x00eX\x03\x00\x00\x00big\x8a\x06\x00\x00\x00\x00\x00\x01u."))
	require.NoError(t, err)
	d := v.(*Dict)
	require.Equal(t, int64(1), d.Get("a"))
	require.Equal(t, List{true, nil, -2.5}, d.Get(int64(7)))
	require.Equal(t, int64(1)<<40, d.Get("big"))
	require.Nil(t, d.Get("absent"))
}

func TestTruncatedEverywhere(t *testing.T) {
	b := golden(t, "ca_n4/buckets.pt")
	for n := range b {
		_, err := Parse(b[:n])
		require.ErrorIs(t, err, ErrFormat, "%d of %d bytes", n, len(b))
	}
}

func FuzzParse(f *testing.F) {
	f.Add(archiveOf(f, tensorPickle(6, "K\x00", "K\x03K\x02\x86", "K\x01K\x03\x86"), map[string][]byte{"0": sixFloats}, zip.Store))
	for _, name := range []string{"state.pt", "legacy.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := Parse(b); err != nil {
			require.ErrorIs(t, err, ErrFormat)
		}
	})
}

func FuzzParsePickle(f *testing.F) {
	f.Add([]byte("\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01K\x07](\x88NG\xc0\x04\x00\x00\x00\x00\x00\x00eX\x03\x00\x00\x00big\x8a\x06\x00\x00\x00\x00\x00\x01u."))
	f.Add([]byte("\x80\x04\x8c\x02os\x8c\x06system\x93(X\x02\x00\x00\x00idtR."))
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := ParsePickle(b); err != nil {
			require.ErrorIs(t, err, ErrFormat)
		}
	})
}

func TestHostileSizes(t *testing.T) {
	files := [][]byte{archiveOf(t, tensorPickle(6, "K\x00", "K\x03K\x02\x86", "K\x01K\x03\x86"), map[string][]byte{"0": sixFloats}, zip.Store)}
	for _, name := range []string{"state.pt", "legacy.pt"} {
		b, err := os.ReadFile(filepath.Join("testdata", name))
		require.NoError(t, err)
		files = append(files, b)
	}
	hostile.Sizes(t, files, 30, 1<<20, func(b []byte) { _, _ = Parse(b) })
	hostile.Sizes(t, [][]byte{
		[]byte("\x80\x02}q\x00(X\x01\x00\x00\x00aK\x01K\x07](\x88NG\xc0\x04\x00\x00\x00\x00\x00\x00eX\x03\x00\x00\x00big\x8a\x06\x00\x00\x00\x00\x00\x01u."),
	}, 30, 64<<10, func(b []byte) { _, _ = ParsePickle(b) })
}
