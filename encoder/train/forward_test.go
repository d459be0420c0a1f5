package train

import (
	"context"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
)

var (
	testQueries   = []string{"how do tides work?", "the moon", "what is a neap tide and why"}
	testDocuments = []string{"the moon, (and) the sun.", "Tides are the rise and fall of sea levels, caused by gravity!", "work", "a spring tide follows the new moon; a neap tide follows the quarters, when sun and moon stand at right angles"}
)

// layouts are the checkpoints of package encoder's tests that this package trains.
var layouts = []string{"stanford_bert", "stanford_electra", "stanford_xlmr", "stanford_xmod", "native_min", "pylate_expansion", "pylate_attend", "pylate_mlp", "native_fixed"}

// encoded are the scores by package encoder of all queries with all documents.
func encoded(t *testing.T, dir string) []float32 {
	t.Helper()
	ctx := context.Background()
	ref, err := encoder.Open(dir, nil)
	require.NoError(t, err)
	defer ref.Close()
	q, err := ref.EncodeQueries(ctx, testQueries, nil)
	require.NoError(t, err)
	d, err := ref.EncodeDocuments(ctx, testDocuments, nil)
	require.NoError(t, err)
	var out []float32
	for _, x := range q {
		for _, y := range d {
			s, err := maxsim.Score(x.Vectors, y.Vectors)
			require.NoError(t, err)
			out = append(out, s)
		}
	}
	return out
}

// TestScoresAreTheEncoders: the differentiable forward pass is the encoder's.
func TestScoresAreTheEncoders(t *testing.T) {
	ctx := context.Background()
	for _, name := range layouts {
		t.Run(name, func(t *testing.T) {
			dir := "../testdata/layouts/" + name
			want := encoded(t, dir)
			for _, part := range []Part{Whole, HeadOnly} {
				m, err := OpenModel(dir, &ModelOptions{Part: part})
				require.NoError(t, err)
				defer m.Close()
				q, err := m.Sequences(ctx, testQueries, true, nil)
				require.NoError(t, err)
				d, err := m.Sequences(ctx, testDocuments, false, nil)
				require.NoError(t, err)
				got, err := m.Scores(ctx, q, d)
				require.NoError(t, err)
				require.InDeltaSlice(t, want, got, 2e-5, part.String())
				_, err = m.Backward(ctx, q, d, func(g *gorgonia.ExprGraph, s *gorgonia.Node) (*gorgonia.Node, error) {
					return gorgonia.Sum(s)
				}, 1)
				require.NoError(t, err)
				for _, p := range m.Params() {
					for _, g := range p.Grad {
						require.False(t, math.IsNaN(float64(g)), p.Name)
					}
				}
			}
		})
	}
}
