package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const lines = `The kitchen is closed on Mondays.

The connection is given up when the server has not replied within thirty seconds.
The kitchen is closed on Mondays.
Bananas are rich in potassium.
`

func TestRerank(t *testing.T) {
	var out, errs strings.Builder
	err := run(t.Context(), []string{"-k", "2", "how", "long until the client stops waiting"}, strings.NewReader(lines), &out, &errs)
	require.NoError(t, err)
	got := strings.Split(strings.TrimSpace(out.String()), "\n")
	require.Len(t, got, 2)
	require.Contains(t, got[0], "thirty seconds")
}

func TestRead(t *testing.T) {
	docs, err := read(strings.NewReader(lines), false, 100)
	require.NoError(t, err)
	require.Len(t, docs, 3, "empty and repeated lines are passed over")
	docs, err = read(strings.NewReader(lines), false, 2)
	require.NoError(t, err)
	require.Len(t, docs, 2)

	docs, err = read(strings.NewReader("{\"id\":\"a\",\"text\":\"x\"}\n\n{\"text\":\"y\"}\n"), true, 100)
	require.NoError(t, err)
	require.Equal(t, "a", docs[0].ID)
	require.Equal(t, "3", docs[1].ID)
	_, err = read(strings.NewReader("{"), true, 100)
	require.ErrorContains(t, err, "line 1")
}

func TestNoQuery(t *testing.T) {
	var out strings.Builder
	require.ErrorContains(t, run(t.Context(), nil, strings.NewReader(""), &out, &out), "usage")
}
