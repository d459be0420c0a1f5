package train

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"iter"
	"math"
	"strings"

	"github.com/golbert/golbert/internal/lines"
)

// ErrData reports malformed training data; the message names file and line.
var ErrData = errors.New("train: malformed training data")

// Example is a query with a document that answers it and, where there are some, documents that do not.
type Example struct {
	Query    string
	Positive string
	// Negatives are hard negatives: documents that look like answers.
	Negatives []string
	// Scores are a teacher's scores of the positive and then of the negatives, or nil.
	Scores []float32
	// Group is a name that examples share which may answer each other's queries, such as the article that passages
	// are from: they are no negatives of each other, and all of them are held out together.
	Group string
	// Language is that of the query, DocumentLanguage that of the documents; empty leaves it to the model.
	Language, DocumentLanguage string
	// Source says where the example is from, for errors: file and line.
	Source string
}

// exampleJSON is a line of a file.
type exampleJSON struct {
	Query     *string   `json:"query"`
	Positive  *string   `json:"positive"`
	Title     string    `json:"title,omitempty"`
	Negatives []string  `json:"negatives,omitempty"`
	Scores    []float32 `json:"scores,omitempty"`
	Group     string    `json:"group,omitempty"`
	Lang      string    `json:"lang,omitempty"`
	DocLang   string    `json:"doc_lang,omitempty"`
}

// ReadOptions say how ReadExamples takes lines. A nil pointer means the zero value.
type ReadOptions struct {
	// Titles puts the title of a line in front of its positive, the way test collections' documents are indexed.
	Titles bool
	// Language is that of lines that name none.
	Language string
	// Limit, when not 0, ends the file after so many examples.
	Limit int
}

// ReadExamples reads a file of JSON lines, compressed if its name ends in .zst or .gz, one example at a time:
//
//	{"query": "...", "positive": "...", "negatives": ["...", ...], "scores": [0.9, 0.1, ...],
//	 "group": "...", "title": "...", "lang": "en", "doc_lang": "en"}
//
// All but query and positive may be missing; scores are those of the positive and of the negatives, in that order,
// and other fields are ignored. A text that a list holds twice counts once, with its first score. A malformed line ends
// the file with an error that wraps ErrData and names file and line.
func ReadExamples(path string, o *ReadOptions) iter.Seq2[Example, error] {
	if o == nil {
		o = new(ReadOptions)
	}
	return func(yield func(Example, error) bool) {
		f, err := lines.Open(path)
		if err != nil {
			yield(Example{}, fmt.Errorf("train: %w", err))
			return
		}
		defer f.Close()
		n := 0
		for l, err := range lines.Scan(f) {
			if err == nil && strings.TrimSpace(string(l.Text)) == "" {
				continue
			}
			var e Example
			if err == nil {
				e, err = parseExample(l.Text, o)
			}
			at := fmt.Sprintf("%s:%d", path, l.N)
			if err != nil {
				yield(Example{}, fmt.Errorf("%w: %s: %w", ErrData, at, err))
				return
			}
			e.Source = at
			if !yield(e, nil) {
				return
			}
			if n++; n == o.Limit {
				return
			}
		}
	}
}

func parseExample(b []byte, o *ReadOptions) (Example, error) {
	var j exampleJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return Example{}, err
	}
	blank := func(s *string) bool { return s == nil || strings.TrimSpace(*s) == "" }
	switch {
	case blank(j.Query):
		return Example{}, errors.New("no query")
	case blank(j.Positive):
		return Example{}, errors.New("no positive")
	case j.Scores != nil && len(j.Scores) != 1+len(j.Negatives):
		return Example{}, fmt.Errorf("%d scores for a positive and %d negatives", len(j.Scores), len(j.Negatives))
	}
	e := Example{Query: *j.Query, Positive: *j.Positive, Scores: j.Scores, Group: j.Group, Language: j.Lang, DocumentLanguage: j.DocLang}
	if e.Language == "" {
		e.Language = o.Language
	}
	if e.DocumentLanguage == "" {
		e.DocumentLanguage = e.Language
	}
	if o.Titles && j.Title != "" && !strings.HasPrefix(e.Positive, j.Title) {
		e.Positive = j.Title + " " + e.Positive
	}
	seen := map[string]bool{*j.Positive: true, e.Positive: true}
	for i, n := range j.Negatives {
		if strings.TrimSpace(n) == "" {
			return Example{}, fmt.Errorf("negative %d is empty", i)
		}
		if seen[n] {
			continue
		}
		seen[n] = true
		if e.Scores != nil {
			e.Scores[1+len(e.Negatives)] = e.Scores[1+i]
		}
		e.Negatives = append(e.Negatives, n)
	}
	if e.Scores != nil {
		e.Scores = e.Scores[:1+len(e.Negatives)]
	}
	for i, s := range e.Scores {
		if math.IsNaN(float64(s)) || math.IsInf(float64(s), 0) {
			return Example{}, fmt.Errorf("score %d is %v", i, s)
		}
	}
	return e, nil
}

// WriteExamples writes examples as JSON lines, which ReadExamples reads back but for their Source.
func WriteExamples(w io.Writer, examples []Example) error {
	b := bufio.NewWriter(w)
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	for i := range examples {
		e := &examples[i]
		j := exampleJSON{Query: &e.Query, Positive: &e.Positive, Negatives: e.Negatives, Scores: e.Scores, Group: e.Group, Lang: e.Language}
		if e.DocumentLanguage != e.Language {
			j.DocLang = e.DocumentLanguage
		}
		if err := enc.Encode(&j); err != nil {
			return fmt.Errorf("train: example %d: %w", i, err)
		}
	}
	if err := b.Flush(); err != nil {
		return fmt.Errorf("train: %w", err)
	}
	return nil
}

// HeldOut says whether an example belongs to the part of the data that is kept for evaluation. The group decides,
// or without one the positive, so that no text is on both sides, whatever the order of the data and whatever is added.
func (e *Example) HeldOut(part float64) bool {
	h := fnv.New64a()
	if e.Group != "" {
		h.Write([]byte("g" + e.Group))
	} else {
		h.Write([]byte("p" + e.Positive))
	}
	x := h.Sum64()
	x ^= x >> 32 // FNV's upper bits differ little for texts that differ in their last letters
	x *= 0x9e3779b97f4a7c15
	return float64(x>>11)/(1<<53) < part
}
