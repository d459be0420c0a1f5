package torchpt

import (
	"archive/zip"
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWriteRoundTrip(t *testing.T) {
	a := &Tensor{DType: Float, Shape: []int{2, 3}, Data: sixFloats}
	b := &Tensor{DType: Byte, Shape: []int{5}, Data: []byte("abcde")}
	s := &Tensor{DType: Half, Shape: []int{}, Data: []byte{0, 0x3c}}
	for _, in := range [][]*Tensor{{a}, {s}, {a, b}, {b, a, s}} {
		var buf bytes.Buffer
		require.NoError(t, Write(&buf, "0.codes", in...))
		v, err := Parse(buf.Bytes())
		require.NoError(t, err)
		out, ok := v.(List)
		if !ok {
			out = List{v}
		}
		require.Len(t, out, len(in))
		for i := range in {
			require.Equal(t, in[i], out[i].(*Tensor))
		}
		z, err := zip.NewReader(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		require.NoError(t, err)
		for _, f := range z.File {
			off, err := f.DataOffset()
			require.NoError(t, err)
			require.Zero(t, off%64, f.Name)
		}
	}
	require.Error(t, Write(&bytes.Buffer{}, "x"))
}
