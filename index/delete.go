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
	ctx, end, err := ix.beginWrite(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	defer func() { err = cause(ctx, err) }()
	base, err := ix.current()
	if err != nil {
		return 0, err
	}
	defer base.release()
	dels := make(map[uint64]*roaring.Bitmap)
	seen := make(map[string]bool, len(ids))
	var unknown []string
	for _, id := range ids {
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if seen[id] {
			continue
		}
		seen[id] = true
		i, ord, ok, err := findLive(base.segs, id, dels)
		if err != nil {
			return 0, err
		}
		if !ok {
			unknown = append(unknown, id)
			continue
		}
		markDead(dels, base.segs[i], ord)
		n++
	}
	if len(unknown) > 0 && (o == nil || !o.IgnoreMissing) {
		return 0, fmt.Errorf("%w: %s", ErrUnknownID, clipAll(unknown))
	}
	if n == 0 {
		return 0, nil
	}
	c := ix.newCommit(base)
	defer c.abort()
	if err := c.deleteAll(dels); err != nil {
		return 0, err
	}
	st, err := c.commit(ctx)
	if err != nil {
		return 0, err
	}
	ix.install(st)
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
