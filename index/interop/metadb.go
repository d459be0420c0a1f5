package interop

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"unicode/utf8"

	"github.com/golbert/golbert/index/interop/internal/sqlite"
	"github.com/golbert/golbert/internal/mmapfile"
)

// metaDB is the name of fast-plaid's and next-plaid's metadata database: a table METADATA with a row per
// document, whose number is in the column _subset_. In next-plaid's newer form the other columns lie in part in
// METADATA_CONTENT, by the number in _content_id_.
const metaDB = "metadata.db"

const (
	subsetColumn  = "_subset_"
	contentColumn = "_content_id_"
)

// openDB opens metadata.db.
func (s *Source) openDB(ctx context.Context) error {
	if s.format == ColBERTAI || !exists(s.dir, metaDB) {
		return nil
	}
	// What a writer has not yet moved into the file itself cannot be seen here.
	for _, f := range []string{metaDB + "-wal", metaDB + "-journal"} {
		if st, err := os.Stat(filepath.Join(s.dir, f)); err == nil && st.Size() > 0 {
			s.note("%s was not read: %s holds changes of a writer that did not finish; open and close it with SQLite once", metaDB, f)
			return nil
		}
	}
	f, err := mapped(s.dir, metaDB)
	if err != nil {
		return err
	}
	m := &dbMeta{file: f, note: s.note, left: map[string]bool{}}
	if err := m.open(ctx); err != nil {
		_ = f.Close()
		if errors.Is(err, sqlite.ErrUnsupported) {
			s.note("%s was not read: %v", metaDB, err)
			return nil
		}
		return err
	}
	s.meta = m
	return nil
}

// dbMeta reads rows as they are asked for.
type dbMeta struct {
	file       *mmapfile.File
	rows, more *sqlite.Table
	byRow      map[int64]int64 // position -> rowid, nil when they are the same
	note       func(format string, args ...any)
	left       map[string]bool // columns of which something was left out
}

func (m *dbMeta) close() error { return m.file.Close() }

func (m *dbMeta) fault(err error) error {
	if errors.Is(err, sqlite.ErrUnsupported) {
		return err
	}
	return &FileError{File: metaDB, Err: err}
}

func (m *dbMeta) open(ctx context.Context) error {
	db, err := sqlite.Open(m.file.Bytes())
	if err != nil {
		return m.fault(err)
	}
	if m.rows = db.Table("METADATA"); m.rows == nil {
		return m.fault(fmt.Errorf("no table METADATA: %w", sqlite.ErrUnsupported))
	}
	m.more = db.Table("METADATA_CONTENT")
	at := -1
	for i, c := range m.rows.Columns {
		if c.Name == subsetColumn {
			at = i
			if c.RowID {
				return nil
			}
		}
	}
	if at < 0 {
		return m.fault(fmt.Errorf("METADATA has no column %s: %w", subsetColumn, sqlite.ErrUnsupported))
	}
	m.byRow = map[int64]int64{}
	err = m.rows.Scan(func(id int64, v []any) error {
		if len(m.byRow)%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if at < len(v) {
			if p, ok := v[at].(int64); ok {
				m.byRow[p] = id
			}
		}
		return nil
	})
	if err != nil && ctx.Err() == nil {
		err = m.fault(err)
	}
	return err
}

// of gives a document's row. Columns without a value are left out; so are blobs and strings that are not UTF-8,
// with a note per column.
func (m *dbMeta) of(pos int, _ string) (map[string]any, error) {
	id := int64(pos)
	if m.byRow != nil {
		var ok bool
		if id, ok = m.byRow[id]; !ok {
			return nil, nil
		}
	}
	out := map[string]any{}
	content, err := m.take(out, m.rows, id)
	if err == nil && content != nil && m.more != nil {
		_, err = m.take(out, m.more, *content)
	}
	if err != nil {
		return nil, m.fault(fmt.Errorf("document %d: %w", pos, err))
	}
	return out, nil
}

// leave notes a column whose values metadata cannot hold.
func (m *dbMeta) leave(column string) {
	if !m.left[column] {
		m.left[column] = true
		m.note("%s: values of column %q that are blobs, or strings that are not UTF-8, were left out", metaDB, column)
	}
}

// take adds a row's values, and gives the number of its content.
func (m *dbMeta) take(out map[string]any, t *sqlite.Table, id int64) (content *int64, err error) {
	v, ok, err := t.Get(id)
	if err != nil || !ok {
		return nil, err
	}
	for i, c := range t.Columns {
		if i >= len(v) || c.Name == subsetColumn || c.Name == "" {
			continue
		}
		switch x := v[i].(type) {
		case int64:
			if c.Name == contentColumn {
				content = &x
				continue
			}
			out[c.Name] = x
		case float64:
			out[c.Name] = x
		case string:
			if utf8.ValidString(x) {
				out[c.Name] = x
				continue
			}
			m.leave(c.Name)
		case []byte:
			m.leave(c.Name)
		}
	}
	return content, nil
}
