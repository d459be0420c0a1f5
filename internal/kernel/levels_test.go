package kernel

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// fieldAt reads a bucket number as the format says: the lowest bit first, from the top of a byte down.
func fieldAt(row []byte, d, nbits int) int {
	v := 0
	for j := range nbits {
		at := d*nbits + j
		v |= int(row[at/8]>>(7-at%8)&1) << j
	}
	return v
}

func TestFloatLevels(t *testing.T) {
	r := rand.New(rand.NewPCG(61, 62))
	for _, nbits := range []int{1, 2, 4, 8} {
		weights := normals(r, 1<<nbits)
		l := NewFloatLevels(weights, nbits)
		for n := 1; n < 200; n++ {
			cent, row, scale := normals(r, n), make([]byte, (n*nbits+7)/8), float32(r.NormFloat64())
			want := make([]float32, n)
			for i := range row {
				row[i] = byte(r.Uint32())
			}
			for i := range want {
				p := scale * weights[fieldAt(row, i, nbits)]
				want[i] = cent[i] + p
			}
			eachISA(t, func(t *testing.T, s isa) {
				d, c, b := newGuard(t, 4*n+1), newGuard(t, 4*n+1), newGuard(t, len(row)+1)
				for _, after := range []bool{true, false} {
					dst := guarded(d, make([]float32, n), after)
					l.addAt(s, dst, guarded(c, cent, after), scale, guarded(b, row, after))
					require.Equal(t, want, dst, "bits %d n %d", nbits, n)
				}
			})
			Prefetch(row)
		}
	}
	require.Panics(t, func() { NewFloatLevels(make([]float32, 3), 2) })
	l := NewFloatLevels(make([]float32, 4), 2)
	require.Panics(t, func() { l.Add(make([]float32, 9), make([]float32, 9), 1, make([]byte, 2)) })
	require.Panics(t, func() { l.Add(make([]float32, 8), make([]float32, 7), 1, make([]byte, 2)) })
}

func BenchmarkFloatLevels(b *testing.B) {
	const n = 128
	r := rand.New(rand.NewPCG(1, 2))
	for _, nbits := range []int{1, 2, 4} {
		l := NewFloatLevels(normals(r, 1<<nbits), nbits)
		dst, cent, row := make([]float32, n), normals(r, n), make([]byte, n*nbits/8)
		eachISABench(b, fmt.Sprintf("bits=%d/dim=%d", nbits, n), n, func(s isa) { l.addAt(s, dst, cent, 1.5, row) })
	}
}
