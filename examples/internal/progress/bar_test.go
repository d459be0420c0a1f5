package progress

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestBarInALog(t *testing.T) {
	var b strings.Builder
	bar := New(&b, "reading", 100)
	for i := range 101 {
		bar.Set(i)
	}
	bar.End()
	require.Equal(t, 5, strings.Count(b.String(), "\n"), b.String())
	require.NotContains(t, b.String(), "\x1b")
	New(&b, "nothing", 0).Set(0)
}

func TestBarOnATerminal(t *testing.T) {
	var b strings.Builder
	bar := New(&b, "reading", 4)
	bar.tty = true
	bar.Set(2)
	bar.Set(9)
	require.Contains(t, b.String(), "[===============               ] 2/4")
	require.Contains(t, b.String(), "4/4")
	bar.End()
	n := b.Len()
	bar.Set(4)
	require.Equal(t, n, b.Len())
}
