package quant

import (
	"context"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"math"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/hostile"
	"github.com/stretchr/testify/require"
)

func sampleBooks(t testing.TB) map[string]*Codebook {
	m := clustered(1, 1500, 8, 12, 0.5)
	books := map[string]*Codebook{}
	for name, o := range map[string]*TrainOptions{
		"1 bit":       {NBits: 1, Centroids: 5},
		"2 bits":      {NBits: 2, Centroids: 16, Seed: 3},
		"4 bits":      {NBits: 4},
		"no rotation": {NBits: 4, Centroids: 7, NoRotation: true},
		"8 bits":      {NBits: 8, Centroids: 3},
		"16 bits":     {NBits: 16, Centroids: 4},
		"groups":      {NBits: 1, Centroids: 1100},
		"directions":  {NBits: 2, Centroids: 6, Queries: clustered(9, 200, 8, 1, 0.5)},
	} {
		b, err := Train(context.Background(), m, o)
		require.NoError(t, err)
		books[name] = b
	}
	var err error
	books["float32 centroids"], err = NewCodebook(3, 1, []float32{0.1, 0.2, 0.3}, []float32{0}, []float32{-0.1, 0.1})
	require.NoError(t, err)
	return books
}

func TestFileRoundTrip(t *testing.T) {
	ids := map[string]string{}
	for name, c := range sampleBooks(t) {
		b, err := c.MarshalBinary()
		require.NoError(t, err)
		got, err := ParseCodebook(b)
		require.NoError(t, err, name)
		again, err := got.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, b, again, name)
		require.Equal(t, c.ID(), got.ID())
		require.Len(t, c.ID(), 32)
		require.Equal(t, c.Dim(), got.Dim())
		require.Equal(t, c.NBits(), got.NBits())
		require.Equal(t, c.K(), got.K())
		require.Equal(t, c.Centroids(), got.Centroids())
		require.Equal(t, c.Scales(), got.Scales())
		require.Equal(t, c.Weights(), append([]float32(nil), got.Weights()...))
		require.Equal(t, c.TrainTokens(), got.TrainTokens())
		require.Equal(t, c.MeanResidual(), got.MeanResidual())
		require.Equal(t, c.Rotated(), got.Rotated())
		require.NotContains(t, ids, c.ID())
		ids[c.ID()] = name

		m := clustered(2, 50, c.Dim(), 5, 0.5)
		want, err := c.Encode(context.Background(), m, 0)
		require.NoError(t, err)
		have, err := got.Encode(context.Background(), m, 0)
		require.NoError(t, err)
		require.Equal(t, want, have, name)
	}
}

func TestParseRefusesDamage(t *testing.T) {
	b, err := sampleBooks(t)["2 bits"].MarshalBinary()
	require.NoError(t, err)
	for n := range b {
		_, err := ParseCodebook(b[:n])
		require.ErrorIs(t, err, ErrCorrupt, "cut to %d bytes", n)
	}
	_, err = ParseCodebook(append(b[:len(b):len(b)], 0))
	require.ErrorIs(t, err, ErrCorrupt)
	for i := range b {
		for _, bit := range []byte{1, 0x80} {
			bad := append([]byte(nil), b...)
			bad[i] ^= bit
			_, err := ParseCodebook(bad)
			require.Error(t, err, "byte %d", i)
			require.True(t, errors.Is(err, ErrCorrupt) || i >= 8 && i < 12 && errors.Is(err, ErrVersion), "byte %d: %v", i, err)
		}
	}
}

// TestParseRefusesHostileFiles changes single fields and makes the checksum right again.
func TestParseRefusesHostileFiles(t *testing.T) {
	le := binary.LittleEndian
	books := sampleBooks(t)
	f32 := func(v float64) uint32 { return math.Float32bits(float32(v)) }
	for _, c := range []struct {
		name, book string
		change     func(b []byte)
		field      string
		offset     int64
	}{
		{"dim 0", "2 bits", func(b []byte) { le.PutUint32(b[12:], 0) }, "dim", 12},
		{"dim huge", "2 bits", func(b []byte) { le.PutUint32(b[12:], math.MaxUint32) }, "dim", 12},
		{"other dim", "2 bits", func(b []byte) { le.PutUint32(b[12:], 9) }, "file length", 0},
		{"no centroids", "2 bits", func(b []byte) { le.PutUint32(b[16:], 0) }, "centroids", 16},
		{"huge centroids", "2 bits", func(b []byte) { le.PutUint32(b[16:], 1<<31) }, "centroids", 16},
		{"many centroids", "2 bits", func(b []byte) { le.PutUint32(b[16:], 1<<26) }, "file length", 0},
		{"bits", "2 bits", func(b []byte) { b[20] = 7 }, "bits", 20},
		{"other bits", "2 bits", func(b []byte) { b[20] = 8 }, "file length", 0},
		{"rotation", "2 bits", func(b []byte) { b[21] = 9 }, "rotation", 21},
		{"centroid type", "2 bits", func(b []byte) { b[22] = 3 }, "centroid type", 22},
		{"flags", "2 bits", func(b []byte) { b[23] |= 0x80 }, "flags", 23},
		{"seed without rotation", "no rotation", func(b []byte) { b[24] = 1 }, "rotation seed", 24},
		{"negative residual", "2 bits", func(b []byte) { le.PutUint32(b[40:], f32(-1)) }, "mean residual", 40},
		{"NaN residual", "2 bits", func(b []byte) { le.PutUint32(b[40:], f32(math.NaN())) }, "mean residual", 40},
		{"directions without the flag", "2 bits", func(b []byte) { b[44] = 1 }, "directions", 44},
		{"flag without directions", "2 bits", func(b []byte) { b[23] |= 2 }, "directions", 44},
		{"many directions", "directions", func(b []byte) { b[46] = 1 }, "directions", 44},
		{"NaN direction", "directions", func(b []byte) { le.PutUint32(b[108:], f32(math.NaN())) }, "directions", 108},
		{"groups without the flag", "2 bits", func(b []byte) { b[48] = 1 }, "groups", 48},
		{"more groups than centroids", "groups", func(b []byte) { le.PutUint32(b[48:], 1101) }, "groups", 48},
		{"no probes", "groups", func(b []byte) { le.PutUint32(b[52:], 0) }, "probes", 52},
		{"more probes than groups", "groups", func(b []byte) { le.PutUint32(b[52:], 99) }, "probes", 52},
		{"an empty group", "groups", func(b []byte) { clear(b[64+12+2200+4:][:4]) }, "group sizes", 64 + 12 + 2200 + 4},
		{"groups of too many", "groups", func(b []byte) { b[64+12+2200+2] = 1 }, "group sizes", 64 + 12 + 2200},
		{"reserved", "2 bits", func(b []byte) { b[57] = 1 }, "reserved", 57},
		{"NaN cutoff", "2 bits", func(b []byte) { le.PutUint32(b[68:], f32(math.NaN())) }, "cutoffs", 68},
		{"descending cutoffs", "2 bits", func(b []byte) { le.PutUint32(b[64:], f32(1e9)) }, "cutoffs", 68},
		{"infinite weight", "2 bits", func(b []byte) { le.PutUint32(b[76:], f32(math.Inf(1))) }, "weights", 76},
		{"NaN scale", "2 bits", func(b []byte) { le.PutUint16(b[92:], 0x7e00) }, "scales", 92},
		{"negative scale", "2 bits", func(b []byte) { le.PutUint16(b[94:], 0xbc00) }, "scales", 94},
		{"infinite centroid", "2 bits", func(b []byte) { le.PutUint16(b[len(b)-6:], 0x7c00) }, "centroids", -6},
		{"float32 centroids that are halves", "float32 centroids", func(b []byte) { clear(b[len(b)-16 : len(b)-4]) }, "centroid type", 22},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := books[c.book].MarshalBinary()
			require.NoError(t, err)
			c.change(b)
			le.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)))
			_, err = ParseCodebook(b)
			var fe *FormatError
			require.ErrorAs(t, err, &fe)
			require.ErrorIs(t, err, ErrCorrupt)
			require.Equal(t, c.field, fe.Field, err)
			if c.offset < 0 {
				c.offset += int64(len(b))
			}
			require.Equal(t, c.offset, fe.Offset, err)
		})
	}
}

func TestParseVersion(t *testing.T) {
	b, err := sampleBooks(t)["1 bit"].MarshalBinary()
	require.NoError(t, err)
	b[8] = 9
	_, err = ParseCodebook(b)
	require.ErrorIs(t, err, ErrVersion)
	require.ErrorContains(t, err, "version at offset 8: want 1, got 9")
}

func FuzzParseCodebook(f *testing.F) {
	for _, c := range sampleBooks(f) {
		b, err := c.MarshalBinary()
		require.NoError(f, err)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		// Most inputs would die at the checksum; give them a right one, so that the rest is tried.
		if len(b) > 4 {
			b = append([]byte(nil), b...)
			binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)))
		}
		c, err := ParseCodebook(b)
		if err != nil {
			var fe *FormatError
			require.ErrorAs(t, err, &fe)
			return
		}
		again, err := c.MarshalBinary()
		require.NoError(t, err)
		require.Equal(t, b, again, "what parses is in its only form")
		if c.Dim() > 4096 {
			return
		}
		enc, err := c.Encode(context.Background(), maxsim.New(2, c.Dim()), 1)
		require.NoError(t, err)
		c.Decode(make([]float32, 2*c.Dim()), enc.Codes, enc.Residuals)
	})
}

func TestHostileSizes(t *testing.T) {
	var files [][]byte
	for _, c := range sampleBooks(t) {
		if b, err := c.MarshalBinary(); err == nil && len(b) < 20_000 {
			files = append(files, b)
		}
	}
	require.NotEmpty(t, files)
	hostile.Sizes(t, files, 30, 256<<10, func(b []byte) {
		binary.LittleEndian.PutUint32(b[len(b)-4:], crc32.Checksum(b[:len(b)-4], crc32.MakeTable(crc32.Castagnoli)))
		_, _ = ParseCodebook(b)
	})
}
