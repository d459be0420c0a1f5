package train

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"gorgonia.org/gorgonia"

	"github.com/golbert/golbert/encoder"
)

// BenchmarkTrainStep is a forward and a backward pass of 32 queries of 16 tokens and 64 passages of 120, all with all,
// through the checkpoint in GOLBERT_TRAIN_MODEL (all-MiniLM-L6-v2, say). scripts/train_step.py is the same in torch.
func BenchmarkTrainStep(b *testing.B) {
	dir := os.Getenv("GOLBERT_TRAIN_MODEL")
	if dir == "" {
		b.Skip("GOLBERT_TRAIN_MODEL names no checkpoint")
	}
	for i := range 4 {
		workers, p := 1+i%2, []encoder.Precision{encoder.Float32, encoder.BFloat16}[i/2]
		b.Run(fmt.Sprintf("%v/workers=%d", p, workers), func(b *testing.B) {
			m, err := OpenModel(dir, &ModelOptions{Workers: workers, Precision: p})
			require.NoError(b, err)
			defer m.Close()
			side := func(texts, tokens int) *Sequences {
				s := &Sequences{Offsets: []int{0}}
				for i := range texts {
					for j := range tokens {
						s.IDs, s.Keep = append(s.IDs, int32(1000+(i*7919+j*104729)%20000)), append(s.Keep, true)
					}
					s.Offsets, s.Attended = append(s.Offsets, len(s.IDs)), append(s.Attended, tokens)
				}
				return s
			}
			q, d := side(32, 16), side(64, 120)
			loss := func(g *gorgonia.ExprGraph, s *gorgonia.Node) (*gorgonia.Node, error) { return gorgonia.Mean(s) }
			step := func() {
				_, err := m.Backward(context.Background(), q, d, loss, 1)
				require.NoError(b, err)
			}
			step() // the first one asks the system for memory
			start := processor(b)
			for b.Loop() {
				step()
			}
			n := float64((len(q.IDs) + len(d.IDs)) * b.N)
			b.ReportMetric(n/b.Elapsed().Seconds(), "tokens/s")
			b.ReportMetric(n/(processor(b)-start).Seconds(), "tokens/cpu-s")
		})
	}
}
