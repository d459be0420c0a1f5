package index

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/RoaringBitmap/roaring/v2"
)

// Delete removes documents in one durable commit and returns how many. An unknown id is ErrUnknownID, which
// names it, and nothing is deleted, unless DeleteOptions.IgnoreMissing is set. An id that is named twice
// counts once.
func (ix *Index) Delete(ctx context.Context, ids []string, o *DeleteOptions) (n int, err error) {
	if o == nil {
		o = &DeleteOptions{}
	}
	res, err := ix.apply(ctx, Batch{Delete: ids}, &UpdateOptions{IgnoreMissing: o.IgnoreMissing, NoCompact: o.NoCompact})
	return res.Deleted, err
}

// delete marks documents of the index, by id, and gives their number.
func (a *adder) delete(ids []string) (n int, err error) {
	seen := make(map[string]bool, len(ids))
	var unknown []string
	for _, id := range ids {
		if a.ctx.Err() != nil {
			return 0, context.Cause(a.ctx)
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		i, ord, ok, err := findLive(a.base.segs, id, a.dels)
		if err != nil {
			return 0, err
		}
		if !ok {
			unknown = append(unknown, id)
			continue
		}
		markDead(a.dels, a.base.segs[i], ord)
		n++
	}
	if len(unknown) > 0 && !a.o.IgnoreMissing {
		return 0, fmt.Errorf("%w: %s", ErrUnknownID, clipAll(unknown))
	}
	return n, nil
}

// deleteAll replaces the deletions of several segments, in the order of their numbers.
func (c *commit) deleteAll(dels map[uint64]*roaring.Bitmap) error {
	for _, number := range slices.Sorted(maps.Keys(dels)) {
		if err := c.delete(number, dels[number]); err != nil {
			return err
		}
	}
	return nil
}
