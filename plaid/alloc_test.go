package plaid

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSearchAllocatesItsResult: a search makes one allocation, the hits, once its scratch is pooled. (The ids of hits
// are strings of their own in a real index.)
func TestSearchAllocatesItsResult(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools forget")
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // pools keep what they have
	c := randomCollection(t, 21, 4, 32)
	q := c.c.query(c.docs[0], 32)
	for name, o := range map[string]*Options{
		"plaid":      {NProbe: 2, NDocs: 12, Workers: 1},
		"threshold":  {NProbe: 2, NDocs: 12, CentroidThreshold: .3, Workers: 1},
		"exact":      {NProbe: 2, NDocs: 12, Exact: 1, Patience: 1, Workers: 1},
		"exhaustive": {Exhaustive: true, Workers: 1},
		"stats":      {NProbe: 2, NDocs: 12, Workers: 1, Stats: new(Stats)},
		"workers":    {NProbe: 2, NDocs: 12, Workers: 3},
	} {
		allocs := testing.AllocsPerRun(50, func() {
			if _, err := c.s.Search(bg, q, 5, o); err != nil {
				t.Fatal(err)
			}
		})
		most := 1.
		if o.Workers > 1 { // and what starting a goroutine costs: in five stages, all but one of the workers
			most += 5 * float64(o.Workers-1)
		}
		require.LessOrEqual(t, allocs, most, name)
	}
}
