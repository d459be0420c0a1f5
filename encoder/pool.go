package encoder

import (
	"fmt"
	"math"
	"slices"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/internal/kernel"
)

// PoolStyle is whose token pooling is followed. Clusters are Ward's (1963) in all of them.
type PoolStyle uint8

const (
	// PoolPyLate clusters by the cosine distances of vectors, as PyLate and sentence-transformers do.
	PoolPyLate PoolStyle = iota
	// PoolColBERT clusters the rows of the matrix of cosine distances by their Euclidean distances, counts the
	// protected vectors among those that the factor divides, and puts them last, as colbert-ai does.
	PoolColBERT
)

// pooling is the merging of similar vectors of a text: Clavié, Chaffin and Adams, "Reducing the Footprint of
// Multi-Vector Retrieval with Minimal Performance Impact via Token Pooling" (2024).
type pooling struct {
	factor    float64 // vectors per cluster; 1 or less merges nothing
	protected int     // the first vectors, kept as they are
	normalize bool
	style     PoolStyle
}

// maxPool is the most vectors that are clustered together: 64 MiB of distances. More, which only few models make of a
// text, are clustered in portions.
const (
	maxPool       = 4096
	maxPoolSquare = 1024 // of PoolColBERT, whose work grows with the cube
)

// apply pools the vectors of one text. tokens describes the rows and comes back for those that are left: a merged row
// has the token whose vector is nearest to it.
func (p *pooling) apply(v maxsim.Matrix, tokens []Token) (maxsim.Matrix, []Token) {
	protected := min(p.protected, v.Rows)
	most := maxPool
	if p.style == PoolColBERT {
		most = maxPoolSquare
	}
	type cluster struct{ rows []int }
	var clusters []cluster
	for at := protected; at < v.Rows; at += most {
		n := min(most, v.Rows-at)
		count := n
		if p.style == PoolColBERT && at == protected {
			count += protected
		}
		k := min(max(int(math.Floor(float64(count)/p.factor)), 1), n)
		part := v.Data[at*v.Dim : (at+n)*v.Dim]
		labels := wardClusters(cosineDistances(part, n, v.Dim, p.style), n, k)
		first := len(clusters)
		for i, l := range labels {
			for first+int(l) >= len(clusters) {
				clusters = append(clusters, cluster{})
			}
			c := &clusters[first+int(l)]
			c.rows = append(c.rows, at+i)
		}
	}
	out := maxsim.New(protected+len(clusters), v.Dim)
	kept := make([]Token, 0, out.Rows)
	row := 0
	keep := func() {
		for i := range protected {
			copy(out.Row(row), v.Row(i))
			kept = append(kept, tokens[i])
			row++
		}
	}
	if p.style != PoolColBERT {
		keep()
	}
	for _, c := range clusters {
		mean := out.Row(row)
		for _, i := range c.rows {
			for j, x := range v.Row(i) {
				mean[j] += x
			}
		}
		if n := float32(len(c.rows)); n > 1 {
			for j := range mean {
				mean[j] /= n
			}
		}
		best := c.rows[0]
		for _, i := range c.rows[1:] {
			if kernel.Dot(v.Row(i), mean) > kernel.Dot(v.Row(best), mean) {
				best = i
			}
		}
		if p.normalize && kernel.Normalize(mean) == 0 { // vectors that cancel out
			copy(mean, v.Row(best))
		}
		kept = append(kept, tokens[best])
		row++
	}
	if p.style == PoolColBERT {
		keep()
	}
	return out, kept
}

// cosineDistances gives the distances of n unit vectors, condensed: those of row 0 with rows 1 to n-1, of row 1 with
// rows 2 to n-1, and so on.
func cosineDistances(v []float32, n, dim int, style PoolStyle) []float64 {
	d := make([]float64, 0, n*(n-1)/2)
	for i := range n {
		for j := i + 1; j < n; j++ {
			c := 1 - kernel.Dot(v[i*dim:(i+1)*dim], v[j*dim:(j+1)*dim])
			d = append(d, float64(min(max(c, 0), 2)))
		}
	}
	if style != PoolColBERT {
		return d
	}
	square := make([]float64, n*n)
	for i, at := 0, 0; i < n; i++ {
		for j := i + 1; j < n; j++ {
			square[i*n+j], square[j*n+i] = d[at], d[at]
			at++
		}
	}
	at := 0
	for i := range n {
		for j := i + 1; j < n; j++ {
			sum := 0.0
			a, b := square[i*n:(i+1)*n], square[j*n:(j+1)*n]
			for k, x := range a {
				sum += (x - b[k]) * (x - b[k])
			}
			d[at] = math.Sqrt(sum)
			at++
		}
	}
	return d
}

// merge joins two clusters, named by one of their members, at a height.
type merge struct {
	a, b   int
	height float64
}

// wardClusters cuts Ward's hierarchy of n points into at most k clusters and numbers them as SciPy's fcluster does
// with maxclust. d, the condensed distances, is overwritten.
func wardClusters(d []float64, n, k int) []int32 {
	labels := make([]int32, n)
	if n < 2 || k >= n {
		for i := range labels {
			labels[i] = int32(i)
		}
		return labels
	}
	merges := wardChain(d, n)
	slices.SortStableFunc(merges, func(x, y merge) int {
		switch {
		case x.height < y.height:
			return -1
		case x.height > y.height:
			return 1
		}
		return 0
	})
	// Nodes n, n+1, ... are the merges in this order; the node of a smaller number is the left child.
	parent := make([]int, 2*n-1)
	for i := range parent {
		parent[i] = i
	}
	find := func(i int) int {
		for parent[i] != i {
			parent[i] = parent[parent[i]]
			i = parent[i]
		}
		return i
	}
	children := make([][2]int, n-1)
	heights := make([]float64, n-1) // of a node and all below it
	for i, m := range merges {
		a, b := find(m.a), find(m.b)
		children[i] = [2]int{min(a, b), max(a, b)}
		parent[a], parent[b] = n+i, n+i
		heights[i] = m.height
		for _, c := range children[i] {
			if c >= n {
				heights[i] = max(heights[i], heights[c-n])
			}
		}
	}
	// n - k merges leave k clusters, fewer where more merges have the same height.
	cut := heights[n-k-1]
	next := int32(-1)
	// visit numbers the leaves: subtrees before leaves, left before right.
	var stack []visit
	stack = append(stack, visit{node: 2*n - 2})
	inside := 0 // depth of the stack at which the current cluster began, 0 for none
	for len(stack) > 0 {
		t := &stack[len(stack)-1]
		c := children[t.node-n]
		if t.step == 0 && inside == 0 && heights[t.node-n] <= cut {
			inside = len(stack)
			next++
		}
		if t.step < 2 {
			child := c[t.step]
			t.step++
			if child >= n {
				stack = append(stack, visit{node: child})
			}
			continue
		}
		for _, leaf := range c {
			if leaf < n {
				if inside == 0 {
					next++
				}
				labels[leaf] = next
			}
		}
		if inside == len(stack) {
			inside = 0
		}
		stack = stack[:len(stack)-1]
	}
	return labels
}

// visit is a node of the hierarchy on the way down: step counts the children that were looked at.
type visit struct{ node, step int }

// wardChain builds Ward's hierarchy by chains of nearest neighbours (Murtagh 1983; Müllner, "Modern hierarchical,
// agglomerative clustering algorithms", 2011, section 3.2): O(n^2) time. Merges come in the order of the chains.
func wardChain(d []float64, n int) []merge {
	at := func(i, j int) int {
		if i > j {
			i, j = j, i
		}
		return n*i - i*(i+1)/2 + j - i - 1
	}
	size := make([]float64, n)
	for i := range size {
		size[i] = 1
	}
	merges := make([]merge, 0, n-1)
	chain := make([]int, 0, n)
	first := 0
	for len(merges) < n-1 {
		if len(chain) == 0 {
			for size[first] == 0 {
				first++
			}
			chain = append(chain, first)
		}
		var x, y int
		var least float64
		for {
			x, y, least = chain[len(chain)-1], -1, math.Inf(1)
			if len(chain) > 1 { // of equally near ones the one before, so that chains end
				y = chain[len(chain)-2]
				least = d[at(x, y)]
			}
			for i := range n {
				if i != x && size[i] > 0 {
					if v := d[at(x, i)]; v < least {
						least, y = v, i
					}
				}
			}
			if len(chain) > 1 && y == chain[len(chain)-2] {
				break
			}
			chain = append(chain, y)
		}
		chain = chain[:len(chain)-2]
		x, y = min(x, y), max(x, y)
		merges = append(merges, merge{x, y, least})
		nx, ny := size[x], size[y]
		size[x], size[y] = 0, nx+ny
		for i := range n {
			if ni := size[i]; ni > 0 && i != y {
				// Lance and Williams (1967).
				dx, dy := d[at(i, x)], d[at(i, y)]
				t := 1 / (nx + ny + ni)
				d[at(i, y)] = math.Sqrt((ni+nx)*t*dx*dx + (ni+ny)*t*dy*dy - ni*t*least*least)
			}
		}
	}
	return merges
}

// pooling lays the options over a checkpoint's own pooling.
func (o *Options) pooling(own *pooling) (pooling, error) {
	p := pooling{protected: 1, normalize: true}
	if own != nil {
		p = *own
	}
	if o.PoolFactor != 0 {
		p.factor = o.PoolFactor
	}
	switch {
	case o.PoolProtected > 0:
		p.protected = o.PoolProtected
	case o.PoolProtected < 0:
		p.protected = 0
	}
	p.normalize = o.PoolNormalize.or(p.normalize)
	p.style = o.PoolStyle
	if o.PoolStyle > PoolColBERT {
		return p, fmt.Errorf("option PoolStyle is %d", o.PoolStyle)
	}
	return p, checkFactor("option PoolFactor", o.PoolFactor)
}

// checkFactor refuses what is no pool factor; 0 is none.
func checkFactor(what string, f float64) error {
	if f != 0 && !(f >= 1 && !math.IsInf(f, 1)) {
		return fmt.Errorf("%s is %g, the least is 1", what, f)
	}
	return nil
}
