package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestExplain(t *testing.T) {
	var out, errs strings.Builder
	err := run(t.Context(), []string{"-width", "6", "how old do owls get", "In captivity these birds reach an age of thirty years."}, &out, &errs)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(out.String(), "score "), out.String())
	require.Contains(t, out.String(), "owls")
	require.NotContains(t, out.String(), "[CLS]")
	require.GreaterOrEqual(t, strings.Count(out.String(), "<"), 3, out.String())

	require.ErrorContains(t, run(t.Context(), []string{"one"}, &out, &errs), "usage")
	require.ErrorContains(t, run(t.Context(), []string{"-width", "0", "a", "b"}, &out, &errs), "-width")
}
