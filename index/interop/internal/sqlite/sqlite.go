// Package sqlite reads the tables of a SQLite 3 database file: enough for the metadata.db that fast-plaid and
// next-plaid keep, without a database engine. It reads rowid tables in UTF-8, by a scan or by rowid; it knows
// neither indexes nor SQL, and writes nothing.
//
// The format: https://www.sqlite.org/fileformat2.html
package sqlite

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

var (
	// ErrCorrupt reports bytes that are not a sound database.
	ErrCorrupt = errors.New("sqlite: damaged database")
	// ErrUnsupported reports a database in a form that is not read.
	ErrUnsupported = errors.New("sqlite: not supported")
)

// DB is a database file. It is safe for concurrent use.
type DB struct {
	b      []byte
	page   int // bytes of a page
	usable int // without the reserved end
	tables map[string]*Table
}

// Table is a table with rowids.
type Table struct {
	Name    string
	Columns []Column
	db      *DB
	root    uint32
}

// Column is a column. RowID marks an INTEGER PRIMARY KEY, whose values are the rowids; Real columns hold float64.
type Column struct {
	Name        string
	RowID, Real bool
}

// maxDepth of a tree; 2^31 pages with two children each would be less deep.
const maxDepth = 32

// maxRow bounds a row that is put together from overflow pages.
const maxRow = 64 << 20

// Open reads the header and the list of tables. b is kept.
func Open(b []byte) (*DB, error) {
	if len(b) < 100 || string(b[:16]) != "SQLite format 3\x00" {
		return nil, fmt.Errorf("no header: %w", ErrCorrupt)
	}
	db := &DB{b: b, page: int(binary.BigEndian.Uint16(b[16:])), tables: map[string]*Table{}}
	if db.page == 1 {
		db.page = 65536
	}
	db.usable = db.page - int(b[20])
	if db.page < 512 || db.page&(db.page-1) != 0 || db.usable < 480 || len(b) < db.page {
		return nil, fmt.Errorf("pages of %d bytes, %d usable, in %d: %w", db.page, db.usable, len(b), ErrCorrupt)
	}
	if enc := binary.BigEndian.Uint32(b[56:]); enc > 1 {
		return nil, fmt.Errorf("text encoding %d: %w", enc, ErrUnsupported)
	}
	schema := &Table{db: db, root: 1, Name: "sqlite_schema"}
	err := schema.Scan(func(_ int64, v []any) error {
		if len(v) < 5 || v[0] != "table" {
			return nil
		}
		name, ok1 := v[1].(string)
		root, ok2 := v[3].(int64)
		sql, ok3 := v[4].(string)
		if !ok1 || !ok2 || !ok3 || root <= 0 || root > math.MaxUint32 {
			return nil // virtual tables have no root
		}
		if t := parseTable(sql); t != nil {
			t.Name, t.db, t.root = name, db, uint32(root)
			db.tables[name] = t
		}
		return nil
	})
	return db, err
}

// Table finds a table by its name; nil when there is none that is read.
func (db *DB) Table(name string) *Table { return db.tables[name] }

// parseTable reads the columns out of CREATE TABLE; nil when the statement is none, or has no rowids.
func parseTable(sql string) *Table {
	open := strings.IndexByte(sql, '(')
	end := strings.LastIndexByte(sql, ')')
	if open < 0 || end < open || strings.Contains(strings.ToUpper(sql[end:]), "WITHOUT") {
		return nil
	}
	t := &Table{}
	for _, def := range splitTop(sql[open+1 : end]) {
		name, rest := token(strings.TrimSpace(def))
		rest = strings.Join(strings.Fields(strings.ToUpper(rest)), " ")
		if name == "" {
			continue
		}
		switch strings.ToUpper(name) {
		case "PRIMARY", "UNIQUE", "CHECK", "FOREIGN", "CONSTRAINT":
			continue // a condition of the table
		}
		typ, _, _ := strings.Cut(rest, " ")
		t.Columns = append(t.Columns, Column{
			Name:  name,
			RowID: strings.HasPrefix(rest, "INTEGER PRIMARY KEY") && !strings.HasPrefix(rest, "INTEGER PRIMARY KEY DESC"),
			Real:  strings.Contains(typ, "REAL") || strings.Contains(typ, "FLOA") || strings.Contains(typ, "DOUB"),
		})
	}
	return t
}

// splitTop splits at the commas that stand in no brackets and no quotes.
func splitTop(s string) (out []string) {
	depth, from := 0, 0
	var quote byte
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '[':
			quote = ']'
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ',' && depth == 0:
			out = append(out, s[from:i])
			from = i + 1
		}
	}
	return append(out, s[from:])
}

// token takes a name, quoted or not, off a definition.
func token(s string) (name, rest string) {
	if s == "" {
		return "", ""
	}
	quote := map[byte]byte{'"': '"', '`': '`', '[': ']', '\'': '\''}[s[0]]
	if quote == 0 {
		if i := strings.IndexAny(s, " \t\r\n"); i >= 0 {
			return s[:i], s[i:]
		}
		return s, ""
	}
	for i := 1; i < len(s); i++ {
		if s[i] != quote {
			continue
		}
		if quote != ']' && i+1 < len(s) && s[i+1] == quote {
			i++ // a doubled quote stands for itself
			continue
		}
		q := string(quote)
		return strings.ReplaceAll(s[1:i], q+q, q), s[i+1:]
	}
	return "", ""
}

func (db *DB) at(n uint32) ([]byte, error) {
	if n == 0 || uint64(n) > uint64(len(db.b)/db.page) {
		return nil, fmt.Errorf("page %d of %d: %w", n, len(db.b)/db.page, ErrCorrupt)
	}
	return db.b[int(n-1)*db.page : int(n)*db.page], nil
}

// node is a page of a table's tree.
type node struct {
	p     []byte
	leaf  bool
	cells []byte // pointers, 2 bytes each
	right uint32
}

func (db *DB) node(n uint32) (node, error) {
	p, err := db.at(n)
	if err != nil {
		return node{}, err
	}
	h := p
	if n == 1 {
		h = p[100:]
	}
	x := node{p: p, leaf: h[0] == 13}
	head := 8
	if !x.leaf {
		if h[0] != 5 {
			return node{}, fmt.Errorf("page %d has type %d, a table's was expected: %w", n, h[0], ErrCorrupt)
		}
		head = 12
		x.right = binary.BigEndian.Uint32(h[8:])
	}
	count := int(binary.BigEndian.Uint16(h[3:]))
	if head+2*count > len(h) {
		return node{}, fmt.Errorf("page %d declares %d cells: %w", n, count, ErrCorrupt)
	}
	x.cells = h[head : head+2*count]
	return x, nil
}

func (x *node) len() int { return len(x.cells) / 2 }

func (x *node) cell(i int) ([]byte, error) {
	at := int(binary.BigEndian.Uint16(x.cells[2*i:]))
	if at >= len(x.p) {
		return nil, fmt.Errorf("cell at %d of a page of %d: %w", at, len(x.p), ErrCorrupt)
	}
	return x.p[at:], nil
}

// child gives an interior cell's page and key.
func (x *node) child(i int) (page uint32, key int64, err error) {
	c, err := x.cell(i)
	if err != nil || len(c) < 5 {
		return 0, 0, fmt.Errorf("interior cell %d: %w", i, ErrCorrupt)
	}
	k, n := varint(c[4:])
	if n == 0 {
		return 0, 0, fmt.Errorf("interior cell %d: %w", i, ErrCorrupt)
	}
	return binary.BigEndian.Uint32(c), int64(k), nil
}

// Scan calls f with every row, in the order of rowids. The values of a row are nil, int64, float64, string and
// []byte, in the order of Columns, and are good until f returns; rows may be shorter than Columns.
func (t *Table) Scan(f func(rowid int64, values []any) error) error {
	left := len(t.db.b) / t.db.page // no page is in a tree twice
	return t.scan(t.root, 0, &left, f)
}

func (t *Table) scan(page uint32, depth int, left *int, f func(int64, []any) error) error {
	if *left--; depth > maxDepth || *left < 0 {
		return fmt.Errorf("table %q goes round in circles: %w", t.Name, ErrCorrupt)
	}
	x, err := t.db.node(page)
	if err != nil {
		return err
	}
	for i := range x.len() {
		if !x.leaf {
			c, _, err := x.child(i)
			if err != nil {
				return err
			}
			if err := t.scan(c, depth+1, left, f); err != nil {
				return err
			}
			continue
		}
		c, err := x.cell(i)
		if err != nil {
			return err
		}
		id, v, err := t.row(c)
		if err != nil {
			return err
		}
		if err := f(id, v); err != nil {
			return err
		}
	}
	if x.leaf {
		return nil
	}
	return t.scan(x.right, depth+1, left, f)
}

// Get gives the row with a rowid; ok is false when there is none.
func (t *Table) Get(rowid int64) (values []any, ok bool, err error) {
	page := t.root
	for range maxDepth {
		x, err := t.db.node(page)
		if err != nil {
			return nil, false, err
		}
		lo, hi := 0, x.len()
		for lo < hi {
			mid := (lo + hi) / 2
			var key int64
			if x.leaf {
				key, err = x.key(mid)
			} else {
				_, key, err = x.child(mid)
			}
			if err != nil {
				return nil, false, err
			}
			if key < rowid {
				lo = mid + 1
			} else {
				hi = mid
			}
		}
		switch {
		case x.leaf && lo < x.len():
			c, err := x.cell(lo)
			if err != nil {
				return nil, false, err
			}
			id, v, err := t.row(c)
			return v, err == nil && id == rowid, err
		case x.leaf:
			return nil, false, nil
		case lo < x.len():
			if page, _, err = x.child(lo); err != nil {
				return nil, false, err
			}
		default:
			page = x.right
		}
	}
	return nil, false, fmt.Errorf("table %q is too deep: %w", t.Name, ErrCorrupt)
}

// key gives a leaf cell's rowid.
func (x *node) key(i int) (int64, error) {
	c, err := x.cell(i)
	if err != nil {
		return 0, err
	}
	_, n := varint(c)
	id, m := varint(c[n:])
	if n == 0 || m == 0 {
		return 0, fmt.Errorf("cell %d: %w", i, ErrCorrupt)
	}
	return int64(id), nil
}

// row reads a leaf cell.
func (t *Table) row(c []byte) (int64, []any, error) {
	size, n := varint(c)
	id, m := varint(c[n:])
	if n == 0 || m == 0 || size > maxRow {
		return 0, nil, fmt.Errorf("row of %d bytes: %w", size, ErrCorrupt)
	}
	payload, err := t.db.payload(c[n+m:], int(size))
	if err != nil {
		return 0, nil, err
	}
	v, err := record(payload)
	if err != nil {
		return 0, nil, fmt.Errorf("row %d of table %q: %w", int64(id), t.Name, err)
	}
	for i := range min(len(v), len(t.Columns)) {
		if t.Columns[i].RowID {
			v[i] = int64(id)
		}
		if x, ok := v[i].(int64); ok && t.Columns[i].Real {
			v[i] = float64(x) // whole numbers are stored as integers
		}
	}
	return int64(id), v, nil
}

// payload puts a row together from its cell and overflow pages.
func (db *DB) payload(c []byte, size int) ([]byte, error) {
	local, u := size, db.usable
	if size > u-35 {
		least := (u-12)*32/255 - 23
		if local = least + (size-least)%(u-4); local > u-35 {
			local = least
		}
	}
	if local > len(c) || local < size && local+4 > len(c) {
		return nil, fmt.Errorf("row of %d bytes runs over its page: %w", size, ErrCorrupt)
	}
	if local == size {
		return c[:size], nil
	}
	out := append([]byte(nil), c[:local]...)
	next := binary.BigEndian.Uint32(c[local:])
	for len(out) < size { // each step adds bytes, so that a circle ends
		p, err := db.at(next)
		if err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(p)
		out = append(out, p[4:4+min(u-4, size-len(out))]...)
	}
	return out, nil
}

// record reads the values of a row.
func record(b []byte) ([]any, error) {
	size, n := varint(b)
	if n == 0 || size > uint64(len(b)) || size < uint64(n) {
		return nil, fmt.Errorf("record header: %w", ErrCorrupt)
	}
	head, body := b[n:size], b[size:]
	var out []any
	for len(head) > 0 {
		typ, n := varint(head)
		if n == 0 {
			return nil, fmt.Errorf("record header: %w", ErrCorrupt)
		}
		head = head[n:]
		var width uint64
		switch {
		case typ <= 4:
			width = typ
		case typ == 5:
			width = 6
		case typ == 6 || typ == 7:
			width = 8
		case typ >= 12:
			width = (typ - 12) / 2
		case typ > 9:
			return nil, fmt.Errorf("value of type %d: %w", typ, ErrCorrupt)
		}
		if width > uint64(len(body)) {
			return nil, fmt.Errorf("value of %d bytes, %d are left: %w", width, len(body), ErrCorrupt)
		}
		v := body[:width]
		body = body[width:]
		switch {
		case typ == 0:
			out = append(out, nil)
		case typ <= 6:
			x := int64(int8(v[0]))
			for _, c := range v[1:] {
				x = x<<8 | int64(c)
			}
			out = append(out, x)
		case typ == 7:
			out = append(out, math.Float64frombits(binary.BigEndian.Uint64(v)))
		case typ == 8 || typ == 9:
			out = append(out, int64(typ-8))
		case typ%2 == 0:
			out = append(out, v)
		default:
			out = append(out, string(v))
		}
	}
	return out, nil
}

// varint reads a number of one to nine bytes; n is 0 when b ends before it does.
func varint(b []byte) (v uint64, n int) {
	for i := range min(len(b), 9) {
		if i == 8 {
			return v<<8 | uint64(b[i]), 9
		}
		v = v<<7 | uint64(b[i]&0x7f)
		if b[i] < 0x80 {
			return v, i + 1
		}
	}
	return 0, 0
}
