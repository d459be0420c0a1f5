package index

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/quant"
)

// benchBook is a codebook for streaming benchmarks: what they measure is the index, not the training.
func benchBook(b *testing.B, dim, nbits, k int) *quant.Codebook {
	b.Helper()
	cb, err := quant.Train(context.Background(), vectors(newRand(1), 2*k, dim), &quant.TrainOptions{NBits: nbits, Centroids: k, Iterations: 1})
	require.NoError(b, err)
	return cb
}

// BenchmarkAdd adds batches to an index with a codebook, every one a durable commit: what durability costs.
func BenchmarkAdd(b *testing.B) {
	ctx := context.Background()
	for _, batch := range []int{1, 100, 10_000} {
		b.Run(fmt.Sprintf("batch=%d/tokens=50/dim=128/bits=4/K=256", batch), func(b *testing.B) {
			ix, err := Create(ctx, b.TempDir(), &Options{Codebook: benchBook(b, 128, 4, 256)})
			require.NoError(b, err)
			defer ix.Close()
			r := newRand(2)
			docs := make([]Document, batch)
			for i := range docs {
				docs[i] = Document{Text: strings.Repeat("some words of text ", 12)}
				if i < 100 {
					docs[i].Vectors = vectors(r, 50, 128)
				} else {
					docs[i].Vectors = docs[i%100].Vectors
				}
			}
			n := 0
			for b.Loop() {
				for i := range docs {
					docs[i].ID = fmt.Sprint(n)
					n++
				}
				if _, err := ix.Add(ctx, seq(docs), nil); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
			b.ReportMetric(ix.Info().BytesPerToken, "B/token")
		})
	}
}

// BenchmarkOpen opens an index for reading.
func BenchmarkOpen(b *testing.B) {
	ctx := context.Background()
	dir := b.TempDir()
	ix, err := Create(ctx, dir, &Options{Codebook: benchBook(b, 64, 4, 256)})
	require.NoError(b, err)
	r := newRand(2)
	_, err = ix.Add(ctx, func(yield func(Document, error) bool) {
		for i := range 5000 {
			if !yield(Document{ID: fmt.Sprint(i), Vectors: vectors(r, 40, 64)}, nil) {
				return
			}
		}
	}, nil)
	require.NoError(b, err)
	require.NoError(b, ix.Close())
	b.Run("docs=5000/tokens=200000", func(b *testing.B) {
		for b.Loop() {
			ix, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
			if err != nil {
				b.Fatal(err)
			}
			_ = ix.Close()
		}
	})
}

// BenchmarkRead measures the accessors that a search calls.
func BenchmarkRead(b *testing.B) {
	ix, err := Create(context.Background(), b.TempDir(), &Options{Codebook: benchBook(b, 32, 4, 1024)})
	require.NoError(b, err)
	defer ix.Close()
	r := newRand(2)
	docs := make([]Document, 2000)
	for i := range docs {
		docs[i] = Document{ID: fmt.Sprint(i), Vectors: vectors(r, 100, 32), Text: strings.Repeat("some words of text ", 20)}
	}
	mustAdd(b, ix, docs...)
	s, err := ix.Snapshot()
	require.NoError(b, err)
	defer s.Close()
	seg := s.Segments()[0]
	var buf []uint32
	for name, f := range map[string]func(ord uint32) error{
		"codes":    func(o uint32) (err error) { buf, err = seg.Codes(buf, o); return err },
		"distinct": func(o uint32) (err error) { buf, err = seg.DistinctCodes(buf, o); return err },
		"postings": func(o uint32) (err error) { buf, err = seg.Postings(buf, o%1024); return err },
		"text":     func(o uint32) error { _, err := seg.Text(o); return err },
		"lookup":   func(o uint32) error { _, _, _, err := s.Find(docs[o].ID); return err },
	} {
		b.Run(name+"/tokens=100", func(b *testing.B) {
			b.ReportAllocs()
			ord := uint32(0)
			for b.Loop() {
				if err := f(ord); err != nil {
					b.Fatal(err)
				}
				ord = (ord + 997) % 2000
			}
		})
	}
}

// BenchmarkCompact merges segments of 1,000 documents.
func BenchmarkCompact(b *testing.B) {
	ctx := context.Background()
	cb := benchBook(b, 128, 4, 1024)
	dir := b.TempDir()
	ix, err := Create(ctx, dir, &Options{Codebook: cb})
	require.NoError(b, err)
	r := newRand(2)
	n := 0
	for range 4 {
		docs := make([]Document, 1000)
		for i := range docs {
			docs[i] = Document{ID: fmt.Sprint(n), Vectors: vectors(r, 50, 128), Text: strings.Repeat("some words of text ", 12)}
			n++
		}
		_, err := ix.Add(ctx, seq(docs), &AddOptions{NoCompact: true})
		require.NoError(b, err)
	}
	require.NoError(b, ix.Close())
	b.Run("docs=4000/tokens=200000/dim=128/bits=4", func(b *testing.B) {
		for b.Loop() {
			b.StopTimer()
			dst := filepath.Join(b.TempDir(), "ix")
			require.NoError(b, os.CopyFS(dst, os.DirFS(dir)))
			ix, err := Open(ctx, dst, nil)
			require.NoError(b, err)
			b.StartTimer()
			_, err = ix.Compact(ctx, nil)
			require.NoError(b, err)
			b.StopTimer()
			require.NoError(b, ix.Close())
			b.StartTimer()
		}
		b.ReportMetric(200_000*float64(b.N)/b.Elapsed().Seconds(), "tokens/s")
	})
}

// BenchmarkRefresh moves a reader from one commit to the next.
func BenchmarkRefresh(b *testing.B) {
	ctx := context.Background()
	dir := filepath.Join(b.TempDir(), "ix")
	ix, err := Create(ctx, dir, &Options{Codebook: benchBook(b, 64, 4, 256)})
	require.NoError(b, err)
	defer ix.Close()
	docs := documents(1, 2000)
	for i := range docs {
		docs[i].Vectors = vectors(newRand(uint64(i)), 40, 64)
	}
	_, err = ix.Add(ctx, seq(docs), nil)
	require.NoError(b, err)
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(b, err)
	defer ro.Close()
	n := 0
	for _, newer := range []bool{false, true} {
		b.Run(fmt.Sprint("newer=", newer), func(b *testing.B) {
			for b.Loop() {
				if newer {
					b.StopTimer()
					_, err := ix.Delete(ctx, []string{docs[n].ID}, &DeleteOptions{NoCompact: true})
					require.NoError(b, err)
					n++
					b.StartTimer()
				}
				changed, err := ro.Refresh(ctx)
				if err != nil || changed != newer {
					b.Fatal(changed, err)
				}
			}
		})
	}
}
