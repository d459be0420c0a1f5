//go:build darwin || linux || windows

package cuda

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/quant"
)

// sharing makes vectors that share a direction, as those of queries do, so that a codebook trained with them has directions.
func sharing(r *rand.Rand, rows, dim int) maxsim.Matrix {
	m := random(r, rows, dim)
	common := random(r, 1, dim)
	for i := range rows {
		for j, v := range common.Data {
			m.Row(i)[j] = .5*m.Row(i)[j] + v
		}
		kernel.Normalize(m.Row(i))
	}
	return m
}

// TestCoder: what the device codes is what the CPU codes, in every bit.
func TestCoder(t *testing.T) {
	if kernel.ISA() == "generic" || runtime.GOARCH != "amd64" {
		t.Skip("Go code that fuses, or kernels that do not, round in other ways")
	}
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(11, 12))
		for _, c := range []struct {
			dim, nbits, centroids int
			queries, unrotated    bool
		}{
			{16, 4, 12, true, false}, {44, 2, 20, true, false}, {100, 1, 9, true, true}, {24, 8, 30, true, false},
			{16, 4, 8, false, false}, {33, 2, 5, false, true}, {3, 1, 2, false, false}, {48, 16, 6, false, false},
		} {
			t.Run(fmt.Sprintf("dim=%d/bits=%d/directions=%v", c.dim, c.nbits, c.queries), func(t *testing.T) {
				x := sharing(r, 150, c.dim)
				clear(x.Row(7)) // fits no centroid
				copy(x.Row(9), x.Row(8))
				o := &quant.TrainOptions{NBits: c.nbits, Centroids: c.centroids, NoRotation: c.unrotated}
				if c.queries {
					o.Queries = sharing(r, 200, c.dim)
				}
				cb, err := quant.Train(bg, x, o)
				require.NoError(t, err)
				require.Equal(t, c.queries, cb.Directions() > 0)
				coder, err := dev.NewCoder(bg, cb)
				require.NoError(t, err)
				defer func() { require.NoError(t, coder.Close()) }()
				want, err := cb.Encode(bg, x, 1)
				require.NoError(t, err)
				got, err := coder.Encode(bg, x)
				require.NoError(t, err)
				require.Equal(t, want, got)
			})
		}
		// Other programs' codebooks have no scales.
		cb, err := quant.NewCodebook(5, 2, random(r, 3, 5).Data, []float32{-.2, 0, .3}, []float32{-.3, -.1, .1, .4})
		require.NoError(t, err)
		x := random(r, 20, 5)
		want, err := cb.Encode(bg, x, 1)
		require.NoError(t, err)
		got, err := dev.Encode(bg, cb, x)
		require.NoError(t, err)
		require.Equal(t, want, got)
	})
}

// A codebook with groups: the device looks at all centroids, the CPU at those of some groups. Where they agree, so do the
// bits; where not, the device's centroid is the better one.
func TestCoderGroups(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(13, 14))
		x := random(r, 3000, 8)
		cb, err := quant.Train(bg, x, &quant.TrainOptions{NBits: 2, Centroids: 1100, Iterations: 2})
		require.NoError(t, err)
		require.NotEmpty(t, cb.Groups())
		x = x.Slice(0, 200)
		want, err := cb.Encode(bg, x, 1)
		require.NoError(t, err)
		got, err := dev.Encode(bg, cb, x)
		require.NoError(t, err)
		rotated, same, rb := maxsim.New(200, 8), 0, cb.RowBytes()
		cb.Rotate(rotated.Data, x.Data, 200)
		for i := range x.Rows {
			product := func(code uint32) float64 { return dot64(rotated.Row(i), cb.Centroids()[code*8:code*8+8]) }
			require.GreaterOrEqual(t, product(got.Codes[i]), product(want.Codes[i])-1e-6)
			if got.Codes[i] == want.Codes[i] {
				same++
				if kernel.ISA() != "generic" && runtime.GOARCH == "amd64" {
					require.Equal(t, want.Residuals[i*rb:(i+1)*rb], got.Residuals[i*rb:(i+1)*rb], "vector %d", i)
				}
			}
		}
		require.Greater(t, same, 180)
	})
}

// TestCoderDocuments builds an index from what the device codes.
func TestCoderDocuments(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(15, 16))
		cb, err := quant.Train(bg, random(r, 300, 16), &quant.TrainOptions{NBits: 4, Centroids: 10})
		require.NoError(t, err)
		coder, err := dev.NewCoder(bg, cb)
		require.NoError(t, err)
		docs := make([]index.Document, 30)
		for i := range docs {
			docs[i] = index.Document{ID: fmt.Sprint(i), Vectors: random(r, 1+i%7, 16), Text: fmt.Sprintf("text %d", i), Meta: index.Metadata{"n": i}}
		}
		all := func(yield func(index.Document, error) bool) {
			for _, d := range docs {
				if !yield(d, nil) {
					return
				}
			}
		}
		ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: 16, Codebook: cb})
		require.NoError(t, err)
		defer ix.Close()
		res, err := ix.AddEncoded(bg, coder.Documents(bg, all), nil)
		require.NoError(t, err)
		require.Equal(t, 30, res.Added)
		snap, err := ix.Snapshot()
		require.NoError(t, err)
		defer snap.Close()
		seg := snap.Segments()[0]
		for i, d := range docs {
			want, err := cb.Encode(bg, d.Vectors, 1)
			require.NoError(t, err)
			codes, err := seg.Codes(nil, uint32(i))
			require.NoError(t, err)
			require.Equal(t, want.Codes, codes)
			text, err := seg.Text(uint32(i))
			require.NoError(t, err)
			require.Equal(t, d.Text, text)
		}

		// Errors name the document, and what came before it is handed out first.
		failed := errors.New("no more")
		got, err := drain(coder.Documents(bg, func(yield func(index.Document, error) bool) {
			_ = yield(docs[0], nil) && yield(docs[1], nil) && yield(index.Document{}, failed)
		}))
		require.ErrorIs(t, err, failed)
		require.Len(t, got, 2)
		bad := docs[1]
		bad.ID, bad.Vectors = "bad", random(r, 2, 8)
		_, err = drain(coder.Documents(bg, func(yield func(index.Document, error) bool) { _ = yield(docs[0], nil) && yield(bad, nil) }))
		require.ErrorIs(t, err, maxsim.ErrDim)
		require.ErrorContains(t, err, `"bad"`)
		ctx, cancel := context.WithCancel(bg)
		cancel()
		_, err = drain(coder.Documents(ctx, all))
		require.ErrorIs(t, err, context.Canceled)
		for range coder.Documents(bg, all) {
			break // leaves nothing behind
		}
		nan := random(r, 2, 16)
		nan.Data[3] = float32(math.NaN())
		_, err = coder.Encode(bg, nan)
		require.ErrorIs(t, err, maxsim.ErrNotFinite)
		_, err = coder.Encode(bg, random(r, 2, 8))
		require.ErrorIs(t, err, maxsim.ErrDim)
		empty, err := coder.Encode(bg, maxsim.Matrix{Dim: 16})
		require.NoError(t, err)
		require.Empty(t, empty.Codes)
		require.NoError(t, coder.Close())
		require.NoError(t, coder.Close())
		_, err = coder.Encode(bg, docs[0].Vectors)
		require.ErrorIs(t, err, ErrClosed)
	})
}

func drain(docs iter.Seq2[index.EncodedDocument, error]) (got []index.EncodedDocument, err error) {
	for d, err := range docs {
		if err != nil {
			return got, err
		}
		got = append(got, d)
	}
	return got, nil
}

// A dimension of which no vector fits into shared memory is refused with a reason.
func TestCoderTooWide(t *testing.T) {
	eachDevice(t, func(t *testing.T, dev *Device) {
		r := rand.New(rand.NewPCG(17, 18))
		cb, err := quant.NewCodebook(1<<15, 1, random(r, 1, 1<<15).Data, []float32{0}, []float32{-.1, .1})
		require.NoError(t, err)
		_, err = dev.NewCoder(bg, cb)
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorContains(t, err, "dimension 32768")
		require.ErrorContains(t, err, "shared memory")
	})
}

// The means are the same, in every bit, whether the vectors stay on the device or come anew with every iteration.
func TestKMeansPlaces(t *testing.T) {
	useShim(t, 1<<30)
	dev := openDevice(t)
	x := random(rand.New(rand.NewPCG(19, 20)), 300, 16)
	o := &quant.KMeansOptions{Iterations: 3}
	want, err := dev.KMeans(bg, x, 9, o)
	require.NoError(t, err)
	shimReset(30 << 10)
	got, err := dev.KMeans(bg, x, 9, o)
	require.NoError(t, err)
	require.Equal(t, want, got)
}
