package torchpt

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
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

func TestWriteStreams(t *testing.T) {
	var buf bytes.Buffer
	short := func(w io.Writer) error { _, err := w.Write([]byte("ab")); return err }
	require.NoError(t, WriteStreams(&buf, "x", Stream{DType: Byte, Shape: []int{2}, WriteTo: short}))
	v, err := Parse(buf.Bytes())
	require.NoError(t, err)
	require.Equal(t, "ab", string(v.(*Tensor).Data))
	require.Error(t, WriteStreams(&buf, "x", Stream{DType: Byte, Shape: []int{3}, WriteTo: short}))
	failed := errors.New("disk full")
	require.ErrorIs(t, WriteStreams(&buf, "x", Stream{DType: Byte, Shape: []int{3}, WriteTo: func(io.Writer) error { return failed }}), failed)
}

func TestWriteDict(t *testing.T) {
	var buf bytes.Buffer
	i := int64(-1)
	require.NoError(t, WriteDict(&buf, func() (any, any, bool) {
		i++
		return i, fmt.Sprint("id ", i), i < 5000
	}))
	v, err := ParsePickle(buf.Bytes())
	require.NoError(t, err)
	d := v.(*Dict)
	require.Len(t, d.Keys, 5000)
	require.Equal(t, int64(4999), d.Keys[4999])
	require.Equal(t, "id 4999", d.Values[4999])
	require.Error(t, WriteDict(&buf, func() (any, any, bool) { return 1.5, 1, true }))
}
