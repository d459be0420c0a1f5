package main

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The judgements name passages of the standard library. Another version of Go may lack a few; most must be
// there, and every question must keep an answer.
func TestJudgedPassagesExist(t *testing.T) {
	have := map[string]bool{}
	for _, p := range testCorpus(t) {
		have[p.ID] = true
	}
	qs, err := questions()
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(qs), 60)
	texts := map[string]bool{}
	var missing []string
	for _, q := range qs {
		require.False(t, texts[q.Text], "%s: twice", q.Text)
		texts[q.Text] = true
		found, seen := 0, map[string]bool{}
		for _, id := range q.Answers {
			require.False(t, seen[id], "%s: %s twice", q.Text, id)
			seen[id] = true
			if have[id] {
				found++
			} else {
				missing = append(missing, id)
			}
		}
		require.Positive(t, found, "%s: none of %q in this version's library", q.Text, q.Answers)
	}
	if len(missing) > 0 {
		t.Logf("not in this version's library: %q", missing)
	}
	require.LessOrEqual(t, len(missing), 5, "%q", missing)
}
