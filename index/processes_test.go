package index

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Tests of several processes at one directory. The test binary is the other process, too: see TestMain.

const (
	fightEnv  = "GOLBERT_INDEX_FIGHT_CHILD"
	readerEnv = "GOLBERT_INDEX_READER_CHILD"
)

// process starts this binary as another process.
func process(t *testing.T, env string) (cmd *exec.Cmd, in io.WriteCloser, out *bufio.Reader) {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd = exec.Command(exe)
	cmd.Env = append(os.Environ(), env)
	in, err = cmd.StdinPipe()
	require.NoError(t, err)
	pipe, err := cmd.StdoutPipe()
	require.NoError(t, err)
	cmd.Stderr = os.Stderr
	require.NoError(t, cmd.Start())
	t.Cleanup(func() { _ = cmd.Process.Kill(); _ = cmd.Wait() })
	return cmd, in, bufio.NewReader(pipe)
}

// fightChild adds so many documents, each in an opening of its own, for which it fights with others.
func fightChild(arg string) error {
	ctx := context.Background()
	dir, name, _ := strings.Cut(arg, "|")
	held := 0
	for n := 0; n < 15; {
		ix, err := Open(ctx, dir, nil)
		if errors.Is(err, ErrLocked) {
			if !regexp.MustCompile(`locked by another writer: process \d+ on `).MatchString(err.Error()) && runtime.GOOS != "windows" {
				return fmt.Errorf("the holder is not named: %w", err)
			}
			held++
			time.Sleep(time.Millisecond)
			continue
		}
		if err != nil {
			return err
		}
		d := Document{ID: fmt.Sprint(name, "-", n), Vectors: vectors(newRand(uint64(n)), 2, crashDim)}
		if _, err := ix.Add(ctx, seq([]Document{d}), nil); err != nil {
			return err
		}
		if err := ix.Close(); err != nil {
			return err
		}
		n++
	}
	fmt.Println("held off", held)
	return nil
}

// TestLockFight has processes fight for the lock. Who does not get it is told who has it; nobody's documents are
// lost.
func TestLockFight(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Codebook: crashBook(4)})
	require.NoError(t, ix.Close())
	const fighters = 3
	var wg sync.WaitGroup
	said := make([]string, fighters)
	for p := range fighters {
		_, _, out := process(t, fmt.Sprintf("%s=%s|p%d", fightEnv, dir, p))
		wg.Go(func() {
			b, _ := io.ReadAll(out)
			said[p] = strings.TrimSpace(string(b))
		})
	}
	wg.Wait()
	held := 0
	for _, s := range said {
		var n int
		_, err := fmt.Sscanf(s, "held off %d", &n)
		require.NoError(t, err, s)
		held += n
	}
	ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	require.Equal(t, 15*fighters, snapshot(t, ro).NumDocs())
	for p := range fighters {
		for n := range 15 {
			_, _, ok := snapshot(t, ro).Lookup(fmt.Sprintf("p%d-%d", p, n))
			require.True(t, ok)
		}
	}
	require.NoError(t, ro.Close())
	_, err = Check(ctx, dir)
	require.NoError(t, err)
	t.Logf("processes=%d commits=%d held_off=%d lost=0", fighters, 15*fighters, held)
}

// digest identifies everything that a snapshot says.
func digest(s *Snapshot) (string, error) {
	d, err := dump(s)
	if err != nil {
		return "", err
	}
	b, err := json.Marshal(d)
	return fmt.Sprintf("%d %x", s.Generation(), sha256.Sum256(b)), err
}

// readerChild answers on stdout, a line for each on stdin: "look" what the snapshot says that it holds, "refresh"
// what the newest commit says, which it holds from then on.
func readerChild(dir string) error {
	ctx := context.Background()
	ix, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
	if err != nil {
		return err
	}
	s, err := ix.Snapshot()
	if err != nil {
		return err
	}
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		if in.Text() == "refresh" {
			if _, err := ix.Refresh(ctx); err != nil {
				return err
			}
			if err := s.Close(); err != nil {
				return err
			}
			if s, err = ix.Snapshot(); err != nil {
				return err
			}
		}
		d, err := digest(s)
		if err != nil {
			return err
		}
		fmt.Println(d)
	}
	return errors.Join(s.Close(), ix.Close())
}

// TestSnapshotBetweenProcesses has a reader in another process. Its snapshot is fixed, though the writer replaces,
// deletes and compacts everything that it reads; it sees the newest commit when it asks for it.
func TestSnapshotBetweenProcesses(t *testing.T) {
	ctx := context.Background()
	ix, dir := create(t, &Options{Dim: testDim, SegmentTokens: 60})
	mustAdd(t, ix, documents(1, 40)...)
	_, in, out := process(t, readerEnv+"="+dir)
	ask := func(what string) string {
		_, err := fmt.Fprintln(in, what)
		require.NoError(t, err)
		line, err := out.ReadString('\n')
		require.NoError(t, err)
		return strings.TrimSpace(line)
	}
	now := func() string {
		s, err := ix.Snapshot()
		require.NoError(t, err)
		defer s.Close()
		d, err := digest(s)
		require.NoError(t, err)
		return d
	}
	require.Equal(t, now(), ask("look"))
	steps := []func() error{
		func() error { _, err := ix.Compact(ctx, nil); return err },
		func() error {
			_, err := ix.Update(ctx, Batch{Delete: []string{"doc-1", "doc-2"}, Add: seq(documents(2, 9)[5:])}, nil)
			return err
		},
		func() error { _, err := ix.Compact(ctx, &CompactOptions{Retrain: true}); return err },
		func() error { _, err := ix.Add(ctx, seq(documents(3, 60)), &AddOptions{Upsert: true}); return err },
	}
	for round := range 3 {
		had := now()
		require.Equal(t, had, ask("refresh"))
		files := listing(t, dir)
		for i, step := range steps {
			require.NoError(t, step())
			require.Equal(t, had, ask("look"), "round %d, step %d: the snapshot is fixed", round, i)
		}
		if runtime.GOOS != "windows" { // there a file stays as long as anybody has it open
			for _, f := range files {
				if filepath.Ext(f) == ".gbs" {
					require.NotContains(t, listing(t, dir), f, "nobody in this process needs it")
				}
			}
		}
		require.Equal(t, now(), ask("refresh"))
	}
	require.NoError(t, in.Close())
}
