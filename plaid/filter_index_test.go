package plaid

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/index"
)

// TestFilterEqualsExhaustive: on random data and with random filters, an exhaustive filtered search returns
// exactly what an exhaustive search of everything returns once the documents that do not match are struck
// out, and every other way of searching returns matching documents only, as many as there are.
func TestFilterEqualsExhaustive(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	c := newCorpus(9, 16, 20, .7)
	ix, err := index.Create(bg, t.TempDir(), &index.Options{Dim: 16, NBits: 4, SegmentTokens: 1500})
	require.NoError(t, err)
	defer func() { require.NoError(t, ix.Close()) }()
	meta := map[string]index.Metadata{}
	var docs []index.Document
	for i := range 700 {
		id := fmt.Sprintf("doc-%03d", i)
		m := index.Metadata{"year": 1990 + r.IntN(40), "lang": []string{"de", "en", "ja"}[r.IntN(3)]}
		if r.IntN(3) == 0 {
			delete(m, "lang")
		}
		if r.IntN(50) == 0 {
			m["rare"] = true
		}
		meta[id] = m
		docs = append(docs, index.Document{ID: id, Vectors: c.doc(1 + r.IntN(15)), Meta: m})
	}
	_, err = ix.Add(bg, seq(docs), nil)
	require.NoError(t, err)
	_, err = ix.Delete(bg, []string{"doc-000", "doc-100", "doc-699"}, nil)
	require.NoError(t, err)
	snap := snapshot(t, ix)
	require.Greater(t, len(snap.Segments()), 1)
	s := NewSearcher(snap)

	year := func(m index.Metadata) int { return m["year"].(int) }
	for _, f := range []struct {
		text  string
		match func(m index.Metadata) bool
	}{
		{`lang = "de"`, func(m index.Metadata) bool { return m["lang"] == "de" }},
		{`lang = "de" and year >= 2020`, func(m index.Metadata) bool { return m["lang"] == "de" && year(m) >= 2020 }},
		{`lang != "de"`, func(m index.Metadata) bool { return m["lang"] != "de" }},
		{`rare = true`, func(m index.Metadata) bool { return m["rare"] == true }},
		{`not exists(lang) or year in (1999, 2001)`, func(m index.Metadata) bool {
			return m["lang"] == nil || year(m) == 1999 || year(m) == 2001
		}},
		{`year > 2100`, func(index.Metadata) bool { return false }},
		{`all()`, func(index.Metadata) bool { return true }},
	} {
		filter, err := index.ParseFilter(f.text)
		require.NoError(t, err)
		for range 5 {
			q := c.query(docs[r.IntN(len(docs))].Vectors, 6)
			all, err := s.Search(bg, q, 1000, &Options{Exhaustive: true})
			require.NoError(t, err)
			require.Len(t, all, 697)
			var want []Hit
			for _, h := range all {
				if f.match(meta[h.ID]) {
					want = append(want, h)
				}
			}
			for _, k := range []int{1, 10, 1000} {
				top := want[:min(k, len(want))]
				got, err := s.Search(bg, q, k, &Options{Exhaustive: true, Filter: filter})
				require.NoError(t, err)
				require.Equal(t, hitIDs(top), hitIDs(got), f.text)
				for _, o := range []*Options{{}, {NProbe: 1, NDocs: 1}, {NProbe: 4, NDocs: 40}} {
					o.Filter = filter
					got, err := s.Search(bg, q, k, o)
					require.NoError(t, err)
					require.Len(t, got, len(top), "%s with %+v", f.text, o)
					for _, h := range got {
						require.True(t, f.match(meta[h.ID]), "%s returned %s", f.text, h.ID)
					}
				}
			}
		}
	}
}

func hitIDs(hits []Hit) []string {
	out := make([]string, len(hits))
	for i, h := range hits {
		out[i] = h.ID
	}
	return out
}
