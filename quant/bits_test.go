package quant

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPackBitsFixtures(t *testing.T) {
	for _, c := range []struct {
		nbits int
		idx   []uint8
		want  []byte
	}{
		{4, []uint8{1, 2}, []byte{0x84}},
		{2, []uint8{1, 2, 3, 0}, []byte{0x9c}},
		{1, []uint8{1, 0, 0, 0, 0, 0, 0, 1}, []byte{0x81}},
		{8, []uint8{1, 0x80, 0xff}, []byte{0x80, 0x01, 0xff}},
		{4, []uint8{1, 2, 15}, []byte{0x84, 0xf0}}, // the rest of the last byte is zero
		{2, []uint8{3}, []byte{0xc0}},
		{1, nil, []byte{}},
	} {
		got := make([]byte, len(c.want))
		PackBits(got, c.idx, c.nbits)
		require.Equal(t, c.want, got, "%d bits %v", c.nbits, c.idx)
		back := make([]uint8, len(c.idx))
		UnpackBits(back, got, c.nbits)
		require.ElementsMatch(t, c.idx, back)
	}
}

// TestPackBitsMatchesDefinition packs bit by bit: numbers in order, low bit first, bytes from the top down.
func TestPackBitsMatchesDefinition(t *testing.T) {
	r := rng{1}
	for _, nbits := range []int{1, 2, 4, 8} {
		for n := range 70 {
			idx := make([]uint8, n)
			want := make([]byte, (n*nbits+7)/8)
			for i := range idx {
				idx[i] = uint8(r.below(1 << nbits))
				for j := range nbits {
					p := i*nbits + j
					want[p/8] |= idx[i] >> j & 1 << (7 - p%8)
				}
			}
			got := make([]byte, len(want))
			PackBits(got, idx, nbits)
			require.Equal(t, want, got)
			back := make([]uint8, n)
			UnpackBits(back, got, nbits)
			require.Equal(t, idx, back)
		}
	}
	require.Panics(t, func() { PackBits(nil, nil, 3) })
}

func FuzzPackBits(f *testing.F) {
	f.Add([]byte{1, 2, 3, 0}, uint8(1))
	f.Fuzz(func(t *testing.T, idx []byte, b uint8) {
		nbits := 1 << (b % 4)
		for i := range idx {
			idx[i] &= 1<<nbits - 1
		}
		packed := make([]byte, (len(idx)*nbits+7)/8)
		PackBits(packed, idx, nbits)
		back := make([]uint8, len(idx))
		UnpackBits(back, packed, nbits)
		require.Equal(t, idx, back)
	})
}
