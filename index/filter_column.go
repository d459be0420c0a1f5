package index

import (
	"fmt"
	"math/bits"
	"sort"

	"github.com/RoaringBitmap/roaring/v2"
)

// selectColumns evaluates a test on every column of a name (a name has one column per type of value). prepare
// makes the test of one column, which is then asked about each value by its place; a nil test selects
// nothing.
func (f *segFile) selectColumns(name string, prepare func(*column) (func(at uint64) (bool, error), error)) (*roaring.Bitmap, error) {
	out := roaring.New()
	first := sort.Search(len(f.cols), func(i int) bool { return f.cols[i].name >= name })
	for i := first; i < len(f.cols) && f.cols[i].name == name; i++ {
		c := &f.cols[i]
		test, err := prepare(c)
		if err != nil {
			return nil, err
		}
		if test == nil {
			continue
		}
		if err := f.eachPresent(c, func(ord uint32, at uint64) error {
			ok, err := test(at)
			if ok {
				out.Add(ord)
			}
			return err
		}); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// eachPresent calls fn with the ordinal and the place of the value of every document that has one, ascending.
func (f *segFile) eachPresent(c *column, fn func(ord uint32, at uint64) error) error {
	switch c.mode {
	case presentAll:
		for i := range c.count {
			if err := fn(uint32(i), i); err != nil {
				return err
			}
		}
		return nil
	case presentList:
		width := max(bitWidth(f.toc.docs-1), 1)
		for i := range c.count {
			ord, err := f.columnPacked(c.presence, i, width)
			if err != nil {
				return err
			}
			if ord >= f.toc.docs {
				return f.corrupt(secColumns, c.presence.off, fmt.Sprintf("column %q: a document below %d", c.name, f.toc.docs), ord)
			}
			if err := fn(uint32(ord), i); err != nil {
				return err
			}
		}
		return nil
	}
	set, err := f.bytes(secColumns, c.presence.off, (f.toc.docs+7)/8)
	if err != nil {
		return err
	}
	at := uint64(0)
	for i, b := range set {
		for ; b != 0; b &= b - 1 {
			ord := uint64(i)*8 + uint64(bits.TrailingZeros8(b))
			if at >= c.count || ord >= f.toc.docs {
				return f.corrupt(secColumns, c.presence.off, fmt.Sprintf("column %q: %d documents with a value", c.name, c.count), "more")
			}
			if err := fn(uint32(ord), at); err != nil {
				return err
			}
			at++
		}
	}
	return nil
}

// entries tests the dictionary entries of a keyword column.
func (f *segFile) entries(c *column, any bool, match func(n uint64) bool) func(uint64) (bool, error) {
	if !any {
		return nil
	}
	return func(at uint64) (bool, error) {
		n, err := f.columnPacked(c.values, at, c.width)
		return err == nil && match(n), err
	}
}

// values tests the values of a column of another type; none of wanted may be of the column's kind.
func (f *segFile) values(c *column, wanted []value, match func(value) bool) func(uint64) (bool, error) {
	comparable := false
	for _, w := range wanted {
		comparable = comparable || kindOf(w.typ) == kindOf(c.typ)
	}
	if !comparable || c.typ == colKeyword {
		return nil
	}
	return func(at uint64) (bool, error) {
		v, err := f.columnValue(c, at)
		return err == nil && match(v), err
	}
}

// searchDict finds a string in a keyword column's dictionary: its entry, or the one before which it would
// stand.
func (f *segFile) searchDict(c *column, s string) (n uint64, found bool, err error) {
	lo, hi := uint64(0), c.dict
	for lo < hi {
		mid := (lo + hi) / 2
		k, err := f.keyword(c, mid)
		if err != nil {
			return 0, false, err
		}
		switch {
		case k == s:
			return mid, true, nil
		case k < s:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return lo, false, nil
}
