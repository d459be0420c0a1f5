package kernel

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRegion(t *testing.T) {
	for _, n := range []int{1, 1000, largePage/4 - 1, largePage / 4, 3*largePage/4 + 5} {
		r := NewRegion(n)
		requireFresh(t, r.Values(), n)
		r.Free()
		require.Nil(t, r.Values())
		r.Free() // again is nothing
	}
}
