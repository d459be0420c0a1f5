package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/golbert/golbert/internal/torchpt"
)

// Files that name documents.
const (
	ragDocIDs    = "pid_docid_map.json"
	pylateToDoc  = "plaid_ids_to_documents_ids.pkl"
	pylateToPlad = "documents_ids_to_plaid_ids.pkl"
	golbertIDs   = "golbert_ids.json" // an array of ids by position, which WriteFastPLAID leaves
)

// openExtras reads what wrappers add: ids, and the places of texts and metadata.
func (s *Source) openExtras(ctx context.Context) error {
	names, err := s.readIDs()
	if err != nil {
		return err
	}
	if err := s.openTexts(ctx); err != nil {
		return err
	}
	if err := s.openMetadata(ctx); err != nil {
		return err
	}
	if c := s.o.IDColumn; c != "" && s.meta != nil {
		if names, err = s.columnIDs(ctx, c); err != nil {
			return err
		}
	}
	if names == nil {
		return nil
	}
	return s.makeUnique(ctx, names)
}

// readIDs reads the file that maps positions to ids, if there is one.
func (s *Source) readIDs() ([]string, error) {
	names := idList{s: s, names: make([]string, s.docs)}
	if s.o.PositionIDs {
		return nil, nil
	}
	dir := s.dir
	switch {
	case s.wrapper == PyLate:
		if !exists(dir, pylateToDoc) {
			dir += "/.."
		}
		names.file = pylateToDoc
		if err := withFile(dir, pylateToDoc, names.pickle); err != nil {
			return nil, err
		}
		// The map back is not needed, but damage there is a reason for doubt.
		if exists(dir, pylateToPlad) {
			if err := withFile(dir, pylateToPlad, names.back); err != nil {
				return nil, err
			}
		} else {
			s.note("PyLate's %s is missing", pylateToPlad)
		}
	case exists(dir, ragDocIDs):
		names.file = ragDocIDs
		var m map[string]any
		if err := readJSON(dir, ragDocIDs, &m); err != nil {
			return nil, err
		}
		for key, v := range m {
			pid, err := strconv.ParseInt(key, 10, 64)
			if err != nil {
				return nil, bad(ragDocIDs, "key %.40q is not a position", key)
			}
			if err := names.set(pid, v); err != nil {
				return nil, err
			}
		}
	case exists(dir, golbertIDs):
		names.file = golbertIDs
		var l []string
		if err := readJSON(dir, golbertIDs, &l); err != nil {
			return nil, err
		}
		for i, id := range l {
			if err := names.set(int64(i), id); err != nil {
				return nil, err
			}
		}
	default:
		return nil, nil
	}
	if names.beyond > 0 {
		s.note("%s names %d positions beyond the %d of the index", names.file, names.beyond, s.docs)
	}
	return names.names, nil
}

// idList collects names by position.
type idList struct {
	s      *Source
	file   string
	names  []string
	beyond int
}

// set records a name: a string, or a whole number.
func (l *idList) set(pos int64, v any) error {
	var name string
	switch x := v.(type) {
	case string:
		name = x
	case int64:
		name = strconv.FormatInt(x, 10)
	case float64:
		if x != float64(int64(x)) {
			return bad(l.file, "position %d has the id %v, a string or a whole number was expected", pos, x)
		}
		name = strconv.FormatInt(int64(x), 10)
	default:
		return bad(l.file, "position %d has an id of type %T, a string or a whole number was expected", pos, v)
	}
	if pos < 0 || pos >= int64(len(l.names)) {
		l.beyond++
		return nil
	}
	l.names[pos] = name
	return nil
}

// pickle reads a dict of positions to ids. Keys of Python's numbers are int; nothing else is let in.
func (l *idList) pickle(b []byte) error {
	d, err := dict(b)
	if err != nil {
		return err
	}
	for i, k := range d.Keys {
		pos, ok := k.(int64)
		if !ok {
			return fmt.Errorf("key %.40q is a string, a position was expected", k)
		}
		if err := l.set(pos, d.Values[i]); err != nil {
			return err
		}
	}
	return nil
}

// back compares a dict of ids to positions with the names.
func (l *idList) back(b []byte) error {
	d, err := dict(b)
	if err != nil {
		return err
	}
	wrong := 0
	for i, k := range d.Keys {
		pos, ok := d.Values[i].(int64)
		if !ok || pos < 0 || pos >= int64(len(l.names)) || l.names[pos] != fmt.Sprint(k) {
			wrong++
		}
	}
	if wrong > 0 {
		l.s.note("%d entries of %s do not agree with %s, which is taken", wrong, pylateToPlad, pylateToDoc)
	}
	return nil
}

func dict(b []byte) (*torchpt.Dict, error) {
	v, err := torchpt.ParsePickle(b)
	if err != nil {
		return nil, err
	}
	d, ok := v.(*torchpt.Dict)
	if !ok {
		return nil, fmt.Errorf("holds a %T, a dict was expected", v)
	}
	return d, nil
}

// columnIDs takes the ids from a column of the metadata.
func (s *Source) columnIDs(ctx context.Context, column string) ([]string, error) {
	names := make([]string, s.docs)
	found := false
	for p, err := range s.positions(ctx) {
		if err != nil {
			return nil, err
		}
		m, err := s.meta.of(p, "")
		if err != nil {
			return nil, err
		}
		if v, ok := m[column]; ok {
			names[p], found = fmt.Sprint(v), true
		}
	}
	if !found && s.live > 0 {
		return nil, bad("metadata.db", "no document has a value in the column %q", column)
	}
	return names, nil
}

// makeUnique turns names into ids that differ. A name that several documents have (passages of a document in
// RAGatouille, documents that PyLate was given twice) gets the passage's number, "name#0", "name#1", and one
// that is missing gives way to the position; more "#" go between where that collides with another.
func (s *Source) makeUnique(ctx context.Context, names []string) error {
	count := make(map[string]int, len(names))
	missing := 0
	for p, err := range s.positions(ctx) {
		if err != nil {
			return err
		}
		if names[p] == "" {
			missing++
		} else {
			count[names[p]]++
		}
	}
	taken := func(id string) bool { return count[id] != 0 }
	free := func(stem, number string) string {
		for sep := "#"; ; sep += "#" {
			if id := stem + sep + number; !taken(id) {
				return id
			}
		}
	}
	several, next := 0, map[string]int{}
	s.ids = make([]string, len(names))
	for p, err := range s.positions(ctx) {
		if err != nil {
			return err
		}
		name := names[p]
		switch {
		case name == "":
			if s.ids[p] = strconv.Itoa(p); taken(s.ids[p]) {
				s.ids[p] = free("", strconv.Itoa(p))
			}
			count[s.ids[p]] = -1
		case count[name] > 1:
			if s.names == nil {
				s.names = make([]string, len(names))
			}
			if next[name] == 0 {
				several++
			}
			s.names[p] = name
			s.ids[p] = free(name, strconv.Itoa(next[name]))
			count[s.ids[p]] = -1
			next[name]++
		default:
			s.ids[p] = name
		}
	}
	if missing > 0 {
		s.note("%d documents have no id in the source; their positions are taken", missing)
	}
	if several > 0 {
		s.note("%d ids name several documents (passages); they are numbered, id#0, id#1 and so on, and keep the id as metadata %q", several, MetaDocument)
	}
	return nil
}

// Attributes describe where an index comes from, for index.Options.Attributes.
func (s *Source) Attributes() map[string]string {
	a := map[string]string{AttrFormat: string(s.format)}
	if s.wrapper != NoWrapper {
		a[AttrWrapper] = string(s.wrapper)
	}
	if s.p.checkpoint != "" {
		a[AttrCheckpoint] = s.p.checkpoint
	}
	const most = 64 << 10
	if len(s.p.config) > 0 && len(s.p.config) <= most && json.Valid(s.p.config) {
		a[AttrConfig] = string(s.p.config)
	}
	return a
}

// Attributes of an imported index. WriteColBERTAI gives the configuration back.
const (
	AttrFormat     = "interop.format"
	AttrWrapper    = "interop.wrapper"
	AttrCheckpoint = "interop.checkpoint"
	AttrConfig     = "interop.config" // colbert-ai's, as JSON
)
