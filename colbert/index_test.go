package colbert_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/colbert"
	"github.com/golbert/golbert/colbert/maxsim"
	"github.com/golbert/golbert/encoder"
	"github.com/golbert/golbert/index"
	"github.com/golbert/golbert/plaid"
)

func TestSearch(t *testing.T) {
	ctx := t.Context()
	enc := &words{}
	ix, dir := create(t, enc, nil)
	res, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	require.Equal(t, colbert.AddResult{Added: 4, Tokens: 28}, res)

	check := func(ix *colbert.Index) {
		hits, err := ix.Search(ctx, "apple banana", 3, nil)
		require.NoError(t, err)
		require.Equal(t, "pair", hits[0].ID)
		require.Equal(t, "Apple and banana in one bowl", hits[0].Text)
		require.ElementsMatch(t, []string{"pair", "apple", "banana"}, ids(hits))
		for i, h := range hits {
			require.Equal(t, i+1, h.Rank)
		}
		exact, err := colbert.Rerank(ctx, enc, "apple banana", fruit(), 3)
		require.NoError(t, err)
		for i, h := range hits {
			require.Equal(t, exact[i].ID, h.ID)
			require.InDelta(t, exact[i].Score, h.Score, .3, "4 bits")
		}
		q, err := enc.EncodeQueries(ctx, []string{"apple banana"}, nil)
		require.NoError(t, err)
		own, err := ix.SearchVectors(ctx, q[0].Vectors, 3, nil)
		require.NoError(t, err)
		require.Equal(t, hits, own)
		bare, err := ix.Search(ctx, "apple banana", 3, &colbert.SearchOptions{IDsOnly: true, Plaid: plaid.Options{Exhaustive: true}})
		require.NoError(t, err)
		require.Equal(t, ids(hits), ids(bare))
		require.Empty(t, bare[0].Text)
		require.Nil(t, bare[0].Meta)
	}
	check(ix)
	require.NoError(t, ix.Close())
	ix, err = colbert.Open(ctx, dir, enc, nil)
	require.NoError(t, err)
	check(ix)
	require.NoError(t, ix.Close())
	ix, err = colbert.Open(ctx, dir, enc, &colbert.OpenOptions{ReadOnly: true})
	require.NoError(t, err)
	defer ix.Close()
	check(ix)
	require.Same(t, enc, ix.Encoder())
	_, err = ix.Add(ctx, slices.Values(fruit()), nil)
	require.ErrorIs(t, err, colbert.ErrReadOnly)
	_, err = ix.Delete(ctx, "apple")
	require.ErrorIs(t, err, colbert.ErrReadOnly)
	report, err := colbert.Check(ctx, dir)
	require.NoError(t, err)
	require.NotNil(t, report)
}

func TestSearchBoundaries(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	hits, err := ix.Search(ctx, "apple", 5, nil)
	require.NoError(t, err)
	require.Empty(t, hits, "an empty index has no hits")

	_, err = ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	for _, k := range []int{0, -1} {
		_, err = ix.Search(ctx, "apple", k, nil)
		require.ErrorIs(t, err, colbert.ErrInvalidK)
		_, err = ix.SearchBatch(ctx, []string{"apple"}, k, nil)
		require.ErrorIs(t, err, colbert.ErrInvalidK)
		_, err = ix.SearchVectors(ctx, maxsim.New(1, 64), k, nil)
		require.ErrorIs(t, err, colbert.ErrInvalidK)
	}
	hits, err = ix.Search(ctx, "apple", 1<<40, nil)
	require.NoError(t, err)
	require.Len(t, hits, 4, "k above the size gives everything")

	for text, want := range map[string]error{"": colbert.ErrEmptyText, " \t\n": colbert.ErrEmptyText, "ap\xffle": colbert.ErrInvalidUTF8} {
		_, err = ix.Search(ctx, text, 5, nil)
		require.ErrorIs(t, err, want, "%q", text)
	}
	_, err = ix.SearchVectors(ctx, maxsim.Matrix{}, 5, nil)
	require.ErrorIs(t, err, colbert.ErrEmptyQuery)
	_, err = ix.SearchVectors(ctx, maxsim.New(2, 63), 5, nil)
	require.ErrorIs(t, err, colbert.ErrDim)
	nan := maxsim.New(1, 64)
	nan.Data[3] /= nan.Data[4]
	_, err = ix.SearchVectors(ctx, nan, 5, nil)
	require.ErrorIs(t, err, colbert.ErrNotFinite)

	_, err = ix.Search(ctx, strings.Repeat("apple and more ", 1<<16), 5, nil)
	require.NoError(t, err, "a query of a million characters is cut by the encoder")
}

func TestSearchBatchKeepsErrorsApart(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{failWord: "BAD", nanWord: "NAN"}, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	res, err := ix.SearchBatch(ctx, []string{"apple", "", "so BAD", "banana", "x\xff", "NAN", "cherry", "BAD BAD"}, 1, nil)
	require.NoError(t, err)
	require.Len(t, res, 8)
	for i, want := range []error{nil, colbert.ErrEmptyText, errBadWord, nil, colbert.ErrInvalidUTF8, colbert.ErrNotFinite, nil, errBadWord} {
		if want != nil {
			require.ErrorIs(t, res[i].Err, want)
			require.Empty(t, res[i].Hits)
			continue
		}
		require.NoError(t, res[i].Err)
	}
	require.Equal(t, "cherry", res[6].Hits[0].ID)
	res, err = ix.SearchBatch(ctx, nil, 1, nil)
	require.NoError(t, err)
	require.Empty(t, res)

	// More queries than one portion, and the same answers as one by one.
	_, err = ix.Add(ctx, slices.Values(numbered(40)), nil)
	require.NoError(t, err)
	var texts []string
	for i := range 600 {
		texts = append(texts, fmt.Sprintf("number%d", i%40))
	}
	res, err = ix.SearchBatch(ctx, texts, 2, nil)
	require.NoError(t, err)
	for i, r := range res {
		require.NoError(t, r.Err)
		require.Equal(t, fmt.Sprint("d", i%40), r.Hits[0].ID)
	}
	one, err := ix.Search(ctx, texts[7], 2, nil)
	require.NoError(t, err)
	require.Equal(t, one, res[7].Hits)
}

func TestEncoderFailures(t *testing.T) {
	ctx := t.Context()
	enc := &words{}
	ix, _ := create(t, enc, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	enc.fail = errBadWord
	_, err = ix.Search(ctx, "apple", 1, nil)
	require.ErrorIs(t, err, errBadWord)
	_, err = ix.SearchBatch(ctx, []string{"apple"}, 1, nil)
	require.ErrorIs(t, err, errBadWord, "what concerns every query is the call's error")
	_, err = ix.Add(ctx, slices.Values(numbered(3)), nil)
	require.ErrorIs(t, err, errBadWord)
	require.ErrorContains(t, err, `"d0" to "d2"`)
	enc.fail, enc.short = nil, true
	_, err = ix.Add(ctx, slices.Values(numbered(3)), nil)
	require.ErrorIs(t, err, colbert.ErrEncoder)
	enc.short, enc.madeDim = false, 63
	_, err = ix.Add(ctx, slices.Values(numbered(3)), nil)
	require.ErrorIs(t, err, colbert.ErrDim)
	require.ErrorContains(t, err, `"d0"`)
	_, err = ix.Search(ctx, "apple", 1, nil)
	require.ErrorIs(t, err, colbert.ErrDim)
	enc.madeDim = 0
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, 4, info.Documents)
}

func TestCreateAndOpenErrors(t *testing.T) {
	ctx := t.Context()
	enc := &words{name: "one"}
	_, dir := create(t, enc, &colbert.Options{Index: index.Options{Attributes: map[string]string{"mine": "kept"}}})
	_, err := colbert.Create(ctx, dir, enc, nil)
	require.ErrorIs(t, err, colbert.ErrExists)
	_, err = colbert.Open(ctx, dir, enc, nil)
	require.ErrorIs(t, err, colbert.ErrLocked)
	_, err = colbert.Open(ctx, t.TempDir(), enc, nil)
	require.ErrorIs(t, err, colbert.ErrNotFound)
	_, err = colbert.Create(ctx, t.TempDir(), enc, &colbert.Options{Index: index.Options{Dim: 65}})
	require.ErrorIs(t, err, colbert.ErrDim)
	_, err = colbert.Create(ctx, t.TempDir(), nil, nil)
	require.ErrorIs(t, err, colbert.ErrEncoder)
	_, err = colbert.Open(ctx, dir, nil, nil)
	require.ErrorIs(t, err, colbert.ErrEncoder)
	done, cancel := context.WithCancel(ctx)
	cancel()
	_, err = colbert.Create(done, t.TempDir()+"/x", enc, nil)
	require.ErrorIs(t, err, context.Canceled)
}

// described is an encoder that tells the shape of its network.
type described struct {
	*words
	info encoder.Info
}

func (d described) Info() encoder.Info { return d.info }

func TestModelMismatch(t *testing.T) {
	ctx := t.Context()
	bert := encoder.Info{Architecture: "bert", Layers: 6, Hidden: 384, Vocab: 30522}
	ix, dir := create(t, described{&words{name: "one"}, bert}, nil)
	require.NoError(t, ix.Close())

	open := func(enc colbert.Encoder, o *colbert.OpenOptions) error {
		ix, err := colbert.Open(ctx, dir, enc, o)
		if err == nil {
			require.NoError(t, ix.Close())
		}
		return err
	}
	require.NoError(t, open(described{&words{name: "one"}, bert}, nil))
	require.NoError(t, open(colbert.WithLanguage(described{&words{name: "one"}, bert}, "de"), nil))
	require.NoError(t, open(&words{name: "one"}, nil), "an encoder that does not tell its network")

	err := open(&words{name: "two"}, nil)
	require.ErrorIs(t, err, colbert.ErrModelMismatch)
	require.ErrorContains(t, err, `"one"`)
	require.ErrorContains(t, err, `"two"`)
	require.NoError(t, open(&words{name: "two"}, &colbert.OpenOptions{AnyModel: true}))

	err = open(&words{name: "one", dim: 32}, &colbert.OpenOptions{AnyModel: true})
	require.ErrorIs(t, err, colbert.ErrModelMismatch, "the dimension must fit whatever the options")
	var me *colbert.ModelMismatchError
	require.ErrorAs(t, err, &me)
	require.Equal(t, 64, me.IndexDim)
	require.Equal(t, 32, me.EncoderDim)

	big := bert
	big.Layers = 12
	err = open(colbert.WithLanguage(described{&words{name: "one"}, big}, "de"), nil)
	require.ErrorIs(t, err, colbert.ErrModelMismatch)
	require.ErrorContains(t, err, "6 layers")
	require.ErrorContains(t, err, "12 layers")
}

func TestIndexOfTheIndexPackage(t *testing.T) {
	dir := t.TempDir() + "/ix"
	raw, err := index.Create(t.Context(), dir, &index.Options{Dim: 64})
	require.NoError(t, err)
	require.NoError(t, raw.Close())
	ix, err := colbert.Open(t.Context(), dir, &words{}, nil)
	require.NoError(t, err, "it says no model, so any of its dimension will do")
	require.NoError(t, ix.Close())
}

func TestDelete(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	_, err = ix.Delete(ctx, "apple", "no such")
	require.ErrorIs(t, err, colbert.ErrUnknownID)
	require.ErrorContains(t, err, "no such")
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, 4, info.Documents, "nothing is deleted when an id is unknown")
	n, err := ix.DeleteExisting(ctx, "apple", "no such")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	n, err = ix.Delete(ctx, "pair")
	require.NoError(t, err)
	require.Equal(t, 1, n)
	hits, err := ix.Search(ctx, "apple", 10, nil)
	require.NoError(t, err)
	require.ElementsMatch(t, []string{"banana", "cherry"}, ids(hits))
	_, err = ix.Get(ctx, "apple")
	require.ErrorIs(t, err, colbert.ErrUnknownID)
	n, err = ix.Delete(ctx, "banana", "cherry")
	require.NoError(t, err)
	require.Equal(t, 2, n)
	hits, err = ix.Search(ctx, "apple", 10, nil)
	require.NoError(t, err)
	require.Empty(t, hits)
	n, err = ix.Delete(ctx)
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestGetExplainInfo(t *testing.T) {
	ctx := t.Context()
	enc := &words{}
	ix, dir := create(t, enc, &colbert.Options{Language: "en"})
	meta := index.Metadata{"year": 1999, "kind": "fruit"}
	_, err := ix.Add(ctx, slices.Values([]colbert.Document{
		{ID: "pomme", Text: "une pomme rouge", Language: "fr", Meta: meta},
		{ID: "apple", Text: "a red apple"},
	}), nil)
	require.NoError(t, err)
	require.Equal(t, index.Metadata{"year": 1999, "kind": "fruit"}, meta)
	require.Equal(t, []string{"fr", "en", "fr", "en"}, enc.languages) // documents, then pieces of them as queries
	d, err := ix.Get(ctx, "pomme")
	require.NoError(t, err)
	require.Equal(t, colbert.Document{ID: "pomme", Text: "une pomme rouge", Language: "fr",
		Meta: index.Metadata{"year": int64(1999), "kind": "fruit", "lang": "fr"}}, d)
	d, err = ix.Get(ctx, "apple")
	require.NoError(t, err)
	require.Empty(t, d.Language)
	require.Empty(t, d.Meta)

	enc.languages = nil
	hits, err := ix.Search(ctx, "rouge", 1, &colbert.SearchOptions{Language: "fr"})
	require.NoError(t, err)
	require.Equal(t, "fr", hits[0].Meta[colbert.LanguageKey])
	_, err = ix.Search(ctx, "red", 1, nil)
	require.NoError(t, err)
	e, err := ix.Explain(ctx, "rouge", "pomme")
	require.NoError(t, err)
	require.Equal(t, "une pomme <rouge>", e.Mark("<", ">"))
	require.Equal(t, []string{"fr", "en", "en", "fr"}, enc.languages)
	_, err = ix.Explain(ctx, "rouge", "poire")
	require.ErrorIs(t, err, colbert.ErrUnknownID)

	require.NoError(t, ix.Close())
	ix, err = colbert.Open(ctx, dir, enc, nil)
	require.NoError(t, err)
	defer ix.Close()
	info, err := ix.Info()
	require.NoError(t, err)
	require.Equal(t, "words", info.Model)
	require.Equal(t, "en", info.Language)
	require.Equal(t, 64, info.Dim)
	require.Equal(t, 2, info.Documents)
	require.EqualValues(t, 8, info.Tokens)
}

func TestClosed(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	require.NoError(t, ix.Close(), "a second Close does nothing")
	_, err = ix.Search(ctx, "apple", 1, nil)
	require.ErrorIs(t, err, colbert.ErrClosed)
	_, err = ix.SearchBatch(ctx, []string{"apple"}, 1, nil)
	require.ErrorIs(t, err, colbert.ErrClosed)
	_, err = ix.SearchVectors(ctx, maxsim.New(1, 64), 1, nil)
	require.ErrorIs(t, err, colbert.ErrClosed)
	_, err = ix.Add(ctx, slices.Values(fruit()), nil)
	require.ErrorIs(t, err, colbert.ErrClosed)
	_, err = ix.Delete(ctx, "apple")
	require.ErrorIs(t, err, colbert.ErrClosed)
	_, err = ix.Info()
	require.ErrorIs(t, err, colbert.ErrClosed)
	_, err = ix.Get(ctx, "apple")
	require.ErrorIs(t, err, colbert.ErrClosed)
}

// Searches run beside commits and a Close, and see whole commits only.
func TestConcurrency(t *testing.T) {
	ctx := t.Context()
	ix, _ := create(t, &words{}, nil)
	_, err := ix.Add(ctx, slices.Values(numbered(20)), nil)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				hits, err := ix.Search(ctx, fmt.Sprintf("number%d", i%20), 100, nil)
				if err != nil {
					require.ErrorIs(t, err, colbert.ErrClosed)
					return
				}
				if len(hits)%20 != 0 || hits[0].ID != fmt.Sprint("d", i%20) {
					t.Errorf("%d hits, first %+v", len(hits), hits[0])
					return
				}
			}
		})
	}
	for round := range 3 {
		docs := numbered(20)
		for i := range docs {
			docs[i].ID = fmt.Sprintf("r%d-%d", round, i)
			docs[i].Text = "something else"
		}
		_, err := ix.Add(ctx, slices.Values(docs), nil)
		require.NoError(t, err)
	}
	require.NoError(t, ix.Close())
	wg.Wait()
}

func TestDamagedIndex(t *testing.T) {
	ctx := t.Context()
	ix, dir := create(t, &words{}, nil)
	_, err := ix.Add(ctx, slices.Values(fruit()), nil)
	require.NoError(t, err)
	require.NoError(t, ix.Close())
	// Cut the largest file in half.
	var largest string
	var size int64
	require.NoError(t, filepath.Walk(dir, func(p string, fi os.FileInfo, err error) error {
		if err == nil && !fi.IsDir() && fi.Size() > size {
			largest, size = p, fi.Size()
		}
		return err
	}))
	require.NoError(t, os.Truncate(largest, size/2))
	ix, err = colbert.Open(ctx, dir, &words{}, nil)
	if err == nil { // damage may show only where it is read
		_, err = ix.Search(ctx, "apple", 10, nil)
		ix.Close()
	}
	require.ErrorIs(t, err, colbert.ErrCorrupt)
	var ce *colbert.CorruptError
	require.ErrorAs(t, err, &ce)
	require.Equal(t, filepath.Base(largest), filepath.Base(ce.File))
}
