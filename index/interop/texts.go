package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

// RAGatouille's files.
const (
	ragCollection = "collection.json"
	ragMetadata   = "docid_metadata_map.json"
)

// textFile is RAGatouille's collection.json, an array of texts, which is read as a stream beside the codes.
type textFile struct {
	path string
	// pids, when set, gives the position of each text in turn: RAGatouille takes the texts of deleted
	// documents out of the array, while the positions of the others stay.
	pids []int
}

// openTexts looks at collection.json.
func (s *Source) openTexts(ctx context.Context) error {
	if s.o.NoText || s.wrapper != RAGatouille || !exists(s.dir, ragCollection) {
		return nil
	}
	t := &textFile{path: filepath.Join(s.dir, ragCollection)}
	n, err := t.count(ctx)
	if err != nil {
		return err
	}
	switch {
	case n == int(s.docs):
	case exists(s.dir, ragDocIDs):
		// After deletions the map still has the positions, with gaps.
		var m map[string]json.RawMessage
		if err := readJSON(s.dir, ragDocIDs, &m); err != nil {
			return err
		}
		if len(m) == n {
			for k := range m {
				var p int
				if _, err := fmt.Sscan(k, &p); err != nil {
					return bad(ragDocIDs, "key %.40q is not a position", k)
				}
				t.pids = append(t.pids, p)
			}
			sort.Ints(t.pids)
			s.note("%s has %d texts for %d positions, as RAGatouille leaves it after deletions: they were matched to the ids in order", ragCollection, n, s.docs)
			break
		}
		fallthrough
	default:
		s.note("%s has %d texts for %d documents; which belongs to which is unknown, and none was taken", ragCollection, n, s.docs)
		return nil
	}
	s.texts = t
	return nil
}

// count reads the file once.
func (t *textFile) count(ctx context.Context) (int, error) {
	r, err := t.open()
	if err != nil {
		return 0, err
	}
	defer r.close()
	for {
		if r.at%1024 == 0 && ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if !r.d.More() {
			break
		}
		if _, err := r.next(); err != nil {
			return 0, err
		}
	}
	if _, err := r.d.Token(); err != nil { // the closing bracket
		return 0, r.fault(err)
	}
	return r.at, nil
}

// textReader is a position in collection.json.
type textReader struct {
	t  *textFile
	f  *os.File
	d  *json.Decoder
	at int
}

func (t *textFile) open() (*textReader, error) {
	r := &textReader{t: t}
	st, err := os.Stat(t.path)
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err == nil {
		r.f, err = os.Open(t.path)
	}
	if err != nil {
		return nil, r.fault(err)
	}
	r.d = json.NewDecoder(bufio.NewReaderSize(r.f, 1<<20))
	tok, err := r.d.Token()
	if err == nil && tok != json.Delim('[') {
		err = fmt.Errorf("begins with %v, an array was expected", tok)
	}
	if err != nil {
		r.close()
		return nil, r.fault(err)
	}
	return r, nil
}

func (r *textReader) close() { _ = r.f.Close() }

func (r *textReader) fault(err error) error { return &FileError{File: ragCollection, Err: err} }

func (r *textReader) next() (string, error) {
	var s *string
	if err := r.d.Decode(&s); err != nil {
		return "", r.fault(fmt.Errorf("text %d: %w", r.at, err))
	}
	r.at++
	if s == nil {
		return "", nil
	}
	return *s, nil
}

// text gives the text of a position; positions must come in ascending order.
func (r *textReader) text(pos int) (string, error) {
	want := pos
	if r.t.pids != nil {
		if want = sort.SearchInts(r.t.pids, pos); want == len(r.t.pids) || r.t.pids[want] != pos {
			return "", nil
		}
	}
	for {
		if !r.d.More() {
			return "", r.fault(fmt.Errorf("ends after %d texts", r.at))
		}
		s, err := r.next()
		if err != nil || r.at > want {
			return s, err
		}
	}
}
