//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
	"github.com/golbert/golbert/quant"
)

// assignRows is how many vectors are assigned with one launch.
const assignRows = 1 << 16

// Assign finds, for every row of x, the row of centroids with the largest inner product, the lowest number among equals,
// and that product: exactly what the CPU's exact assignment gives. Errors: maxsim.ErrDim, maxsim.ErrNotFinite,
// maxsim.ErrEmpty without centroids, ErrOutOfMemory, ErrLost, the context's.
func (v *Device) Assign(ctx context.Context, x, centroids maxsim.Matrix) (codes []uint32, scores []float32, err error) {
	for name, m := range map[string]maxsim.Matrix{"vectors": x, "centroids": centroids} {
		if err := m.Validate(); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	switch {
	case centroids.Rows == 0:
		return nil, nil, fmt.Errorf("centroids: %w", maxsim.ErrEmpty)
	case x.Rows > 0 && x.Dim != centroids.Dim:
		return nil, nil, fmt.Errorf("vectors of dimension %d, the centroids have %d: %w", x.Dim, centroids.Dim, maxsim.ErrDim)
	}
	codes, scores = make([]uint32, x.Rows), make([]float32, x.Rows)
	err = v.withCentroids(ctx, centroids, func(s *stream, cents mem) error {
		return s.assign(ctx, codes, scores, x, cents, centroids.Rows)
	})
	if err != nil {
		return nil, nil, err
	}
	return codes, scores, nil
}

// withCentroids runs f on the device's goroutine with the centroids in device memory.
func (v *Device) withCentroids(ctx context.Context, centroids maxsim.Matrix, f func(s *stream, cents mem) error) error {
	return v.do(ctx, func() error {
		s, err := v.newStream()
		if err != nil {
			return err
		}
		defer s.close()
		return f(s, s.upload("centroids", centroids.Data))
	})
}

// upload copies values to memory of the stream, in pieces.
func (s *stream) upload(name string, values []float32) mem {
	m := s.room(name, 4*len(values))
	const piece = 1 << 22
	for at := 0; at < len(values) && s.err == nil; at += piece {
		n := min(piece, len(values)-at)
		buf := host[float32](s, "piece", n)
		copy(buf, values[at:at+n])
		put(s, m.at(4*at, 4*n), buf)
		if err := s.wait(); err != nil {
			s.err = err
		}
	}
	return m
}

func (s *stream) assign(ctx context.Context, codes []uint32, scores []float32, x maxsim.Matrix, cents mem, k int) error {
	for at := 0; at < x.Rows; at += assignRows {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(assignRows, x.Rows-at)
		rows := s.upload("vectors", x.Data[at*x.Dim:(at+n)*x.Dim])
		dc, ds := s.room("codes", 4*n), s.room("products", 4*n)
		s.run("assign", (n+63)/64, 1, 256, 0, dc, ds, rows, n, cents, k, x.Dim)
		hc, hs := host[uint32](s, "codes", n), host[float32](s, "products", n)
		get(s, hc, dc)
		get(s, hs, ds)
		if err := s.wait(); err != nil {
			return err
		}
		copy(codes[at:], hc)
		copy(scores[at:], hs)
	}
	return nil
}

// KMeans clusters like quant.KMeans without its two levels: Lloyd's algorithm on unit vectors, assignment on the device, the
// means on the host. The first centroids are k rows at even distances; clusters that run empty are seeded again with the
// rows that fit worst. Options: Iterations and Progress (steps are iterations). It returns centroids of unit length,
// min(k, rows) of them, the same for the same input.
//
// Errors: quant.ErrOption for k < 1, maxsim.ErrEmpty, and those of Assign.
func (v *Device) KMeans(ctx context.Context, x maxsim.Matrix, k int, o *quant.KMeansOptions) (maxsim.Matrix, error) {
	if o == nil {
		o = &quant.KMeansOptions{}
	}
	if err := x.Validate(); err != nil {
		return maxsim.Matrix{}, err
	}
	switch {
	case k < 1:
		return maxsim.Matrix{}, fmt.Errorf("%d clusters: %w", k, quant.ErrOption)
	case x.Rows == 0:
		return maxsim.Matrix{}, maxsim.ErrEmpty
	}
	k = min(k, x.Rows)
	iterations := o.Iterations
	if iterations == 0 {
		iterations = quant.DefaultIterations
	}
	cent := maxsim.New(k, x.Dim)
	for i := range k {
		copy(cent.Row(i), x.Row(int(int64(i)*int64(x.Rows)/int64(k))))
		kernel.Normalize(cent.Row(i))
	}
	codes, scores := make([]uint32, x.Rows), make([]float32, x.Rows)
	counts, worst := make([]int, k), make([]int, 0, k)
	for it := range iterations {
		err := v.withCentroids(ctx, cent, func(s *stream, cents mem) error {
			return s.assign(ctx, codes, scores, x, cents, k)
		})
		if err != nil {
			return maxsim.Matrix{}, err
		}
		clear(cent.Data)
		clear(counts)
		for i, c := range codes {
			counts[c]++
			row := cent.Row(int(c))
			for j, y := range x.Row(i) {
				row[j] += y
			}
		}
		empty := 0
		for _, n := range counts {
			if n == 0 {
				empty++
			}
		}
		worst = lowest(worst, scores, empty)
		for c := range k {
			if counts[c] == 0 {
				copy(cent.Row(c), x.Row(worst[0]))
				worst = worst[1:]
			}
			kernel.Normalize(cent.Row(c))
		}
		if o.Progress != nil {
			o.Progress(it+1, iterations)
		}
	}
	return cent, nil
}

// lowest returns the positions of the n lowest scores, in ascending order of score and position.
func lowest(dst []int, scores []float32, n int) []int {
	dst = dst[:0]
	for i, s := range scores {
		if len(dst) == n && (n == 0 || s >= scores[dst[n-1]]) {
			continue
		}
		j := len(dst)
		if j < n {
			dst = append(dst, 0)
		} else {
			j--
		}
		for ; j > 0 && s < scores[dst[j-1]]; j-- {
			dst[j] = dst[j-1]
		}
		dst[j] = i
	}
	return dst
}

// Encode codes vectors (in the space of the input, not rotated) with a codebook, the nearest centroids found on the device
// by an exact search. Residuals are coded on the host. The result goes to Index.AddEncoded.
func (v *Device) Encode(ctx context.Context, cb *quant.Codebook, m maxsim.Matrix) (quant.Encoded, error) {
	if err := m.Validate(); err != nil {
		return quant.Encoded{}, err
	}
	if m.Rows > 0 && m.Dim != cb.Dim() {
		return quant.Encoded{}, fmt.Errorf("vectors of dimension %d, the codebook has %d: %w", m.Dim, cb.Dim(), maxsim.ErrDim)
	}
	rotated := maxsim.New(m.Rows, cb.Dim())
	cb.Rotate(rotated.Data, m.Data, m.Rows)
	codes, _, err := v.Assign(ctx, rotated, maxsim.Matrix{Data: cb.Centroids(), Rows: cb.K(), Dim: cb.Dim()})
	if err != nil {
		return quant.Encoded{}, err
	}
	return cb.EncodeAt(m, codes)
}
