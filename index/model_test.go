package index

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestModel runs random sequences of operations against the index and a map, and compares. The name of the subtest
// that fails says the seed. A long run is
//
//	GOLBERT_MODEL_SEEDS=5000 go test -run TestModel -timeout 0 ./index
func TestModel(t *testing.T) {
	ctx := context.Background()
	seeds := uint64(12)
	if testing.Short() {
		seeds = 6
	}
	if s := os.Getenv("GOLBERT_MODEL_SEEDS"); s != "" {
		var err error
		seeds, err = strconv.ParseUint(s, 10, 64)
		require.NoError(t, err)
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			r := newRand(seed)
			o := &Options{
				Dim: testDim, NBits: []int{1, 2, 4, 8, 16}[seed%5], Seed: seed, Normalize: NormPolicy(seed % 2 * 2),
				AllowEmpty: seed%3 == 0, SegmentTokens: []int{0, 40, 150}[seed%3], fs: &hookFS{},
				spoolMem: []int{0, 1, 3000}[seed%3],
			}
			if seed%4 == 3 {
				o.Centroids = 5
			}
			ix, dir := create(t, o)
			ro, err := Open(ctx, dir, &OpenOptions{ReadOnly: true})
			require.NoError(t, err)
			defer ro.Close()
			model := map[string]Document{}
			for range 20 {
				switch op := r.IntN(14); {
				case op < 6: // add or upsert
					var docs []Document
					upsert := op > 2
					next := maps.Clone(model)
					added, replaced := map[string]bool{}, map[string]bool{}
					for range r.IntN(40) {
						d := document(r, fmt.Sprintf("d%d", r.IntN(120)))
						if !upsert {
							if _, ok := next[d.ID]; ok {
								continue
							}
						}
						if o.AllowEmpty && r.IntN(6) == 0 {
							d.Vectors.Data, d.Vectors.Rows = nil, 0
						}
						if d.Vectors.Rows > 2 && r.IntN(9) == 0 {
							clear(d.Vectors.Row(1)) // a vector of zeros
						}
						_, was := model[d.ID]
						added[d.ID] = true
						if was {
							replaced[d.ID] = true
						}
						next[d.ID] = d
						docs = append(docs, d)
					}
					res, err := ix.Add(ctx, seq(docs), &AddOptions{Upsert: upsert})
					require.NoError(t, err)
					require.Equal(t, len(added), res.Added)
					require.Equal(t, len(replaced), res.Replaced)
					tokens := uint64(0)
					for id := range added {
						tokens += uint64(next[id].Vectors.Rows)
					}
					require.Equal(t, tokens, res.Tokens)
					model = next
				case op < 8: // delete
					var ids []string
					for _, id := range slices.Sorted(maps.Keys(model)) {
						if r.IntN(4) == 0 {
							ids = append(ids, id)
							delete(model, id)
						}
					}
					n, err := ix.Delete(ctx, ids, nil)
					require.NoError(t, err)
					require.Equal(t, len(ids), n)
				case op < 9: // refused operations change nothing
					if len(model) > 0 {
						id := slices.Sorted(maps.Keys(model))[0]
						_, err := ix.Delete(ctx, []string{id, "no such id"}, nil)
						require.ErrorIs(t, err, ErrUnknownID)
						_, err = ix.Add(ctx, seq([]Document{document(r, "new"), document(r, id)}), nil)
						require.ErrorIs(t, err, ErrDuplicateID)
					}
				case op < 11: // several changes in one commit
					var b Batch
					var docs []Document
					next := maps.Clone(model)
					for _, id := range slices.Sorted(maps.Keys(model)) {
						if r.IntN(5) == 0 {
							b.Delete = append(b.Delete, id)
							delete(next, id)
						}
					}
					for range r.IntN(9) {
						d := document(r, fmt.Sprintf("d%d", r.IntN(120)))
						next[d.ID] = d
						docs = append(docs, d)
					}
					b.Add = seq(docs)
					gen := ix.Generation()
					res, err := ix.Update(ctx, b, &UpdateOptions{NoCompact: r.IntN(2) == 0})
					require.NoError(t, err)
					require.Equal(t, len(b.Delete), res.Deleted)
					require.LessOrEqual(t, ix.Generation(), gen+1)
					model = next
				case op < 12: // compact, in all ways
					before := dumpNow(t, ix)
					var res CompactResult
					var err error
					switch r.IntN(4) {
					case 0:
						res, err = ix.MaybeCompact(ctx)
					case 1:
						res, err = ix.Compact(ctx, &CompactOptions{Recode: true})
					case 2:
						res, err = ix.Compact(ctx, &CompactOptions{SegmentTokens: 1 + r.IntN(300)})
					default:
						res, err = ix.Compact(ctx, nil)
					}
					require.NoError(t, err)
					require.Equal(t, len(ix.Info().Segments), res.After)
					if res.Recoded == 0 {
						require.Equal(t, withoutNorms(before), withoutNorms(dumpNow(t, ix)))
					}
				case op < 13: // through another index, and back
					if len(model) > 0 {
						dst := filepath.Join(t.TempDir(), "merged")
						_, err := Merge(ctx, dst, []string{dir}, nil)
						require.NoError(t, err)
						merged, err := Open(ctx, dst, nil)
						require.NoError(t, err)
						require.Equal(t, withoutNorms(dumpNow(t, ix)), withoutNorms(dumpNow(t, merged)))
						require.NoError(t, merged.Close())
						_, err = ix.Merge(ctx, []string{dst}, &MergeOptions{Upsert: true})
						require.NoError(t, err)
					}
				default: // reopen
					require.NoError(t, ix.Close())
					var err error
					ix, err = Open(ctx, dir, &OpenOptions{fs: &hookFS{}})
					require.NoError(t, err)
					t.Cleanup(func() { _ = ix.Close() })
				}
				s, err := ix.Snapshot()
				require.NoError(t, err)
				requireModel(t, s, o, model)
				require.NoError(t, s.Close())
				if r.IntN(3) == 0 { // a reader that is there all the time
					_, err := ro.Refresh(ctx)
					require.NoError(t, err)
					require.Equal(t, dumpNow(t, ix), dumpNow(t, ro))
				}
			}
			rep, err := Check(ctx, dir)
			require.NoError(t, err)
			require.Equal(t, len(model), rep.Documents)
			// Nothing lies about that the manifest does not name.
			s := snapshot(t, ix)
			require.Len(t, listing(t, dir), 1+len(s.st.man.files()))
		})
	}
}

// TestSameInputSameBytes: the files depend on the input and the seed, not on the number of processors.
func TestSameInputSameBytes(t *testing.T) {
	ctx := context.Background()
	build := func(procs int) *memFS {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(procs))
		ix, dir := create(t, &Options{Dim: testDim, Seed: 5, SegmentTokens: 300, fs: &hookFS{}})
		mustAdd(t, ix, documents(1, 400)...)
		mustAdd(t, ix, documents(2, 20)...)
		_, err := ix.Delete(ctx, []string{"doc-3", "doc-70"}, nil)
		require.NoError(t, err)
		_, err = ix.Compact(ctx, &CompactOptions{Retrain: true, SegmentTokens: 1000})
		require.NoError(t, err)
		mustAdd(t, ix, documents(3, 30)...)
		require.NoError(t, ix.Close())
		return newMemFS(t, dir)
	}
	one := build(1)
	for _, procs := range []int{2, 16} {
		other := build(procs)
		require.Equal(t, slices.Sorted(maps.Keys(one.files)), slices.Sorted(maps.Keys(other.files)), "GOMAXPROCS %d", procs)
		for n, b := range one.files {
			require.True(t, bytes.Equal(b, other.files[n]), "GOMAXPROCS %d: %s", procs, n)
		}
	}
	t.Logf("files=%d equal at GOMAXPROCS 1, 2 and 16", len(one.files))
}
