package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestWalk(t *testing.T) {
	s := New([]byte(` {"a": [1, -2, 30], "b\u00e9\ud83d\ude00": "x\n\"/\/", "c": {"d": null}, "e": true, "f": 1.5e3, "g":{}, "h":[]} `))
	var keys []string
	var ints []int64
	require.NoError(t, s.Object(func(k []byte) error {
		keys = append(keys, string(k))
		switch keys[len(keys)-1] {
		case "a":
			return s.Array(func(int) error {
				v, err := s.Int()
				ints = append(ints, v)
				return err
			})
		case "bé😀":
			v, err := s.Text()
			require.Equal(t, "x\n\"//", v)
			return err
		case "e":
			v, err := s.Bool()
			require.True(t, v)
			return err
		case "f":
			v, err := s.Float()
			require.Equal(t, 1500.0, v)
			return err
		}
		return s.Skip()
	}))
	require.NoError(t, s.End())
	require.Equal(t, []string{"a", "bé😀", "c", "e", "f", "g", "h"}, keys)
	require.Equal(t, []int64{1, -2, 30}, ints)
}

func TestErrors(t *testing.T) {
	for _, in := range []string{"", "{", "[", `"`, `"\`, `"\u12`, `"\ud800"`, `"\ud800\u0041"`, `"\udc00"`, `{"a"}`, `{"a":}`, `{"a":1,}`,
		`[1,]`, `[1 2]`, "nul", "tru", "01", "1.", "-", "1e", "+1", "\"\x01\"", "\"\xff\"", "\"\\n\xff\"", `"\x"`, "{1:2}", "1 2",
		strings.Repeat("[", MaxDepth+1) + strings.Repeat("]", MaxDepth+1), strings.Repeat(`{"a":`, 100000)} {
		s := New([]byte(in))
		err := s.Skip()
		if err == nil {
			err = s.End()
		}
		require.ErrorIs(t, err, ErrSyntax, "%.40q", in)
	}
	for _, in := range []string{"1.5", "1e3", "9223372036854775808", `"1"`} {
		_, err := New([]byte(in)).Int()
		require.ErrorIs(t, err, ErrSyntax, in)
	}
	v, err := New([]byte("-9223372036854775808")).Int()
	require.NoError(t, err)
	require.Equal(t, int64(-1<<63), v)
	_, err = New([]byte("1e999")).Float()
	require.ErrorIs(t, err, ErrSyntax)
}

// FuzzSkip: what this scanner accepts, encoding/json accepts; and the other way round but for depth, UTF-8 and
// surrogates, where this one is stricter.
func FuzzSkip(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5e-3,"x\u00e9"],"b":null}`, `"\ud83d\ude00"`, "[[[]]]", "-0", "01", `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := New(b)
		err := s.Skip()
		if err == nil {
			err = s.End()
		}
		if valid := json.Valid(b); err == nil && !valid {
			t.Fatalf("accepted %q", b)
		} else if err != nil && valid && utf8.Valid(b) && !strings.Contains(err.Error(), "nested") &&
			!strings.Contains(err.Error(), "surrogate") && len(b) < 400 {
			t.Fatalf("refused %q: %v", b, err)
		}
	})
}
