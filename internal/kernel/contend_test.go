package kernel

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestContenders(t *testing.T) {
	r := rand.New(rand.NewPCG(57, 58))
	const most = 61
	for _, nbits := range []int{1, 2, 4, 8} {
		for _, dim := range []int{8, 48, 128, 136} {
			for _, rows := range []int{1, 16, 17, 32, 33, 48, 70} {
				c := newResidualCase(r, nbits, dim, rows, most)
				c.inv[3], c.inv[7] = 0, float32(math.NaN())
				l := NewLevels(c.weights, nbits, dim)
				q := NewResidualQuery(l, c.query, rows)
				rb, dots := l.RowBytes(), c.dots()
				margin := make([]float32, rows)
				for i := range margin {
					margin[i] = 3 * r.Float32() * r.Float32() * float32(math.Sqrt(float64(dim)))
				}
				for _, n := range []int{0, 1, 2, 3, 5, 12, 13, 48, 49, 61} {
					best := make([]float32, rows)
					score := func(i, tok int) float32 { return c.score(l, i, tok, dots[i][tok]) }
					want := []uint32{}
					for i := range best {
						best[i] = float32(math.Inf(-1))
						for tok := range n {
							if v := score(i, tok); v > best[i] {
								best[i] = v
							}
						}
						for tok := range n {
							if score(i, tok) >= best[i]-margin[i] && !slices.Contains(want, uint32(tok)) {
								want = append(want, uint32(tok))
							}
						}
					}
					slices.Sort(want)
					for _, im := range impls {
						if im.Available {
							var f Contenders
							f.Find(nil, q, margin, &c.base, c.codes[:1], c.packed, c.inv) // its memory grows
							got := f.findAt(im.ISA, nil, q, margin, &c.base, c.codes[:n], c.packed[:n*rb], c.inv[:n])
							require.Equal(t, want, append([]uint32{}, got...), "%s bits %d dim %d rows %d tokens %d", im.Name, nbits, dim, rows, n)
							require.Equal(t, best, f.Max())
						}
					}
				}
			}
		}
	}
	c := newResidualCase(r, 4, 16, 5, 6)
	q := NewResidualQuery(NewLevels(c.weights, 4, 16), c.query, 5)
	var f Contenders
	dst := make([]uint32, 6)
	require.Panics(t, func() { f.Find(dst, q, make([]float32, 4), &c.base, c.codes, c.packed, c.inv) })
	require.Panics(t, func() { f.Find(dst, q, make([]float32, 5), &c.base, c.codes, c.packed[1:], c.inv) })
	require.Zero(t, testing.AllocsPerRun(10, func() { f.Find(dst, q, c.inv, &c.base, c.codes, c.packed, c.inv) }))
}

// The deviation that Error gives is about the one of scores, and not below it.
func TestRowError(t *testing.T) {
	r := rand.New(rand.NewPCG(59, 60))
	const rows, tokens = 20, 400
	for _, nbits := range []int{1, 2, 4, 8} {
		for _, dim := range []int{32, 128, 768} {
			c := newResidualCase(r, nbits, dim, rows, tokens)
			q := NewResidualQuery(NewLevels(c.weights, nbits, dim), c.query, rows)
			dots := c.dots()
			var is, told float64
			for i := range rows {
				row := c.query[i*dim : (i+1)*dim]
				qs, _ := int8Scale(row)
				var norm float64
				for _, v := range row {
					norm += float64(v) * float64(v)
				}
				near(t, math.Sqrt(norm), q.Error(i).Norm, 1e-6*norm)
				require.LessOrEqual(t, q.Error(i).Rounding, float64(qs)*math.Sqrt(float64(dim))/2)
				for tok := range tokens {
					var s float64
					for d, v := range c.idx[tok*dim : (tok+1)*dim] {
						s += float64(row[d]) * float64(c.weights[v])
					}
					s -= float64(dots[i][tok]) * float64(qs) * float64(q.levels.scale)
					is += s * s
				}
				told += q.Error(i).Level * q.Error(i).Level * tokens
			}
			require.Less(t, math.Sqrt(is), 1.02*math.Sqrt(told), "%d bits dim %d", nbits, dim)
			require.Greater(t, 2.5*math.Sqrt(is), math.Sqrt(told), "%d bits dim %d", nbits, dim)
		}
	}
}
