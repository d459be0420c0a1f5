package quant

import (
	"context"

	"github.com/golbert/golbert/internal/kernel"
)

// assigner finds the nearest centroids of vectors, on two levels: centroids come in groups, a vector looks
// for the groups whose centres are nearest and then among the centroids of those. With K centroids in about
// sqrt(K) groups that is a small part of the work of looking at all, which is most of the time that building
// an index takes; a few vectors in a hundred get the second-best centroid, whose residual is hardly longer.
// Without groups the search is exact. Safe for concurrent use.
type assigner struct {
	dim    int
	probes int
	start  []uint32         // group g holds centroids start[g]..start[g+1]-1
	coarse *kernel.Packed   // group centres; nil without groups
	fine   []*kernel.Packed // centroids of each group; of all without groups
}

// assignBlock is how many vectors are assigned at a time: enough that every group meets a few dozen of them.
const assignBlock = 1024

// newAssigner packs centroids, whose groups have the given sizes (nil: exact search).
func newAssigner(cent []float32, dim int, sizes []uint32, probes int) *assigner {
	a := &assigner{dim: dim, probes: min(probes, len(sizes))}
	if len(sizes) == 0 {
		a.fine = []*kernel.Packed{kernel.Pack(cent, len(cent)/dim, dim)}
		return a
	}
	a.start = make([]uint32, len(sizes)+1)
	centres := make([]float32, len(sizes)*dim)
	a.fine = make([]*kernel.Packed, len(sizes))
	for g, n := range sizes {
		from := int(a.start[g])
		to := from + int(n)
		a.start[g+1] = uint32(to)
		centre := centres[g*dim : (g+1)*dim]
		for i := from; i < to; i++ {
			for t, v := range cent[i*dim : (i+1)*dim] {
				centre[t] += v
			}
		}
		kernel.Normalize(centre)
		a.fine[g] = kernel.Pack(cent[from*dim:to*dim], int(n), dim)
	}
	a.coarse = kernel.Pack(centres, len(sizes), dim)
	return a
}

// assignScratch is one goroutine's memory for an assigner; the zero value is ready.
type assignScratch struct {
	scores []float32
	probe  []uint32 // rows x probes, groups
	start  []int32  // per group, into list
	list   []int32  // rows, group by group
	rows   []float32
	idx    []uint32
	score  []float32
}

// assign sets codes and scores for the vectors of x, len(codes) x dim. The result for a vector does not
// depend on the others.
func (a *assigner) assign(codes []uint32, scores, x []float32, s *assignScratch) {
	for len(codes) > assignBlock {
		a.assign(codes[:assignBlock], scores[:assignBlock], x[:assignBlock*a.dim], s)
		codes, scores, x = codes[assignBlock:], scores[assignBlock:], x[assignBlock*a.dim:]
	}
	n, d := len(codes), a.dim
	if a.coarse == nil {
		a.fine[0].ArgMax(codes, scores, x, d, n)
		return
	}
	groups := len(a.fine)
	s.scores = grown(s.scores, n*groups)
	a.coarse.Gemm(s.scores, groups, x, d, n, nil)
	s.probe = grown(s.probe, n*a.probes)
	s.start = grown(s.start, groups+1)
	clear(s.start)
	for i := range n {
		p := s.probe[i*a.probes : (i+1)*a.probes]
		largest(p, s.scores[i*groups:(i+1)*groups])
		for _, g := range p {
			s.start[g+1]++
		}
	}
	for g := range groups {
		s.start[g+1] += s.start[g]
	}
	s.list = grown(s.list, n*a.probes)
	for i := range n {
		for _, g := range s.probe[i*a.probes : (i+1)*a.probes] {
			s.list[s.start[g]] = int32(i)
			s.start[g]++ // ends as the start of the next group
		}
		codes[i] = ^uint32(0)
	}
	from := int32(0)
	for g, w := range a.fine {
		list := s.list[from:s.start[g]]
		from = s.start[g]
		if len(list) == 0 {
			continue
		}
		s.rows = grown(s.rows, len(list)*d)
		for j, i := range list {
			copy(s.rows[j*d:(j+1)*d], x[int(i)*d:(int(i)+1)*d])
		}
		s.idx, s.score = grown(s.idx, len(list)), grown(s.score, len(list))
		w.ArgMax(s.idx, s.score, s.rows, d, len(list))
		for j, i := range list {
			// Groups come in ascending order, so that the lowest number wins a tie here, too.
			if v := s.score[j]; codes[i] == ^uint32(0) || v > scores[i] {
				codes[i], scores[i] = a.start[g]+s.idx[j], v
			}
		}
	}
}

// largest sets top to the numbers of the largest scores, in no particular order but the same for the same
// scores; the lower number wins a tie.
func largest(top []uint32, scores []float32) {
	n := len(top)
	if n == len(scores) {
		for i := range top {
			top[i] = uint32(i)
		}
		return
	}
	// A sorted list with insertion: few scores get past its last.
	var buf [64]float32
	best := buf[:min(n, len(buf))]
	if n > len(buf) {
		best = make([]float32, n)
	}
	have := 0
	for i, v := range scores {
		if have == n && !(v > best[n-1]) {
			continue
		}
		j := have
		if have < n {
			have++
		} else {
			j--
		}
		for ; j > 0 && v > best[j-1]; j-- {
			best[j], top[j] = best[j-1], top[j-1]
		}
		best[j], top[j] = v, uint32(i)
	}
}

// run assigns n vectors on several goroutines.
func (a *assigner) run(ctx context.Context, codes []uint32, scores, x []float32, workers int) error {
	return parallel(ctx, len(codes), assignBlock, workers, func() func(i, j int) {
		var s assignScratch
		return func(i, j int) { a.assign(codes[i:j], scores[i:j], x[i*a.dim:j*a.dim], &s) }
	})
}

// grown returns a slice of n values, in s's memory if it is large enough.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return make([]T, n)
	}
	return s[:n]
}
