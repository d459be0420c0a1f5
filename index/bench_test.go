package index

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/vfs"
	"github.com/golbert/golbert/quant"
)

// benchBook is a codebook for streaming benchmarks: what they measure is the index, not the training.
func benchBook(b *testing.B, dim, nbits, k int) *quant.Codebook {
	b.Helper()
	cb, err := quant.Train(context.Background(), vectors(newRand(1), 2*k, dim), &quant.TrainOptions{NBits: nbits, Centroids: k, Iterations: 1})
	require.NoError(b, err)
	return cb
}

// noSync is a file system without durability, to see what that costs.
type noSync struct{ vfs.OS }

type noSyncFile struct{ vfs.File }

func (noSyncFile) Sync() error { return nil }

func (noSync) Create(path string) (vfs.File, error) {
	f, err := vfs.OS{}.Create(path)
	return noSyncFile{f}, err
}

func (noSync) SyncDir(string) error { return nil }

// durability gives the two file systems by the names of their benchmarks.
var durability = []struct {
	name string
	fs   vfs.FS
}{{"durable", vfs.OS{}}, {"nosync", noSync{}}}

// median times f as often as the benchmark asks for, and reports the median beside the mean.
func median(b *testing.B, f func()) {
	var took []time.Duration
	for b.Loop() {
		at := time.Now()
		f()
		took = append(took, time.Since(at))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[len(took)/2])/1e6, "ms/median")
}

// BenchmarkAdd adds batches to an index with a codebook, every one a commit, with and without the syncs that make it
// durable.
func BenchmarkAdd(b *testing.B) {
	ctx := context.Background()
	cb := benchBook(b, 128, 4, 256)
	for _, batch := range []int{1, 100, 10_000} {
		for _, d := range durability {
			b.Run(fmt.Sprintf("batch=%d/%s/tokens=50/dim=128/bits=4/K=256", batch, d.name), func(b *testing.B) {
				ix, err := Create(ctx, b.TempDir(), &Options{Codebook: cb, fs: d.fs})
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
				median(b, func() {
					for i := range docs {
						docs[i].ID = fmt.Sprint(n)
						n++
					}
					if _, err := ix.Add(ctx, seq(docs), nil); err != nil {
						b.Fatal(err)
					}
				})
				b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "docs/s")
				b.ReportMetric(ix.Info().BytesPerToken, "B/token")
			})
		}
	}
}

// BenchmarkDisk makes the calls of a small commit and nothing else: two files and their directory synced at once, a
// rename, the directory synced again. No durable commit can be quicker on this disk at this time.
func BenchmarkDisk(b *testing.B) {
	dir, fs := b.TempDir(), vfs.OS{}
	n := 0
	median(b, func() {
		n++
		var files []vfs.File
		for i := range 2 {
			f, err := fs.Create(filepath.Join(dir, fmt.Sprint(i, "-", n)))
			require.NoError(b, err)
			_, err = f.Write(make([]byte, 2000))
			require.NoError(b, err)
			files = append(files, f)
		}
		var wg sync.WaitGroup
		for _, f := range files {
			wg.Go(func() { _ = f.Sync() })
		}
		wg.Go(func() { _ = fs.SyncDir(dir) })
		wg.Wait()
		for _, f := range files {
			require.NoError(b, f.Close())
		}
		require.NoError(b, fs.Rename(filepath.Join(dir, fmt.Sprint("1-", n)), filepath.Join(dir, fmt.Sprint("2-", n))))
		require.NoError(b, fs.SyncDir(dir))
	})
}

// BenchmarkDelete deletes one document after the other, every one a commit.
func BenchmarkDelete(b *testing.B) {
	ctx := context.Background()
	cb := benchBook(b, 64, 4, 256)
	vecs := vectors(newRand(2), 30, 64)
	for _, d := range durability {
		b.Run(fmt.Sprintf("docs=50000/%s", d.name), func(b *testing.B) {
			ix, err := Create(ctx, b.TempDir(), &Options{Codebook: cb, fs: d.fs})
			require.NoError(b, err)
			defer ix.Close()
			_, err = ix.Add(ctx, func(yield func(Document, error) bool) {
				for i := range 50_000 {
					if !yield(Document{ID: fmt.Sprint(i), Vectors: vecs}, nil) {
						return
					}
				}
			}, nil)
			require.NoError(b, err)
			n := 0
			median(b, func() {
				if _, err := ix.Delete(ctx, []string{fmt.Sprint(n)}, nil); err != nil {
					b.Fatal(err)
				}
				n++
			})
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
