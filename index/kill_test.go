package index

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// The kill test ends a process that writes, at any time, as kill -9 does. GOLBERT_KILLS=1000 makes a long run:
//
//	GOLBERT_KILLS=1000 go test -run TestKillWriter -v -timeout 0 ./index

const killEnv = "GOLBERT_INDEX_KILL_CHILD"

// killPlan is operation i of the child: it deletes documents, adds or replaces others, and says its number in
// the text of the document "op". model is what there is before, ids to texts, and after.
func killPlan(i int, model map[string]string) (gone []string, docs []Document) {
	r := newRand(uint64(i) + 77)
	for _, id := range slices.Sorted(maps.Keys(model)) {
		if id != "op" && r.IntN(8) == 0 {
			gone = append(gone, id)
			delete(model, id)
		}
	}
	add := func(id, text string) {
		docs = append(docs, Document{ID: id, Vectors: vectors(r, 1+r.IntN(5), crashDim), Text: text})
		model[id] = text
	}
	add("op", fmt.Sprint(i))
	for range 1 + r.IntN(5) {
		id := fmt.Sprint("k", r.IntN(40))
		add(id, fmt.Sprintf("%s of %d", id, i))
	}
	return gone, docs
}

// killModel replays operations 1 to n.
func killModel(n int) map[string]string {
	model := map[string]string{}
	for i := 1; i <= n; i++ {
		killPlan(i, model)
	}
	return model
}

// killState reads what an index says: the number of the last operation, and ids to texts.
func killState(ix *Index) (op int, texts map[string]string, err error) {
	s, err := ix.Snapshot()
	if err != nil {
		return 0, nil, err
	}
	defer s.Close()
	texts = map[string]string{}
	for _, seg := range s.Segments() {
		for ord := range uint32(seg.NumDocs()) {
			if seg.Deleted() != nil && seg.Deleted().Contains(ord) {
				continue
			}
			id, err := seg.ID(ord)
			if err != nil {
				return 0, nil, err
			}
			if _, ok := texts[id]; ok {
				return 0, nil, fmt.Errorf("%s is there twice", id)
			}
			if texts[id], err = seg.Text(ord); err != nil {
				return 0, nil, err
			}
		}
	}
	if t, ok := texts["op"]; ok {
		op, err = strconv.Atoi(t)
	}
	return op, texts, err
}

// killChild writes until it is killed, and says each operation on stdout once it is acknowledged.
func killChild(dir string) error {
	ctx := context.Background()
	ix, err := Open(ctx, dir, nil)
	if errors.Is(err, ErrNotFound) {
		ix, err = Create(ctx, dir, &Options{Dim: crashDim, Centroids: 3, SegmentTokens: 40})
	}
	if err != nil {
		return err
	}
	i, model, err := killState(ix)
	if err != nil {
		return err
	}
	fmt.Println("open", i)
	for {
		i++
		gone, docs := killPlan(i, model)
		if _, err := ix.Update(ctx, Batch{Delete: gone, Add: seq(docs)}, nil); err != nil {
			return err
		}
		fmt.Println("done", i)
		if i%9 == 0 {
			if _, err := ix.Compact(ctx, nil); err != nil {
				return err
			}
			fmt.Println("compacted", i)
		}
	}
}

func TestKillWriter(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 4
	}
	if s := os.Getenv("GOLBERT_KILLS"); s != "" {
		var err error
		kills, err = strconv.Atoi(s)
		require.NoError(t, err)
	}
	ctx := context.Background()
	exe, err := os.Executable()
	require.NoError(t, err)
	dir := filepath.Join(t.TempDir(), "ix")
	r := newRand(uint64(os.Getpid()))
	last, halfway, early := 0, 0, 0
	for k := range kills {
		child := exec.Command(exe)
		child.Env = append(os.Environ(), killEnv+"="+dir)
		out, err := child.StdoutPipe()
		require.NoError(t, err)
		child.Stderr = os.Stderr
		require.NoError(t, child.Start())
		opened := make(chan struct{})
		lines := make(chan []string, 1)
		go func() {
			var all []string
			sc := bufio.NewScanner(out)
			for sc.Scan() {
				if all = append(all, sc.Text()); len(all) == 1 {
					close(opened)
				}
			}
			lines <- all
		}()
		if r.IntN(4) > 0 { // else at any time from the start, which may be while it opens
			select {
			case <-opened:
			case <-time.After(time.Minute):
			}
		}
		time.Sleep(time.Duration(r.Int64N(int64(60 * time.Millisecond))))
		require.NoError(t, child.Process.Kill())
		said := <-lines
		_ = child.Wait()
		acked := last
		for _, l := range said {
			if n, ok := strings.CutPrefix(l, "done "); ok {
				acked, err = strconv.Atoi(n)
				require.NoError(t, err)
			}
			require.False(t, strings.HasPrefix(l, "FAIL"), l)
		}
		if len(said) == 0 {
			early++
		}
		ix, err := Open(ctx, dir, nil)
		if errors.Is(err, ErrNotFound) && acked == 0 {
			continue
		}
		require.NoError(t, err, "kill %d", k)
		op, texts, err := killState(ix)
		require.NoError(t, err)
		require.True(t, op == acked || op == acked+1, "kill %d: operation %d was acknowledged, the index is at %d", k, acked, op)
		require.True(t, reflect.DeepEqual(killModel(op), texts), "kill %d: the index at operation %d is not what it should be", k, op)
		if op > acked {
			halfway++
		}
		last = op
		require.Len(t, listing(t, dir), 1+len(ix.cur.man.files()))
		require.NoError(t, ix.Close())
		_, err = Check(ctx, dir)
		require.NoError(t, err, "kill %d", k)
	}
	t.Logf("kills=%d during_open=%d acknowledged=%d durable_but_unacknowledged=%d lost=0 unopenable=0", kills, early, last, halfway)
}
