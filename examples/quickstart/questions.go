package main

import (
	"bufio"
	_ "embed"
	"fmt"
	"strings"
)

//go:embed questions.tsv
var questionsTSV string

// A question is one of the evaluation set with the ids of the passages that answer it.
type question struct {
	Text    string
	Answers []string
}

// questions parses the evaluation set.
func questions() ([]question, error) {
	var out []question
	s := bufio.NewScanner(strings.NewReader(questionsTSV))
	for line := 1; s.Scan(); line++ {
		if s.Text() == "" || strings.HasPrefix(s.Text(), "#") {
			continue
		}
		text, ids, ok := strings.Cut(s.Text(), "\t")
		if !ok || strings.TrimSpace(text) == "" || len(strings.Fields(ids)) == 0 {
			return nil, fmt.Errorf("questions.tsv:%d: want a question, a tab and at least one id", line)
		}
		out = append(out, question{Text: text, Answers: strings.Fields(ids)})
	}
	return out, s.Err()
}
