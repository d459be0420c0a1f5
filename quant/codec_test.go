package quant

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"sort"
	"testing"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/stretchr/testify/require"
)

func TestNumCentroids(t *testing.T) {
	for tokens, want := range map[uint64]int{
		0: 1, 1: 1, 2: 2, 10: 10, 100: 100, 256: 256, 1000: 256, 492_000: 8192, 2_451_918: 16384, 600_000_000: 262144,
		math.MaxUint64: MaxCentroids,
	} {
		require.Equal(t, want, NumCentroids(tokens), "%d tokens", tokens)
	}
}

// TestBucketRule checks the grid against the definition, on values at, beside and far from the cutoffs.
func TestBucketRule(t *testing.T) {
	r := rng{1}
	inf := float32(math.Inf(1))
	for range 300 {
		n := []int{1, 3, 15, 255}[r.below(4)]
		cuts := make([]float32, n)
		scale := math.Pow(10, 80*r.float()-40)
		for i := range cuts {
			cuts[i] = float32(r.normal() * scale)
			if math.IsInf(float64(cuts[i]), 0) {
				cuts[i] = math.MaxFloat32
			}
			if i > 0 && r.below(10) == 0 {
				cuts[i] = cuts[i-1]
			}
		}
		sort.Slice(cuts, func(i, j int) bool { return cuts[i] < cuts[j] })
		g := newCutGrid(cuts)
		check := func(v float32) {
			want := 0
			for _, c := range cuts {
				if c < v {
					want++
				}
			}
			require.Equal(t, uint8(want), g.bucket(v), "%v in %v", v, cuts)
		}
		for _, c := range cuts {
			check(c)
			check(math.Nextafter32(c, inf))
			check(math.Nextafter32(c, -inf))
			check(float32(r.normal() * scale))
		}
		for _, v := range []float32{0, math.MaxFloat32, -math.MaxFloat32, 1e-40} {
			check(v)
		}
	}
}

// TestCosineBounds: what each number of bits must at least give, on vectors without structure (the worst
// case: residuals as long as the vectors), on clusters, and on dimensions that do not fill bytes.
func TestCosineBounds(t *testing.T) {
	random := map[int]float64{1: 0.71, 2: 0.90, 4: 0.99, 8: 0.9998, 16: 0.99999}
	cluster := map[int]float64{1: 0.92, 2: 0.97, 4: 0.996, 8: 0.9998, 16: 0.99999}
	for _, dim := range []int{8, 9, 48, 96, 100, 128, 384} {
		rnd, cls := randomUnit(uint64(dim), 1000, dim), clustered(uint64(dim), 1000, dim, 30, 0.5)
		for _, nbits := range []int{1, 2, 4, 8, 16} {
			t.Run(fmt.Sprintf("dim=%d/bits=%d", dim, nbits), func(t *testing.T) {
				for _, c := range []struct {
					name string
					m    maxsim.Matrix
					min  float64
				}{{"random", rnd, random[nbits]}, {"clustered", cls, cluster[nbits]}} {
					book, err := Train(context.Background(), c.m, &TrainOptions{NBits: nbits, Centroids: 32, Seed: 5})
					require.NoError(t, err)
					require.Equal(t, (dim*nbits+7)/8, book.RowBytes())
					require.Greater(t, meanCosine(t, book, c.m), c.min, c.name)
				}
			})
		}
	}
}

// TestSmallSamples: one vector, one centroid, equal vectors (no residual variance at all), zero rows.
func TestSmallSamples(t *testing.T) {
	same := maxsim.New(50, 16)
	for i := range same.Rows {
		same.Row(i)[3] = 1
	}
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		for _, c := range []struct {
			name string
			m    maxsim.Matrix
			k    int
			min  float64
		}{
			{"one vector", randomUnit(1, 1, 16), 0, 0.9999},
			{"two vectors", randomUnit(2, 2, 16), 0, 0.9999},
			{"equal vectors", same, 0, 0.9999},
			{"one centroid", randomUnit(3, 200, 16), 1, 0.65},
			{"three vectors, one centroid", randomUnit(4, 3, 16), 1, 0.65},
		} {
			for _, noRot := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/bits=%d/norotation=%v", c.name, nbits, noRot), func(t *testing.T) {
					book, err := Train(context.Background(), c.m, &TrainOptions{NBits: nbits, Centroids: c.k, NoRotation: noRot})
					require.NoError(t, err)
					require.LessOrEqual(t, book.K(), c.m.Rows)
					require.Greater(t, meanCosine(t, book, c.m), c.min)
					b, err := book.MarshalBinary()
					require.NoError(t, err)
					_, err = ParseCodebook(b)
					require.NoError(t, err)
				})
			}
		}
	}
	zero := maxsim.New(3, 8)
	book, err := Train(context.Background(), zero, nil)
	require.NoError(t, err)
	enc, err := book.Encode(context.Background(), zero, 0)
	require.NoError(t, err)
	out := make([]float32, len(zero.Data))
	book.Decode(out, enc.Codes, enc.Residuals)
	require.NoError(t, maxsim.Matrix{Data: out, Rows: 3, Dim: 8}.Validate(), "zero rows never decode to NaN")
}

func TestInverseNormsMatchDecode(t *testing.T) {
	m := clustered(1, 300, 48, 10, 0.7)
	for _, nbits := range []int{1, 2, 4, 8} {
		book, err := Train(context.Background(), m, &TrainOptions{NBits: nbits, Centroids: 16})
		require.NoError(t, err)
		enc, err := book.Encode(context.Background(), m, 0)
		require.NoError(t, err)
		dec := maxsim.New(m.Rows, m.Dim)
		book.Decode(dec.Data, enc.Codes, enc.Residuals)
		idx := make([]uint8, m.Dim)
		for i := range m.Rows {
			UnpackBits(idx, enc.Residuals[i*book.RowBytes():(i+1)*book.RowBytes()], nbits)
			cent := book.Centroids()[int(enc.Codes[i])*m.Dim:]
			for j, b := range idx {
				v := cent[j] + book.Scale(enc.Codes[i])*book.Weights()[b]
				require.InDelta(t, v*enc.InvNorms[i], dec.Row(i)[j], 1e-6)
			}
			require.InDelta(t, 1, dot(dec.Row(i), dec.Row(i)), 1e-5)
		}
	}
}

// TestFloat16Rows: no rotation, no normalisation, just float16.
func TestFloat16Rows(t *testing.T) {
	m := randomUnit(1, 40, 24)
	for i := range m.Row(7) {
		m.Row(7)[i] *= 3
	}
	book, err := Train(context.Background(), m, &TrainOptions{NBits: 16})
	require.NoError(t, err)
	require.False(t, book.Rotated())
	require.Equal(t, 48, book.RowBytes())
	require.Empty(t, book.Cutoffs())
	require.Empty(t, book.Weights())
	enc, err := book.Encode(context.Background(), m, 0)
	require.NoError(t, err)
	dec := make([]float32, len(m.Data))
	book.Decode(dec, enc.Codes, enc.Residuals)
	require.Equal(t, roundHalf(m.Data), dec)
	for _, n := range enc.InvNorms {
		require.EqualValues(t, 1, n)
	}
}

// TestDeterminism: training and encoding give the same bytes for every GOMAXPROCS and number of workers.
func TestDeterminism(t *testing.T) {
	m := clustered(4, 4000, 96, 60, 0.6) // with groups, scales and directions
	type result struct {
		file []byte
		enc  Encoded
	}
	run := func(procs, workers int, seed uint64) result {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		book, err := Train(context.Background(), m, &TrainOptions{NBits: 2, Seed: seed, Workers: workers, Centroids: 1100, Iterations: 2, Queries: leaning(1, 50, 96)})
		require.NoError(t, err)
		b, err := book.MarshalBinary()
		require.NoError(t, err)
		enc, err := book.Encode(context.Background(), m, workers)
		require.NoError(t, err)
		return result{b, enc}
	}
	want := run(1, 1, 9)
	for _, procs := range []int{1, 2, 8} {
		require.Equal(t, want, run(procs, 0, 9), "GOMAXPROCS %d", procs)
	}
	require.Equal(t, want, run(2, 5, 9))
	require.NotEqual(t, want.file, run(2, 0, 10).file)
}

// TestEncodeIgnoresBatching: a vector's code does not depend on its neighbours, which incremental indexing
// relies on.
func TestEncodeIgnoresBatching(t *testing.T) {
	m := clustered(4, 2000, 64, 30, 0.6)
	book, err := Train(context.Background(), m, &TrainOptions{NBits: 4, Centroids: 1200, Iterations: 2, Queries: leaning(1, 50, 64)})
	require.NoError(t, err)
	want, err := book.Encode(context.Background(), m, 0)
	require.NoError(t, err)
	var got Encoded
	for i, step := 0, 1; i < m.Rows; i, step = i+step, step+13 {
		step = min(step, m.Rows-i)
		e, err := book.Encode(context.Background(), m.Slice(i, i+step), 0)
		require.NoError(t, err)
		got.Codes = append(got.Codes, e.Codes...)
		got.Residuals = append(got.Residuals, e.Residuals...)
		got.InvNorms = append(got.InvNorms, e.InvNorms...)
	}
	require.Equal(t, want, got)
}

func TestTrainDoesNotWriteToTheSample(t *testing.T) {
	m := randomUnit(1, 500, 32)
	before := m.Clone()
	book, err := Train(context.Background(), m, nil)
	require.NoError(t, err)
	_, err = book.Encode(context.Background(), m, 0)
	require.NoError(t, err)
	require.Equal(t, before, m)
	require.EqualValues(t, 500, book.TrainTokens())
	require.Equal(t, 4, book.NBits())
	require.Greater(t, book.MeanResidual(), float32(0))
	require.Equal(t, roundHalf(book.Centroids()), book.Centroids())
	for c := range book.K() {
		v := book.Centroids()[c*32 : (c+1)*32]
		require.InDelta(t, 1, dot(v, v), 1e-3)
	}
}

func TestTrainConsumesTheSample(t *testing.T) {
	for _, n := range []int{20, 500, 3000} {
		m := randomUnit(2, n, 32)
		want, err := Train(context.Background(), m, nil)
		require.NoError(t, err)
		got, err := Train(context.Background(), m, &TrainOptions{Consume: true})
		require.NoError(t, err)
		require.Equal(t, want.ID(), got.ID(), "the result is the same")
	}
}

func TestTrainAndEncodeErrors(t *testing.T) {
	ctx := context.Background()
	m := randomUnit(1, 100, 16)
	nan := m.Clone()
	nan.Data[16*5+2] = float32(math.NaN())
	_, err := Train(ctx, maxsim.Matrix{}, nil)
	require.ErrorIs(t, err, ErrEmpty)
	_, err = Train(ctx, nan, nil)
	require.ErrorIs(t, err, maxsim.ErrNotFinite)
	require.ErrorContains(t, err, "token 5, dimension 2")
	_, err = Train(ctx, maxsim.Matrix{Data: m.Data, Rows: 7, Dim: 16}, nil)
	require.ErrorIs(t, err, maxsim.ErrDim)
	_, err = Train(ctx, m, &TrainOptions{NBits: 3, Centroids: -1, Iterations: -2})
	require.ErrorIs(t, err, ErrOption)
	for _, part := range []string{"3 bits", "-1 centroids", "-2 iterations"} {
		require.ErrorContains(t, err, part)
	}

	book, err := Train(ctx, m, nil)
	require.NoError(t, err)
	_, err = book.Encode(ctx, nan, 0)
	require.ErrorIs(t, err, maxsim.ErrNotFinite)
	_, err = book.Encode(ctx, randomUnit(1, 3, 8), 0)
	require.ErrorIs(t, err, maxsim.ErrDim)
	require.ErrorContains(t, err, "dimension 8, the codebook has 16")
	empty, err := book.Encode(ctx, maxsim.Matrix{}, 0)
	require.NoError(t, err)
	require.Empty(t, empty.Codes)

	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = book.Encode(cancelled, m, 0)
	require.ErrorIs(t, err, context.Canceled)
	_, err = Train(cancelled, m, nil)
	require.ErrorIs(t, err, context.Canceled)
}

func TestNewCodebookErrors(t *testing.T) {
	nan := float32(math.NaN())
	for _, c := range []struct {
		name          string
		dim, nbits    int
		cent, cut, w  []float32
		is            error
		containsWords string
	}{
		{"no dimension", 0, 1, []float32{1}, []float32{0}, []float32{-1, 1}, ErrOption, "dimension 0"},
		{"bits", 1, 5, []float32{1}, []float32{0}, []float32{-1, 1}, ErrOption, "5 bits"},
		{"no centroids", 2, 1, nil, []float32{0}, []float32{-1, 1}, ErrOption, "0 centroid values"},
		{"ragged centroids", 2, 1, []float32{1, 2, 3}, []float32{0}, []float32{-1, 1}, ErrOption, "3 centroid values"},
		{"too few weights", 1, 1, []float32{1}, []float32{0}, []float32{-1}, ErrOption, "1 weights"},
		{"too many cutoffs", 1, 1, []float32{1}, []float32{0, 1}, []float32{-1, 1}, ErrOption, "2 cutoffs"},
		{"weights with float16", 1, 16, []float32{1}, nil, []float32{-1}, ErrOption, "1 weights"},
		{"NaN centroid", 1, 1, []float32{nan}, []float32{0}, []float32{-1, 1}, maxsim.ErrNotFinite, "centroids: value 0"},
		{"NaN weight", 1, 1, []float32{1}, []float32{0}, []float32{-1, nan}, maxsim.ErrNotFinite, "weights: value 1"},
		{"descending weights", 1, 1, []float32{1}, []float32{0}, []float32{1, -1}, ErrOption, "weights: value 1"},
		{"descending cutoffs", 1, 2, []float32{1}, []float32{0, 1, 0.5}, []float32{-1, 0, 1, 2}, ErrOption, "cutoffs: value 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewCodebook(c.dim, c.nbits, c.cent, c.cut, c.w)
			require.ErrorIs(t, err, c.is)
			require.ErrorContains(t, err, c.containsWords)
		})
	}
}

func TestLloydMax(t *testing.T) {
	r := rng{1}
	values := make([]float32, 200_000)
	for i := range values {
		values[i] = float32(r.normal())
	}
	// The optimal levels of a standard normal distribution (Max, 1960, table I).
	cuts, w := lloydMax(append([]float32(nil), values...), 1)
	require.InDeltaSlice(t, []float32{-0.7979, 0.7979}, w, 0.02)
	require.InDelta(t, 0, cuts[0], 0.02)
	cuts, w = lloydMax(append([]float32(nil), values...), 2)
	require.InDeltaSlice(t, []float32{-1.510, -0.4528, 0.4528, 1.510}, w, 0.03)
	require.InDeltaSlice(t, []float32{-0.9816, 0, 0.9816}, cuts, 0.03)
	_, w = lloydMax(append([]float32(nil), values...), 4)
	require.InDelta(t, 2.733, w[15], 0.06)
	require.InDelta(t, 0.1284, w[8], 0.02)

	// Degenerate values.
	for _, v := range [][]float32{{0.5}, {1, 1, 1, 1}, {0, 0, 0, 0, 7}, {-1, 1}} {
		for _, nbits := range []int{1, 2, 4, 8} {
			cuts, w := lloydMax(append([]float32(nil), v...), nbits)
			require.IsNonDecreasing(t, w)
			if len(cuts) > 1 {
				require.IsNonDecreasing(t, cuts)
			}
			for _, x := range v {
				n := 0
				for _, c := range cuts {
					if c < x {
						n++
					}
				}
				if nbits > 1 {
					require.InDelta(t, x, w[n], 1e-6, "%v with %d bits", v, nbits)
				}
			}
		}
	}
}

func BenchmarkEncode(b *testing.B) {
	m := clustered(1, 2048, 128, 200, 0.6)
	for _, nbits := range []int{2, 4} {
		for _, k := range []int{256, 4096} {
			cent := clustered(2, k, 128, k, 0)
			book, err := NewCodebook(128, nbits, cent.Data, make([]float32, 1<<nbits-1), make([]float32, 1<<nbits))
			require.NoError(b, err)
			b.Run(fmt.Sprintf("bits=%d/k=%d/dim=128", nbits, k), func(b *testing.B) {
				for b.Loop() {
					if _, err := book.Encode(context.Background(), m, 1); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(b.N*m.Rows)/b.Elapsed().Seconds(), "tokens/s")
			})
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	m := clustered(1, 300, 128, 20, 0.6)
	for _, nbits := range []int{1, 2, 4, 8, 16} {
		book, err := Train(context.Background(), m, &TrainOptions{NBits: nbits, Centroids: 16})
		require.NoError(b, err)
		enc, err := book.Encode(context.Background(), m, 1)
		require.NoError(b, err)
		out := make([]float32, len(m.Data))
		b.Run(fmt.Sprintf("bits=%d/d=300/dim=128", nbits), func(b *testing.B) {
			for b.Loop() {
				book.Decode(out, enc.Codes, enc.Residuals)
			}
			b.ReportMetric(float64(b.N*m.Rows)/b.Elapsed().Seconds(), "tokens/s")
		})
	}
}
