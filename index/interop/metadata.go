package interop

import (
	"context"
	"encoding/json"
	"strings"
	"unicode/utf8"
)

// metadata gives documents' metadata, by position or by the source's own id.
type metadata interface {
	of(pos int, name string) (map[string]any, error)
	close() error
}

// openMetadata looks for docid_metadata_map.json and metadata.db.
func (s *Source) openMetadata(ctx context.Context) error {
	if s.o.NoMetadata {
		return nil
	}
	if s.wrapper == RAGatouille && exists(s.dir, ragMetadata) {
		m := &ragMeta{}
		if err := readJSON(s.dir, ragMetadata, &m.raw); err != nil {
			return err
		}
		s.meta = m
		return nil
	}
	return s.openDB(ctx)
}

// ragMeta is RAGatouille's docid_metadata_map.json: an object per document id. It is held as text.
type ragMeta struct{ raw map[string]json.RawMessage }

func (m *ragMeta) close() error { return nil }

func (m *ragMeta) of(_ int, name string) (map[string]any, error) {
	raw := m.raw[name]
	if raw == nil {
		return nil, nil
	}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	d.UseNumber()
	var v map[string]any
	if err := d.Decode(&v); err != nil {
		return nil, bad(ragMetadata, "metadata of %.80q: %w", name, err)
	}
	out := make(map[string]any, len(v))
	for key, x := range v {
		if x := plain(x); x != nil && key != "" {
			out[key] = x
		}
	}
	return out, nil
}

// plain turns a JSON value into one that an index stores: whole numbers become int64, other numbers float64,
// null nothing, and lists and objects their JSON.
func plain(v any) any {
	switch x := v.(type) {
	case nil, string, bool:
		return x
	case json.Number:
		if n, err := x.Int64(); err == nil {
			return n
		}
		f, err := x.Float64()
		if err != nil {
			return x.String() // beyond float64
		}
		return f
	}
	b, err := json.Marshal(v)
	if err != nil || !utf8.Valid(b) {
		return nil
	}
	return string(b)
}
