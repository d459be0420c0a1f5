package kernel

import (
	"fmt"
	"hash/crc32"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestCRC32C compares with the standard library, on every length up to some rounds, on both sides of the longest call, and
// next to memory that must not be read.
func TestCRC32C(t *testing.T) {
	const most = crcCall + 3000
	tab := crc32.MakeTable(crc32.Castagnoli)
	eachISA(t, func(t *testing.T, l isa) {
		r := rand.New(rand.NewPCG(1, 2))
		g := newGuard(t, most)
		data := make([]byte, most)
		for i := range data {
			data[i] = byte(r.Uint32())
		}
		check := func(n int) {
			for _, after := range []bool{false, true} {
				b := guarded(g, data[most-n:], after)
				if want, got := crc32.Checksum(b, tab), crc32cAt(l, 0, b); want != got {
					require.Equal(t, want, got, "%d bytes", n)
				}
			}
		}
		for n := range 1400 {
			check(n)
		}
		for _, n := range []int{4095, 4096, 4097, crcCall - 1, crcCall, crcCall + 1, crcCall + 257, most} {
			check(n)
		}
		crc := crc32cAt(l, crc32cAt(l, crc32cAt(l, 0, data[:777]), data[777:]), nil)
		require.Equal(t, crc32.Checksum(data, tab), crc)
	})
	// RFC 3720, B.4.
	zeros := make([]byte, 32)
	require.Equal(t, uint32(0x8a9136aa), CRC32C(0, zeros))
}

func BenchmarkCRC32C(b *testing.B) {
	for _, im := range impls {
		if !im.Available {
			continue
		}
		for _, n := range []int{256, 4096, 64 << 10} {
			b.Run(fmt.Sprintf("%d/%s", n, im.Name), func(b *testing.B) {
				buf := make([]byte, n)
				b.SetBytes(int64(n))
				for b.Loop() {
					crc32cAt(im.ISA, 0, buf)
				}
			})
		}
	}
}
