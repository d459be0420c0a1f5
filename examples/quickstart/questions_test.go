package main

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/examples/internal/stdlib"
)

// The judgements name passages of the standard library. Another version of Go may lack a few; most must be
// there, and every question must keep an answer.
func TestJudgedPassagesExist(t *testing.T) {
	have := map[string]bool{}
	root, err := stdlib.Root()
	if errors.Is(err, stdlib.ErrNoRoot) {
		t.Skip(err)
	}
	require.NoError(t, err)
	passages, err := stdlib.Read(root)
	require.NoError(t, err)
	for _, p := range passages {
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
