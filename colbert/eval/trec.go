package eval

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// ReadTRECQrels reads judgements in TREC's format from a file that may be compressed (.zst, .gz): per line
// query id, iteration (ignored), document id and judgement, separated by white space. Errors name file and
// line and wrap ErrFormat.
func ReadTRECQrels(path string) (Qrels, error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return ParseTRECQrels(path, r)
}

// ParseTRECQrels is ReadTRECQrels for a stream; name stands for the file in errors.
func ParseTRECQrels(name string, r io.Reader) (Qrels, error) {
	q := Qrels{}
	for l, err := range scan(name, r) {
		if err != nil {
			return nil, err
		}
		f := strings.Fields(string(l.Text))
		if len(f) == 0 {
			continue
		}
		err := func() error {
			if len(f) != 4 {
				return fmt.Errorf("%d fields, want query, iteration, document and judgement", len(f))
			}
			rel, err := strconv.Atoi(f[3])
			if err != nil {
				return fmt.Errorf("judgement %q is not a whole number", f[3])
			}
			return q.addChecked(f[0], f[2], rel)
		}()
		if err != nil {
			return nil, &LineError{name, l.N, err}
		}
	}
	return q, nil
}

// ReadTRECRun reads a run in TREC's format from a file that may be compressed (.zst, .gz): per line query id,
// "Q0" (ignored), document id, rank (ignored: the scores rank, as in trec_eval), score and the run's name.
// Errors name file and line and wrap ErrFormat; a document that occurs twice for a query is one.
func ReadTRECRun(path string) (Run, error) {
	r, err := open(path)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return ParseTRECRun(path, r)
}

// ParseTRECRun is ReadTRECRun for a stream; name stands for the file in errors.
func ParseTRECRun(name string, r io.Reader) (Run, error) {
	run := Run{}
	seen := map[[2]string]bool{}
	for l, err := range scan(name, r) {
		if err != nil {
			return nil, err
		}
		f := strings.Fields(string(l.Text))
		if len(f) == 0 {
			continue
		}
		err := func() error {
			if len(f) != 6 {
				return fmt.Errorf("%d fields, want query, Q0, document, rank, score and run name", len(f))
			}
			score, err := strconv.ParseFloat(f[4], 64)
			if err != nil || math.IsNaN(score) {
				return fmt.Errorf("score %q is not a number", f[4])
			}
			if seen[[2]string{f[0], f[2]}] {
				return fmt.Errorf("document %q occurs twice for query %q", f[2], f[0])
			}
			seen[[2]string{f[0], f[2]}] = true
			run[f[0]] = append(run[f[0]], Scored{f[2], score})
			return nil
		}()
		if err != nil {
			return nil, &LineError{name, l.N, err}
		}
	}
	return run, nil
}

// WriteTRECRun writes a run in TREC's format under a name, queries by ascending id and documents by rank, the
// order of equal scores being that of golbert. Scores are written in full and come back equal. Ids and name
// must not be empty or hold white space, which the format cannot carry.
func WriteTRECRun(w io.Writer, run Run, name string) error {
	b := bufio.NewWriter(w)
	if !writable(name) {
		return fmt.Errorf("eval: run name %q is empty or has white space", name)
	}
	for _, q := range slices.Sorted(maps.Keys(run)) {
		if !writable(q) {
			return fmt.Errorf("eval: query id %q is empty or has white space", q)
		}
		ranking := slices.Clone(run[q])
		Sort(ranking, GolbertTies)
		for i, d := range ranking {
			if !writable(d.ID) {
				return fmt.Errorf("eval: query %q: document id %q is empty or has white space", q, d.ID)
			}
			if math.IsNaN(d.Score) {
				return fmt.Errorf("eval: query %q: document %q: %w", q, d.ID, errNaN)
			}
			fmt.Fprintf(b, "%s Q0 %s %d %s %s\n", q, d.ID, i+1, strconv.FormatFloat(d.Score, 'g', -1, 64), name)
		}
	}
	return b.Flush()
}

var errNaN = errors.New("score is not a number")

func writable(s string) bool {
	return s != "" && len(strings.Fields(s)) == 1 && strings.TrimSpace(s) == s
}
