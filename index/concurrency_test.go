package index

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const childEnv = "GOLBERT_INDEX_TEST_CHILD"

// TestMain lets the test binary act as another process that holds an index open for writing.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killEnv); dir != "" {
		fmt.Println("FAIL", killChild(dir))
		os.Exit(1)
	}
	for env, child := range map[string]func(string) error{fightEnv: fightChild, readerEnv: readerChild} {
		if arg := os.Getenv(env); arg != "" {
			if err := child(arg); err != nil {
				fmt.Println("FAIL", err)
				os.Exit(1)
			}
			os.Exit(0)
		}
	}
	if dir := os.Getenv(childEnv); dir != "" {
		ix, err := Open(context.Background(), dir, nil)
		if err != nil {
			fmt.Println("failed", err)
			os.Exit(1)
		}
		fmt.Println("open")
		_, _ = bufio.NewReader(os.Stdin).ReadString('\n') // until the parent goes or says so
		_ = ix.Close()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestLockWithinOneProcess(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	_, err := Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrLocked)
	if runtime.GOOS != "windows" {
		require.ErrorContains(t, err, fmt.Sprintf("process %d", os.Getpid()), "the holder is named")
	}
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err, "readers need no lock")
	require.NoError(t, ro.Close())
	require.NoError(t, ix.Close())
	require.ErrorIs(t, ix.Close(), ErrClosed)
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())

	// Of many that try at once exactly one gets it, every time.
	for range 20 {
		var won, lost atomic.Int32
		var wg sync.WaitGroup
		open := make(chan *Index, 8)
		for range 8 {
			wg.Go(func() {
				ix, err := Open(ctx, dir, nil)
				switch {
				case err == nil:
					won.Add(1)
					open <- ix
				case errors.Is(err, ErrLocked):
					lost.Add(1)
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		require.Equal(t, int32(1), won.Load())
		require.Equal(t, int32(7), lost.Load())
		require.NoError(t, (<-open).Close())
	}
}

func TestLockBetweenProcesses(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	require.NoError(t, ix.Close())
	exe, err := os.Executable()
	require.NoError(t, err)
	child := exec.Command(exe)
	child.Env = append(os.Environ(), childEnv+"="+dir)
	in, err := child.StdinPipe()
	require.NoError(t, err)
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "open\n", line)
	_, err = Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrLocked)
	if runtime.GOOS != "windows" {
		require.ErrorContains(t, err, fmt.Sprintf("process %d", child.Process.Pid))
	}
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	require.NoError(t, ro.Close())
	// A killed process holds nothing.
	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	_ = in.Close()
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
}

func TestSnapshotIsFixed(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, SegmentTokens: 30})
	mustAdd(t, ix, documents(1, 20)...)
	s, err := ix.Snapshot()
	require.NoError(t, err)
	before, err := dump(s)
	require.NoError(t, err)
	files := listing(t, dir)
	var all []string
	for i := range 20 {
		all = append(all, fmt.Sprintf("doc-%d", i))
	}
	_, err = ix.Delete(ctx, all[:5], nil)
	require.NoError(t, err)
	mustAdd(t, ix, documents(2, 25)...)
	_, err = ix.Delete(ctx, all, nil)
	require.NoError(t, err)
	after, err := dump(s)
	require.NoError(t, err)
	require.Equal(t, before, after)
	for _, f := range files {
		if strings.HasSuffix(f, ".gbs") {
			require.Contains(t, listing(t, dir), f, "a snapshot needs it")
		}
	}
	// A retained snapshot outlives its Close and the index's.
	require.NoError(t, s.Retain())
	require.NoError(t, s.Close())
	require.ErrorIs(t, s.Close(), ErrClosed)
	require.ErrorIs(t, s.Retain(), ErrClosed)
	after, err = dump(s)
	require.NoError(t, err)
	require.Equal(t, before, after)
	s.Release()
	for _, f := range files {
		if strings.HasSuffix(f, ".gbs") {
			require.NotContains(t, listing(t, dir), f, "nobody needs it any more")
		}
	}
	require.Panics(t, func() { s.Release() })
	s, err = ix.Snapshot()
	require.NoError(t, err)
	want, err := dump(s)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	got, err := dump(s)
	require.NoError(t, err, "a snapshot outlives the index")
	require.Equal(t, want, got)
	require.NoError(t, s.Close())

	_, err = ix.Snapshot()
	require.ErrorIs(t, err, ErrClosed)
	_, err = ix.Add(ctx, seq(documents(3, 1)), nil)
	require.ErrorIs(t, err, ErrClosed)
	_, err = ix.Delete(ctx, []string{"doc-1"}, nil)
	require.ErrorIs(t, err, ErrClosed)
	require.Equal(t, Info{}, ix.Info())
}

// TestCloseDuringAdd closes the index while an Add is at work: the Add gives up, and only then the lock is
// free.
func TestCloseDuringAdd(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, nil)
	mustAdd(t, ix, documents(1, 3)...)
	before := listing(t, dir)
	inAdd, goOn := make(chan struct{}), make(chan struct{})
	done := make(chan error)
	go func() {
		_, err := ix.Add(ctx, func(yield func(Document, error) bool) {
			close(inAdd)
			<-goOn
			for _, d := range documents(2, 30) {
				if !yield(d, nil) {
					return
				}
			}
		}, &AddOptions{Upsert: true})
		done <- err
	}()
	<-inAdd
	waiting := make(chan error)
	go func() {
		_, err := ix.Delete(ctx, []string{"doc-1"}, nil)
		waiting <- err
	}()
	time.Sleep(10 * time.Millisecond)
	require.NoError(t, ix.Close())
	require.ErrorIs(t, <-waiting, ErrClosed, "who waits for the turn gives up")
	_, err := Open(ctx, dir, nil)
	require.ErrorIs(t, err, ErrLocked, "the Add still runs")
	close(goOn)
	require.ErrorIs(t, <-done, ErrClosed)
	require.Equal(t, before, listing(t, dir))
	ix, err = Open(ctx, dir, nil)
	require.NoError(t, err)
	require.Equal(t, 3, snapshot(t, ix).NumDocs())
	require.NoError(t, ix.Close())
}

// TestReadersAndWriter has readers in this process and read-only openers beside a writer: every snapshot is
// exactly one commit. Run it with -race.
func TestReadersAndWriter(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, SegmentTokens: 60, fs: &hookFS{}})
	// Commit g replaces all of n documents, whose text says g, and deletes or adds one more. A reader must
	// see one g in all of them.
	const n = 12
	write := func(g int) {
		docs := documents(uint64(g), n)
		for i := range docs {
			docs[i].Text = fmt.Sprint(g)
		}
		docs = append(docs, Document{ID: fmt.Sprint("extra-", g), Vectors: docs[0].Vectors, Text: fmt.Sprint(g)})
		_, err := ix.Add(ctx, seq(docs), &AddOptions{Upsert: true})
		if err == nil {
			_, err = ix.Delete(ctx, []string{fmt.Sprint("extra-", g)}, nil)
		}
		if err != nil {
			t.Error(err)
		}
	}
	look := func(s *Snapshot) error {
		text := ""
		for i := range n {
			seg, ord, ok, err := s.Find(fmt.Sprint("doc-", i))
			if err != nil {
				return err
			}
			if !ok {
				return fmt.Errorf("generation %d: doc-%d is gone", s.Generation(), i)
			}
			got, err := seg.Text(ord)
			if err != nil {
				return err
			}
			if _, err := seg.Codes(nil, ord); err != nil {
				return err
			}
			if text != "" && got != text {
				return fmt.Errorf("generation %d: texts %q and %q", s.Generation(), text, got)
			}
			text = got
		}
		return nil
	}
	write(0)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var looks atomic.Int64
	reader := func(open func() (*Snapshot, func(), error)) {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				s, done, err := open()
				if err == nil {
					err = look(s)
					done()
				}
				if err != nil {
					t.Error(err)
					return
				}
				looks.Add(1)
			}
		})
	}
	for range 3 {
		reader(func() (*Snapshot, func(), error) {
			s, err := ix.Snapshot()
			return s, func() { _ = s.Close() }, err
		})
	}
	for range 2 {
		reader(func() (*Snapshot, func(), error) {
			ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
			if err != nil {
				return nil, nil, err
			}
			s, err := ro.Snapshot()
			return s, func() { _ = ro.Close(); _ = s.Close() }, err
		})
	}
	for g := 1; g <= 25; g++ {
		write(g)
	}
	close(stop)
	wg.Wait()
	require.Positive(t, looks.Load())
	_, err := Check(ctx, dir)
	require.NoError(t, err)
	require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
}

// TestWritersTakeTurns has several goroutines add at once.
func TestWritersTakeTurns(t *testing.T) {
	ctx := context.Background()
	ix, _ := create(t, &Options{Dim: testDim, fs: &hookFS{}})
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 5 {
				d := document(newRand(uint64(w)), fmt.Sprint(w, "-", i))
				if _, err := ix.Add(ctx, seq([]Document{d}), nil); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.Equal(t, 20, snapshot(t, ix).NumDocs())
	require.Equal(t, uint64(21), ix.Info().Generation)
}

// TestFaultsOfEveryCall fails each call that changes the disk in turn.
func TestFaultsOfEveryCall(t *testing.T) {
	ctx := context.Background()
	boom := errors.New("disk on fire")
	faults := 0
	for at := 0; ; at++ {
		n, armed, hit := 0, false, ""
		h := &hookFS{}
		h.before = func(op, name string) error {
			if !armed {
				return nil
			}
			if n++; n-1 == at {
				hit = op + " " + name
				return boom
			}
			return nil
		}
		ix, dir := create(t, &Options{Dim: testDim, SegmentTokens: 30, Centroids: 4, fs: h})
		mustAdd(t, ix, documents(1, 10)...)
		s, err := ix.Snapshot()
		require.NoError(t, err)
		before, err := dump(s)
		require.NoError(t, err)
		require.NoError(t, s.Close())
		armed = true
		_, err = ix.Add(ctx, seq(documents(2, 12)), &AddOptions{Upsert: true})
		armed = false
		if hit == "" { // past the last call
			require.NoError(t, err)
			break
		}
		faults++
		s, serr := ix.Snapshot()
		require.NoError(t, serr)
		now, derr := dump(s)
		require.NoError(t, derr)
		require.NoError(t, s.Close())
		if strings.HasPrefix(hit, "remove") {
			require.NoError(t, err, hit) // the commit was made; what cannot be removed now goes later
			require.NotEqual(t, before, now)
		} else {
			require.ErrorIs(t, err, boom, hit)
			require.Equal(t, before, now, "after %s", hit)
			fatal := strings.HasPrefix(hit, "sync") || strings.HasPrefix(hit, "rename MANIFEST")
			_, err = ix.Delete(ctx, []string{"doc-2"}, nil)
			if fatal {
				require.ErrorIs(t, err, ErrBroken, hit)
				require.ErrorIs(t, err, boom, hit)
			} else {
				require.NoError(t, err, hit)
				require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()), hit)
			}
		}
		require.NoError(t, ix.Close())
		ix, err = Open(ctx, dir, nil)
		require.NoError(t, err, hit)
		require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()), hit)
		require.NoError(t, ix.Close())
		_, err = Check(ctx, dir)
		require.NoError(t, err, hit)
	}
	require.Greater(t, faults, 15)
	t.Logf("faults=%d lost=0", faults)
}

// TestOrderOfCalls pins the commit protocol: what is synced before what is renamed.
func TestOrderOfCalls(t *testing.T) {
	var calls []string
	h := &hookFS{}
	ix, dir := create(t, &Options{Dim: testDim, Centroids: 4, fs: h})
	mustAdd(t, ix, documents(1, 3)...)
	h.before = func(op, name string) error {
		if op != "write" {
			if op == "syncdir" {
				require.Equal(t, filepath.Base(dir), name)
				name = ""
			}
			calls = append(calls, strings.TrimSpace(op+" "+name))
		}
		return nil
	}
	mustAdd(t, ix, documents(2, 1)...)
	require.Equal(t, []string{
		"create seg-0000000000000002.gbs",
		"create del-0000000000000001-0000000000000003.gbd",
		"create MANIFEST-0000000000000003.tmp",
		"sync seg-0000000000000002.gbs",
		"sync del-0000000000000001-0000000000000003.gbd",
		"sync MANIFEST-0000000000000003.tmp",
		"syncdir",
		"rename MANIFEST-0000000000000003",
		"syncdir",
		"remove MANIFEST-0000000000000002",
	}, calls)
	// A codebook's name says what is in it, so a file of that name may be there and being read.
	calls = nil
	_, err := ix.Compact(context.Background(), &CompactOptions{Retrain: true})
	require.NoError(t, err)
	name := codebookName(snapshot(t, ix).Segments()[0].Codebook().ID())
	at := slices.Index(calls, "create "+name+tmpSuffix)
	require.GreaterOrEqual(t, at, 0, calls)
	require.Equal(t, []string{"sync " + name + tmpSuffix, "rename " + name}, calls[at+1:at+3])
	at = slices.Index(calls, "rename MANIFEST-0000000000000004")
	require.Equal(t, []string{"syncdir", "rename MANIFEST-0000000000000004", "syncdir"}, calls[at-1:at+2])
}

// TestCreateSyncsNewDirectories covers the names of all directories that Create makes.
func TestCreateSyncsNewDirectories(t *testing.T) {
	top := t.TempDir()
	var synced []string
	h := &hookFS{before: func(op, name string) error {
		if op == "syncdir" {
			synced = append(synced, name)
		}
		return nil
	}}
	ix, err := Create(context.Background(), filepath.Join(top, "a", "b", "ix"), &Options{Dim: 2, fs: h})
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	require.Equal(t, []string{"b", "a", filepath.Base(top)}, synced[:3])
	require.Equal(t, "ix", synced[len(synced)-1], "others may see the index only when its directory is durable")
}
