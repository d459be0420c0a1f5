package index

import (
	"context"
	"fmt"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestCompactMemory: what a compaction holds in memory is bounded by the size of its outputs, not by the index.
func TestCompactMemory(t *testing.T) {
	ctx := context.Background()
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(2, runtime.GOMAXPROCS(0)))) // the one that measures runs beside it
	cb := testBook(t, 4)
	peak := func(docs int) uint64 {
		ix, _ := create(t, &Options{Codebook: cb, SegmentTokens: 10_000, fs: &hookFS{}})
		v := vectors(newRand(1), 40, testDim)
		_, err := ix.Add(ctx, func(yield func(Document, error) bool) {
			for i := range docs {
				if !yield(Document{ID: fmt.Sprint(i), Vectors: v, Text: "text"}, nil) {
					return
				}
			}
		}, &AddOptions{NoCompact: true})
		require.NoError(t, err)
		require.Greater(t, len(ix.Info().Segments), docs*40/12_000)
		_, err = ix.Delete(ctx, []string{"0"}, &DeleteOptions{NoCompact: true})
		require.NoError(t, err)
		start, most := liveHeap(), uint64(0)
		stop, done := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
					if live := liveHeap(); live > start {
						most = max(most, live-start)
					}
				}
			}
		}()
		res, err := ix.Compact(ctx, &CompactOptions{SegmentTokens: 50_000})
		close(stop)
		<-done
		require.NoError(t, err)
		require.Greater(t, res.Merged, 3)
		return most
	}
	small, large := peak(5_000), peak(20_000)
	t.Logf("live heap of compactions into segments of 50,000 tokens: %d KiB for 200,000 tokens, %d KiB for 800,000", small>>10, large>>10)
	require.Less(t, large, 2*small+8<<20)
}

// liveHeap collects garbage and says how many bytes were left, without what has been allocated since.
func liveHeap() uint64 {
	runtime.GC()
	m := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(m)
	return m[0].Value.Uint64()
}
