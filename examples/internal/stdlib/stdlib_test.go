package stdlib

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func testCorpus(t *testing.T) []Passage {
	t.Helper()
	root, err := Root()
	if errors.Is(err, ErrNoRoot) {
		t.Skip(err)
	}
	require.NoError(t, err)
	c, err := Read(root)
	require.NoError(t, err)
	return c
}

func TestCorpus(t *testing.T) {
	c := testCorpus(t)
	byID := map[string]Passage{}
	words := 0
	for _, p := range c {
		require.Empty(t, byID[p.ID].Text, "%s twice", p.ID)
		byID[p.ID] = p
		require.True(t, utf8.ValidString(p.Text), p.ID)
		head, body, ok := strings.Cut(p.Text, "\n")
		require.True(t, ok, p.ID)
		require.True(t, strings.HasPrefix(head, "package "), "%s: %s", p.ID, head)
		require.NotEmpty(t, strings.TrimSpace(body), p.ID)
		words += len(strings.Fields(p.Text))
	}
	t.Logf("%d passages, %d words", len(c), words)
	for _, id := range []string{
		"sync.WaitGroup.Wait", "sync.WaitGroup", "io.EOF", "net/http.Server.ReadHeaderTimeout", "fmt", "fmt#2",
		"io/fs.FS.Open", "time.ParseDuration", "builtin.append", "slices.SortFunc", "strings.Builder",
	} {
		require.True(t, byID[id].Text != "", id)
	}
	require.Equal(t, "package sync: func (wg *WaitGroup) Wait()\nWait blocks until the WaitGroup task counter is zero.",
		strings.Join(strings.SplitN(byID["sync.WaitGroup.Wait"].Text, "\n", 3)[:2], "\n"))
	for _, p := range c {
		for _, el := range strings.Split(p.ID, "/") {
			require.NotEqual(t, "internal", el, p.ID)
		}
		require.False(t, strings.HasPrefix(p.ID, "syscall"), p.ID)
	}
	require.Greater(t, len(c), 5000)
	require.True(t, slices.Equal(c, testCorpus(t)), "the order is fixed")
}

func TestSplitKeepsEveryWordAndCutsAtParagraphs(t *testing.T) {
	para := strings.TrimSpace(strings.Repeat("word ", 60))
	long := strings.Join([]string{para, para, para, "# Heading", para, para}, "\n\n")
	parts := split(long)
	require.Len(t, parts, 3)
	require.True(t, strings.HasPrefix(parts[2], "# Heading"), parts[2])
	require.Equal(t, strings.Fields(long), strings.Fields(strings.Join(parts, "\n")))
	require.Empty(t, split(" \n\n "))
}

func TestGorootErrors(t *testing.T) {
	_, err := Read(filepath.Join(t.TempDir(), "absent"))
	require.ErrorIs(t, err, os.ErrNotExist)
	dir := t.TempDir()
	require.NoError(t, os.Mkdir(filepath.Join(dir, "src"), 0o755))
	_, err = Read(dir)
	require.ErrorIs(t, err, ErrNoRoot)
}
