package transformer

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestWorkers: the number of goroutines changes no bit of the result, and none is left behind.
func TestWorkers(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	for _, p := range []Precision{Float32, BFloat16, Int8} {
		e, err := New(fakeBert(50, 192, 2, 3, 600, 200, ""), &Options{Precision: p})
		require.NoError(t, err)
		for _, lens := range [][]int{{32}, {1}, {150}, {20, 9, 40}} {
			b := randomBatch(50, lens...)
			want := run(t, e, b)
			before := runtime.NumGoroutine()
			var wg sync.WaitGroup
			for workers := range 6 {
				wg.Go(func() {
					c := *b
					c.Workers = workers
					got := make([]float32, len(want))
					if err := e.Forward(t.Context(), &c, got); err != nil {
						panic(err)
					}
					if !slices.Equal(want, got) {
						panic("other bits")
					}
				})
			}
			wg.Wait()
			for start := time.Now(); runtime.NumGoroutine() > before && time.Since(start) < 10*time.Second; {
				time.Sleep(time.Millisecond)
			}
			require.LessOrEqual(t, runtime.NumGoroutine(), before)
			require.Zero(t, busy.Load())
		}
	}
}

// TestEach: every piece of work runs once, whatever the helpers do.
func TestEach(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(4))
	s := getScratch(&Batch{Workers: 4})
	defer s.release()
	require.Equal(t, 4, s.workers())
	inner := getScratch(&Batch{Workers: 4})
	require.Equal(t, 1, inner.workers(), "no processor is left")
	inner.release()
	for n := range 200 {
		counts := make([]int, n)
		s.each(n, func(i int) { counts[i]++ })
		require.NotContains(t, counts, 0)
		require.NotContains(t, counts, 2)
	}
}

// BenchmarkQuery is the latency of one text of 32 tokens in the shape of all-MiniLM-L6-v2, the median and the best.
func BenchmarkQuery(b *testing.B) {
	c := fakeBert(1000, 384, 6, 12, 1536, 512, "")
	for _, p := range []Precision{Float32, BFloat16, Int8} {
		e, err := New(c, &Options{Precision: p})
		require.NoError(b, err)
		for _, workers := range []int{1, 2} {
			b.Run(fmt.Sprintf("%v/workers=%d/%s", p, workers, p.Instructions()), func(b *testing.B) {
				batch := randomBatch(1000, 32)
				batch.Workers = workers
				out := make([]float32, 32*384)
				var took []time.Duration
				for b.Loop() {
					t := time.Now()
					require.NoError(b, e.Forward(context.Background(), batch, out))
					took = append(took, time.Since(t))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[0].Microseconds()), "best-us")
				b.ReportMetric(float64(took[len(took)/2].Microseconds()), "median-us")
			})
		}
	}
}
