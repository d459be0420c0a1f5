//go:build darwin || linux || windows

package cuda

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/quant"
)

// rateSizes are what kernels are measured on.
type rateSizes struct {
	docs, tokens, dim int // tokens of a document
	parts             []int
	centroids         int
}

// A rate is how fast a kernel is by itself: neither copies to and from the host nor the host's work count.
type rate struct {
	name    string
	seconds float64 // of a launch
	items   float64 // documents or vectors
	bytes   float64 // the fewest that must be read and written in device memory
	ops     float64 // multiply-adds count as two
	mma     bool    // they are tensor-core products
}

func (r rate) String() string {
	return fmt.Sprintf("%s: %.4g items/s, %.4g GB/s, %.4g TFLOP/s", r.name, r.items/r.seconds, r.bytes/r.seconds/1e9, r.ops/r.seconds/1e12)
}

// kernelRates measures MaxSim, assignment and coding.
func kernelRates(t testing.TB, dev *Device, z rateSizes) (rates []rate) {
	r := rand.New(rand.NewPCG(31, 32))
	docs := make([]maxsim.Matrix, z.docs)
	for i := range docs {
		docs[i] = random(r, z.tokens, z.dim)
	}
	for _, f := range []Format{Float32, Float16, BFloat16} {
		d, err := dev.LoadDocuments(bg, docs, f)
		require.NoError(t, err)
		for _, parts := range z.parts {
			s, err := d.streams.acquire(bg)
			require.NoError(t, err)
			queries := make([]part, parts)
			scores := make([][]float32, parts)
			for i := range queries {
				queries[i], scores[i] = part{i, true, random(r, queryPart, z.dim)}, make([]float32, z.docs)
			}
			require.NoError(t, d.score(bg, s, scores, queries)) // so that the queries are there
			per, err := s.rate(bg, func(n int) {
				for range n {
					d.launch(s, parts)
				}
			})
			require.NoError(t, err)
			d.streams.release(s)
			values := float64(z.docs * z.tokens * z.dim)
			rates = append(rates, rate{fmt.Sprintf("maxsim_%v/parts=%d", f, parts), 1 / per, float64(z.docs * parts), values * float64(d.size()),
				2 * values * queryPart * float64(parts), f != Float32})
		}
		require.NoError(t, d.Close())
	}
	x := sharing(r, max(4*z.centroids, 1000), z.dim)
	cb, err := quant.Train(bg, x, &quant.TrainOptions{NBits: 4, Centroids: z.centroids, Iterations: 1, Queries: x.Slice(0, 500)})
	require.NoError(t, err)
	coder, err := dev.NewCoder(bg, cb)
	require.NoError(t, err)
	defer coder.Close()
	n := min(x.Rows, coderRows)
	_, err = coder.Encode(bg, x.Slice(0, n))
	require.NoError(t, err)
	s := coder.streams.all[0]
	_, err = coder.Encode(bg, x.Slice(0, n)) // both streams have their memory now
	require.NoError(t, err)
	for _, k := range []struct {
		name string
		run  func(s *stream, n int)
		ops  float64
	}{
		{"rotate", coder.rotate, 0},
		{"assign", coder.assign, 2 * float64(n) * float64(cb.K()) * float64(z.dim)},
		{"encode", coder.residuals, 2 * 3 * float64(n) * float64(z.dim) * float64(z.dim)},
	} {
		per, err := s.rate(bg, func(times int) {
			for range times {
				k.run(s, n)
			}
		})
		require.NoError(t, err)
		rates = append(rates, rate{k.name, 1 / per, float64(n), 4 * float64(n*z.dim), k.ops, false})
	}
	return rates
}

// TestKernelRates runs the measurements, on sizes that say nothing.
func TestKernelRates(t *testing.T) {
	useShim(t, 1<<30)
	rates := kernelRates(t, openDevice(t), rateSizes{docs: 3, tokens: 5, dim: 16, parts: []int{1, 2}, centroids: 4})
	require.Len(t, rates, 9)
	for _, r := range rates {
		require.Positive(t, r.seconds, r.name)
		require.Positive(t, r.items, r.name)
	}
}

// BenchmarkDevice measures kernels on a device and sets them beside its peaks:
//
//	go test ./plaid/cuda -run '/device$' -bench Device -v
func BenchmarkDevice(b *testing.B) {
	if realWhy != "" {
		b.Skip(realWhy)
	}
	dev, err := Open(0)
	require.NoError(b, err)
	defer dev.Close()
	peaks, err := dev.Peaks(bg)
	require.NoError(b, err)
	b.Logf("%s: copies %.0f GB/s, tensor-core products %.1f TFLOP/s", dev.Name(), peaks.Copy/1e9, peaks.MMA/1e12)
	for _, r := range kernelRates(b, dev, rateSizes{docs: 1 << 14, tokens: 128, dim: 128, parts: []int{1, 4, 16, 64}, centroids: 1 << 14}) {
		b.Run(r.name, func(b *testing.B) {
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(r.items/r.seconds, "items/s")
			b.ReportMetric(r.bytes/r.seconds/1e9, "GB/s")
			b.ReportMetric(r.ops/r.seconds/1e12, "TFLOP/s")
			b.ReportMetric(100*r.bytes/r.seconds/peaks.Copy, "%copy")
			if r.mma {
				b.ReportMetric(100*r.ops/r.seconds/peaks.MMA, "%mma")
			}
		})
	}
}
