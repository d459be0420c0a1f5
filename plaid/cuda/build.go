//go:build darwin || linux || windows

package cuda

import (
	"context"
	"fmt"
	"slices"
	"unsafe"

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
	err = v.withStream(ctx, func(s *stream) error {
		cents, err := upload(ctx, s, "centroids", centroids.Data)
		if err != nil {
			return err
		}
		return s.assign(ctx, codes, scores, x, nil, cents, centroids.Rows)
	})
	if err != nil {
		return nil, nil, err
	}
	return codes, scores, nil
}

// withStream runs f with a stream of its own.
func (v *Device) withStream(ctx context.Context, f func(s *stream) error) error {
	var s *stream
	err := v.do(ctx, func() (err error) {
		s, err = v.newStream()
		return err
	})
	if err != nil {
		return err
	}
	defer func() {
		_ = v.do(context.Background(), func() error { // a device that is lost or closed has freed it
			s.close()
			return nil
		})
	}()
	return f(s)
}

// upload copies values to memory of the stream, in pieces through pinned memory.
func upload[T any](ctx context.Context, s *stream, name string, values []T) (m mem, err error) {
	var z T
	size := int(unsafe.Sizeof(z))
	piece := min(16<<20/size, len(values))
	var buf []T
	err = s.submit(ctx, func() {
		m = s.room(name, size*len(values))
		buf = host[T](s, "piece of "+name, piece)
	})
	for at := 0; at < len(values) && err == nil; at += piece {
		n := copy(buf, values[at:])
		err = s.finish(ctx, func() { put(s, m.at(size*at, size*n), buf[:n]) })
	}
	return m, err
}

// assign is Assign with the centroids in device memory, and the vectors, too, if they are given there.
func (s *stream) assign(ctx context.Context, codes []uint32, scores []float32, x maxsim.Matrix, there *mem, cents mem, k int) error {
	for at := 0; at < x.Rows; at += assignRows {
		n := min(assignRows, x.Rows-at)
		var rows mem
		var err error
		if there != nil {
			rows = there.at(4*at*x.Dim, 4*n*x.Dim)
		} else if rows, err = upload(ctx, s, "vectors", x.Data[at*x.Dim:(at+n)*x.Dim]); err != nil {
			return err
		}
		var hc []uint32
		var hs []float32
		err = s.finish(ctx, func() {
			dc, ds := s.room("codes", 4*n), s.room("products", 4*n)
			s.run("assign", (n+63)/64, 1, 256, 0, dc, ds, rows, n, cents, k, x.Dim)
			hc, hs = host[uint32](s, "codes", n), host[float32](s, "products", n)
			get(s, hc, dc)
			get(s, hs, ds)
		})
		if err != nil {
			return err
		}
		copy(codes[at:], hc)
		copy(scores[at:], hs)
	}
	return nil
}

// KMeans clusters like quant.KMeans without its two levels: Lloyd's algorithm on unit vectors, which stay on the device when
// they take up to half of its free memory. The first centroids are k rows at even distances; clusters that run empty are seeded again with the
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
	err := v.withStream(ctx, func(s *stream) error {
		m := &means{v: v, s: s, x: x, cent: cent, codes: make([]uint32, x.Rows), scores: make([]float32, x.Rows), start: make([]uint32, k+1),
			order: make([]uint32, x.Rows)}
		if err := m.place(ctx); err != nil {
			return err
		}
		for it := range iterations {
			if err := m.step(ctx); err != nil {
				return err
			}
			if o.Progress != nil {
				o.Progress(it+1, iterations)
			}
		}
		return nil
	})
	if err != nil {
		return maxsim.Matrix{}, err
	}
	return cent, nil
}

// means is a k-means under way.
type means struct {
	v      *Device
	s      *stream
	x      maxsim.Matrix
	there  *mem // x on the device, nil when it is too large
	cent   maxsim.Matrix
	codes  []uint32
	scores []float32
	start  []uint32 // of every cluster in order
	order  []uint32
	worst  []int
}

// place puts the vectors on the device if there is room.
func (m *means) place(ctx context.Context) error {
	var free int
	err := m.s.submit(ctx, func() { free, m.s.err = m.v.freeMemory() })
	if err != nil || 4*len(m.x.Data) > free/2 {
		return err
	}
	there, err := upload(ctx, m.s, "all vectors", m.x.Data)
	m.there = &there
	return err
}

func (m *means) step(ctx context.Context) error {
	k := m.cent.Rows
	cents, err := upload(ctx, m.s, "centroids", m.cent.Data)
	if err != nil {
		return err
	}
	if err := m.s.assign(ctx, m.codes, m.scores, m.x, m.there, cents, k); err != nil {
		return err
	}
	if m.there != nil {
		err = m.sumThere(ctx, cents)
	} else {
		m.sumHere()
	}
	if err != nil {
		return err
	}
	empty := 0
	for c := range k {
		if m.start[c] == m.start[c+1] {
			empty++
		}
	}
	m.worst = lowest(m.worst, m.scores, empty)
	next := 0
	for c := range k {
		if m.start[c] == m.start[c+1] {
			copy(m.cent.Row(c), m.x.Row(m.worst[next]))
			next++
		}
		kernel.Normalize(m.cent.Row(c))
	}
	return nil
}

// sort sets start and order by codes, clusters in order and the vectors of each in ascending order.
func (m *means) sort() {
	clear(m.start)
	for _, c := range m.codes {
		m.start[c+1]++
	}
	for c := range m.cent.Rows {
		m.start[c+1] += m.start[c]
	}
	next := slices.Clone(m.start)
	for i, c := range m.codes {
		m.order[next[c]] = uint32(i)
		next[c]++
	}
}

// sumThere sets the centroids to the sums of their vectors, on the device, in the order and so with the bits of sumHere.
func (m *means) sumThere(ctx context.Context, sums mem) error {
	m.sort()
	order, err := upload(ctx, m.s, "order", m.order)
	if err != nil {
		return err
	}
	start, err := upload(ctx, m.s, "start", m.start)
	if err != nil {
		return err
	}
	k, s := m.cent.Rows, m.s
	var got []float32
	err = s.finish(ctx, func() {
		s.fill(sums, 0)
		s.run("centroid_sums", k, 1, 128, 0, sums, order, start, *m.there, m.x.Dim)
		got = host[float32](s, "sums", len(m.cent.Data))
		get(s, got, sums)
	})
	if err == nil {
		copy(m.cent.Data, got)
	}
	return err
}

func (m *means) sumHere() {
	m.sort()
	clear(m.cent.Data)
	for i, c := range m.codes {
		row := m.cent.Row(int(c))
		for j, y := range m.x.Row(i) {
			row[j] += y
		}
	}
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
