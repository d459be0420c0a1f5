package lines

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was written is read back; a failure leaves what was there, and nothing beside it.
func TestWrite(t *testing.T) {
	dir := t.TempDir()
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	for _, name := range []string{"a.jsonl", "a.jsonl.zst"} {
		path := filepath.Join(dir, name)
		require.NoError(t, Write(path, text("old\n")))
		require.NoError(t, Write(path, text("one\ntwo\n")))
		broken := errors.New("broken")
		require.ErrorIs(t, Write(path, func(w io.Writer) error { return errors.Join(text("half")(w), broken) }), broken)
		f, err := Open(path)
		require.NoError(t, err)
		var got []string
		for l, err := range Scan(f) {
			require.NoError(t, err)
			got = append(got, string(l.Text))
		}
		require.NoError(t, f.Close())
		require.Equal(t, []string{"one", "two"}, got)
	}
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 2)
	require.ErrorIs(t, Write(filepath.Join(dir, "none", "a"), text("")), os.ErrNotExist)
}
