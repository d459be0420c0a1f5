package transformer

import "math"

// buckets maps distances to the rows of a table of learned biases, as T5 does: one row per distance while it is
// short, then logarithmically up to most; keys after the token have the upper half of the table (Raffel et al.,
// JMLR 2020, section 2.1).
type buckets struct{ n, most int }

// of gives the bucket of the distance from a token to a key, positive for keys after the token. The arithmetic
// is float32 as in the original, because buckets begin where a rounding decides.
func (b buckets) of(distance int) int {
	half, at := b.n/2, 0
	if distance > 0 {
		at = half
	}
	r := max(distance, -distance)
	exact := half / 2
	if r < exact {
		return at + r
	}
	v := float32(math.Log(float64(float32(r)/float32(exact)))) / float32(math.Log(float64(b.most)/float64(exact))) * float32(half-exact)
	return at + min(half-1, exact+int(v))
}

// relative is the bias of one call's attention scores by distance.
type relative struct {
	heads  int
	reach  int       // the largest distance in values
	values []float32 // heads rows of 2*reach+1 values: the bias of distances -reach to reach
	all    []int32   // the positions of all tokens of the batch in their sequences; nil when they are consecutive
	pos    []int32   // of the sequence at hand
}

// fill sets the biases for sequences of up to n tokens from a table of buckets.n rows with a value per head.
func (r *relative) fill(table []float32, b buckets, heads, n int) {
	r.heads, r.reach = heads, n-1
	w := 2*n - 1
	r.values = grow(r.values, heads*w)
	for d := range w {
		row := table[b.of(d-r.reach)*heads:][:heads]
		for h, v := range row {
			r.values[h*w+d] = v
		}
	}
}

// seek goes to the sequence of n tokens that begins at token at of the batch.
func (r *relative) seek(at, n int) {
	if r.pos = nil; r.all != nil {
		r.pos = r.all[at : at+n]
	}
}

// add adds token i's bias to its scores of the keys from lo on.
func (r *relative) add(row []float32, head, i, lo int) {
	w := 2*r.reach + 1
	values := r.values[head*w : (head+1)*w]
	if r.pos != nil {
		base := r.reach - int(r.pos[i])
		for j, p := range r.pos[lo : lo+len(row)] {
			row[j] += values[base+int(p)]
		}
		return
	}
	values = values[r.reach-i+lo:][:len(row)]
	for j, v := range values {
		row[j] += v
	}
}
