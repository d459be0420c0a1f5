package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// residualCase is a codec, a query and a document for tests; idx holds the bucket numbers, tokens x dim.
type residualCase struct {
	nbits, dim, rows, tokens, centroids int
	weights, query, inv                 []float32
	base                                Base
	idx                                 []uint8
	packed                              []byte
	codes                               []uint32
}

func newResidualCase(r *rand.Rand, nbits, dim, rows, tokens int) *residualCase {
	c := &residualCase{nbits: nbits, dim: dim, rows: rows, tokens: tokens, centroids: 9}
	c.weights = normals(r, 1<<nbits)
	slices.Sort(c.weights)
	c.query = normals(r, rows*dim)
	lanes := (rows + 15) / 16 * 16
	c.base = Base{Scores: make([]int16, c.centroids*lanes), Unit: make([]float32, lanes)}
	for i, v := range normals(r, c.centroids*lanes) {
		c.base.Scores[i] = int16(max(min(8192*v, math.MaxInt16), math.MinInt16))
	}
	for i := range c.base.Unit {
		c.base.Unit[i] = float32(i+1) * 1e-5
		if i >= rows {
			c.base.Unit[i] = float32(math.NaN()) // what lies behind the rows does not matter
		}
	}
	c.idx, c.inv, c.codes = make([]uint8, tokens*dim), make([]float32, tokens), make([]uint32, tokens)
	c.packed = make([]byte, tokens*dim*nbits/8)
	for t := range tokens {
		c.inv[t], c.codes[t] = 0.5+r.Float32(), uint32(r.IntN(c.centroids))
		for d := range dim {
			v := uint8(r.IntN(1 << nbits))
			c.idx[t*dim+d] = v
			// As the peers pack: bit j of the bucket number, lowest first, from the top of the byte.
			for j := range nbits {
				pos := d*nbits + j
				c.packed[t*dim*nbits/8+pos/8] |= v >> j & 1 << (7 - pos%8)
			}
		}
	}
	return c
}

// score is the definition, of what dots has for a query row and a token.
func (c *residualCase) score(l *Levels, i, tok, dot int) float32 {
	qs, _ := int8Scale(c.query[i*c.dim : (i+1)*c.dim])
	base := float32(float32(c.base.Scores[int(c.codes[tok])*len(c.base.Unit)+i]) * c.base.Unit[i])
	return float32((float32(float32(dot)*float32(qs*l.scale)) + base) * c.inv[tok])
}

// dots returns the integer products of every query row with every token by the definition, before scales.
func (c *residualCase) dots() [][]int {
	quantise := func(v []float32) []int {
		_, inv := int8Scale(v)
		out := make([]int, len(v))
		for i, x := range v {
			out[i] = int(math.RoundToEven(float64(x * inv)))
		}
		return out
	}
	w := quantise(c.weights)
	out := make([][]int, c.rows)
	for i := range out {
		q := quantise(c.query[i*c.dim : (i+1)*c.dim])
		out[i] = make([]int, c.tokens)
		for t := range out[i] {
			for d, v := range c.idx[t*c.dim : (t+1)*c.dim] {
				out[i][t] += q[d] * w[v]
			}
		}
	}
	return out
}

func TestResidualMax(t *testing.T) {
	r := rand.New(rand.NewPCG(51, 52))
	for _, nbits := range []int{1, 2, 4, 8} {
		for _, dim := range []int{8, 24, 48, 64, 96, 128, 136, 200, 1024, 4096, 8192, 5, 6, 130} {
			if dim*nbits%8 != 0 { // few bits need whole bytes
				continue
			}
			rowsList, tokensList := []int{1, 16, 17, 32, 33, 48, 70}, []int{0, 1, 2, 3, 4, 5, 7, 11, 12, 13, 30, 61}
			if dim > 200 {
				rowsList, tokensList = []int{3, 40}, []int{1, 14}
			}
			for _, rows := range rowsList {
				most := slices.Max(tokensList)
				c := newResidualCase(r, nbits, dim, rows, most)
				l := NewLevels(c.weights, nbits, dim)
				q := NewResidualQuery(l, c.query, rows)
				rb, dots := l.RowBytes(), c.dots()

				// The definition; every implementation must reach it in every bit.
				want := make([][]float32, most+1)
				want[0] = make([]float32, rows)
				for i := range rows {
					want[0][i] = float32(math.Inf(-1))
				}
				for tok := range most {
					want[tok+1] = slices.Clone(want[tok])
					for i := range rows {
						want[tok+1][i] = max(want[tok][i], c.score(l, i, tok, dots[i][tok]))
					}
				}
				for _, im := range impls {
					if !im.Available {
						continue
					}
					gb, gu := newGuard(t, 2*len(c.base.Scores)), newGuard(t, 4*len(c.base.Unit))
					gc, gr, gi := newGuard(t, 4*most), newGuard(t, len(c.packed)), newGuard(t, 4*most)
					for _, n := range tokensList {
						for _, after := range []bool{true, false} {
							out := make([]float32, rows)
							base, codes := &Base{Scores: guarded(gb, c.base.Scores, after), Unit: guarded(gu, c.base.Unit, after)}, guarded(gc, c.codes[:n], after)
							packed, inv := guarded(gr, c.packed[:n*rb], after), guarded(gi, c.inv[:n], after)
							q.maxAt(im.ISA, out, base, codes, packed, inv)
							require.Equal(t, want[n], out, "%s bits %d dim %d rows %d tokens %d", im.Name, nbits, dim, rows, n)
							if n > 0 {
								var sum float32
								for _, v := range out {
									sum += v
								}
								require.Equal(t, sum, q.maxSimAt(im.ISA, base, codes, packed, inv, packed))
							}
						}
					}
				}
			}
		}
	}
}

// The score approximates the one of decoded vectors.
func TestResidualApproximation(t *testing.T) {
	r := rand.New(rand.NewPCG(53, 54))
	c := newResidualCase(r, 4, 128, 8, 20)
	l := NewLevels(c.weights, 4, 128)
	q := NewResidualQuery(l, c.query, 8)
	got := make([]float32, 8)
	q.Max(got, &c.base, c.codes, c.packed, c.inv)
	for i := range got {
		best := math.Inf(-1)
		for tok := range 20 {
			s := float64(c.base.Scores[int(c.codes[tok])*16+i]) * float64(c.base.Unit[i])
			for d := range 128 {
				s += float64(c.query[i*128+d]) * float64(c.weights[c.idx[tok*128+d]])
			}
			best = max(best, s*float64(c.inv[tok]))
		}
		// The sum of 128 rounding errors has a deviation of about 0.12, times the inverse norm.
		near(t, best, got[i], 1)
	}
}

func TestResidualFixtures(t *testing.T) {
	// The packed bytes of colbert-ai: 4 bits, buckets 1 and 2 make 0x84; 2 bits, 1 2 3 0 make 0x9C; 1 bit, 1 0 0 0 0 0 0 1
	// make 0x81.
	for _, f := range []struct {
		nbits int
		b     byte
		idx   []int
	}{{4, 0x84, []int{1, 2}}, {2, 0x9c, []int{1, 2, 3, 0}}, {1, 0x81, []int{1, 0, 0, 0, 0, 0, 0, 1}}, {8, 0x01, []int{128}}} {
		weights := make([]float32, 1<<f.nbits)
		for i := range weights {
			weights[i] = float32(i)
		}
		weights[len(weights)-1] = float32(len(weights) - 1)
		l := NewLevels(weights, f.nbits, 8/f.nbits)
		row := make([]uint8, 8/f.nbits)
		l.decode(row, len(row), []byte{f.b}, 1, 0)
		for d, v := range f.idx {
			want := int8(math.RoundToEven(float64(weights[v] * (127 / weights[len(weights)-1]))))
			require.Equal(t, want, int8(row[l.place(d)]), "%d bits, dimension %d", f.nbits, d)
		}
	}
}

func TestResidualZero(t *testing.T) {
	l := NewLevels(make([]float32, 16), 4, 16)
	require.Zero(t, l.Scale())
	q := NewResidualQuery(l, make([]float32, 16), 1)
	base := &Base{Scores: make([]int16, 16), Unit: make([]float32, 16)}
	base.Scores[0], base.Unit[0] = 6, .5
	require.Equal(t, float32(6), q.MaxSim(base, []uint32{0}, make([]byte, 8), []float32{2}, nil))
}

func TestResidualPanics(t *testing.T) {
	r := rand.New(rand.NewPCG(55, 56))
	c := newResidualCase(r, 2, 16, 5, 6)
	l := NewLevels(c.weights, 2, 16)
	q := NewResidualQuery(l, c.query, 5)
	out := make([]float32, 5)
	for name, f := range map[string]func(){
		"bits":        func() { NewLevels(make([]float32, 8), 3, 16) },
		"weights":     func() { NewLevels(make([]float32, 8), 4, 16) },
		"dimension":   func() { NewLevels(make([]float32, 2), 1, 12) },
		"query":       func() { NewResidualQuery(l, c.query[1:], 5) },
		"out":         func() { q.Max(out[1:], &c.base, c.codes, c.packed, c.inv) },
		"residuals":   func() { q.Max(out, &c.base, c.codes, c.packed[1:], c.inv) },
		"norms":       func() { q.Max(out, &c.base, c.codes, c.packed, c.inv[1:]) },
		"base":        func() { q.Max(out, &Base{Scores: c.base.Scores[:16], Unit: c.base.Unit}, []uint32{1}, c.packed, c.inv) },
		"units":       func() { q.Max(out, &Base{Scores: c.base.Scores, Unit: c.base.Unit[:15]}, c.codes, c.packed, c.inv) },
		"no tokens":   func() { q.MaxSim(&c.base, nil, nil, nil, nil) },
		"hostile one": func() { q.MaxSim(&c.base, []uint32{math.MaxUint32}, c.packed, c.inv, nil) },
	} {
		t.Run(name, func(t *testing.T) { require.Panics(t, f) })
	}
	require.Zero(t, testing.AllocsPerRun(10, func() {
		q.Max(out, &c.base, c.codes, c.packed, c.inv)
		q.MaxSim(&c.base, c.codes, c.packed, c.inv, c.packed)
		q.Reset(l, c.query, 5)
	}))
}

func BenchmarkResidual(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, nbits := range []int{1, 2, 4, 8} {
		for _, docs := range []int{1, 400} {
			const dim, rows, tokens = 128, 32, 300
			c := newResidualCase(r, nbits, dim, rows, tokens*docs)
			q := NewResidualQuery(NewLevels(c.weights, nbits, dim), c.query, rows)
			rb, n := dim*nbits/8, 0
			eachISABench(b, fmt.Sprintf("bits=%d/q=%d/d=%d/dim=%d/docs=%d", nbits, rows, tokens, dim, docs), 2*rows*tokens*dim, func(l isa) {
				at := n * tokens
				q.maxSimAt(l, &c.base, c.codes[at:at+tokens], c.packed[at*rb:], c.inv[at:], nil)
				n = (n + 1) % docs
			})
		}
	}
}
