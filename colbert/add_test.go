package colbert_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/eval"
	"github.com/golbert/golbert/index"
)

func TestAddReplaces(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	res, err := ix.Add(ctx, slices.Values(append(fruit(),
		colbert.Document{ID: "apple", Text: "first correction"},
		colbert.Document{ID: "apple", Text: "second correction"},
	)), &colbert.AddOptions{BatchSize: 2})
	require.NoError(t, err)
	require.Equal(t, 4, res.Added)
	require.Equal(t, 2, res.Replaced, "in one call the last of an id wins")
	d, err := ix.Get(ctx, "apple")
	require.NoError(t, err)
	require.Equal(t, "second correction", d.Text)

	res, err = ix.Add(ctx, slices.Values([]colbert.Document{
		{ID: "apple", Text: "third"}, {ID: "new", Text: "new"}, {ID: "new", Text: "newer"}, {ID: "banana", Text: "fourth"},
	}), nil)
	require.NoError(t, err)
	require.Equal(t, 1, res.Added)
	require.Equal(t, 3, res.Replaced)
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, 5, info.Documents)
	hits, err := ix.Search(ctx, "second correction doctor", 10, nil)
	require.NoError(t, err)
	require.Len(t, hits, 5)
	for _, h := range hits {
		require.Less(t, h.Score, float32(2.5), "%+v: nothing has the old words any more", h)
	}
}

func TestAddNothing(t *testing.T) {
	ix, _ := create(t, &words{}, nil)
	res, err := ix.Add(t.Context(), slices.Values([]colbert.Document(nil)), nil)
	require.NoError(t, err)
	require.Zero(t, res)
	info, err := ix.Info()
	require.NoError(t, err)
	require.Zero(t, info.Documents)
}

// Each of these makes Add fail, name the document, and leave the index as it was; with Skip the document is
// left out instead, where that is possible.
func TestAddBadDocuments(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		name string
		doc  colbert.Document
		want error
		skip bool
	}{
		{"empty text", colbert.Document{ID: "odd"}, colbert.ErrEmptyText, true},
		{"white space", colbert.Document{ID: "odd", Text: " \t\u00a0\n"}, colbert.ErrEmptyText, true},
		{"invalid UTF-8", colbert.Document{ID: "odd", Text: "fine until \xc3\x28"}, colbert.ErrInvalidUTF8, true},
		{"NaN", colbert.Document{ID: "odd", Text: "not a NAN number"}, colbert.ErrNotFinite, true},
		{"refused by the encoder", colbert.Document{ID: "odd", Text: "so BAD"}, errBadWord, true},
		{"empty id", colbert.Document{Text: "text"}, colbert.ErrInvalidID, false},
		{"long id", colbert.Document{ID: strings.Repeat("x", 513), Text: "text"}, colbert.ErrInvalidID, false},
		{"id not UTF-8", colbert.Document{ID: "\xff", Text: "text"}, colbert.ErrInvalidID, false},
		{"too many tokens", colbert.Document{ID: "odd", Text: strings.Repeat("word ", 60)}, colbert.ErrTooManyTokens, false},
		{"metadata", colbert.Document{ID: "odd", Text: "text", Meta: index.Metadata{"a": []int{1}}}, colbert.ErrInvalidMetadata, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			ix, dir := create(t, &words{failWord: "BAD", nanWord: "NAN"}, &colbert.Options{Index: index.Options{MaxDocTokens: 50}})
			_, err := ix.Add(ctx, slices.Values(fruit()[:2]), nil)
			require.NoError(t, err)
			docs := append(append(numbered(5), c.doc), fruit()...)
			for _, size := range []int{1, 4, 0} {
				_, err = ix.Add(ctx, slices.Values(docs), &colbert.AddOptions{BatchSize: size})
				require.ErrorIs(t, err, c.want)
				var de *colbert.DocumentError
				require.ErrorAs(t, err, &de)
				require.Equal(t, c.doc.ID, de.ID)
				require.Less(t, len(err.Error()), 400, "a message does not grow with the input")
				hits, err := ix.Search(ctx, "apple", 100, nil)
				require.NoError(t, err)
				require.ElementsMatch(t, []string{"apple", "banana"}, ids(hits), "the index is as it was")
			}
			if c.skip {
				var skipped []string
				res, err := ix.Add(ctx, slices.Values(docs), &colbert.AddOptions{BatchSize: 3, Skip: func(e *colbert.DocumentError) bool {
					require.ErrorIs(t, e, c.want)
					skipped = append(skipped, e.ID)
					return true
				}})
				require.NoError(t, err)
				require.Equal(t, []string{"odd"}, skipped)
				require.Equal(t, 1, res.Skipped)
				require.Equal(t, 7, res.Added)
				require.Equal(t, 2, res.Replaced)
				_, err = ix.Add(ctx, slices.Values(docs), &colbert.AddOptions{Skip: func(*colbert.DocumentError) bool { return false }})
				require.ErrorIs(t, err, c.want)
			}
			require.NoError(t, ix.Close())
			_, err = colbert.Check(ctx, dir)
			require.NoError(t, err)
		})
	}
}

func TestAddDocumentWithoutTokens(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{noTokens: true}, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.ErrorIs(t, err, colbert.ErrEmptyDocument)
	require.ErrorContains(t, err, `"apple"`)
	res, err := ix.Add(ctx, slices.Values(fruit()), &colbert.AddOptions{Skip: func(e *colbert.DocumentError) bool {
		return errors.Is(e, colbert.ErrEmptyDocument)
	}})
	require.NoError(t, err)
	require.Equal(t, colbert.AddResult{Skipped: 4}, res)
	ix, _ = create(t, &words{noTokens: true}, &colbert.Options{Index: index.Options{AllowEmpty: true}})
	res, err = ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	require.Equal(t, 4, res.Added)
}

func TestAddTruncates(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{max: 10}, nil)
	long := strings.Repeat("word ", 200_000) + "unreached"
	docs := []colbert.Document{{ID: "long", Text: long}, {ID: "short", Text: "short"}}
	for i := range 150 {
		docs = append(docs, colbert.Document{ID: fmt.Sprint("more", i), Text: strings.Repeat("more ", 20)})
	}
	var last colbert.Progress
	res, err := ix.Add(ctx, slices.Values(docs), &colbert.AddOptions{Progress: func(p colbert.Progress) { last = p }})
	require.NoError(t, err)
	require.Equal(t, 151, res.Truncated)
	require.Len(t, res.TruncatedIDs, 100, "the list of ids is capped")
	require.Equal(t, []string{"long", "more0"}, res.TruncatedIDs[:2])
	require.Equal(t, 151, last.Truncated)
	d, err := ix.Get(ctx, "long")
	require.NoError(t, err)
	require.Equal(t, long, d.Text, "the text is stored whole")
}

func TestAddFrom(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	broken := errors.New("disk on fire")
	seq := func(n int, err error) iter.Seq2[colbert.Document, error] {
		return func(yield func(colbert.Document, error) bool) {
			for _, d := range numbered(n) {
				if !yield(d, nil) {
					return
				}
			}
			if err != nil && yield(colbert.Document{}, err) {
				t.Error("the sequence goes on after its error")
			}
		}
	}
	for _, n := range []int{0, 1, 300} {
		_, err := ix.AddFrom(ctx, seq(n, broken), nil)
		require.ErrorIs(t, err, broken)
		info, err := ix.Info()
		require.NoError(t, err)
		require.Zero(t, info.Documents)
	}
	res, err := ix.AddFrom(ctx, seq(300, nil), nil)
	require.NoError(t, err)
	require.Equal(t, 300, res.Added)
}

// The readers of package eval go straight into AddFrom.
func TestAddFromCollection(t *testing.T) {
	var c *eval.Collection
	_ = func(ix *colbert.Index) (colbert.AddResult, error) {
		return ix.AddFrom(t.Context(), func(yield func(colbert.Document, error) bool) {
			for d, err := range c.Docs() {
				if !yield(colbert.Document{ID: d.ID, Text: d.Contents()}, err) {
					return
				}
			}
		}, nil)
	}
}

func TestAddOrderDoesNotDependOnTiming(t *testing.T) {
	ctx := t.Context()
	read := func(o *colbert.AddOptions) []colbert.Hit {
		ix, _ := create(t, &words{}, nil)
		res, err := ix.Add(ctx, slices.Values(numbered(700)), o)
		require.NoError(t, err)
		require.Equal(t, 700, res.Added)
		hits, err := ix.Search(ctx, "number77 number7", 50, nil)
		require.NoError(t, err)
		return hits
	}
	want := read(nil)
	require.Equal(t, want, read(&colbert.AddOptions{BatchSize: 1, Concurrency: 1}))
	require.Equal(t, want, read(&colbert.AddOptions{BatchSize: 7, Concurrency: 16}))
}

func TestAddProgress(t *testing.T) {
	ix, _ := create(t, &words{}, nil)
	var seen []colbert.Progress
	res, err := ix.Add(t.Context(), slices.Values(append(numbered(50), colbert.Document{ID: "empty"})), &colbert.AddOptions{
		BatchSize: 10,
		Progress:  func(p colbert.Progress) { seen = append(seen, p) },
		Skip:      func(*colbert.DocumentError) bool { return true },
	})
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(seen), 5)
	for i := 1; i < len(seen); i++ {
		require.GreaterOrEqual(t, seen[i].Documents, seen[i-1].Documents)
		require.GreaterOrEqual(t, seen[i].Tokens, seen[i-1].Tokens)
	}
	last := seen[len(seen)-1]
	require.Equal(t, 50, last.Documents)
	require.Equal(t, res.Tokens, last.Tokens)
	require.Equal(t, 1, last.Skipped)
}

// Memory is bounded: however long the sequence, only a few batches are read ahead of the encoder.
func TestAddReadsAheadABoundedNumber(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	enc := &words{block: make(chan struct{})}
	ix, _ := create(t, enc, nil)
	read := make(chan int, 10_000)
	done := make(chan error)
	go func() {
		_, err := ix.Add(ctx, func(yield func(colbert.Document) bool) {
			for i, d := range numbered(5000) {
				read <- i
				if !yield(d) {
					return
				}
			}
		}, &colbert.AddOptions{BatchSize: 10, Concurrency: 3})
		done <- err
	}()
	require.Eventually(t, func() bool { return enc.inFlight.Load() == 3 }, 10*time.Second, time.Millisecond)
	time.Sleep(50 * time.Millisecond)
	require.LessOrEqual(t, len(read), 50)
	close(enc.block)
	require.NoError(t, <-done)
	require.LessOrEqual(t, enc.mostCalls.Load(), int64(3))
	require.Len(t, read, 5000)
}

func TestAddCancel(t *testing.T) {
	before := runtime.NumGoroutine()
	enc := &words{block: make(chan struct{})}
	ix, _ := create(t, enc, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	go func() {
		for enc.inFlight.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		cancel(why)
	}()
	_, err := ix.Add(ctx, slices.Values(numbered(1000)), &colbert.AddOptions{BatchSize: 10})
	require.ErrorIs(t, err, why)
	close(enc.block)
	info, err := ix.Info()
	require.NoError(t, err)
	require.Zero(t, info.Documents)
	_, err = ix.Add(ctx, slices.Values(numbered(10)), nil)
	require.ErrorIs(t, err, why, "cancelled from the start")
	_, err = ix.Search(ctx, "x", 1, nil)
	require.ErrorIs(t, err, context.Canceled)
	_, err = ix.Add(t.Context(), slices.Values(numbered(10)), nil)
	require.NoError(t, err, "the index goes on working")
	require.Eventually(t, func() bool { return runtime.NumGoroutine() <= before+2 }, 5*time.Second, 10*time.Millisecond, "no goroutine is left behind")
}

func TestAddPanicOfTheSequence(t *testing.T) {
	ix, _ := create(t, &words{}, nil)
	require.PanicsWithValue(t, "boom", func() {
		_, _ = ix.Add(t.Context(), func(yield func(colbert.Document) bool) {
			yield(colbert.Document{ID: "a", Text: "a"})
			panic("boom")
		}, &colbert.AddOptions{BatchSize: 1})
	})
	res, err := ix.Add(t.Context(), slices.Values(fruit()), nil)
	require.NoError(t, err)
	require.Equal(t, 4, res.Added)
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, 4, info.Documents)
}

// Writers of one Index wait for each other; none is lost.
func TestConcurrentAdds(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	errs := make(chan error)
	for w := range 3 {
		go func() {
			docs := numbered(30)
			for i := range docs {
				docs[i].ID = fmt.Sprintf("w%d-%d", w, i)
			}
			_, err := ix.Add(ctx, slices.Values(docs), &colbert.AddOptions{BatchSize: 7})
			errs <- err
		}()
	}
	for range 3 {
		require.NoError(t, <-errs)
	}
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, 90, info.Documents)
}

func TestOneDocumentOfOneToken(t *testing.T) {
	ctx := t.Context()
	for _, bits := range []int{1, 2, 4, 8, 16} {
		ix, _ := create(t, &words{}, &colbert.Options{Index: index.Options{NBits: bits}})
		_, err := ix.Add(ctx, slices.Values(colbert.Texts("word")), nil)
		require.NoError(t, err)
		hits, err := ix.Search(ctx, "word", 10, nil)
		require.NoError(t, err)
		require.Equal(t, []string{"0"}, ids(hits))
		require.InDelta(t, 1, hits[0].Score, .35)
	}
}

// TestTrainingQueries: an Add that trains a codebook encodes the caller's queries, or pieces of the documents, and
// one that does not train encodes neither.
func TestTrainingQueries(t *testing.T) {
	ctx := t.Context()
	for _, queries := range [][]string{nil, {"what is an apple", "", "where do pears grow"}} {
		enc := &words{}
		ix, _ := create(t, enc, nil)
		_, err := ix.Add(ctx, slices.Values(numbered(500)), &colbert.AddOptions{Queries: queries})
		require.NoError(t, err)
		trained := enc.queries.Load()
		if queries == nil {
			require.InDelta(t, 128, trained, 16)
		} else {
			require.EqualValues(t, 2, trained)
		}
		_, err = ix.Add(ctx, slices.Values(fruit()), &colbert.AddOptions{Queries: queries})
		require.NoError(t, err)
		require.Equal(t, trained, enc.queries.Load())
	}
}
