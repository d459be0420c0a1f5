package npy

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/hostile"
	"github.com/golbert/golbert/internal/testdata"
)

func TestRoundTrip(t *testing.T) {
	a, err := Parse(Append(nil, []float32{1, -2, 3.5, 0, 7, 8}, 2, 3))
	require.NoError(t, err)
	require.Equal(t, Float32, a.DType)
	require.Equal(t, []int{2, 3}, a.Shape)
	f, err := a.Float32s()
	require.NoError(t, err)
	require.Equal(t, []float32{1, -2, 3.5, 0, 7, 8}, f)
	_, err = a.Int64s()
	require.ErrorIs(t, err, ErrFormat)

	b := Append(nil, []int64{-5, 1 << 40}, 2)
	require.Zero(t, (len(b)-16)%64, "data must be aligned to 64 bytes")
	a, err = Parse(b)
	require.NoError(t, err)
	i, err := a.Int64s()
	require.NoError(t, err)
	require.Equal(t, []int64{-5, 1 << 40}, i)
	_, err = a.Float32s()
	require.ErrorIs(t, err, ErrFormat)

	for _, n := range []int{0, 1} {
		a, err = Parse(Append(nil, make([]uint8, n), n))
		require.NoError(t, err)
		require.Equal(t, n, a.Len())
	}
	a, err = Parse(Append(nil, []float64{2.5}))
	require.NoError(t, err)
	require.Empty(t, a.Shape)
	require.Equal(t, 1, a.Len())
}

func file(header string, data int) []byte {
	b := append([]byte("\x93NUMPY\x01\x00"), byte(len(header)), byte(len(header)>>8))
	return append(append(b, header...), make([]byte, data)...)
}

func TestSpellings(t *testing.T) {
	for _, h := range []string{
		"{'descr': '<u1', 'fortran_order': False, 'shape': (6,), }\n",
		"{'descr': '|u1', 'fortran_order': False, 'shape': (6, ), }",
		"{\"shape\":(3,2,),\"descr\":\"=u1\",\"fortran_order\":False}",
		"{'descr': '>u1', 'fortran_order': False, 'shape': (6L,), }     \n",
	} {
		a, err := Parse(file(h, 6))
		require.NoError(t, err, h)
		require.Equal(t, Uint8, a.DType)
		require.Equal(t, 6, a.Len())
	}
}

func TestHostileHeaders(t *testing.T) {
	for name, b := range map[string][]byte{
		"empty":            nil,
		"magic":            []byte("\x93NUMPX\x01\x00\x00\x00"),
		"version":          []byte("\x93NUMPY\x07\x00\x00\x00"),
		"header length":    []byte("\x93NUMPY\x02\x00\xff\xff\xff\xff{}"),
		"objects":          file("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 64),
		"big endian":       file("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", 4),
		"fortran":          file("{'descr': '<f4', 'fortran_order': True, 'shape': (1,), }", 4),
		"overflow":         file("{'descr': '<f8', 'fortran_order': False, 'shape': (4611686018427387903, 4), }", 4),
		"overflow to zero": file("{'descr': '<f8', 'fortran_order': False, 'shape': (2305843009213693952, 8), }", 4),
		"too long":         file("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000,), }", 4),
		"negative":         file("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }", 4),
		"missing":          file("{'descr': '<f4', 'fortran_order': False, }", 4),
		"expression":       file("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'x': __import__('os')}", 4),
		"unclosed":         file("{'descr': '<f4', 'fortran_order': False, 'shape': (1", 4),
		"unclosed string":  file("{'descr", 4),
	} {
		_, err := Parse(b)
		require.ErrorIs(t, err, ErrFormat, name)
	}
}

func TestGoldenFiles(t *testing.T) {
	dir := testdata.Shared(t, "golden/plaid")
	for _, c := range []struct {
		file  string
		dtype DType
		shape []int
	}{
		{"fp_n4/0.residuals.npy", Uint8, []int{2876, 32}},
		{"fp_n4/0.codes.npy", Int64, []int{2876}},
		{"fp_n4/centroids.npy", Float16, []int{512, 64}},
		{"fp_n4_del/ivf_lengths.npy", Int64, []int{512}},
		{"np_n4/centroids.npy", Float32, []int{512, 64}},
	} {
		b, err := os.ReadFile(filepath.Join(dir, c.file))
		require.NoError(t, err)
		a, err := Parse(b)
		require.NoError(t, err, c.file)
		require.Equal(t, c.dtype, a.DType, c.file)
		require.Equal(t, c.shape, a.Shape, c.file)
	}
	b, err := os.ReadFile(filepath.Join(dir, "fp_n4_add20/buffer.npy"))
	require.NoError(t, err)
	_, err = Parse(b)
	require.ErrorContains(t, err, "pickle")
}

func FuzzParse(f *testing.F) {
	f.Add(Append(nil, []float32{1, 2}, 2))
	f.Add(Append(nil, []int64{1, 2}, 1, 2))
	f.Add(file("{'descr': '<f2', 'fortran_order': False, 'shape': (6L,), }     \n", 12))
	f.Fuzz(func(t *testing.T, b []byte) {
		a, err := Parse(b)
		if err != nil {
			require.ErrorIs(t, err, ErrFormat)
			return
		}
		_, _ = a.Float32s()
		_, _ = a.Int64s()
		require.LessOrEqual(t, len(a.Data), len(b))
	})
}

func TestHostileSizes(t *testing.T) {
	hostile.Sizes(t, [][]byte{
		Append(nil, []float32{1, 2}, 2), Append(nil, []int64{1, 2, 3, 4}, 2, 2), file("{'descr': '<f2', 'fortran_order': False, 'shape': (6L,), }     \n", 12),
	}, 8, 64<<10, func(b []byte) {
		if a, err := Parse(b); err == nil {
			_, _ = a.Float32s()
			_, _ = a.Int64s()
		}
	})
}
