package index

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/RoaringBitmap/roaring/v2"
)

// ErrInvalidFilter reports a filter that cannot be evaluated: a bound of a type that no column has, or a
// text that ParseFilter cannot read (*FilterError says where).
var ErrInvalidFilter = errors.New("index: invalid filter")

// Filter selects documents by their metadata. Filters are made by Eq, In, Range, Exists, IDs, And, Or, Not,
// Everything and ParseFilter, are immutable and safe for concurrent use, and can be given to plaid.Options.
//
// Values compare within their kind: strings with strings (by bytes), numbers with numbers (an int64 and a
// float64 by their exact values), booleans and times with their like. A document whose value has another
// kind, or that has no such metadata, does not match; Not turns that around, so Not(Eq("lang", "de"))
// selects documents without "lang", too. NaN matches nothing but Exists.
type Filter interface {
	// Bitmap returns the ordinals of a segment that match, deleted documents included. The caller owns it.
	Bitmap(seg *Segment) (*roaring.Bitmap, error)
	// String gives the text form, which ParseFilter reads back.
	String() string
}

// Eq selects documents whose metadata field equals value: a string, an integer, a float, a bool or a
// time.Time.
func Eq(field string, value any) Filter { return In(field, value) }

// In selects documents whose metadata field equals one of the values. Without values it selects nothing.
func In(field string, values ...any) Filter {
	f := &inFilter{field: field}
	for _, v := range values {
		x, err := toValue(field, v)
		if err != nil {
			f.err = errors.Join(f.err, fmt.Errorf("%w: %w", ErrInvalidFilter, err))
			continue
		}
		f.values = append(f.values, x)
	}
	return f
}

// Bounds are the ends of a Range; nil leaves an end open. All ends that are set must have one kind.
type Bounds struct {
	GreaterThan any // exclusive
	AtLeast     any // inclusive
	LessThan    any // exclusive
	AtMost      any // inclusive
}

// Range selects documents whose metadata field lies within bounds.
func Range(field string, b Bounds) Filter {
	f := &rangeFilter{field: field}
	end := func(inclusive, exclusive any) bound {
		v, open := inclusive, false
		if exclusive != nil {
			v, open = exclusive, true
		}
		if v == nil {
			return bound{}
		}
		x, err := toValue(field, v)
		if err == nil && inclusive != nil && exclusive != nil {
			err = fmt.Errorf("field %q: both an inclusive and an exclusive bound at one end", clip(field))
		}
		if err != nil {
			f.err = errors.Join(f.err, fmt.Errorf("%w: %w", ErrInvalidFilter, err))
			return bound{}
		}
		return bound{set: true, open: open, value: x}
	}
	f.lo, f.hi = end(b.AtLeast, b.GreaterThan), end(b.AtMost, b.LessThan)
	switch {
	case f.err != nil:
	case !f.lo.set && !f.hi.set:
		f.err = fmt.Errorf("field %q: a range without bounds (Exists asks for any value): %w", clip(field), ErrInvalidFilter)
	case f.lo.set && f.hi.set && kindOf(f.lo.value.typ) != kindOf(f.hi.value.typ):
		f.err = fmt.Errorf("field %q: bounds of kinds %s and %s: %w", clip(field), f.lo.value.typ, f.hi.value.typ, ErrInvalidFilter)
	}
	return f
}

// Exists selects documents that have a value, of any kind, in a metadata field.
func Exists(field string) Filter { return existsFilter(field) }

// IDs selects documents by external id. Unknown ids select nothing.
func IDs(ids ...string) Filter { return idFilter(slices.Clone(ids)) }

// And selects what every filter selects; And() selects everything.
func And(filters ...Filter) Filter { return &group{and: true, filters: slices.Clone(filters)} }

// Or selects what any of the filters selects; Or() selects nothing.
func Or(filters ...Filter) Filter { return &group{filters: slices.Clone(filters)} }

// Not selects what the filter does not select.
func Not(f Filter) Filter { return notFilter{f} }

// Everything selects every document.
func Everything() Filter { return And() }

// kind groups column types whose values compare with each other.
type kind uint8

func kindOf(t columnType) kind {
	if t == colFloat {
		return kind(colInt)
	}
	return kind(t)
}

type inFilter struct {
	field  string
	values []value
	err    error
}

type bound struct {
	set, open bool
	value     value
}

type rangeFilter struct {
	field  string
	lo, hi bound
	err    error
}

type (
	existsFilter string
	idFilter     []string
	notFilter    struct{ f Filter }
)

type group struct {
	and     bool
	filters []Filter
}

// every gives all ordinals of a segment.
func every(seg *Segment) *roaring.Bitmap {
	b := roaring.New()
	b.AddRange(0, uint64(seg.NumDocs()))
	return b
}

func (g *group) Bitmap(seg *Segment) (*roaring.Bitmap, error) {
	var out *roaring.Bitmap
	for _, f := range g.filters {
		b, err := f.Bitmap(seg)
		switch {
		case err != nil:
			return nil, err
		case out == nil:
			out = b
		case g.and:
			out.And(b)
		default:
			out.Or(b)
		}
	}
	if out == nil {
		if g.and {
			return every(seg), nil
		}
		return roaring.New(), nil
	}
	return out, nil
}

func (n notFilter) Bitmap(seg *Segment) (*roaring.Bitmap, error) {
	b, err := n.f.Bitmap(seg)
	if err != nil {
		return nil, err
	}
	b.Flip(0, uint64(seg.NumDocs()))
	return b, nil
}

func (ids idFilter) Bitmap(seg *Segment) (*roaring.Bitmap, error) {
	b := roaring.New()
	for _, id := range ids {
		ords, err := seg.f.lookup(id)
		if err != nil {
			return nil, err
		}
		b.AddMany(ords)
	}
	return b, nil
}

func (e existsFilter) Bitmap(seg *Segment) (*roaring.Bitmap, error) {
	return seg.f.selectColumns(string(e), func(*column) (func(uint64) (bool, error), error) {
		return func(uint64) (bool, error) { return true, nil }, nil
	})
}

func (f *inFilter) Bitmap(seg *Segment) (*roaring.Bitmap, error) {
	if f.err != nil {
		return nil, f.err
	}
	return seg.f.selectColumns(f.field, func(c *column) (func(uint64) (bool, error), error) {
		if c.typ == colKeyword {
			want := make(map[uint64]bool)
			for _, v := range f.values {
				if v.typ == colKeyword {
					n, found, err := seg.f.searchDict(c, v.s)
					if err != nil {
						return nil, err
					}
					if found {
						want[n] = true
					}
				}
			}
			return seg.f.entries(c, len(want) > 0, func(n uint64) bool { return want[n] }), nil
		}
		return seg.f.values(c, f.values, func(v value) bool {
			return slices.ContainsFunc(f.values, func(w value) bool {
				cmp, ok := compareValues(v, w)
				return ok && cmp == 0
			})
		}), nil
	})
}

func (f *rangeFilter) Bitmap(seg *Segment) (*roaring.Bitmap, error) {
	if f.err != nil {
		return nil, f.err
	}
	return seg.f.selectColumns(f.field, func(c *column) (func(uint64) (bool, error), error) {
		var ends []value
		for _, b := range []bound{f.lo, f.hi} {
			if b.set {
				ends = append(ends, b.value)
			}
		}
		if c.typ == colKeyword && ends[0].typ == colKeyword {
			// The dictionary is sorted, so a range of strings is a range of entries.
			lo, hi := uint64(0), c.dict
			if f.lo.set {
				n, found, err := seg.f.searchDict(c, f.lo.value.s)
				if err != nil {
					return nil, err
				}
				if lo = n; found && f.lo.open {
					lo++
				}
			}
			if f.hi.set {
				n, found, err := seg.f.searchDict(c, f.hi.value.s)
				if err != nil {
					return nil, err
				}
				if hi = n; found && !f.hi.open {
					hi++
				}
			}
			return seg.f.entries(c, lo < hi, func(n uint64) bool { return n >= lo && n < hi }), nil
		}
		return seg.f.values(c, ends, func(v value) bool {
			if f.lo.set {
				if cmp, ok := compareValues(v, f.lo.value); !ok || cmp < 0 || cmp == 0 && f.lo.open {
					return false
				}
			}
			if f.hi.set {
				if cmp, ok := compareValues(v, f.hi.value); !ok || cmp > 0 || cmp == 0 && f.hi.open {
					return false
				}
			}
			return true
		}), nil
	})
}

// compareValues orders two values of one kind; ok is false for unlike kinds and for NaN.
func compareValues(a, b value) (order int, ok bool) {
	if kindOf(a.typ) != kindOf(b.typ) {
		return 0, false
	}
	switch {
	case a.typ == colKeyword:
		return strings.Compare(a.s, b.s), true
	case a.typ == colTime && a.n == b.n:
		return sign(a.nano, b.nano), true
	case a.typ == colFloat || b.typ == colFloat:
		return compareNumbers(a, b)
	}
	return sign(a.n, b.n), true
}

func sign(a, b int64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// compareNumbers compares at least one float, exactly: int64 values do not all have a float64.
func compareNumbers(a, b value) (order int, ok bool) {
	if a.typ == colFloat && b.typ == colFloat {
		x, y := math.Float64frombits(uint64(a.n)), math.Float64frombits(uint64(b.n))
		switch {
		case x < y:
			return -1, true
		case x > y:
			return 1, true
		}
		return 0, x == y
	}
	if a.typ == colFloat {
		order, ok = compareNumbers(b, a)
		return -order, ok
	}
	f := math.Float64frombits(uint64(b.n))
	switch {
	case math.IsNaN(f):
		return 0, false
	case f >= 1<<63:
		return -1, true
	case f < -1<<63:
		return 1, true
	}
	whole := math.Floor(f)
	if order = sign(a.n, int64(whole)); order == 0 && f > whole {
		order = -1
	}
	return order, true
}

func (g *group) String() string {
	if len(g.filters) == 0 {
		if g.and {
			return "all()"
		}
		return "none()"
	}
	if len(g.filters) == 1 {
		return g.filters[0].String()
	}
	word := " or "
	if g.and {
		word = " and "
	}
	parts := make([]string, len(g.filters))
	for i, f := range g.filters {
		parts[i] = f.String()
		if inner, ok := f.(*group); ok && len(inner.filters) > 1 {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, word)
}

func (n notFilter) String() string { return "not (" + n.f.String() + ")" }

func (e existsFilter) String() string { return "exists(" + quoteField(string(e)) + ")" }

func (ids idFilter) String() string {
	parts := make([]string, len(ids))
	for i, id := range ids {
		parts[i] = strconv.Quote(id)
	}
	return "id(" + strings.Join(parts, ", ") + ")"
}

func (f *inFilter) String() string {
	if len(f.values) == 1 {
		return quoteField(f.field) + " = " + f.values[0].literal()
	}
	parts := make([]string, len(f.values))
	for i, v := range f.values {
		parts[i] = v.literal()
	}
	return quoteField(f.field) + " in (" + strings.Join(parts, ", ") + ")"
}

func (f *rangeFilter) String() string {
	var parts []string
	add := func(b bound, closed, open string) {
		if b.set {
			op := closed
			if b.open {
				op = open
			}
			parts = append(parts, quoteField(f.field)+" "+op+" "+b.value.literal())
		}
	}
	add(f.lo, ">=", ">")
	add(f.hi, "<=", "<")
	return "(" + strings.Join(parts, " and ") + ")"
}

// literal writes a value as the text form has it.
func (v value) literal() string {
	switch v.typ {
	case colKeyword:
		return strconv.Quote(v.s)
	case colTime:
		return "time(" + strconv.Quote(time.Unix(v.n, v.nano).UTC().Format(time.RFC3339Nano)) + ")"
	case colFloat:
		s := strconv.FormatFloat(math.Float64frombits(uint64(v.n)), 'g', -1, 64)
		if !strings.ContainsAny(s, ".eIN") {
			s += ".0" // stays a float when read back
		}
		return s
	}
	return fmt.Sprint(v.any())
}
