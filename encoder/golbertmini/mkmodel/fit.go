package main

import (
	"context"
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"

	"github.com/golbert/golbert/encoder"
)

// moments sums x x^T over token vectors.
type moments struct {
	dim int
	n   int
	sum []float64 // dim x dim, upper triangle
}

func newMoments(dim int) *moments { return &moments{dim: dim, sum: make([]float64, dim*dim)} }

// encode adds the token vectors of texts until there are enough.
func (m *moments) encode(ctx context.Context, model *encoder.Model, texts []string, tokens int) error {
	const step = 256
	for at := 0; at < len(texts) && m.n < tokens; at += step {
		enc, err := model.EncodeDocuments(ctx, texts[at:min(at+step, len(texts))], nil)
		if err != nil {
			return err
		}
		for _, e := range enc {
			m.add(e.Vectors.Data, e.Vectors.Rows)
		}
		fmt.Printf("\r%d tokens", m.n)
	}
	fmt.Println()
	return nil
}

func (m *moments) add(x []float32, rows int) {
	v := make([]float64, m.dim)
	for r := range rows {
		for i, f := range x[r*m.dim : (r+1)*m.dim] {
			v[i] = float64(f)
		}
		for i, a := range v {
			row := m.sum[i*m.dim : (i+1)*m.dim]
			for j := i; j < m.dim; j++ {
				row[j] += a * v[j]
			}
		}
	}
	m.n += rows
}

// components returns the first k eigenvectors, k x dim row-major and by descending eigenvalue, each scaled by
// its eigenvalue to the power -power/2 relative to the first, and the part of the trace that they carry.
func (m *moments) components(k int, power float64) ([]float32, float64, error) {
	if m.n == 0 || k <= 0 || k > m.dim {
		return nil, 0, fmt.Errorf("cannot fit %d components of %d dimensions on %d tokens", k, m.dim, m.n)
	}
	var eig mat.EigenSym
	if !eig.Factorize(mat.NewSymDense(m.dim, m.sum), true) {
		return nil, 0, fmt.Errorf("the eigenvalues of the second moments do not converge")
	}
	values := eig.Values(nil) // ascending
	var vec mat.Dense
	eig.VectorsTo(&vec)
	out := make([]float32, 0, k*m.dim)
	total, kept := 0.0, 0.0
	for i, v := range values {
		total += v
		if i >= m.dim-k {
			kept += v
		}
	}
	for c := range k {
		col := mat.Col(nil, m.dim-1-c, &vec)
		// An eigenvector's sign is arbitrary; the largest entry is made positive.
		big := 0.0
		for _, v := range col {
			if math.Abs(v) > math.Abs(big) {
				big = v
			}
		}
		scale := math.Copysign(1, big) * math.Pow(values[m.dim-1-c]/values[m.dim-1], -power/2)
		for _, v := range col {
			out = append(out, float32(scale*v))
		}
	}
	return out, kept / total, nil
}
