package sqlite

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/golbert/golbert/internal/hostile"
)

func file(t testing.TB, name string) []byte {
	b, err := os.ReadFile("../../testdata/metadb/" + name)
	require.NoError(t, err)
	return b
}

// TestTree reads a table of several pages, a scan and row by row, and rows that overflow their page.
func TestTree(t *testing.T) {
	db, err := Open(file(t, "nextplaid.db"))
	require.NoError(t, err)
	rows := db.Table("METADATA")
	require.Equal(t, []Column{{Name: "_subset_"}, {Name: "_content_id_"}, {Name: "file"}, {Name: "line"}, {Name: "complexity", Real: true}, {Name: "has_loops"}}, rows.Columns)
	n := int64(0)
	require.NoError(t, rows.Scan(func(id int64, v []any) error {
		n++
		require.Equal(t, n, id)
		require.Equal(t, 300-n, v[0])
		require.Equal(t, float64(n-1), v[4])
		got, ok, err := rows.Get(id)
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, v, got)
		return nil
	}))
	require.Equal(t, int64(300), n)
	for _, id := range []int64{0, 301, -1, 1 << 60} {
		_, ok, err := rows.Get(id)
		require.NoError(t, err)
		require.False(t, ok)
	}
	more := db.Table("METADATA_CONTENT")
	require.Equal(t, []Column{{Name: "_content_id_", RowID: true}, {Name: `code "x"`}, {Name: "other col"}}, more.Columns)
	v, ok, err := more.Get(106)
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, []any{int64(106), strings.Repeat("func f6() ", 301), []byte{0, 1}}, v)
	stop := errors.New("enough")
	require.ErrorIs(t, more.Scan(func(int64, []any) error { return stop }), stop)
	require.Nil(t, db.Table("absent"))
}

func walk(b []byte) error {
	db, err := Open(b)
	if err != nil {
		return err
	}
	for _, t := range db.tables {
		if e := t.Scan(func(id int64, _ []any) error {
			_, _, err := t.Get(id)
			return err
		}); err == nil {
			err = e
		}
	}
	return err
}

func TestDamage(t *testing.T) {
	whole := file(t, "nextplaid.db")
	require.NoError(t, walk(whole))
	for n := 0; n < len(whole); n += 509 {
		require.ErrorIs(t, walk(whole[:n]), ErrCorrupt)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		b := bytes.Clone(whole)
		for range 1 + r.IntN(20) {
			b[r.IntN(len(b))] = byte(r.IntN(256))
		}
		if err := walk(b); err != nil {
			require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported), "%v", err)
		}
	}
	utf16 := bytes.Clone(whole)
	utf16[59] = 2
	require.ErrorIs(t, walk(utf16), ErrUnsupported)
}

func FuzzOpen(f *testing.F) {
	f.Add(file(f, "nextplaid.db")[:4096])
	f.Add(file(f, "fastplaid.db")[:8192])
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := walk(b); err != nil {
			require.True(t, errors.Is(err, ErrCorrupt) || errors.Is(err, ErrUnsupported), "%v", err)
		}
	})
}

func TestHostileSizes(t *testing.T) {
	hostile.Sizes(t, [][]byte{file(t, "nextplaid.db")}, 200, 1<<20, func(b []byte) { _ = walk(b) })
}
