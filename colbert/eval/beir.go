package eval

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path/filepath"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Document is one line of a BEIR corpus.
type Document struct {
	ID    string
	Title string
	Text  string
}

// Contents is the title and the text with a space between, the form in which BEIR's systems index documents.
func (d Document) Contents() string {
	if d.Title == "" {
		return d.Text
	}
	if d.Text == "" {
		return d.Title
	}
	return d.Title + " " + d.Text
}

// Query is one line of BEIR queries.
type Query struct {
	ID   string
	Text string
}

// Collection is a test collection in BEIR's format: a folder of
//
//	corpus.jsonl      {"_id": "d1", "title": "...", "text": "..."} per line
//	queries.jsonl     {"_id": "q1", "text": "..."} per line
//	qrels.tsv         query-id, corpus-id and score, separated by tabs, with or without a header;
//	                  or qrels/test.tsv
//
// each of which may be compressed (.zst or .gz after its name). Queries and judgements are in memory; the
// corpus is read as a stream.
type Collection struct {
	Dir string
	// Queries are those that have judgements, in the file's order.
	Queries []Query
	// Unjudged counts the queries that have none and were left out; BEIR's files hold all splits together.
	Unjudged int
	Qrels    Qrels

	corpus string
}

// ReadBEIR opens the collection in dir with the judgements of its test split. A missing file gives an error
// that wraps fs.ErrNotExist, a malformed line one that wraps ErrFormat and names file and line, and so does
// a judgement of a query that does not exist.
func ReadBEIR(dir string) (*Collection, error) { return ReadBEIRSplit(dir, "test") }

// ReadBEIRSplit is ReadBEIR with the judgements of another split, read from qrels/<split>.tsv. For "test" a
// qrels.tsv in dir itself is taken first.
func ReadBEIRSplit(dir, split string) (*Collection, error) {
	c := &Collection{Dir: dir}
	var err error
	if c.corpus, err = resolve(filepath.Join(dir, "corpus.jsonl")); err != nil {
		return nil, err
	}
	queries, err := resolve(filepath.Join(dir, "queries.jsonl"))
	if err != nil {
		return nil, err
	}
	qrels, err := resolve(filepath.Join(dir, "qrels", split+".tsv"))
	if split == "test" {
		if p, perr := resolve(filepath.Join(dir, "qrels.tsv")); perr == nil {
			qrels, err = p, nil
		} else if !errors.Is(perr, fs.ErrNotExist) {
			return nil, perr
		}
	}
	if err != nil {
		return nil, err
	}
	if c.Qrels, err = readBEIRQrels(qrels); err != nil {
		return nil, err
	}
	missing := make(map[string]bool, len(c.Qrels))
	for q := range c.Qrels {
		missing[q] = true
	}
	seen := map[string]bool{}
	for rec, err := range records(queries) {
		if err != nil {
			return nil, err
		}
		if seen[rec.ID] {
			return nil, &LineError{queries, rec.line, fmt.Errorf("query %q occurs twice", rec.ID)}
		}
		seen[rec.ID] = true
		if c.Qrels[rec.ID] == nil {
			c.Unjudged++
			continue
		}
		delete(missing, rec.ID)
		c.Queries = append(c.Queries, Query{rec.ID, rec.Text})
	}
	for q := range missing {
		return nil, fmt.Errorf("%w: %s judges query %q, which is not in %s", ErrFormat, qrels, q, queries)
	}
	return c, nil
}

// Docs reads the corpus from its file, one document at a time. It may be called again, also concurrently. An
// error, which names file and line, ends the sequence.
func (c *Collection) Docs() iter.Seq2[Document, error] {
	return func(yield func(Document, error) bool) {
		for rec, err := range records(c.corpus) {
			if !yield(Document{rec.ID, rec.Title, rec.Text}, err) {
				return
			}
		}
	}
}

type record struct {
	ID    string `json:"_id"`
	Title string `json:"title"`
	Text  string `json:"text"`
	line  int
}

// records reads the lines of a JSON Lines file; blank ones are passed over.
func records(path string) iter.Seq2[record, error] {
	return func(yield func(record, error) bool) {
		for l, err := range read(path) {
			if err != nil {
				yield(record{}, err)
				return
			}
			rec, ok, err := parseRecord(l.Text)
			if err != nil {
				yield(record{}, &LineError{path, l.N, err})
				return
			}
			rec.line = l.N
			if ok && !yield(rec, nil) {
				return
			}
		}
	}
}

func parseRecord(b []byte) (rec record, ok bool, err error) {
	if len(bytes.TrimSpace(b)) == 0 {
		return rec, false, nil
	}
	// encoding/json would put replacement characters in place of bad bytes.
	if !utf8.Valid(b) {
		return rec, false, errors.New("not valid UTF-8")
	}
	if err := json.Unmarshal(b, &rec); err != nil {
		return rec, false, err
	}
	if rec.ID == "" {
		return rec, false, errors.New(`no "_id"`)
	}
	return rec, true, nil
}

// readBEIRQrels reads tab-separated query id, document id and judgement. A first line whose third field is
// not a number is a header.
func readBEIRQrels(path string) (Qrels, error) {
	q := Qrels{}
	for l, err := range read(path) {
		if err != nil {
			return nil, err
		}
		if err := q.addTSV(string(l.Text), l.N == 1); err != nil {
			return nil, &LineError{path, l.N, err}
		}
	}
	return q, nil
}

func (q Qrels) addTSV(s string, first bool) error {
	s = strings.TrimRight(s, "\r")
	if strings.TrimSpace(s) == "" {
		return nil
	}
	f := strings.Split(s, "\t")
	if len(f) != 3 {
		return fmt.Errorf("%d tab-separated fields, want query, document and judgement", len(f))
	}
	rel, err := strconv.Atoi(f[2])
	if err != nil {
		if first {
			return nil
		}
		return fmt.Errorf("judgement %q is not a whole number", f[2])
	}
	return q.addChecked(f[0], f[1], rel)
}

// addChecked refuses a second judgement of a pair unless it says the same.
func (q Qrels) addChecked(query, doc string, rel int) error {
	if query == "" || doc == "" {
		return errors.New("empty id")
	}
	if old, ok := q[query][doc]; ok && old != rel {
		return fmt.Errorf("query %q and document %q are judged %d here and %d before", query, doc, rel, old)
	}
	q.Add(query, doc, rel)
	return nil
}
