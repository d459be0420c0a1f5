package index

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestRaceOfEverything has eight writers, thirty-two readers and a compactor at one index. Every snapshot is one
// commit: of each writer's documents all or none are of a version, no reader ever sees an older one again, what was
// acknowledged before a snapshot is in it, two snapshots of a generation say the same, and vectors are those that
// were added. A long run is
//
//	GOLBERT_RACE_TIME=10m go test -race -run TestRaceOfEverything -v -timeout 0 ./index
func TestRaceOfEverything(t *testing.T) {
	length := 2 * time.Second
	if testing.Short() {
		length = time.Second / 2
	}
	if s := os.Getenv("GOLBERT_RACE_TIME"); s != "" {
		var err error
		length, err = time.ParseDuration(s)
		require.NoError(t, err)
	}
	const writers, readers, own = 8, 32, 4
	ctx := context.Background()
	cb := testBook(t, 4)
	ix, dir := create(t, &Options{Codebook: cb, SegmentTokens: 400, Workers: 1, fs: &hookFS{}})
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	id := func(w, i int) string { return fmt.Sprintf("%d-%d", w, i) }
	// doc is document i of version v of writer w.
	doc := func(w, v, i int) Document {
		r := newRand(uint64(w)<<40 | uint64(v)<<8 | uint64(i))
		return Document{ID: id(w, i), Vectors: vectors(r, 1+r.IntN(4), testDim), Text: fmt.Sprint(v), Meta: Metadata{"w": w, "v": v}}
	}
	var acked [writers]atomic.Int64
	var looks, commits, compactions, refreshes atomic.Int64
	var said sync.Map // generation to versions
	stop := make(chan struct{})
	var wg sync.WaitGroup
	fail := func(err error) bool {
		if err != nil {
			t.Error(err)
		}
		return err != nil
	}
	loop := func(f func() error) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if fail(f()) {
					return
				}
			}
		})
	}
	for w := range writers {
		v := 0
		loop(func() error {
			v++
			b := Batch{}
			docs := make([]Document, own)
			for i := range docs {
				docs[i] = doc(w, v, i)
				if v > 1 && (v+i)%3 == 0 { // else it is replaced
					b.Delete = append(b.Delete, docs[i].ID)
				}
			}
			b.Add = seq(docs)
			if _, err := ix.Update(ctx, b, &UpdateOptions{NoCompact: v%5 == 0}); err != nil {
				return err
			}
			acked[w].Store(int64(v))
			commits.Add(1)
			return nil
		})
	}
	for n := range readers {
		var last [writers]int64
		r := newRand(uint64(n))
		loop(func() error {
			from := ix
			var least [writers]int64
			for w := range writers {
				least[w] = acked[w].Load()
			}
			if n%4 == 3 {
				from = ro
				if _, err := ro.Refresh(ctx); err != nil {
					return err
				}
				refreshes.Add(1)
			}
			s, err := from.Snapshot()
			if err != nil {
				return err
			}
			defer s.Close()
			var versions [writers]int64
			for w := range writers {
				for i := range own {
					seg, ord, ok, err := s.Find(id(w, i))
					if err != nil {
						return err
					}
					if !ok {
						if i > 0 && versions[w] > 0 {
							return fmt.Errorf("generation %d: writer %d: document %d is missing", s.Generation(), w, i)
						}
						continue
					}
					text, err := seg.Text(ord)
					if err != nil {
						return err
					}
					v, err := strconv.ParseInt(text, 10, 64)
					if err != nil {
						return err
					}
					if i > 0 && v != versions[w] {
						return fmt.Errorf("generation %d: writer %d: versions %d and %d", s.Generation(), w, versions[w], v)
					}
					versions[w] = v
					if r.IntN(8) == 0 {
						if err := sameCodes(seg, ord, doc(w, int(v), i)); err != nil {
							return fmt.Errorf("generation %d: %w", s.Generation(), err)
						}
					}
				}
				if versions[w] < last[w] || versions[w] < least[w] {
					return fmt.Errorf("generation %d: writer %d: version %d, after %d was seen and %d acknowledged", s.Generation(), w, versions[w], last[w], least[w])
				}
			}
			if had, _ := said.LoadOrStore(s.Generation(), versions); had != versions {
				return fmt.Errorf("generation %d: %v and %v", s.Generation(), had, versions)
			}
			last = versions
			looks.Add(1)
			time.Sleep(time.Duration(r.IntN(20)) * time.Millisecond) // or the writers hardly get to run
			return nil
		})
	}
	loop(func() error {
		time.Sleep(5 * time.Millisecond)
		var err error
		if compactions.Add(1)%3 == 0 {
			_, err = ix.MaybeCompact(ctx)
		} else {
			_, err = ix.Compact(ctx, &CompactOptions{SegmentTokens: 100})
		}
		return err
	})
	time.Sleep(length)
	close(stop)
	wg.Wait()
	require.Positive(t, looks.Load())
	for w := range writers {
		require.Positive(t, acked[w].Load())
	}
	require.NoError(t, ro.Close())
	require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
	require.NoError(t, ix.Close())
	rep, err := Check(ctx, dir)
	require.NoError(t, err)
	require.Equal(t, writers*own, rep.Documents)
	generations := 0
	said.Range(func(any, any) bool { generations++; return true })
	t.Logf("race_time=%v writers=%d readers=%d commits=%d compactions=%d looks=%d refreshes=%d generations_seen=%d wrong=0",
		length, writers, readers, commits.Load(), compactions.Load(), looks.Load(), refreshes.Load(), generations)
}

// sameCodes compares a stored document with what coding it gives.
func sameCodes(seg *Segment, ord uint32, d Document) error {
	m := d.Vectors.Clone()
	m.Normalize()
	enc, err := seg.Codebook().Encode(context.Background(), m, 1)
	if err != nil {
		return err
	}
	codes, err := seg.Codes(nil, ord)
	if err != nil {
		return err
	}
	res, err := seg.Residuals(ord)
	if err != nil {
		return err
	}
	if fmt.Sprint(codes) != fmt.Sprint(enc.Codes) || string(res) != string(enc.Residuals) {
		return fmt.Errorf("document %s is not what was added", strings.TrimSpace(d.ID))
	}
	return nil
}
