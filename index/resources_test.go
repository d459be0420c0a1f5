//go:build unix

package index_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

// TestOpenSearchClose opens, searches and closes an index many times: descriptors, mappings and goroutines do not
// grow. GOLBERT_OPENS=100000 makes a long run.
func TestOpenSearchClose(t *testing.T) {
	if _, err := os.Stat("/proc/self/maps"); err != nil {
		t.Skip("no /proc/self here")
	}
	n := 1000
	if testing.Short() {
		n = 200
	}
	if s := os.Getenv("GOLBERT_OPENS"); s != "" {
		var err error
		n, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	ctx := context.Background()
	w := newWorld(1, 16, 1)
	r := rand.New(rand.NewPCG(2, 2))
	dir := filepath.Join(t.TempDir(), "ix")
	ix, err := index.Create(ctx, dir, &index.Options{Dim: 16, SegmentTokens: 300})
	require.NoError(t, err)
	var docs []index.Document
	for i := range 30 {
		docs = append(docs, index.Document{ID: fmt.Sprint(i), Vectors: w.doc(r, 0), Text: "text", Meta: index.Metadata{"n": i}})
	}
	_, err = ix.Add(ctx, seq(docs), nil)
	require.NoError(t, err)
	_, err = ix.Delete(ctx, []string{"7"}, nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	filter, err := index.ParseFilter("n < 20")
	require.NoError(t, err)
	broken := filepath.Join(t.TempDir(), "broken")
	require.NoError(t, os.CopyFS(broken, os.DirFS(dir)))
	segs, err := filepath.Glob(filepath.Join(broken, "*.gbs"))
	require.NoError(t, err)
	require.NoError(t, os.Truncate(segs[len(segs)-1], 500))
	round := func(i int) {
		ix, err := index.Open(ctx, dir, &index.OpenOptions{ReadOnly: i%4 > 0})
		require.NoError(t, err)
		s, err := ix.Snapshot()
		require.NoError(t, err)
		hits, err := plaid.NewSearcher(s).Search(ctx, docs[i%20].Vectors, 3, &plaid.Options{Filter: filter})
		require.NoError(t, err)
		require.Len(t, hits, 3)
		require.NoError(t, s.Close())
		require.NoError(t, ix.Close())
		_, err = index.Open(ctx, broken, nil)
		require.ErrorIs(t, err, index.ErrCorrupt)
	}
	count := func() (fds, mappings, goroutines int) {
		es, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		maps, err := os.ReadFile("/proc/self/maps")
		require.NoError(t, err)
		for range 100 {
			if goroutines = runtime.NumGoroutine(); goroutines < 5 {
				break
			}
			time.Sleep(time.Millisecond)
		}
		return len(es), strings.Count(string(maps), filepath.Dir(dir)) + strings.Count(string(maps), broken), goroutines
	}
	for i := range 10 {
		round(i)
	}
	fds, mappings, goroutines := count()
	require.Zero(t, mappings)
	for i := range n {
		round(i)
	}
	fds2, mappings2, goroutines2 := count()
	require.LessOrEqual(t, fds2, fds)
	require.Zero(t, mappings2)
	require.LessOrEqual(t, goroutines2, goroutines)
	t.Logf("opens=%d descriptors=%d mappings=%d goroutines=%d (before: %d, %d, %d)", 2*n, fds2, mappings2, goroutines2, fds, mappings, goroutines)
}

// cpuTime is what this process has used of the processors.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	require.NoError(t, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestCancelIsQuick cancels everything that takes long in its middle, at several moments. It returns within 50 ms. On
// a machine that is busy with something else that cannot be seen on the clock, so the processors' time counts if it
// is less.
func TestCancelIsQuick(t *testing.T) {
	w := newWorld(3, 64, 2)
	r := rand.New(rand.NewPCG(2, 2))
	n := 2500
	if testing.Short() {
		n = 800
	}
	docs := make([]index.Document, n)
	for i := range docs {
		docs[i] = index.Document{ID: fmt.Sprint(i), Vectors: w.doc(r, i%2), Text: strings.Repeat("some text ", 30), Meta: index.Metadata{"n": i}}
	}
	ctx := context.Background()
	full := filepath.Join(t.TempDir(), "full")
	ix, err := index.Create(ctx, full, &index.Options{Dim: 64, Centroids: 256, SegmentTokens: 20_000})
	require.NoError(t, err)
	_, err = ix.Add(ctx, seq(docs), &index.AddOptions{NoCompact: true})
	require.NoError(t, err)
	defer ix.Close()
	fresh := func() (*index.Index, func()) {
		dir := t.TempDir()
		ix, err := index.Create(ctx, filepath.Join(dir, "ix"), &index.Options{Dim: 64})
		require.NoError(t, err)
		return ix, func() { require.NoError(t, ix.Close()); require.NoError(t, os.RemoveAll(dir)) }
	}
	for _, op := range []struct {
		name string
		do   func(context.Context) error
	}{
		{"add, with training", func(ctx context.Context) error {
			ix, done := fresh()
			defer done()
			_, err := ix.Add(ctx, seq(docs), nil)
			return err
		}},
		{"compact", func(ctx context.Context) error {
			_, err := ix.Compact(ctx, &index.CompactOptions{SegmentTokens: 1 << 20})
			return err
		}},
		{"retrain", func(ctx context.Context) error {
			_, err := ix.Compact(ctx, &index.CompactOptions{Retrain: true})
			return err
		}},
		{"merge", func(ctx context.Context) error {
			ix, done := fresh()
			defer done()
			_, err := ix.Merge(ctx, []string{full}, nil)
			return err
		}},
		{"check", func(ctx context.Context) error { _, err := index.Check(ctx, full); return err }},
		{"repair", func(ctx context.Context) error {
			_, err := index.Repair(ctx, full, filepath.Join(t.TempDir(), "dst"))
			return err
		}},
		{"open, verify", func(ctx context.Context) error {
			ix, err := index.Open(ctx, full, &index.OpenOptions{ReadOnly: true, Verify: true})
			if err == nil {
				err = ix.Close()
			}
			return err
		}},
	} {
		var late []time.Duration
		finished := 0
		for i := range 7 {
			c, cancel := context.WithCancel(ctx)
			done := make(chan error, 1)
			go func() { done <- op.do(c) }()
			time.Sleep(time.Duration(1+i*i*6) * time.Millisecond)
			at, used := time.Now(), cpuTime(t)
			cancel()
			err := <-done
			took := min(time.Since(at), cpuTime(t)-used)
			if err == nil {
				finished++ // before that
				continue
			}
			late = append(late, took)
			if !errors.Is(err, context.Canceled) {
				require.NoError(t, err, op.name)
			}
		}
		if len(late) == 0 {
			t.Logf("%s: always done before", op.name)
			continue
		}
		slices.Sort(late)
		t.Logf("%s: returns %v after the cancellation at best, %v median, %v at worst; %d were done before", op.name, late[0], late[len(late)/2], late[len(late)-1], finished)
		require.Less(t, late[len(late)/2], 50*time.Millisecond, op.name)
		require.Less(t, late[len(late)-1], 200*time.Millisecond, op.name)
	}
}
