package quant

import (
	"context"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// topic gives unit rows around some directions of their own.
func topic(seed uint64, rows, dim, dirs int, noise float32) maxsim.Matrix {
	r := rng{seed}
	gauss := func() float32 { // about
		return float32(r.float() + r.float() + r.float() + r.float() - 2)
	}
	cent := make([]float32, dirs*dim)
	for i := range cent {
		cent[i] = gauss()
	}
	for i := range dirs {
		kernel.Normalize(cent[i*dim : (i+1)*dim])
	}
	m := maxsim.New(rows, dim)
	for i := range rows {
		row, c := m.Row(i), int(r.below(uint64(dirs)))
		for t := range row {
			row[t] = cent[c*dim+t] + noise*gauss()/float32(math.Sqrt(float64(dim)))
		}
		kernel.Normalize(row)
	}
	return m
}

// meanError is the mean squared distance of vectors from what is left of them.
func meanError(t *testing.T, c *Codebook, m maxsim.Matrix) float64 {
	t.Helper()
	enc, err := c.Encode(context.Background(), m, 2)
	require.NoError(t, err)
	dec := make([]float32, len(m.Data))
	c.Decode(dec, enc.Codes, enc.Residuals)
	c.Unrotate(dec, dec, m.Rows)
	sum := 0.0
	for i := range m.Rows {
		d := residualNorm(m.Row(i), dec[i*m.Dim:])
		sum += d * d
	}
	return sum / float64(m.Rows)
}

func TestExtend(t *testing.T) {
	ctx := context.Background()
	for _, tc := range []struct{ nbits, k, rows int }{{1, 64, 3000}, {2, 64, 3000}, {4, 64, 3000}, {8, 64, 3000}, {16, 64, 3000}, {4, 1024, 20000}} {
		t.Run(fmt.Sprintf("nbits=%d/k=%d", tc.nbits, tc.k), func(t *testing.T) {
			const dim = 32
			old, late := topic(1, tc.rows, dim, 8*tc.k, .7), topic(2, tc.rows/2, dim, 3*tc.k, .7)
			base, err := Train(ctx, old, &TrainOptions{NBits: tc.nbits, Centroids: tc.k, Seed: 3})
			require.NoError(t, err)
			id := base.ID()
			ext, err := base.Extend(ctx, late, &ExtendOptions{Centroids: tc.k / 2, Seed: 4, Workers: 1})
			require.NoError(t, err)
			again, err := base.Extend(ctx, late, &ExtendOptions{Centroids: tc.k / 2, Seed: 4, Workers: 3})
			require.NoError(t, err)
			require.Equal(t, ext.ID(), again.ID())
			require.Equal(t, id, base.ID())
			require.Equal(t, tc.k+tc.k/2, ext.K())
			require.Equal(t, base.Groups() != nil, ext.Groups() != nil)
			require.True(t, ext.Extends(base))
			require.True(t, ext.Extends(ext))
			require.False(t, base.Extends(ext))

			b, err := ext.MarshalBinary()
			require.NoError(t, err)
			parsed, err := ParseCodebook(b)
			require.NoError(t, err)
			require.True(t, parsed.Extends(base))
			require.Equal(t, ext.ID(), parsed.ID())

			// What the old one coded decodes to the same under the new one.
			enc, err := base.Encode(ctx, late, 2)
			require.NoError(t, err)
			x, y := make([]float32, len(late.Data)), make([]float32, len(late.Data))
			base.Decode(x, enc.Codes, enc.Residuals)
			parsed.Decode(y, enc.Codes, enc.Residuals)
			require.Equal(t, x, y)
			require.Equal(t, enc.InvNorms, parsed.InvNorms(nil, enc.Codes, enc.Residuals))

			// New vectors fit as well as those that a fresh codebook was trained for, on vectors that neither saw.
			norms := func(c *Codebook, m maxsim.Matrix) float64 {
				_, v, err := c.Nearest(ctx, m, 2)
				require.NoError(t, err)
				sum := 0.0
				for _, n := range v {
					sum += float64(n)
				}
				return sum / float64(len(v))
			}
			fresh, err := Train(ctx, late, &TrainOptions{NBits: tc.nbits, Centroids: tc.k / 2, Seed: 5})
			require.NoError(t, err)
			require.Greater(t, norms(base, late), 1.1*norms(ext, late))
			require.Less(t, norms(ext, late), 1.05*norms(fresh, late))
			before, after, ideal := meanError(t, base, late), meanError(t, ext, late), meanError(t, fresh, late)
			t.Logf("mean squared error of late vectors: %.5f before, %.5f after, %.5f with a codebook of their own", before, after, ideal)
			if tc.nbits < 16 {
				require.Less(t, after, before)
				require.Less(t, after, 1.25*ideal)
			}
			require.Less(t, meanError(t, ext, old), 1.03*meanError(t, base, old)+1e-9)

			twice, err := ext.Extend(ctx, topic(6, 500, dim, 9, .7), nil)
			require.NoError(t, err)
			require.True(t, twice.Extends(base) && twice.Extends(ext))
			require.Equal(t, ext.K()+31, twice.K())
		})
	}
}

// TestExtendKeepsDirections: what the queries said stays.
func TestExtendKeepsDirections(t *testing.T) {
	ctx := context.Background()
	base, err := Train(ctx, topic(1, 500, 16, 90, .5), &TrainOptions{NBits: 2, Centroids: 16, Queries: topic(3, 200, 16, 5, .3)})
	require.NoError(t, err)
	require.NotNil(t, base.focus)
	ext, err := base.Extend(ctx, topic(2, 300, 16, 30, .5), nil)
	require.NoError(t, err)
	require.Equal(t, base.focus.dirs, ext.focus.dirs)
	require.Equal(t, base.focus.strength, ext.focus.strength)
}

func TestExtendRefuses(t *testing.T) {
	ctx := context.Background()
	base, err := Train(ctx, topic(1, 300, 8, 5, .5), &TrainOptions{Centroids: 4})
	require.NoError(t, err)
	_, err = base.Extend(ctx, maxsim.Matrix{Dim: 8}, nil)
	require.ErrorIs(t, err, ErrEmpty)
	_, err = base.Extend(ctx, topic(1, 3, 16, 5, .5), nil)
	require.ErrorIs(t, err, maxsim.ErrDim)
	_, err = base.Extend(ctx, topic(1, 3, 8, 5, .5), &ExtendOptions{Centroids: -1})
	require.ErrorIs(t, err, ErrOption)
	_, _, err = base.Nearest(ctx, topic(1, 3, 16, 5, .5), 1)
	require.ErrorIs(t, err, maxsim.ErrDim)
	cancelled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = base.Extend(cancelled, topic(1, 300, 8, 5, .5), nil)
	require.ErrorIs(t, err, context.Canceled)
	one, err := base.Extend(ctx, topic(9, 1, 8, 1, .5), nil)
	require.NoError(t, err, "a single vector will do")
	require.Equal(t, 5, one.K())
	other, err := Train(ctx, topic(1, 300, 8, 5, .5), &TrainOptions{Centroids: 4, Seed: 1})
	require.NoError(t, err)
	require.False(t, other.Extends(base))
	imported, err := NewCodebook(8, 4, base.Centroids(), base.Cutoffs(), base.Weights())
	require.NoError(t, err)
	more, err := imported.Extend(ctx, topic(9, 40, 8, 3, .5), nil)
	require.NoError(t, err)
	require.True(t, more.Extends(imported))
	require.False(t, more.Extends(base), "another rotation")
}
