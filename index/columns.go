package index

import (
	"encoding/binary"
	"fmt"
	"math"
	"sort"
	"time"
	"unicode/utf8"
)

// columnType is the type of a metadata column. The numbers are part of the format.
type columnType uint8

const (
	colKeyword columnType = 1
	colInt     columnType = 2
	colFloat   columnType = 3
	colBool    columnType = 4
	colTime    columnType = 5
)

func (t columnType) String() string {
	names := [...]string{"", "keyword", "int64", "float64", "bool", "time"}
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("type %d", uint8(t))
}

// Presence modes: which documents have a value in a column.
const (
	presentAll    = 0 // every document
	presentList   = 1 // packed ordinals, ascending
	presentBitmap = 2 // one bit per document, then a u32 count before each rankStep bits
)

// rankStep is how many bits of a presence bitmap lie between two counts.
const rankStep = 512

// maxColumnName and maxKeyword bound metadata; maxColumns bounds the names and types in one segment.
const (
	maxColumnName = 512
	maxKeyword    = 1 << 20
)

// value is one metadata value in the form in which columns keep it.
type value struct {
	typ  columnType
	s    string
	n    int64 // int, bool (0, 1), float (bits), seconds of a time
	nano int64
}

// toValue converts a metadata value; the error wraps ErrInvalidMetadata.
func toValue(name string, v any) (value, error) {
	if len(name) == 0 || len(name) > maxColumnName || !utf8.ValidString(name) {
		return value{}, fmt.Errorf("metadata name %q: want 1 to %d bytes of UTF-8: %w", clip(name), maxColumnName, ErrInvalidMetadata)
	}
	switch x := v.(type) {
	case string:
		if len(x) > maxKeyword || !utf8.ValidString(x) {
			return value{}, fmt.Errorf("metadata %q: want at most %d bytes of UTF-8, got %d bytes: %w", clip(name), maxKeyword, len(x), ErrInvalidMetadata)
		}
		return value{typ: colKeyword, s: x}, nil
	case int:
		return value{typ: colInt, n: int64(x)}, nil
	case int8:
		return value{typ: colInt, n: int64(x)}, nil
	case int16:
		return value{typ: colInt, n: int64(x)}, nil
	case int32:
		return value{typ: colInt, n: int64(x)}, nil
	case int64:
		return value{typ: colInt, n: x}, nil
	case uint8:
		return value{typ: colInt, n: int64(x)}, nil
	case uint16:
		return value{typ: colInt, n: int64(x)}, nil
	case uint32:
		return value{typ: colInt, n: int64(x)}, nil
	case uint:
		if uint64(x) <= math.MaxInt64 {
			return value{typ: colInt, n: int64(x)}, nil
		}
	case uint64:
		if x <= math.MaxInt64 {
			return value{typ: colInt, n: int64(x)}, nil
		}
	case float32:
		return value{typ: colFloat, n: int64(math.Float64bits(float64(x)))}, nil
	case float64:
		return value{typ: colFloat, n: int64(math.Float64bits(x))}, nil
	case bool:
		if x {
			return value{typ: colBool, n: 1}, nil
		}
		return value{typ: colBool}, nil
	case time.Time:
		return value{typ: colTime, n: x.Unix(), nano: int64(x.Nanosecond())}, nil
	}
	return value{}, fmt.Errorf("metadata %q: type %T has no column, or the value does not fit int64: %w", clip(name), v, ErrInvalidMetadata)
}

func (v value) any() any {
	switch v.typ {
	case colKeyword:
		return v.s
	case colInt:
		return v.n
	case colFloat:
		return math.Float64frombits(uint64(v.n))
	case colBool:
		return v.n != 0
	default:
		return time.Unix(v.n, v.nano).UTC()
	}
}

// columnBuilder gathers one column of a segment.
type columnBuilder struct {
	name string
	typ  columnType
	ords []uint32
	nums []int64 // keyword: dictionary number in order of first use
	nano []int64 // time only
	dict map[string]int64
}

type columnKey struct {
	name string
	typ  columnType
}

// columnsBuilder gathers the metadata of a segment's documents.
type columnsBuilder struct {
	cols map[columnKey]*columnBuilder
	mem  int // estimate of the bytes held
}

func (b *columnsBuilder) add(ord uint32, m Metadata) error {
	for name, v := range m {
		x, err := toValue(name, v)
		if err != nil {
			return err
		}
		key := columnKey{name, x.typ}
		c := b.cols[key]
		if c == nil {
			if b.cols == nil {
				b.cols = make(map[columnKey]*columnBuilder)
			}
			c = &columnBuilder{name: name, typ: x.typ}
			b.cols[key] = c
			b.mem += 200 + len(name)
		}
		if x.typ == colKeyword {
			n, ok := c.dict[x.s]
			if !ok {
				if c.dict == nil {
					c.dict = make(map[string]int64)
				}
				n = int64(len(c.dict))
				c.dict[x.s] = n
				b.mem += 60 + len(x.s)
			}
			x.n = n
		}
		c.ords = append(c.ords, ord)
		c.nums = append(c.nums, x.n)
		b.mem += 12
		if x.typ == colTime {
			c.nano = append(c.nano, x.nano)
			b.mem += 8
		}
	}
	return nil
}

// columnPart is a byte range within the columns section.
type columnPart struct{ off, len uint64 }

// column is a column's entry in the directory.
type column struct {
	name     string
	typ      columnType
	mode     uint8  // presence
	count    uint64 // documents with a value
	base     uint64 // added to each packed value (int64 bits)
	width    uint   // of values
	width2   uint   // of nanoseconds; of dictionary offsets for keywords
	dict     uint64 // keywords: size of the dictionary
	presence columnPart
	values   columnPart
	values2  columnPart // nanoseconds, or dictionary offsets
	strings  columnPart // dictionary
}

// build gives the directory and the section of the columns, by name and type; nil when there are none.
func (b *columnsBuilder) build(docs uint64) (dir, payload []byte) {
	if len(b.cols) == 0 {
		return nil, nil
	}
	keys := make([]columnKey, 0, len(b.cols))
	for k := range b.cols {
		keys = append(keys, k)
	}
	sort.Slice(keys, func(i, j int) bool {
		if keys[i].name != keys[j].name {
			return keys[i].name < keys[j].name
		}
		return keys[i].typ < keys[j].typ
	})
	part := func(p []byte) columnPart {
		c := columnPart{uint64(len(payload)), uint64(len(p))}
		payload = append(payload, p...)
		return c
	}
	dir = binary.AppendUvarint(nil, uint64(len(keys)))
	for _, k := range keys {
		cb := b.cols[k]
		c := column{name: cb.name, typ: cb.typ, count: uint64(len(cb.ords))}
		var p []byte
		c.mode, p = encodePresence(cb.ords, docs)
		c.presence = part(p)
		nums := make([]uint64, len(cb.nums))
		var most uint64
		switch cb.typ {
		case colKeyword:
			rank, strs, offs := sortDict(cb.dict)
			c.dict = uint64(len(rank))
			for i, n := range cb.nums {
				nums[i] = rank[n]
			}
			most = c.dict - 1
			p, c.width2 = packUints(offs, uint64(len(strs)), 1)
			c.values2 = part(p)
			c.strings = part(strs)
		case colInt, colTime:
			lo := cb.nums[0]
			for _, n := range cb.nums {
				lo = min(lo, n)
			}
			c.base = uint64(lo)
			for i, n := range cb.nums {
				nums[i] = uint64(n) - c.base // two's complement: right even when the difference overflows int64
				most = max(most, nums[i])
			}
			if cb.typ == colTime {
				nano, top := make([]uint64, len(cb.nano)), uint64(0)
				for i, n := range cb.nano {
					nano[i] = uint64(n)
					top = max(top, nano[i])
				}
				p, c.width2 = packUints(nano, top, 0)
				c.values2 = part(p)
			}
		default:
			for i, n := range cb.nums {
				nums[i] = uint64(n)
				most = max(most, nums[i])
			}
		}
		p, c.width = packUints(nums, most, 0)
		c.values = part(p)
		dir = c.append(dir)
	}
	return dir, payload
}

func (c *column) append(b []byte) []byte {
	u := binary.AppendUvarint
	b = append(u(b, uint64(len(c.name))), c.name...)
	b = append(b, byte(c.typ), c.mode)
	for _, v := range []uint64{c.count, c.base, uint64(c.width), uint64(c.width2), c.dict, c.presence.off, c.presence.len,
		c.values.off, c.values.len, c.values2.off, c.values2.len, c.strings.off, c.strings.len} {
		b = u(b, v)
	}
	return b
}

// sortDict orders a dictionary: rank of each old number, and the strings end to end with their offsets.
func sortDict(dict map[string]int64) (rank []uint64, strs []byte, offs []uint64) {
	keys := make([]string, 0, len(dict))
	for s := range dict {
		keys = append(keys, s)
	}
	sort.Strings(keys)
	rank = make([]uint64, len(keys))
	offs = append(make([]uint64, 0, len(keys)+1), 0)
	for i, s := range keys {
		rank[dict[s]] = uint64(i)
		strs = append(strs, s...)
		offs = append(offs, uint64(len(strs)))
	}
	return rank, strs, offs
}

func encodePresence(ords []uint32, docs uint64) (mode uint8, b []byte) {
	n := uint64(len(ords))
	if n == docs {
		return presentAll, nil
	}
	if n*uint64(bitWidth(docs-1)) <= docs+docs/16 {
		list := make([]uint64, n)
		for i, o := range ords {
			list[i] = uint64(o)
		}
		b, _ = packUints(list, docs-1, 1)
		return presentList, b
	}
	// The counts follow the bits: one per rankStep bits, of the ones before them.
	b = make([]byte, (docs+7)/8)
	for _, o := range ords {
		b[o/8] |= 1 << (o % 8)
	}
	next, count := 0, uint32(0)
	for at := uint64(0); at < docs; at += rankStep {
		for next < len(ords) && uint64(ords[next]) < at {
			next++
			count++
		}
		b = binary.LittleEndian.AppendUint32(b, count)
	}
	return presentBitmap, b
}

// presenceLen is the length that encodePresence gives.
func presenceLen(mode uint8, count, docs uint64) (uint64, bool) {
	switch mode {
	case presentAll:
		return 0, count == docs
	case presentList:
		n, ok := packedLen(count, max(bitWidth(docs-1), 1))
		return n, ok && count < docs
	case presentBitmap:
		return (docs+7)/8 + (docs+rankStep-1)/rankStep*4, count < docs
	}
	return 0, false
}

// parseColumns reads the directory of the columns, whose section has the given length. The parts are checked
// against counts and widths here, so that reading values only has to check what they mean.
func parseColumns(dir []byte, length, docs uint64) ([]column, error) {
	if len(dir) == 0 {
		if length > 0 {
			return nil, fmt.Errorf("a section of %d bytes without a directory", length)
		}
		return nil, nil
	}
	dirLen := uint64(len(dir))
	bad := false
	u := func() uint64 {
		v, n := binary.Uvarint(dir)
		if n <= 0 {
			bad = true
			return 0
		}
		dir = dir[n:]
		return v
	}
	n := u()
	if n > dirLen/17 { // the least an entry takes
		return nil, fmt.Errorf("%d columns in a directory of %d bytes", n, dirLen)
	}
	cols := make([]column, n)
	for i := range cols {
		c := &cols[i]
		nameLen := u()
		if bad || nameLen == 0 || nameLen > maxColumnName || nameLen+2 > uint64(len(dir)) {
			return nil, fmt.Errorf("column %d: bad name", i)
		}
		c.name = string(dir[:nameLen])
		c.typ, c.mode = columnType(dir[nameLen]), dir[nameLen+1]
		dir = dir[nameLen+2:]
		c.count, c.base = u(), u()
		w, w2 := u(), u()
		c.dict = u()
		for _, p := range []*columnPart{&c.presence, &c.values, &c.values2, &c.strings} {
			p.off, p.len = u(), u()
			if p.off > length || p.len > length-p.off {
				return nil, fmt.Errorf("column %q: part of %d bytes at %d lies outside of the section", c.name, p.len, p.off)
			}
		}
		if bad {
			return nil, fmt.Errorf("column %d: directory ends early", i)
		}
		if !utf8.ValidString(c.name) {
			return nil, fmt.Errorf("column %d: name is not UTF-8", i)
		}
		if i > 0 && (cols[i-1].name > c.name || cols[i-1].name == c.name && cols[i-1].typ >= c.typ) {
			return nil, fmt.Errorf("column %q: out of order", c.name)
		}
		if w > 64 || w2 > 64 || !validWidth(uint(w)) || !validWidth(uint(w2)) {
			return nil, fmt.Errorf("column %q: width %d or %d", c.name, w, w2)
		}
		c.width, c.width2 = uint(w), uint(w2)
		if err := c.check(docs); err != nil {
			return nil, fmt.Errorf("column %q: %w", c.name, err)
		}
	}
	if len(dir) != 0 {
		return nil, fmt.Errorf("%d bytes too many in the directory", len(dir))
	}
	return cols, nil
}

// check compares part lengths with counts and widths.
func (c *column) check(docs uint64) error {
	if c.typ < colKeyword || c.typ > colTime {
		return fmt.Errorf("unknown type %d", c.typ)
	}
	if c.count == 0 || c.count > docs {
		return fmt.Errorf("%d values for %d documents", c.count, docs)
	}
	want, ok := presenceLen(c.mode, c.count, docs)
	if !ok || want != c.presence.len {
		return fmt.Errorf("presence mode %d takes %d bytes, want %d", c.mode, c.presence.len, want)
	}
	want, ok = packedLen(c.count, c.width)
	if !ok || want != c.values.len {
		return fmt.Errorf("values take %d bytes, want %d", c.values.len, want)
	}
	var want2 uint64
	switch c.typ {
	case colKeyword:
		if c.dict == 0 || c.dict > c.count || c.width2 == 0 {
			return fmt.Errorf("dictionary of %d entries for %d values", c.dict, c.count)
		}
		want2, ok = packedLen(c.dict+1, c.width2)
	case colTime:
		want2, ok = packedLen(c.count, c.width2)
	case colBool:
		ok = c.width <= 1
	}
	if !ok || want2 != c.values2.len {
		return fmt.Errorf("second part takes %d bytes, want %d", c.values2.len, want2)
	}
	return nil
}
