package tokenizer

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDAT: a double array knows its tokens, and no others.
func TestDAT(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for round := range 100 {
		ids := map[string]int32{}
		var tokens []string
		for i := range r.IntN(600) + 1 {
			b := make([]byte, 1+r.IntN(14))
			for k := range b {
				b[k] = byte(r.IntN(1 + round%7*40))
			}
			ids[string(b)] = int32(i)
			tokens = append(tokens, string(b))
		}
		v, err := newVocab(len(tokens), len(tokens)-1)
		require.NoError(t, err)
		for id, token := range tokens {
			require.NoError(t, v.add(token, id))
		}
		d, err := newDAT(v)
		require.NoError(t, err)
		check := func(s string) {
			want, known := ids[s]
			if got, ok := d.find(s); ok != known || known && got != want {
				t.Fatalf("%q: %d, %v; want %d, %v", s, got, ok, want, known)
			}
		}
		for token := range ids {
			for cut := range len(token) + 1 {
				check(token[:cut])
			}
			check(token + "\x00")
		}
		for range 500 {
			check(strconv.FormatUint(r.Uint64(), 10))
		}
	}
}

// find returns the id of a string.
func (d *dat) find(s string) (int32, bool) {
	u := d.units[0]
	for i := range len(s) {
		c := uint32(s[i])
		u = d.units[uint32(u)&datBase^c]
		if uint32(u>>31)&datLabel != c+1 {
			return 0, false
		}
	}
	return int32(u>>40) - 1, u>>40 != 0
}
