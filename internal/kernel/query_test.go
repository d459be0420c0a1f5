package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueryMax(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const most = 41
	for _, dim := range []int{1, 2, 3, 4, 5, 7, 8, 17, 32, 96, 128, 131} {
		doc := normals(r, most*dim)
		for _, qrows := range []int{1, 2, 15, 16, 17, 31, 32, 33, 48, 49, 65} {
			query := normals(r, qrows*dim)
			// want[i][j] is the maximum over the first j+1 rows.
			want, bound := make([][]float64, qrows), make([]float64, qrows)
			for i := range want {
				top := math.Inf(-1)
				for j := range most {
					s, b := dot64(query[i*dim:(i+1)*dim], doc[j*dim:(j+1)*dim])
					top, bound[i] = max(top, s), max(bound[i], b)
					want[i] = append(want[i], top)
				}
			}
			var avx2 []float32
			for _, im := range impls {
				if !im.Available {
					continue
				}
				g, h := newGuard(t, most*dim*4), newGuard(t, 80*dim*4)
				q := NewQuery(query, qrows, dim)
				q.data = guarded(h, q.data, true)
				var all []float32
				for rows := 1; rows <= most; rows++ {
					out := make([]float32, qrows+1)
					out[qrows] = 42
					q.maxAt(im.ISA, out, guarded(g, doc[:rows*dim], true), rows)
					require.Equal(t, float32(42), out[qrows])
					var sum float32
					for i, got := range out[:qrows] {
						near(t, want[i][rows-1], got, bound[i]+1e-12, "%s dim %d query %d rows %d", im.Name, dim, i, rows)
						sum += got
					}
					require.Equal(t, sum, q.maxSimAt(im.ISA, guarded(g, doc[:rows*dim], false), rows))
					all = append(all, out[:qrows]...)
				}
				switch {
				case im.ISA == isaAVX2:
					avx2 = all
				case im.ISA >= isaAVX512:
					require.Equal(t, avx2, all, "AVX2 and AVX-512 agree in every bit")
				}
			}
		}
	}
}

func TestQueryMaxLongDocument(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const dim, rows = 64, 2*maxSimBlock/64 + 7
	doc, query := normals(r, rows*dim), normals(r, 33*dim)
	eachISA(t, func(t *testing.T, l isa) {
		q := NewQuery(query, 33, dim)
		whole, part := make([]float32, 33), make([]float32, 33)
		q.maxAt(l, whole, doc, rows)
		// The largest of the parts is the largest of all, in every bit.
		top := make([]float32, 33)
		for i := range top {
			top[i] = float32(math.Inf(-1))
		}
		for at := 0; at < rows; at += 101 {
			n := min(101, rows-at)
			q.maxAt(l, part, doc[at*dim:], n)
			for i := range top {
				top[i] = max(top[i], part[i])
			}
		}
		require.Equal(t, top, whole)
	})
}

func TestQueryEdges(t *testing.T) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	eachISA(t, func(t *testing.T, l isa) {
		q := NewQuery([]float32{1, 0, 0, 1}, 2, 2)
		out := make([]float32, 2)
		q.maxAt(l, out, nil, 0)
		require.Equal(t, []float32{-inf, -inf}, out, "no rows")
		q.maxAt(l, out, []float32{-3, -4, -5, -2}, 2)
		require.Equal(t, []float32{-3, -2}, out, "negative maxima count as they are")
		// A NaN product is ignored wherever it stands; a document of nothing else gives -Inf.
		for rows := 1; rows <= 30; rows++ {
			for at := range rows {
				doc := make([]float32, 2*rows)
				for i := range doc {
					doc[i] = -1
				}
				doc[2*at], doc[2*at+1] = nan, nan
				q.maxAt(l, out, doc, rows)
				want := float32(-1)
				if rows == 1 {
					want = -inf
				}
				require.Equal(t, []float32{want, want}, out, "%d rows, NaN at %d", rows, at)
			}
		}
	})
}

func TestQueryReset(t *testing.T) {
	q := NewQuery([]float32{9, 9, 9, 9, 9, 9}, 3, 2)
	q.Reset([]float32{1, 2}, 1, 2)
	require.Equal(t, 1, q.Rows())
	require.Equal(t, 2, q.Dim())
	require.Equal(t, 16, q.Lanes())
	require.Equal(t, float32(11), q.MaxSim([]float32{3, 4}, 1))
	q.Reset(make([]float32, 100*9), 100, 9)
	require.Equal(t, 112, q.Lanes())
	require.Zero(t, q.MaxSim(make([]float32, 9), 1))
}

func BenchmarkMaxSim(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	for _, s := range []struct{ q, d, dim, docs int }{
		{32, 300, 128, 1}, {32, 300, 128, 400}, {48, 300, 128, 1}, {16, 300, 128, 1}, {32, 61, 128, 1}, {32, 300, 96, 1}, {32, 300, 1024, 1},
	} {
		q := NewQuery(normals(r, s.q*s.dim), s.q, s.dim)
		docs := normals(r, s.docs*s.d*s.dim)
		n := 0
		eachISABench(b, fmt.Sprintf("q=%d/d=%d/dim=%d/docs=%d", s.q, s.d, s.dim, s.docs), float64(2*s.q*s.d*s.dim), func(l isa) {
			q.maxSimAt(l, docs[n*s.d*s.dim:], s.d)
			n = (n + 1) % s.docs
		})
	}
}
