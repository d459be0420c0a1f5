package quant

import (
	"math"
	"sync"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

const (
	// maxFocus bounds the number of directions in a file.
	maxFocus = 256
	// maxFocusDim is the largest dimension for which queries are heeded: encoding needs a dim x dim matrix.
	maxFocusDim = 2048
	// defaultFocus is how many directions Train takes from the queries.
	defaultFocus = 32
)

// focus makes codes err least where it matters. A score sums inner products with query vectors, so what an
// error e of a decoded vector does to it is e.q, in the mean of squares e'Qe with the second moment Q of the
// queries. Queries are far from spread evenly: those of ColBERT share a direction (most of their 32 tokens
// are [MASK]), and an error along it enters the score many times with the same sign. With Q taken as one
// weight for all directions plus a few strong ones u,
//
//	Q ~ I + sum_j strength_j u_j u_j'
//
// the levels of a vector are chosen to minimise e'Qe instead of e'e, by coordinate descent from the nearest
// levels. It costs time in encoding and nothing else: bytes, decoder and search stay as they are. (ScaNN's
// anisotropic loss, Guo et al., ICML 2020, is the same thought for a single direction that depends on the
// vector itself.)
type focus struct {
	dim      int
	dirs     []float32 // rank x dim, orthonormal rows in codec space
	strength []float32 // rank, above 0

	once   sync.Once
	q      []float32 // Q, dim x dim
	step   []float32 // per dimension 1/Qii
	packed *kernel.Packed
}

func (f *focus) rank() int {
	if f == nil {
		return 0
	}
	return len(f.strength)
}

// focused says whether c, which may be nil, has directions.
func (c *Codebook) focused() bool { return c != nil && c.focus != nil }

// in gives the directions, which are in the codec space of from, for the codec space of to.
func (f *focus) in(from, to *Codebook) *focus {
	g := &focus{dim: f.dim, dirs: make([]float32, len(f.dirs)), strength: f.strength}
	from.Unrotate(g.dirs, f.dirs, f.rank())
	to.Rotate(g.dirs, g.dirs, f.rank())
	return g
}

// prepare derives the matrix, at first use.
func (f *focus) prepare() {
	f.once.Do(func() {
		d := f.dim
		f.q, f.step = make([]float32, d*d), make([]float32, d)
		for i := range d {
			row := f.q[i*d : (i+1)*d]
			row[i] = 1
			for j, s := range f.strength {
				u := f.dirs[j*d : (j+1)*d]
				for t, v := range u {
					row[t] += s * u[i] * v
				}
			}
			f.step[i] = 1 / row[i]
		}
		f.packed = kernel.Pack(f.q, d, d)
	})
}

// focusPasses of coordinate descent; a fourth changes next to nothing.
const focusPasses = 3

// refine improves idx, the nearest levels of the vectors x (rows x dim), for e'Qe, where e is the error of the
// decoded unit vector v/|v|. With y = |v| x, |v| e is v - y up to its sign: a pass takes |v| as it is, moves
// one dimension after the other to its best level for y, and leaves |v| to the next pass. The gradient Qe is
// kept up to date through the passes' moves; only its start needs the whole matrix.
func (f *focus) refine(c *Codebook, idx []uint8, x []float32, codes []uint32, s *encodeScratch) {
	f.prepare()
	d, rows := f.dim, len(codes)
	s.norms, s.err, s.grad = grown(s.norms, rows), grown(s.err, rows*d), grown(s.grad, rows*d)
	for range focusPasses {
		for r, code := range codes {
			cent, scale := c.centroid(code), c.Scale(code)
			row, e := x[r*d:(r+1)*d], s.err[r*d:(r+1)*d]
			var sum float64
			for t, b := range idx[r*d : (r+1)*d] {
				v := cent[t] + scale*c.weights[b]
				e[t] = v
				sum += float64(v) * float64(v)
			}
			norm := float32(math.Sqrt(sum))
			s.norms[r] = norm
			for t, v := range e {
				e[t] = norm*row[t] - v
			}
		}
		f.packed.Gemm(s.grad, d, s.err, d, rows, nil)
		for r, code := range codes {
			at := r * d
			f.descend(c, idx[at:at+d], x[at:at+d], s.err[at:at+d], s.grad[at:at+d], code, s.norms[r])
		}
	}
}

// descend moves each dimension of one vector once.
func (f *focus) descend(c *Codebook, idx []uint8, x, err, grad []float32, code uint32, norm float32) {
	d := f.dim
	cent, scale, inv := c.centroid(code), c.Scale(code), float32(1)
	if c.scales != nil {
		inv = c.invScale[code]
	}
	for i, e := range err {
		res := norm*x[i] - cent[i]
		// The best error of this dimension, the others given, is e - grad/Qii.
		b := c.grid.bucket((res - e + grad[i]*f.step[i]) * inv)
		if b == idx[i] {
			continue
		}
		idx[i] = b
		move := res - scale*c.weights[b] - e
		for t, q := range f.q[i*d : (i+1)*d] {
			grad[t] += move * q
		}
	}
}

// newFocus finds the strongest directions of the queries: eigenvectors of their second moment, by subspace
// iteration. nil when the queries are zero or spread evenly.
func newFocus(c *Codebook, r *rng, queries maxsim.Matrix) *focus {
	const maxRows = 8192
	d := queries.Dim
	data, n := subsample(r, queries.Data, queries.Rows, d, maxRows)
	x := make([]float32, len(data))
	c.Rotate(x, data, n)
	var total float64
	for _, v := range x {
		total += float64(v) * float64(v)
	}
	total /= float64(n)
	rank := min(defaultFocus, d/4)
	if rank == 0 || d > maxFocusDim || total < 1e-12 {
		return nil
	}
	dirs, energy := topDirections(r, x, n, d, rank)
	rest := total
	for _, e := range energy {
		rest -= e
	}
	// What the other directions hold in the mean is the unit; the floor keeps queries of fewer dimensions
	// than the space from making strengths without bound.
	unit := max(rest/float64(d-rank), total/float64(d)/20)
	f := &focus{dim: d}
	for j, e := range energy {
		if s := float32(e/unit - 1); s > 0.5 {
			f.dirs = append(f.dirs, dirs[j*d:(j+1)*d]...)
			f.strength = append(f.strength, s)
		}
	}
	if len(f.strength) == 0 {
		return nil
	}
	return f
}

// topDirections returns the leading eigenvectors of x'x/n and their eigenvalues, by subspace iteration. It
// runs serially, for the sake of determinism.
func topDirections(r *rng, x []float32, n, d, rank int) (dirs []float32, energy []float64) {
	const iterations = 15
	dirs = make([]float32, rank*d)
	for i := range dirs {
		dirs[i] = float32(r.float() - 0.5)
	}
	orthonormalize(dirs, d)
	next := make([]float64, len(dirs))
	energy = make([]float64, rank)
	for range iterations {
		clear(next)
		clear(energy)
		for i := range n {
			row := x[i*d : (i+1)*d]
			for j := range rank {
				p := float64(kernel.Dot(row, dirs[j*d:(j+1)*d]))
				energy[j] += p * p / float64(n)
				for t, v := range row {
					next[j*d+t] += p * float64(v)
				}
			}
		}
		for j := range rank {
			// Scaled before rounding, so that float32 holds it.
			var norm float64
			for _, v := range next[j*d : (j+1)*d] {
				norm += v * v
			}
			if norm = math.Sqrt(norm); norm == 0 {
				continue
			}
			for t := range d {
				dirs[j*d+t] = float32(next[j*d+t] / norm)
			}
		}
		orthonormalize(dirs, d)
	}
	return dirs, energy
}

// orthonormalize makes the rows orthonormal (Gram and Schmidt, twice). A row that depends on those before
// it becomes zero.
func orthonormalize(rows []float32, d int) {
	for i := 0; i < len(rows); i += d {
		a := rows[i : i+d]
		for range 2 {
			for j := 0; j < i; j += d {
				b := rows[j : j+d]
				p := kernel.Dot(a, b)
				for t := range a {
					a[t] -= p * b[t]
				}
			}
			if kernel.Normalize(a) < 1e-5 {
				clear(a)
			}
		}
	}
}
